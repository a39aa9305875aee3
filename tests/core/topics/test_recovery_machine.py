"""Publishers with a history, and subscribers that recover, over a link that does anything."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.core.topics.clock import Clock
from tests.core.topics.lane import Link
from tests.core.topics.publications import ENDPOINT, SUBSCRIBER
from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.history_limits import RETURN_S, History
from zmqkit.limits import SubscriberLimits
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import publication

TOPICS = ("a", "ab", "b")
LIMITS = SubscriberLimits(queue_messages_max=6, held_messages_max=5)
COUNTS = st.integers(1, 6)


class RecoveryMachine(Link, RuleBasedStateMachine):
    """A publisher keeps everything, or the last messages of each topic. It may start anew.

    Packets of a topic stay in order. Any packet may get lost, come twice, or be overtaken by
    those of other topics.
    """

    @initialize(
        messages=st.sampled_from([1, 3, 10_000]),
        history=st.sampled_from([0, 1, 4, 10_000]),
        recover=st.booleans(),
        latest=st.booleans(),
    )
    def begin(self, messages: int, history: int, recover: bool, latest: bool) -> None:
        self.begin_link()
        self.clock = Clock()
        self.keeps = History(messages=messages)
        self.keeps_all = messages == 10_000
        self.recovers, self.latest = recover, latest
        self.subscriber = SubscriberCore(
            "weather", SUBSCRIBER, [""], LIMITS, latest=latest, history=history, recover=recover
        )
        self.incarnation = 10
        self.published: dict[tuple[int, str], list[object]] = {}
        self.read: dict[tuple[int, str], list[int]] = {}
        self.publisher = self.new_publisher()

    def new_publisher(self) -> PublisherCore:
        self.incarnation += 1
        wall_us = self.clock.wall_us
        return PublisherCore(self.incarnation, history=self.keeps, wall_us=wall_us)

    def publishes(self, effects: Iterable[Effect]) -> None:
        """Carry what the publisher sends."""
        effects = [*effects]
        self.clock.note(effects)
        super().publishes(effects)

    def tell(self, news: News) -> None:
        tell = Tell(news, "", self.incarnation, ENDPOINT)
        self.perform(self.subscriber.hear(tell, self.now))

    # What happens

    @rule(topic=st.sampled_from(TOPICS), count=COUNTS)
    def publish(self, topic: str, count: int) -> None:
        sent = self.published.setdefault((self.incarnation, topic), [])
        for _ in range(count):
            sent.append(len(sent) + 1)
            self.publisher.gather(topic, sent[-1])
        self.publishes(self.publisher.flush(self.now))

    @precondition(lambda self: not self.keeps_all)
    @rule(topic=st.sampled_from(TOPICS))
    def clear(self, topic: str) -> None:
        self.published.setdefault((self.incarnation, topic), []).append(None)
        self.publishes(self.publisher.clear(topic, self.now))

    @rule()
    def found(self) -> None:
        self.tell(News.FOUND)

    @rule(news=st.sampled_from([News.LOST, News.GONE]))
    def lost(self, news: News) -> None:
        self.tell(news)
        self.disconnect()

    @rule()
    def breaks(self) -> None:
        """TCP breaks, and libzmq connects anew."""
        if self.connected:
            subscribed = sorted(self.subscribed)
            self.disconnect()
            self.connected = True
            for prefix in subscribed:
                self.subscribed.add(prefix)
                frames: Frames = (publication.SUBSCRIBE + prefix,)
                self.publishes(self.publisher.receive(EVERY_PEER, frames, self.now))

    @rule()
    def restarts(self) -> None:
        """The publisher's process is killed; another one comes in its place."""
        self.tell(News.GONE)
        self.disconnect()
        self.publisher = self.new_publisher()
        self.tell(News.FOUND)

    @precondition(lambda self: self.under_way())
    @rule(data=st.data(), times=st.sampled_from([0, 1, 1, 1, 2]))
    def arrives(self, data: st.DataObject, times: int) -> None:
        self.arrive(data.draw(st.sampled_from(self.under_way())), times)

    @rule(count=COUNTS)
    def reads(self, count: int) -> None:
        for _ in range(count):
            delivery, effects = self.subscriber.take()
            self.perform(effects)
            if delivery is None:
                return
            self.clock.judge(delivery)
            key = delivery.publisher, delivery.topic
            sent, read = self.published[key], self.read.setdefault(key, [0])
            for number, body in enumerate(delivery.bodies, delivery.sequence):
                assert sent[number - 1] == body, "a message has another's number"
                assert number > read[-1], "out of order, or twice"
                read.append(number)
            assert delivery.cleared == (sent[delivery.sequence - 1] is None)

    @rule(duration_s=st.sampled_from([0.0, 0.1, 0.3, 3.0, RETURN_S + 1]))
    def wait(self, duration_s: float) -> None:
        self.now += duration_s
        self.publishes(self.publisher.tick(self.now))
        assert self.publisher.deadline() > self.now
        self.perform(self.subscriber.tick(self.now))
        assert self.subscriber.deadline() > self.now

    # What always holds

    @invariant()
    def is_sound(self) -> None:
        if not hasattr(self, "publisher"):
            return
        self.publisher.check()
        self.subscriber.check()
        assert not self.publisher.malformed and not self.subscriber.malformed
        if self.keeps_all and self.recovers and not self.subscriber.counts["abandoned"]:
            assert self.subscriber.stats()["missing"] == 0, "it is missing though it is kept"

    def teardown(self) -> None:
        """Once nothing gets lost any more, all that is kept is read, up to the last message."""
        if not hasattr(self, "publisher"):
            return
        for _ in range(60):
            self.found()
            while topics := self.under_way():
                self.arrive(topics[0])
            self.reads(100)
            self.wait(0.3)
            self.is_sound()
        self.wait(RETURN_S + 1)  # what is held of one that was killed waits for it for so long
        self.reads(100)
        assert not self.subscriber.sources.holding.messages
        for topic in TOPICS:
            sent = self.published.get((self.incarnation, topic), [])
            read = self.read.get((self.incarnation, topic), [0])
            if self.recovers and read[-1]:
                assert read[-1] == len(sent), "the last message was not read"
            whole = self.recovers and self.keeps_all and not self.latest
            if whole and read[-1] and not self.subscriber.counts["abandoned"]:
                assert read[1:] == list(range(read[1], len(sent) + 1)), "one is missing"


TestRecoveryMachine = pytest.mark.slow(RecoveryMachine.TestCase)
TestRecoveryMachine.settings = settings(
    max_examples=settings().max_examples, stateful_step_count=50
)
