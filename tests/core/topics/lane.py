"""A publisher and a subscriber, and a link between them that loses what a test wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from tests.core.topics.clock import Clock
from tests.core.topics.publications import ENDPOINT, PUBLISHER, SUBSCRIBER, peer_of
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.history_limits import History
from zmqkit.limits import PublisherLimits, SubscriberLimits
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import packet as wire
from zmqkit.wire import publication

Read = tuple[str, int, object]
"""A topic, a number and a body."""


class Link:
    """What stands between a publisher and a subscriber: subscriptions, and packets by topic."""

    publisher: PublisherCore
    subscriber: SubscriberCore
    now: float
    connected: bool
    subscribed: set[bytes]
    down: dict[bytes, deque[Frames]]  # packets under way, by topic

    def begin_link(self) -> None:
        self.now = 100.0
        self.connected = False
        self.subscribed = set()
        self.down = {}

    def loses(self, frames: Frames) -> bool:
        """Whether a packet is lost."""
        return False

    def publishes(self, effects: Iterable[Effect]) -> None:
        """Carry what the publisher sends, if the subscriber has subscribed to it."""
        for effect in effects:
            assert isinstance(effect, Send)
            wanted = bytes(effect.frames[0]).startswith(tuple(self.subscribed))
            if self.connected and wanted and not self.loses(effect.frames):
                topic, _ = publication.read(effect.frames)
                self.down.setdefault(topic, deque()).append(effect.frames)

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry what the subscriber sends to the publisher."""
        for effect in effects:
            if isinstance(effect, Connect):
                self.disconnect()
                self.connected = True
            elif isinstance(effect, Disconnect):
                self.disconnect()
            elif isinstance(effect, Send) and self.connected:
                first, rest = bytes(effect.frames[0][:1]), bytes(effect.frames[0][1:])
                if first == publication.SUBSCRIBE:
                    self.subscribed.add(rest)
                elif first == publication.UNSUBSCRIBE:
                    self.subscribed.discard(rest)
                self.publishes(self.publisher.receive(EVERY_PEER, effect.frames, self.now))

    def arrive(self, topic: bytes, times: int = 1) -> None:
        """Have the next packet of a topic arrive, so many times."""
        frames = self.down[topic].popleft()
        peer = peer_of(self.publisher.incarnation)
        for _ in range(times):
            if self.connected:
                self.perform(self.subscriber.receive(peer, frames, self.now))

    def disconnect(self) -> None:
        """The connection ends, and the publisher hears of it."""
        self.connected = False
        self.down.clear()
        for prefix in sorted(self.subscribed):
            gone = (publication.UNSUBSCRIBE + prefix,)
            self.publisher.receive(EVERY_PEER, gone, self.now)
        self.subscribed.clear()

    def under_way(self) -> list[bytes]:
        """Return the topics of which packets are under way, in the order of their bytes."""
        return sorted(topic for topic, packets in self.down.items() if packets)


class Lane(Link):
    """What is sent arrives at once, unless `lost` says that it is lost."""

    def __init__(
        self,
        *,
        topics: Iterable[str] = ("",),
        keeps: History | None = None,
        history: int = 0,
        recover: bool = False,
        waits: bool = False,
        latest: bool = False,
        limits: SubscriberLimits | None = None,
        publisher_limits: PublisherLimits | None = None,
    ) -> None:
        self.begin_link()
        self.clock = Clock()
        self.keeps, self.waits = keeps, waits
        self.publisher_limits = publisher_limits or PublisherLimits()
        self.publisher = self.new_publisher(PUBLISHER)
        self.subscriber = SubscriberCore(
            "weather",
            SUBSCRIBER,
            topics,
            limits or SubscriberLimits(),
            latest=latest,
            history=history,
            recover=recover,
        )
        self.lost: Callable[[Frames], bool] = lambda frames: False
        self.read: list[Read] = []
        self.flags: list[tuple[bool, bool]] = []  # cleared, recovered

    def new_publisher(self, incarnation: int) -> PublisherCore:
        return PublisherCore(
            incarnation,
            self.publisher_limits,
            waits=self.waits,
            history=self.keeps,
            wall_us=self.clock.wall_us,
        )

    # The link

    def loses(self, frames: Frames) -> bool:
        return self.lost(frames)

    def publishes(self, effects: Iterable[Effect]) -> None:
        """Carry what the publisher sends; it arrives at once."""
        effects = [*effects]
        self.clock.note(effects)
        super().publishes(effects)
        while topics := self.under_way():
            self.arrive(topics[0])
        self.check()

    # What happens

    def meet(self) -> None:
        self.news(News.FOUND)

    def news(self, news: News, incarnation: int = PUBLISHER) -> None:
        tell = Tell(news, "", incarnation, ENDPOINT)
        self.perform(self.subscriber.hear(tell, self.now))
        self.check()

    def publish(self, topic: str, *bodies: object) -> None:
        """Publish messages that leave together."""
        for body in bodies:
            self.publisher.gather(topic, body)
        self.publishes(self.publisher.flush(self.now))

    def clear(self, topic: str) -> None:
        self.publishes(self.publisher.clear(topic, self.now))

    def lose(self, topic: str, *bodies: object) -> None:
        """Publish messages that are lost."""
        self.losing(lambda frames: True, lambda: self.publish(topic, *bodies))

    def losing(self, loses: Callable[[Frames], bool], act: Callable[[], object]) -> None:
        """Do something while packets are lost."""
        before, self.lost = self.lost, loses
        try:
            act()
        finally:
            self.lost = before

    def wait(self, duration_s: float) -> None:
        """Let time pass, with all that is due meanwhile."""
        end = self.now + duration_s
        while True:
            at = min(self.publisher.deadline(), self.subscriber.deadline())
            if at > end:
                break
            self.now = max(self.now, at)
            self.publishes(self.publisher.tick(self.now))
            self.perform(self.subscriber.tick(self.now))
            assert self.publisher.deadline() > self.now
            assert self.subscriber.deadline() > self.now
        self.now = end

    def take(self) -> list[Read]:
        """Read all that can be read at once, and return it."""
        came: list[Read] = []
        while True:
            delivery, effects = self.subscriber.take()
            self.perform(effects)
            if delivery is None:
                break
            self.clock.judge(delivery)
            for number, body in enumerate(delivery.bodies, delivery.sequence):
                came.append((delivery.topic, number, body))
                self.flags.append((delivery.cleared, delivery.recovered))
        self.read += came
        self.check()
        return came

    def take_all(self) -> list[Read]:
        """Read all, with what is asked for once there is room."""
        came: list[Read] = []
        while (some := self.take()) or self.subscriber.deadline() == -inf:
            came += some
            self.wait(0.0)
        return came

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The gaps that were not told before."""
        return [(topic, count) for _, topic, count in self.subscriber.gaps()]

    def check(self) -> None:
        self.publisher.check()
        self.subscriber.check()
        assert not self.publisher.malformed and not self.subscriber.malformed


def is_kind(kind: int) -> Callable[[Frames], bool]:
    """Whether a packet is of a kind."""
    return lambda frames: publication.read(frames)[1].kind == kind


def is_message(frames: Frames) -> bool:
    return publication.read(frames)[1].kind in (wire.PUBLISH, wire.CLEAR)
