"""Brokers under the simulated driver, and what must hold of each of them.

After each of a broker's turns the room of the broker is what its relays hold, and its counters
balance. And clients take turns: as long as a request waits that is its client's next one of
that priority, each other client has one request of that priority served at most. So it may be
stated without knowing in which order packets came within a turn: what counts is what is served
after a turn at whose end the request was waiting already.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from zmqkit.core.calls.request import Request
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.relay import Relay
from zmqkit.drivers.perform import Hooks
from zmqkit.links.profile import Profile
from zmqkit.model import BROKER, Record
from zmqkit.simulation.broker_disks import BrokerJournals
from zmqkit.simulation.process import OfferingRole, Process

_ENDS = ("delivered", "failed", "expired")


class BrokerJudge(Protocol):
    """A judge knows what must hold of a broker after each of its turns."""

    def rested(self, role: BrokerRole) -> None:
        """Judge a broker between two turns."""


class BrokerRole(OfferingRole):
    """One broker. Its process tells others of the services that it has."""

    offers = BROKER

    def __init__(
        self,
        process: Process,
        record: Record,
        core: BrokerCore,
        judge: BrokerJudge,
        journals: BrokerJournals | None = None,
    ) -> None:
        """journals: of its services, if they have some."""
        self.core: BrokerCore = core
        self.journals = journals
        self._judge = judge
        self.turns: dict[int, Turns] = {}
        hooks = self.offering(Hooks(finished=list))
        if journals is not None:
            hooks.append, hooks.page = journals.append, journals.page
        super().__init__(process, record, core, Profile.DEVICES, hooks)
        if journals is not None:
            journals.belong_to(core, self.driver)

    @property
    def relays(self) -> dict[str, Relay]:
        """The services that the broker has."""
        return self.core.relays.by_name

    def rested(self, now: float) -> None:
        """Have the judge look."""
        self._judge.rested(self)

    def close(self) -> None:
        """Close the role; its files are closed once all is written."""
        if not self.closed:
            super().close()
            if self.journals is not None:
                self.journals.close()


class Turns:
    """Whose requests a relay has served while others waited."""

    def __init__(self) -> None:
        # By the ticket of a request that is its client's next: how many requests of each other
        # client were served while it waited.
        self._before: dict[int, Counter[int]] = {}
        # The tickets of what has left the line and is held.
        self._begun: set[int] = set()

    def look(self, relay: Relay) -> list[tuple[Request, int]]:
        """Note what a relay serves now; return who waits, and for whom, if that is unfair."""
        running = {request.ticket: request for request in relay.front.running()}
        served = [r for ticket, r in running.items() if ticket not in self._begun]
        held = {request.ticket for request in relay.front._work.held()}
        self._begun = held & (self._begun | running.keys())
        heads: dict[tuple[int, int], Request] = {}
        for request in relay.front._work.queue:
            heads.setdefault((request.client, request.priority), request)
        unfair: list[tuple[Request, int]] = []
        before: dict[int, Counter[int]] = {}
        for request in heads.values():
            counts = self._before.get(request.ticket)
            before[request.ticket] = Counter() if counts is None else counts
            if counts is not None:
                counts.update(r.client for r in served if r.priority == request.priority)
                unfair += [(request, client) for client, n in counts.items() if n > 1]
        self._before = before
        return unfair


def balances(stats: dict[str, object]) -> bool:
    """Return whether the counters of a service of a broker balance."""
    dropped = stats["dropped"]
    assert isinstance(dropped, dict)
    ended = sum(int(str(stats[name])) for name in _ENDS) + sum(dropped.values())
    return stats["accepted"] == ended + int(str(stats["in_flight"]))
