"""The relays of a device: which of them each packet concerns, and when each is due.

Each packet of zmqkit's own says for which role it is meant, so the header alone says which
relay it concerns. The packets of a worker that dialled are known by their connection. Peers
learn which services there are from the directory that the device's process tells (`Offer`,
`Retract`). A packet for a service that is not there is answered with a WELCOME that says who
is.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import inf

from zmqkit.core.dispatch.dialled import refusal, says_ready
from zmqkit.core.dispatch.window import IsGone
from zmqkit.core.effects import Effect, Note, Offer, Retract, Send
from zmqkit.core.majordomo.relay import Relay
from zmqkit.core.tap import Taps
from zmqkit.errors import UsageError
from zmqkit.limits import ROLES_MAX
from zmqkit.model import Frames, PeerId, check_name
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode

_PURGE_AT = 100


class Relays:
    """Has each relay take what concerns it, and tells peers which services there are."""

    def __init__(
        self,
        incarnation: int,
        role: str,
        *,
        find: Callable[[str], Relay | None],
        refuse: Callable[[str], tuple[Note, str]],
        idle_s: float,
        closes_idle: bool,
    ) -> None:
        """Begin without relays. incarnation: of the device. role: of each of its services.

        find: returns the relay of a service for which a worker registers, a new one if need be.
        refuse: returns why there is none, as an event and for the worker, with a remedy.
        idle_s: how long a service is told of without workers and requests. closes_idle: whether
        it is closed then; else it is told of no longer.
        """
        self.incarnation = incarnation
        # What a WELCOME to those who ask for no service in particular says.
        self.about: dict[str, object] = {}
        self.malformed: Counter[str] = Counter()
        self.by_name: dict[str, Relay] = {}
        # The relays to be flushed.
        self.touched: dict[Relay, None] = {}
        self._taps: Taps = ()
        self._home: tuple[int, IsGone] | None = None
        self.leaving = False
        self._role = role
        self._find = find
        self._refuse = refuse
        self._idle_s = idle_s
        self._closes_idle = closes_idle
        # By incarnation of their fronts, and of their backs.
        self._fronts: dict[int, Relay] = {}
        self._backs: dict[int, Relay] = {}
        # The relay of each connection on which a worker registered, if it still has it.
        self._workers: dict[PeerId, Relay] = {}
        self._purge_at = _PURGE_AT
        # The services that peers were told of.
        self._offered: set[str] = set()
        # Since when services have neither workers nor requests; the longest idle is first.
        self._idle_since: OrderedDict[str, float] = OrderedDict()
        # When each relay's tick is due; some of that is outdated.
        self._ticks: list[tuple[float, int, Relay]] = []
        self._due_at: dict[Relay, float] = {}

    def __iter__(self) -> Iterator[Relay]:
        return iter(self.by_name.values())

    # Commands

    def add(self, relay: Relay) -> None:
        """Have one more relay."""
        self.by_name[relay.name] = self._fronts[relay.incarnation] = relay
        self._backs[relay.back.incarnation] = relay
        self.touched[relay] = None
        if self._home is not None:
            relay.at_home(*self._home)
        self._show(relay)

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process, and how to tell that that of a client is gone."""
        self._home = (process, is_gone)
        for relay in self:
            relay.at_home(process, is_gone)

    def tap(self, taps: Taps) -> None:
        """Have these see what passes; any thread may call this."""
        self._taps = taps
        for relay in list(self.by_name.values()):
            self._show(relay)

    def _show(self, relay: Relay) -> None:
        named = (
            each for each in self._taps if not each.is_part or each.wanted.name == relay.name
        )
        relay.front.tap(tuple(named))

    def touch(self, relay: Relay, effects: list[Effect]) -> list[Effect]:
        """Note that a relay, which had these effects, is to be flushed; return them."""
        self.touched[relay] = None
        return effects

    def leave(self, now: float) -> list[Effect]:
        """Accept no more requests; what no worker has goes back to its clients."""
        self.leaving = True
        return [each for relay in self for each in self.touch(relay, relay.leave(now))]

    def close(self) -> list[Effect]:
        """Answer nobody any more, and close every connection."""
        effects = [effect for relay in self for effect in relay.close()]
        effects += [Retract(self.by_name[name].incarnation) for name in sorted(self._offered)]
        for each in (
            self._offered, self.by_name, self._fronts, self._backs, self._workers, self.touched,
            self._due_at, self._idle_since,
        ):  # fmt: skip
            each.clear()
        return effects

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a client or a worker. Never raises for what it sent."""
        relay = self._workers.get(peer)
        if relay is not None and relay.dialled_by(peer) is None:
            del self._workers[peer]
            relay = None
        if says_ready(frames):
            return self._ready(relay, peer, frames, now)
        if relay is not None:
            return self.touch(relay, relay.from_dialled(peer, frames, now))
        target = wire.target_of(frames)
        relay = self._fronts.get(target)
        if relay is not None:
            return self.touch(relay, relay.from_client(peer, frames, now))
        relay = self._backs.get(target)
        if relay is not None:
            return self.touch(relay, relay.from_worker(peer, frames, now))
        return self._welcome(peer, frames)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; what it said is said again."""
        source = wire.source_of(frames)
        relay = self._workers.get(peer) or self._fronts.get(source) or self._backs.get(source)
        return self.touch(relay, relay.unsent(peer, frames, now)) if relay else []

    def tick(self, now: float) -> list[Effect]:
        """Do what is due in any relay."""
        effects: list[Effect] = []
        while self._ticks and self._ticks[0][0] <= now:
            at, _, relay = heappop(self._ticks)
            if self._due_at.get(relay) == at:
                self._due_at[relay] = inf
                effects += self.touch(relay, relay.tick(now))
        return effects

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered, relay by relay; go on until none is `touched`."""
        effects: list[Effect] = []
        for relay in list(self.touched):
            theirs = relay.flush(now)
            if theirs:
                effects += theirs
            else:
                del self.touched[relay]
                effects += self._look_at(relay, now)
        return effects

    def deadline(self) -> float:
        """Return when `tick`, and `close_idle` after it, are due next."""
        idle = next(iter(self._idle_since.values()), inf) + self._idle_s
        return min(self._ticks[0][0] if self._ticks else inf, idle)

    def close_idle(self, now: float) -> list[Effect]:
        """End the services that had neither workers nor requests for a while."""
        effects: list[Effect] = []
        while self._idle_since:
            name, since = next(iter(self._idle_since.items()))
            if now < since + self._idle_s:
                break
            relay = self.by_name[name]
            del self._idle_since[name]
            if name in self._offered:
                self._offered.remove(name)
                effects.append(Retract(relay.incarnation))
            if self._closes_idle:
                effects += relay.close()
                del self.by_name[name], self._fronts[relay.incarnation]
                del self._backs[relay.back.incarnation]
                self.touched.pop(relay, None)
                self._due_at.pop(relay, None)
        return effects

    def check(self) -> None:
        """Assert that each relay is consistent, is found, and was told of if it has workers."""
        assert {r.incarnation: r for r in self} == self._fronts
        assert {r.back.incarnation: r for r in self} == self._backs
        assert self._offered <= self.by_name.keys()
        since = list(self._idle_since.values())
        assert since == sorted(since)
        for name, relay in self.by_name.items():
            relay.check()
            if relay not in self.touched:
                assert self._due_at.get(relay, inf) <= relay.deadline()
                assert (name in self._offered) >= (relay.back.ready_count > 0)

    # Inside

    def _ready(
        self, before: Relay | None, peer: PeerId, frames: Frames, now: float
    ) -> list[Effect]:
        """Take a READY: find the service that the worker names, and register it there."""
        if apart := refusal(peer, frames, self.incarnation, self.about):
            return apart
        try:
            packet = wire.unpack(frames)
            name = wire.fields_of(packet).get("name")
            if type(name) is not str or self.leaving:
                raise Malformed("name" if type(name) is not str else "leaving")
            relay = self._find(check_name(name))
        except (Malformed, UsageError) as error:
            reason = str(error) if isinstance(error, Malformed) else "name"
            self.malformed[reason] += 1
            return []
        if relay is None:
            note, text = self._refuse(name)
            word = wire.pack(
                wire.READY, self.incarnation, packet.source, 0, encode({"refused": text})
            )
            return [note, Send(peer, word)]
        effects: list[Effect] = []
        if before is not None and before is not relay:
            effects += self.touch(before, before.forget(peer, now))
        effects += self.touch(relay, relay.from_dialled(peer, frames, now))
        if relay.dialled_by(peer) is not None:
            self._workers[peer] = relay
            if len(self._workers) > self._purge_at:
                self._purge()
        return effects

    def _purge(self) -> None:
        """Forget the connections whose workers are gone."""
        kept = {p: r for p, r in self._workers.items() if r.dialled_by(p) is not None}
        self._workers = kept
        self._purge_at = 2 * len(kept) + _PURGE_AT

    def _look_at(self, relay: Relay, now: float) -> list[Effect]:
        """Note when a flushed relay is due next, and whether peers are to be told of it."""
        due_at = relay.deadline()
        if due_at < self._due_at.get(relay, inf):
            self._due_at[relay] = due_at
            heappush(self._ticks, (due_at, relay.incarnation, relay))
        name = relay.name
        if not relay.is_idle:
            self._idle_since.pop(name, None)
        elif name in self._offered or self._closes_idle:
            self._idle_since.setdefault(name, now)
        if name not in self._offered and (relay.back.ready_count or relay.back.keeps):
            self._offered.add(name)
            return [Offer(name, relay.incarnation)]
        return []

    def _welcome(self, peer: PeerId, frames: Frames) -> list[Effect]:
        """Say who is here, to whoever greets no service, or one that is gone."""
        try:
            packet = wire.unpack(frames)
            if not packet.source:
                raise Malformed("source")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []
        meta = encode(self._directory())
        return [Send(peer, wire.pack(wire.WELCOME, self.incarnation, packet.source, 0, meta))]

    def _directory(self) -> dict[str, object]:
        """Return what is said of this process, with services that have workers.

        There are no more of them than others read; the process itself tells of the same number.
        """
        roles = self.about.get("roles")
        if not isinstance(roles, list):
            return self.about
        port = roles[0][3]
        rows = [
            [name, self._role, self.by_name[name].incarnation, port]
            for name in sorted(self._offered)[: ROLES_MAX - len(roles)]
        ]
        return {**self.about, "roles": [*roles, *rows]}
