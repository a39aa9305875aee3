"""What a translator asks of the broker, beside effects: to hand a packet to a relay.

A relay has a front, which clients ask, and a back, which asks workers. A translator stands
between a foreign peer and one of these. To a front, each client of an RFC looks like a client
of ours. To a back, each worker of an RFC looks like a service of ours. Both are known there by
an inner peer id, which no link uses: it begins with the byte FF.

Packets between a translator and a relay must be handed over at once, in order, and none may be
lost: neither of the two sends anything again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from zmqkit.core.effects import Effect, Note
from zmqkit.model import Frames, PeerId

INNER = b"\xff"
"""Begins the id of each peer that is no link's."""
BROKER_PEER = b"\xff\xffbroker"
"""Begins a link's name of a connection to somebody else's broker; no inner id begins so."""

_NOTE_S = 1.0
_NOTED_MAX = 1000


@dataclass(slots=True)
class Feed:
    """Hand the frames to the relay of `service`, as if `peer` had sent them.

    The translator of clients means the relay's front, that of workers its back. The peer may be
    forgotten by then: these are its last words.
    """

    service: str
    peer: PeerId
    frames: Frames
    is_for_front: bool = False


Deed = Effect | Feed
"""What a translator asks for."""


def is_link(peer: PeerId) -> bool:
    """Return whether this is a link's name of a connection to somebody else's broker."""
    return peer.startswith(BROKER_PEER)


class Notes:
    """Lines for the log: of each event, at most one a second for each service."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], float] = OrderedDict()

    def note(self, event: str, service: str, now: float, **fields: object) -> list[Deed]:
        """Return a line about a service, unless there was one a moment ago."""
        last, key = self._last, (event, service)
        while last and now - next(iter(last.values())) >= _NOTE_S:
            last.popitem(last=False)
        if key in last or len(last) >= _NOTED_MAX:
            return []
        last[key] = now
        return [Note(event, {"service": service, **fields})]
