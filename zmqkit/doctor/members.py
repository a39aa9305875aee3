"""Looks for a name as a client does, for those whom multicast alone does not show.

Nobody announces the services of a broker, and nobody hears of those whom only a static peer
tells of. Membership finds both. It needs a node, so it is asked only where discovery heard
nobody of the name.
"""

from __future__ import annotations

import threading
import time

from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.doctor.facts import Asked, Instance, Outcome
from zmqkit.errors import ConfigError
from zmqkit.model import Address, Reach, Record, parse_url
from zmqkit.node import node as nodes
from zmqkit.node.listings import Listing

WAIT_S = 1.5
LOOK_S = 0.1

_OUTCOMES = {"up": Outcome.ANSWERED, "evasive": Outcome.SILENT}
_ON_THE_WAY = ("connecting", "heard")


def members(name: str, reach: Reach) -> list[Instance]:
    """Return the roles of a name that membership finds within that reach, in WAIT_S at most.

    It waits, so it has a thread of its own where an event loop runs.
    """
    try:
        node = nodes.acquire()
    except ConfigError:
        return []  # the other facts say why no role can be made
    news = threading.Event()
    try:
        node.want(EVERYBODY, lambda tell: news.set(), role="", reach=reach)
        end = time.monotonic() + WAIT_S
        while True:
            found = [each for each in node.listings() if each.name == name and each.asked_at]
            left_s = end - time.monotonic()
            if left_s <= 0 or any(each.state == "up" for each in found):
                return [instance(each) for each in found if each.state not in _ON_THE_WAY]
            news.wait(min(left_s, LOOK_S))
            news.clear()
    finally:
        nodes.release(node)


def instance(listing: Listing) -> Instance:
    """Return a role that membership found, with what its process answered."""
    at = parse_url(listing.address)
    asked = parse_url(f"tcp://{listing.in_use or listing.asked_at[0]}")
    outcome = _OUTCOMES.get(listing.state, Outcome.TIMED_OUT)
    is_here = asked.reach is Reach.LOCAL
    return Instance(
        record=Record(
            name=listing.name,
            role=listing.role,
            incarnation=int(listing.label.rpartition("-")[2], 16) << 32,
            process=int(listing.process, 16),
            addresses=(at.host,),
            control_port=asked.port,
            port=at.port,
        ),
        is_here=is_here,
        is_open=not is_here,
        sources=listing.sources,
        control=(Asked(Address(asked.host, asked.port), outcome, listing.why),),
    )
