"""Publishers, forwarders and a subscriber, and links that lose what a test wants."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

from tests.core.topics.clock import Clock
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.core.membership.interests import key_of, url_key
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.forwarder_limits import ForwarderHistory, ForwarderLimits
from zmqkit.history_limits import History
from zmqkit.limits import SubscriberLimits
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.wire import publication

SUBSCRIBER = 0x1
NAME = "weather"
TURNS_MAX = 100
"""So many may be due one after the other at one time."""
KEY = key_of("publisher", NAME)

Listening = PublisherCore | ForwarderCore
Dialling = ForwarderCore | SubscriberCore
Core = PublisherCore | ForwarderCore | SubscriberCore
Loses = Callable[[int, int, Frames], bool]
"""Whether a packet from one incarnation to another is lost."""


@dataclass(eq=False)
class Pipe:
    """A connection: who dialled whom, and what is subscribed to there."""

    dialler: int
    peer: PeerId
    listener: int
    subscribed: dict[bytes, None] = field(default_factory=dict)


def endpoint_of(core: Listening) -> str:
    """Where somebody listens."""
    return f"tcp://127.0.0.1:{core.incarnation}"


class Town:
    """What is sent arrives at once, unless it is lost. Who is dead hears and says nothing."""

    def __init__(
        self,
        *,
        keeps: ForwarderHistory | None = None,
        limits: ForwarderLimits | None = None,
        reads: SubscriberLimits | None = None,
        topics: Iterable[str] = ("",),
        **options: object,
    ) -> None:
        """keeps: what forwarders keep. options: of the subscriber."""
        self.now = 100.0
        self.clock = Clock()
        self.keeps, self.limits = keeps, limits or ForwarderLimits()
        self.lost: Loses = lambda sender, to, frames: False
        self.pipes: list[Pipe] = []
        self.alive: dict[int, Core] = {}
        self.read: list[tuple[int, str, int, object]] = []
        self.recovered = 0
        self._arriving: deque[Callable[[], None]] = deque()
        self._busy = False
        self.subscriber = SubscriberCore(
            NAME, SUBSCRIBER, topics, reads or SubscriberLimits(), **options  # type: ignore[arg-type]  # its own
        )  # fmt: skip
        self.alive[SUBSCRIBER] = self.subscriber

    # Who is there

    def publisher(self, incarnation: int, keeps: History | None = None) -> PublisherCore:
        core = PublisherCore(incarnation, history=keeps, wall_us=self.clock.wall_us)
        self.alive[incarnation] = core
        return core

    def forwarder(
        self, incarnation: int, *others: Listening, keeps: bool = True
    ) -> ForwarderCore:
        """others: those at whose URLs it is, instead of the publishers of the name."""
        history = self.keeps if keeps else None
        connect = [endpoint_of(other) for other in others]
        core = ForwarderCore(NAME, incarnation, self.limits, history=history, connect=connect)
        core.about["seeks"] = 1
        self.alive[incarnation] = core
        return core

    def meet(self, dialler: Dialling, *others: Listening) -> None:
        """Have somebody find these."""
        for other in others:
            self.tell(dialler, News.FOUND, other)

    def tell(self, dialler: Dialling, news: News, other: Listening) -> None:
        endpoint = endpoint_of(other)
        is_device = isinstance(other, ForwarderCore)
        tell = Tell(news, KEY, other.incarnation, endpoint, is_device=is_device)
        if isinstance(dialler, ForwarderCore) and dialler.backs.by_url:
            tell = Tell(news, url_key("publisher", endpoint), 0, endpoint)
        self.perform(dialler, dialler.hear(tell, self.now))

    def kill(self, core: Listening) -> None:
        """Somebody is gone without a word; those that it was connected to hear of it."""
        del self.alive[core.incarnation]
        for pipe in [p for p in self.pipes if core.incarnation in (p.dialler, p.listener)]:
            self.end(pipe)
        for other in [*self.alive.values()]:
            if isinstance(other, ForwarderCore | SubscriberCore):
                self.tell(other, News.GONE, core)

    def cut(self, dialler: Dialling, *others: Listening) -> None:
        """Somebody loses the connections to others."""
        for other in others:
            for pipe in [p for p in self.pipes if p.listener == other.incarnation]:
                if pipe.dialler == dialler.incarnation:
                    self.end(pipe)
            self.tell(dialler, News.LOST, other)

    # What is sent

    def perform(self, core: Core, effects: list[Effect]) -> None:
        """Carry out what somebody asked for, and all that follows."""
        if isinstance(core, PublisherCore):
            self.clock.note(effects)
        for effect in effects:
            if isinstance(effect, Connect):
                listener = int(effect.endpoint.rpartition(":")[2])
                self.pipes.append(Pipe(core.incarnation, effect.peer, listener))
            elif isinstance(effect, Disconnect):
                for pipe in self.of(core.incarnation, effect.peer):
                    self.end(pipe)
            elif isinstance(effect, Send) and effect.peer == EVERY_PEER:
                for pipe in self.pipes:
                    if pipe.listener == core.incarnation:
                        self.down(pipe, effect.frames)
            elif isinstance(effect, Send):
                for pipe in self.of(core.incarnation, effect.peer):
                    self.up(pipe, effect.frames)
        if not self._busy:
            self._busy = True
            while self._arriving:
                self._arriving.popleft()()
            self._busy = False
            self.check()

    def of(self, dialler: int, peer: PeerId) -> list[Pipe]:
        return [p for p in self.pipes if (p.dialler, p.peer) == (dialler, peer)]

    def down(self, pipe: Pipe, frames: Frames) -> None:
        wanted = bytes(frames[0]).startswith(tuple(pipe.subscribed))
        if wanted and not self.lost(pipe.listener, pipe.dialler, frames):
            self._arriving.append(lambda: self.arrive(pipe, pipe.dialler, pipe.peer, frames))

    def up(self, pipe: Pipe, frames: Frames) -> None:
        first, prefix = bytes(frames[0][:1]), bytes(frames[0][1:])
        known = self.holds(pipe.listener, prefix)
        if first == publication.SUBSCRIBE:
            pipe.subscribed[prefix] = None
            tells = not known
        elif first == publication.UNSUBSCRIBE:
            pipe.subscribed.pop(prefix, None)
            tells = not self.holds(pipe.listener, prefix)
        else:
            tells = not self.lost(pipe.dialler, pipe.listener, frames)
        if tells:
            self._arriving.append(lambda: self.arrive(pipe, pipe.listener, EVERY_PEER, frames))

    def holds(self, listener: int, prefix: bytes) -> bool:
        return any(p.listener == listener and prefix in p.subscribed for p in self.pipes)

    def arrive(self, pipe: Pipe, at: int, peer: PeerId, frames: Frames) -> None:
        core = self.alive.get(at)
        if core is not None and (pipe in self.pipes or peer == EVERY_PEER):
            self.perform(core, core.receive(peer, frames, self.now))
            self.perform(core, core.flush(self.now))

    def end(self, pipe: Pipe) -> None:
        self.pipes.remove(pipe)
        listener = self.alive.get(pipe.listener)
        for prefix in pipe.subscribed:
            if listener is not None and not self.holds(pipe.listener, prefix):
                gone = (publication.UNSUBSCRIBE + prefix,)
                self.perform(listener, listener.receive(EVERY_PEER, gone, self.now))

    def losing(self, loses: Loses, act: Callable[[], object]) -> None:
        """Do something while packets are lost."""
        before, self.lost = self.lost, loses
        try:
            act()
        finally:
            self.lost = before

    # What happens

    def publish(self, core: PublisherCore, topic: str, *bodies: object) -> None:
        """Publish messages that leave together."""
        for body in bodies:
            core.gather(topic, body)
        self.perform(core, core.flush(self.now))

    def wait(self, duration_s: float) -> None:
        """Let time pass, with all that is due meanwhile."""
        end, turns = self.now + duration_s, Counter[float]()
        while True:
            due = min(self.alive.values(), key=lambda core: core.deadline())
            if due.deadline() > end:
                break
            self.now = max(self.now, due.deadline())
            self.perform(due, due.tick(self.now))
            self.perform(due, due.flush(self.now))
            turns[self.now] += 1
            assert turns[self.now] < TURNS_MAX, "time stands still"
        self.now = end

    def take(self) -> list[object]:
        """Read all there is, with what is asked for once there is room; return the bodies."""
        came: list[object] = []
        while True:
            delivery, effects = self.subscriber.take()
            self.perform(self.subscriber, effects)
            if delivery is None:
                if self.subscriber.deadline() > -inf:
                    return came
                self.wait(0.0)
                continue
            self.clock.judge(delivery)
            self.recovered += delivery.recovered * len(delivery.bodies)
            for number, taken in enumerate(delivery.bodies, delivery.sequence):
                body = bytes(taken) if type(taken) is memoryview else taken
                self.read.append((delivery.publisher, delivery.topic, number, body))
                came.append(body)

    @property
    def missing(self) -> int:
        missing = self.subscriber.stats()["missing"]
        assert isinstance(missing, int)
        return missing

    @property
    def heard(self) -> set[int]:
        """Whom the subscriber is connected to."""
        return {pipe.listener for pipe in self.pipes if pipe.dialler == SUBSCRIBER}

    def check(self) -> None:
        for core in self.alive.values():
            core.check()
            assert not core.malformed


def to(dialler: int) -> Loses:
    """All packets to somebody are lost."""
    return lambda sender, at, frames: at == dialler
