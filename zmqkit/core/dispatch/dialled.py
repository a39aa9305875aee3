"""The workers that dialled a device, which nobody announces.

Such a worker says READY on a connection of its own making, and again each READY_S. This module
is to the device's back what membership and the links are otherwise: it tells of these workers
(Tell), and it knows which connection leads to which of them. So the back uses one as it uses
any worker; a service that dials a broker is one, too. Each READY is answered by one with the
device's name. By it the worker knows that the device is there, and whether the name is the
right one.

    here     heard of within 3 READY_S
    silent   not heard of since; it gets no new task, and each READY_S it is sent a READY
    lost     its connection was gone when a READY was to leave; it has 3 READY_S to dial anew

A silent worker may run a handler that stops its process or its event loop, so it keeps its
tasks as long as its connection stands, for STUCK_S at most: a proxy may keep a connection that
leads nowhere. TCP finds a cut within seconds, if there is something to acknowledge, and the
READYs are. A lost worker is given up when its time is over; one that never answered a greeting
is given up as soon as it is silent. A connection leads to one worker, and there are as many
workers as the back may have, so whatever comes takes little memory and not for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.limits import READY_COUNT, READY_S, STUCK_S
from zmqkit.model import Frames, PeerId, space_shown
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet

DIALLED = "dialled://"
"""The scheme of the endpoint of a worker that dialled; to it no connection can be opened."""

_SILENT_S = READY_COUNT * READY_S
_KIND = slice(3, 4)
_READY, _WELCOME, _BYE = bytes((wire.READY,)), bytes((wire.WELCOME,)), bytes((wire.BYE,))


@dataclass(slots=True, eq=False)
class Caller:
    """A worker that dialled."""

    incarnation: int
    # Its connection, as the link calls it, and as the back calls the worker.
    peer: PeerId
    inner: PeerId
    far: bool
    heard_at: float
    has_answered: bool = False
    # When a silent one is next sent a READY; infinite while it is not silent.
    probe_at: float = inf
    lost_at: float = inf

    @property
    def endpoint(self) -> str:
        """What stands for its address."""
        return f"{DIALLED}{'elsewhere' if self.far else 'localhost'}:{self.peer.hex()}"


def says_ready(frames: Frames) -> bool:
    """Return whether this seems to be a READY; reading it may show that it is none."""
    return bool(frames) and frames[0][_KIND] == _READY


def refusal(
    peer: PeerId, frames: Frames, incarnation: int, about: Mapping[str, object]
) -> list[Effect]:
    """Return the answer to a READY from another space, which refuses it; else nothing.

    incarnation, about: what the device says of itself. It is no answer to what is malformed.
    """
    try:
        packet = wire.unpack(frames)
        theirs, ours = wire.space_of(wire.fields_of(packet)), wire.space_of(about)
    except Malformed:
        return []  # it is counted where the packet is read
    if theirs == ours or packet.kind != wire.READY:
        return []
    text = f"it is in {space_shown(ours)}, and this one is in {space_shown(theirs)}"
    word = encode({"refused": text, **wire.named(ours)})
    return [Send(peer, wire.pack(wire.READY, incarnation, packet.source, 0, word))]


class Dialled:
    """Keeps the workers that dialled, and tells the device's back of them."""

    def __init__(self, name: str, incarnation: int, key: str, count_max: int) -> None:
        """Begin without workers. incarnation: that of the device's back.

        key: that of membership's news of workers. count_max: how many there may be.
        """
        # When `tick` is due; it may be too early, never too late.
        self.due_at = inf
        self.by_peer: dict[PeerId, Caller] = {}
        self.malformed: Counter[str] = Counter()
        self._by_incarnation: dict[int, Caller] = {}
        self._by_inner: dict[PeerId, Caller] = {}
        self._name = name
        self._incarnation = incarnation
        self._key = key
        self._count_max = count_max
        # Whether any worker ever dialled.
        self._is_used = False

    def __len__(self) -> int:
        return len(self._by_incarnation)

    # Packets in

    def ready(
        self, peer: PeerId, frames: Frames, place_of: Callable[[int], str], now: float
    ) -> list[Effect]:
        """Take a READY; the worker that says it is found, or answers again.

        place_of: returns where the back knows an instance to be, or nothing.
        """
        try:
            packet = wire.unpack(frames)
            if packet.kind != wire.READY or not packet.source or packet.target:
                raise Malformed("unexpected")
            fields = wire.fields_of(packet)
            place = place_of(packet.source)
            if place and not place.startswith(DIALLED):
                raise Malformed("source")  # that worker is announced
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []
        if fields.get("name") not in (self._name, ""):
            return [self._word(peer, packet.source)]
        effects: list[Effect] = []
        before = self.by_peer.get(peer)
        if before is not None and before.incarnation != packet.source:
            effects += self._give_up(before)
        caller = self._by_incarnation.get(packet.source)
        if caller is None:
            if len(self) >= self._count_max:
                return [*effects, self._word(peer, packet.source, is_full=True)]
            inner = packet.source.to_bytes(8, "big")
            caller = Caller(packet.source, peer, inner, fields.get("lz4") is True, now)
            self._by_incarnation[packet.source] = self._by_inner[inner] = caller
            self._is_used = True
        self.by_peer.pop(caller.peer, None)
        self.by_peer[peer] = caller
        caller.peer, caller.far = peer, fields.get("lz4") is True
        effects += self._hear(caller, now)
        # To one that is found already, this is no news.
        return [
            *effects, self._word(peer, packet.source), self._tell(News.FOUND, caller)
        ]  # fmt: skip

    def heard(self, caller: Caller, frames: Frames, now: float) -> list[Effect]:
        """Note that something else came from a worker."""
        if frames and frames[0][_KIND] == _WELCOME:
            caller.has_answered = True
        return self._hear(caller, now)

    def parted(self, caller: Caller, frames: Frames) -> list[Effect]:
        """Give a worker up if what came, and was read, was its last word."""
        if not (frames and frames[0][_KIND] == _BYE):
            return []
        try:
            packet = wire.unpack(frames)
        except Malformed:
            return []
        return self._give_up(caller) if _is_last_word(packet, caller) else []

    def forget(self, incarnation: int) -> None:
        """Forget a worker of which membership tells."""
        caller = self._by_incarnation.get(incarnation)
        if caller is not None:
            self._remove(caller)

    # What the owner asks for

    def unsent(self, caller: Caller, now: float) -> list[Effect]:
        """Learn that a packet to a worker did not leave; if it is silent, it is lost."""
        if caller.probe_at == inf or caller.lost_at < inf:
            return []
        caller.lost_at = now
        self.due_at = min(self.due_at, now + _SILENT_S)
        return [self._tell(News.LOST, caller)]

    def tick(self, now: float) -> list[Effect]:
        """Look for workers that have fallen silent, ask those that are, give up those gone."""
        effects: list[Effect] = []
        if now < self.due_at:
            return effects
        for caller in list(self._by_incarnation.values()):
            effects += self._look_at(caller, now)
        self.due_at = min(map(self._due_at, self._by_incarnation.values()), default=inf)
        return effects

    def route(self, effects: list[Effect]) -> list[Effect]:
        """Return the effects with the connections of these workers as the link calls them."""
        if not self._is_used:
            return effects
        routed: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send) and (caller := self._by_inner.get(effect.peer)):
                routed.append(Send(caller.peer, effect.frames))
            elif isinstance(effect, Connect) and effect.endpoint.startswith(DIALLED):
                continue  # they have dialled
            elif not (isinstance(effect, Disconnect) and effect.peer in self._by_inner):
                routed.append(effect)
        return routed

    def check(self) -> None:
        """Assert that the maps agree."""
        callers = set(self._by_incarnation.values())
        assert set(self._by_inner.values()) == callers == set(self.by_peer.values())
        assert len(self.by_peer) == len(callers) <= self._count_max
        assert all(self.by_peer[caller.peer] is caller for caller in callers)
        due_at = min(map(self._due_at, callers), default=inf)
        assert self.due_at <= due_at

    # Inside

    def _hear(self, caller: Caller, now: float) -> list[Effect]:
        was_silent, was_lost = caller.probe_at < inf, caller.lost_at < inf
        caller.heard_at, caller.probe_at, caller.lost_at = now, inf, inf
        self.due_at = min(self.due_at, now + _SILENT_S)
        if was_lost:
            return [self._tell(News.FOUND, caller), self._tell(News.ANSWERING, caller)]
        return [self._tell(News.ANSWERING, caller)] if was_silent else []

    def _look_at(self, caller: Caller, now: float) -> list[Effect]:
        """Decide what follows if a worker was not heard of for long."""
        if now < self._due_at(caller):
            return []
        if caller.lost_at < inf:
            return self._give_up(caller)
        if now >= caller.heard_at + STUCK_S:
            return [self._tell(News.LOST, caller), *self._give_up(caller)]
        if not caller.has_answered:
            return self._give_up(caller)
        was_silent = caller.probe_at < inf
        caller.probe_at = now + READY_S
        probe = self._word(caller.peer, caller.incarnation)
        return [probe] if was_silent else [self._tell(News.SILENT, caller), probe]

    def _due_at(self, caller: Caller) -> float:
        if caller.lost_at < inf:
            return caller.lost_at + _SILENT_S
        if caller.probe_at < inf:
            return min(caller.probe_at, caller.heard_at + STUCK_S)
        return caller.heard_at + _SILENT_S

    def _give_up(self, caller: Caller) -> list[Effect]:
        self._remove(caller)
        return [self._tell(News.GONE, caller)]

    def _remove(self, caller: Caller) -> None:
        del self._by_incarnation[caller.incarnation], self._by_inner[caller.inner]
        del self.by_peer[caller.peer]

    def _tell(self, news: News, caller: Caller) -> Tell:
        return Tell(news, self._key, caller.incarnation, caller.endpoint)

    def _word(self, peer: PeerId, target: int, *, is_full: bool = False) -> Send:
        fields: dict[str, object] = {"name": self._name}
        if is_full:
            fields["full"] = True
        return Send(peer, wire.pack(wire.READY, self._incarnation, target, 0, encode(fields)))


def _is_last_word(packet: Packet, caller: Caller) -> bool:
    is_bye = packet.kind == wire.BYE and packet.meta is not None
    return is_bye and packet.source == caller.incarnation
