"""The Majordomo broker: many services behind one address, each with a relay of its own.

A service is there once a worker registers for it, by READY on a connection of its own, or once
a client asks for it. A service without workers and without requests is closed after a while:
its clients hear so, and use another broker if there is one.

`Relays` has each relay take its packets. Whatever is no packet of zmqkit's own is a message of
the RFCs, or malformed: `Foreign` translates it, and relays do not notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send, Tell
from zmqkit.core.majordomo.back import Back, MakeBack
from zmqkit.core.majordomo.feed import INNER, Deed, Feed
from zmqkit.core.majordomo.figures import relay_rows
from zmqkit.core.majordomo.foreign import Foreign
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.majordomo.management import answer, is_served
from zmqkit.core.majordomo.memory_back import MemoryBack
from zmqkit.core.majordomo.relay import Relay
from zmqkit.core.majordomo.relays import Relays
from zmqkit.core.majordomo.room import Room
from zmqkit.core.majordomo.titanic import Titanic
from zmqkit.errors import JournalError
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import BROKER, Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire.statistics import Figures

_DEFAULTS = BrokerLimits()
_NO_LEASES: Mapping[str, float] = {}


class BrokerCore:
    """Passes requests to services on to whoever registered for them, and the answers back."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        draw: Callable[[], int],
        limits: BrokerLimits = _DEFAULTS,
        *,
        make_back: MakeBack | None = None,
        leases: Mapping[str, float] = _NO_LEASES,
    ) -> None:
        """Begin without services. draw: returns a number that no other role has.

        make_back: makes the back of each service, where it is to have a journal. leases: by
        service, how many seconds a worker of an RFC may have a request, where it is not
        `rfc_lease_s`.
        """
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        # Of services whose journals cannot be had, why.
        self.failed: dict[str, str] = {}
        self._draw = draw
        self._make_back = make_back
        self._room = Room(limits.requests_max, limits.requests_bytes_max)
        self.relays = Relays(
            incarnation,
            BROKER,
            find=self._find,
            refuse=self._refusal,
            idle_s=limits.service_idle_s,
            # Of one with a journal the replies may be asked for.
            closes_idle=make_back is None,
        )
        self.tap, self.at_home = self.relays.tap, self.relays.at_home
        self._closed = False
        titanic = Titanic(
            self._find,
            self.relays.by_name,
            self.follow,
            draw,
            is_durable=make_back is not None,
        )
        self.foreign = Foreign(
            incarnation,
            limits.mdp,
            self._target_of,
            lambda service, body: answer(self.relays.by_name, service, body, titanic.services),
            titanic,
            leases,
            lambda service: is_served(self.relays.by_name, service),
        )

    # Commands

    @property
    def about(self) -> dict[str, object]:
        """What a WELCOME to those who ask for no service in particular says."""
        return self.relays.about

    @property
    def malformed(self) -> Counter[str]:
        """Why packets were not understood."""
        return self.relays.malformed

    def leave(self, now: float) -> list[Effect]:
        """Accept no more requests; what no worker has goes back to its clients."""
        return self._do(self.relays.leave(now), now)

    def close(self) -> list[Effect]:
        """Answer nobody any more, and close every connection."""
        self._closed = True
        return [*self.foreign.close(), *self.relays.close()]

    def begin(self, name: str) -> list[Effect]:
        """Have a service whose journal is there, whether anybody asks for it or not."""
        self._find(name)
        return []

    @property
    def fault(self) -> JournalError | None:
        """Why a journal cannot be written any more; None while all can."""
        faults = (relay.back.fault for relay in self.relays)
        return next((fault for fault in faults if fault is not None), None)

    def follow(self, name: str, effects: list[Effect], now: float) -> list[Effect]:
        """Tell clients and workers what follows from a change of a service's back."""
        relay = self.relays.by_name.get(name)
        if relay is None:
            return []
        return self._do(self.relays.touch(relay, relay.follow(effects, now)), now)

    @property
    def in_flight(self) -> int:
        """How many requests are not answered."""
        return self._room.count

    def stats(self) -> dict[str, object]:
        """Return the counters of all services together, and those of each service."""
        each = {relay.name: relay.stats() for relay in self.relays}
        return {
            "in_flight": self._room.count,
            "held_bytes": self._room.bytes,
            "services": each,
            "rfc": self.foreign.stats(),
            "malformed": dict(self.malformed),
        }

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the device and one of each service; any thread may ask."""
        return relay_rows({"malformed": self.malformed}, self.relays, now)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a client or a worker. Never raises for what it sent."""
        if self._closed:
            return []
        if not wire.is_ours(frames):
            return self._do(self.foreign.receive(peer, frames, now), now)
        return self._do(self.relays.receive(peer, frames, now), now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; what it said is said again."""
        if not wire.is_ours(frames):
            return self._do(self.foreign.unsent(peer, now), now)
        return self._do(self.relays.unsent(peer, frames, now), now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due in any relay, and close services that nobody uses."""
        effects = self._do(self.relays.tick(now), now)
        if now >= self.foreign.deadline():
            effects += self._do(self.foreign.tick(now), now)
        return effects + self.relays.close_idle(now)

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered, relay by relay."""
        effects: list[Effect] = []
        while self.relays.touched and not effects:
            effects += self._do(self.relays.flush(now), now)
        if not self.relays.touched:
            effects += self._do(self.foreign.clients.flush(now), now)
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self.relays.deadline(), self.foreign.deadline())

    def check(self) -> None:
        """Assert that relays are consistent, and that the room is what they hold."""
        assert self._room.count == sum(relay.in_flight for relay in self.relays)
        self.foreign.check()
        self.relays.check()

    # Services

    def _find(self, name: str) -> Relay | None:
        """Return the relay of a service, a new one if need be; None if there are too many."""
        relay = self.relays.by_name.get(name)
        if relay is None and len(self.relays.by_name) < self.limits.services_max:
            relay = self._make(name)
            if relay is not None:
                self.relays.add(relay)
        return relay

    def _make(self, name: str) -> Relay | None:
        """Return a new relay; None if its journal cannot be had."""
        limits, make_back = self.limits, self._make_back
        front = FrontCore(self._draw(), limits.front, self._room, streams=make_back is None)
        if make_back is None:
            back: Back = MemoryBack(name, self._draw(), limits.back, front)
        else:
            try:
                back = make_back(name, front)
                self.failed.pop(name, None)
            except JournalError as error:
                self.failed[name] = str(error)
                return None
        return Relay(name, front, back, self._room, limits.workers_max)

    def _refusal(self, name: str) -> tuple[Note, str]:
        """Return why there is no service of this name, and what to do about it."""
        if name in self.failed:
            error = self.failed[name]
            note = Note("journal-failed", {"name": name, "error": error})
            return note, f"the journal of {name!r} at broker {self.name!r} failed: {error}"
        count = len(self.relays.by_name)
        note = Note("services-full", {"name": self.name, "services": count})
        return note, (
            f"broker {self.name!r} has {count:,} services and takes no more; raise its "
            "limits.services_max"
        )

    def _do(self, deeds: Iterable[Deed], now: float) -> list[Effect]:
        """Hand packets over between relays and foreign peers; return what is for the driver."""
        due = list(deeds)
        if not self.foreign.is_used:
            return cast("list[Effect]", due)
        out: list[Effect] = []
        for deed in due:  # what follows from one of them joins them
            if isinstance(deed, Send):
                if deed.peer.startswith(INNER):
                    due.extend(self.foreign.take(deed.peer, deed.frames, now))
                else:
                    out.append(deed)
            elif isinstance(deed, Feed):
                due.extend(self._feed(deed, now))
            elif isinstance(deed, Tell):
                relay = self._find(deed.key)
                if relay is not None:
                    due.extend(self.relays.touch(relay, relay.hear(deed, now)))
            elif not (isinstance(deed, Connect | Disconnect) and deed.peer.startswith(INNER)):
                out.append(deed)
        return out

    def _feed(self, feed: Feed, now: float) -> list[Effect]:
        relay = self.relays.by_name.get(feed.service)
        if relay is None:
            return []
        take = relay.from_client if feed.is_for_front else relay.from_worker
        return self.relays.touch(relay, take(feed.peer, feed.frames, now))

    def _target_of(self, service: str, now: float) -> int:
        """Return the incarnation of a service's front; 0 if there are too many services."""
        relay = self._find(service)
        return 0 if relay is None else relay.incarnation
