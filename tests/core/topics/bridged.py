"""Networks of publishers and subscribers with bridges between them, in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random

from tests.core.topics.clock import Clock
from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.core.membership.interests import url_key
from zmqkit.core.topics.bridge import BridgeCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.span import AT_SPAN, DIALLED
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import PublisherLimits
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.wire import publication

Core = PublisherCore | SubscriberCore | BridgeCore


@dataclass(slots=True, eq=False)
class Wire:
    """A connection, by which each side's packets arrive in order."""

    here: Member  # the side that connected
    there: Member
    name_here: PeerId
    name_there: PeerId
    prefixes: dict[bytes, int] = field(default_factory=dict)
    out: deque[Frames] = field(default_factory=deque)
    back: deque[Frames] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Member:
    """A role on a network, or an end of a bridge."""

    core: Core
    network: str
    endpoint: str
    wires: dict[PeerId, Wire] = field(default_factory=dict)
    dead: bool = False
    read: list[tuple[str, object]] = field(default_factory=list)

    @property
    def is_front(self) -> bool:
        """Whether others subscribe to it."""
        return not isinstance(self.core, SubscriberCore)


class World:
    """Who is there, what is under way, and what time it is."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.clock = Clock()
        self.notes: list[str] = []
        self.members: list[Member] = []
        self.wires: list[Wire] = []
        self._links: dict[str, Member] = {}
        self._cut: set[str] = set()
        self._random = Random(seed)
        self._number = 0

    # Who is there

    def publisher(self, network: str, *, waits: bool = False, window: int = 0) -> Member:
        limits = PublisherLimits(window_bytes=window) if window else PublisherLimits()
        wall_us = self.clock.wall_us
        core = PublisherCore(self._draw(), limits, waits=waits, wall_us=wall_us)
        return self._enter(core, network)

    def subscriber(self, network: str, *prefixes: str) -> Member:
        return self._enter(SubscriberCore("weather", self._draw(), prefixes or ("",)), network)

    def bridge(
        self,
        here: str,
        there: str,
        leaves: Iterable[str] = ("",),
        enters: Iterable[str] = ("",),
        limits: BridgeLimits | None = None,
    ) -> tuple[Member, Member]:
        """A bridge whose first end listens; the rules are those of the first end."""
        port = f"tcp://10.0.0.1:{6000 + len(self._links)}"
        return (
            self.end(here, leaves, enters, listen=port, limits=limits),
            self.end(there, ("",), ("",), connect=port, limits=limits),
        )

    def end(
        self,
        network: str,
        leaves: Iterable[str],
        enters: Iterable[str],
        *,
        listen: str | None = None,
        connect: str | None = None,
        limits: BridgeLimits | None = None,
    ) -> Member:
        core = BridgeCore(
            "weather", self._draw(), limits or BridgeLimits(),
            leaves=leaves, enters=enters, connect=connect,
        )  # fmt: skip
        member = self._enter(core, network)
        if listen is not None:
            self._links[listen] = member
        if connect is not None:
            self._do(
                member,
                core.hear(Tell(News.FOUND, url_key("bridge", connect), 0, connect), self.now),
            )
        return member

    def kill(self, member: Member) -> None:
        """End a process without a word."""
        member.dead = True
        for wire in [*self.wires]:
            if wire.here is member or wire.there is member:
                self._drop(wire)
        for other in self._around(member):
            if not isinstance(other.core, PublisherCore):
                tell = Tell(News.GONE, "publisher/weather", member.core.incarnation)
                self._do(other, other.core.hear(tell, self.now))

    def cut(self, *ends: Member) -> None:
        """Let nothing pass any more, and tell nobody."""
        self._cut |= {each.endpoint for each in ends}

    def heal(self) -> None:
        self._cut.clear()

    # What happens

    def publish(self, member: Member, topic: str, body: object) -> None:
        assert isinstance(member.core, PublisherCore)
        self._do(member, member.core.publish(topic, body, self.now))

    def settle(self) -> None:
        """Let all arrive that is under way, in any order of the connections."""
        while ways := [
            (wire, queue) for wire in self.wires for queue in (wire.out, wire.back) if queue
        ]:
            self._arrive(*self._random.choice(ways))

    def step(self, count: int = 1) -> None:
        """Let a few packets arrive."""
        for _ in range(count):
            queues = [(w, q) for w in self.wires for q in (w.out, w.back) if q]
            if queues:
                self._arrive(*self._random.choice(queues))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        self.settle()
        while (
            due := min((each.core.deadline() for each in self._alive()), default=inf)
        ) < until:
            self.now = max(self.now, due)
            for member in self._alive():
                if member.core.deadline() <= self.now:
                    self._do(member, member.core.tick(self.now))
            self.settle()
        self.now = until

    def read(self, member: Member) -> list[tuple[str, object]]:
        """All that a subscriber has received until now."""
        assert isinstance(member.core, SubscriberCore)
        while True:
            delivery, effects = member.core.take()
            self._do(member, effects)
            if delivery is None:
                return member.read
            self.clock.judge(delivery)
            member.read += [(delivery.topic, body) for body in delivery.bodies]

    # Inside

    def _draw(self) -> int:
        self._number += 1
        return self._number

    def _alive(self) -> list[Member]:
        return [each for each in self.members if not each.dead]

    def _around(self, member: Member) -> list[Member]:
        return [m for m in self._alive() if m.network == member.network and m is not member]

    def _enter(self, core: Core, network: str) -> Member:
        member = Member(core, network, f"tcp://10.0.1.{core.incarnation}:5000")
        self.members.append(member)
        for other in self._around(member):
            self._introduce(other, member)
            self._introduce(member, other)
        return member

    def _introduce(self, who: Member, front: Member) -> None:
        if front.is_front and not isinstance(who.core, PublisherCore):
            incarnation = front.core.incarnation
            tell = Tell(News.FOUND, "publisher/weather", incarnation, front.endpoint)
            self._do(who, who.core.hear(tell, self.now))

    def _do(self, member: Member, effects: list[Effect]) -> None:
        while effects:
            if isinstance(member.core, PublisherCore):
                self.clock.note(effects)
            for effect in effects:
                self._perform(member, effect)
            effects = member.core.flush(self.now)
        member.core.check()

    def _perform(self, member: Member, effect: Effect) -> None:
        if isinstance(effect, Connect):
            if effect.peer in member.wires:
                self._drop(member.wires[effect.peer])
            self._connect(member, effect)
        elif isinstance(effect, Disconnect):
            if effect.peer in member.wires:
                self._drop(member.wires[effect.peer])
        elif isinstance(effect, Send):
            self._send(member, effect.peer, effect.frames)
        elif isinstance(effect, Note):
            self.notes.append(effect.event)

    def _connect(self, member: Member, effect: Connect) -> None:
        fronts = {each.endpoint: each for each in self._alive()}
        there = (self._links if effect.peer == DIALLED else fronts).get(effect.endpoint)
        if there is None or there.dead:
            return
        name = EVERY_PEER
        if effect.peer == DIALLED:
            name = AT_SPAN + b"\0" + self._draw().to_bytes(4, "big")
        wire = member.wires[effect.peer] = Wire(member, there, effect.peer, name)
        if effect.peer == DIALLED:
            there.wires[name] = wire
        self.wires.append(wire)

    def _drop(self, wire: Wire) -> None:
        self.wires.remove(wire)
        wire.here.wires.pop(wire.name_here, None)
        if wire.there.wires.get(wire.name_there) is wire:
            del wire.there.wires[wire.name_there]
        if wire.name_there == EVERY_PEER and not wire.there.dead:
            for prefix in [*wire.prefixes]:
                self._subscribe(wire, publication.UNSUBSCRIBE + prefix)

    def _send(self, member: Member, peer: PeerId, frames: Frames) -> None:
        if peer == EVERY_PEER:
            topic = bytes(frames[0])
            for wire in self.wires:
                hears = wire.there is member and wire.name_there == EVERY_PEER
                if hears and topic.startswith(tuple(wire.prefixes)):
                    wire.back.append(frames)
        elif (found := member.wires.get(peer)) is None:
            self._do(member, member.core.unsent(peer, frames, self.now))
        elif found.here is member:
            found.out.append(frames)
        else:
            found.back.append(frames)

    def _arrive(self, wire: Wire, queue: deque[Frames]) -> None:
        frames = queue.popleft()
        if {wire.here.endpoint, wire.there.endpoint} <= self._cut:
            return
        if queue is wire.back:
            self._take(wire.here, wire.name_here, frames)
        elif wire.name_there == EVERY_PEER and frames[0][:1] != publication.TALK:
            self._subscribe(wire, bytes(frames[0]))
        else:
            self._take(wire.there, wire.name_there, frames)

    def _subscribe(self, wire: Wire, frame: bytes) -> None:
        """As XPUB does: tell of the first of a prefix, and of its end."""
        others = [w for w in self.wires if w.there is wire.there and w is not wire]
        prefix = frame[1:]
        if frame[:1] == publication.SUBSCRIBE:
            wire.prefixes[prefix] = 1
        else:
            wire.prefixes.pop(prefix, None)
        if not any(prefix in each.prefixes for each in others):
            self._take(wire.there, EVERY_PEER, (frame,))

    def _take(self, member: Member, peer: PeerId, frames: Frames) -> None:
        if not member.dead:
            effects = member.core.receive(peer, frames, self.now)
            self._do(member, [*effects, *member.core.flush(self.now)])
