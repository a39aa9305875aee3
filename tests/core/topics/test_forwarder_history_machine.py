"""A subscriber that recovers while forwarders and publishers are lost and killed."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from tests.core.topics.town import SUBSCRIBER, Town
from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.forwarder_limits import ForwarderHistory
from zmqkit.history_limits import RETURN_S, History
from zmqkit.limits import SubscriberLimits
from zmqkit.model import Frames
from zmqkit.wire import publication

TOPICS = st.sampled_from(["a", "b"])
PLACES = st.sampled_from([1, 2])
LIMITS = SubscriberLimits(queue_messages_max=6, held_messages_max=5)


class ForwarderHistoryMachine(RuleBasedStateMachine):
    """Two places for publishers and two for forwarders; the second publisher keeps nothing.

    What is sent arrives at once, or is lost. Somebody who is killed is followed by another.
    """

    @initialize(keeps_all=st.booleans(), history=st.sampled_from([0, 2]))
    def begin(self, keeps_all: bool, history: int) -> None:
        self.keeps_all = keeps_all
        keeps = ForwarderHistory(messages=10_000 if keeps_all else 3)
        self.town = Town(keeps=keeps, reads=LIMITS, recover=True, history=history)
        self.number = 0x100
        self.published: dict[tuple[int, str], int] = {}
        self.read: dict[tuple[int, str], list[int]] = {}
        self.dead: set[int] = set()
        self.unlucky: set[int] = (
            set()
        )  # publishers that a forwarder may have missed something of
        self.publishers: dict[int, PublisherCore] = {}
        self.forwarders: dict[int, ForwarderCore] = {}
        for place in (1, 2):
            self.new_forwarder(place)
            self.new_publisher(place)

    def new_publisher(self, place: int) -> None:
        self.number += 1
        keeps = History(messages=10_000) if place == 1 else None
        core = self.publishers[place] = self.town.publisher(self.number, keeps)
        for each in self.forwarders.values():
            self.town.meet(each, core)
        self.town.meet(self.town.subscriber, core)

    def new_forwarder(self, place: int) -> None:
        self.number += 1
        core = self.forwarders[place] = self.town.forwarder(self.number)
        self.unlucky |= {each.incarnation for each in self.publishers.values()}
        self.town.meet(core, *self.publishers.values())
        self.town.meet(self.town.subscriber, core)

    # What happens

    @rule(place=PLACES, topic=TOPICS, count=st.integers(1, 5))
    def publish(self, place: int, topic: str, count: int) -> None:
        core = self.publishers[place]
        key = (core.incarnation, topic)
        begin = self.published.get(key, 0)
        self.published[key] = begin + count
        self.town.publish(core, topic, *range(begin + 1, begin + count + 1))

    @rule(place=PLACES, topic=TOPICS, to_forwarder=st.booleans(), behind=st.integers(0, 2))
    def lose(self, place: int, topic: str, to_forwarder: bool, behind: int) -> None:
        """Messages are lost on the way to a forwarder, or to the subscriber."""
        to = self.forwarders[1].incarnation if to_forwarder else SUBSCRIBER
        if to_forwarder:
            self.unlucky.add(self.publishers[place].incarnation)

        def loses(sender: int, at: int, frames: Frames) -> bool:
            return at == to and publication.head_of(frames) is not None

        self.town.losing(loses, lambda: self.publish(place, topic, 2))
        for _ in range(behind):
            self.publish(place, topic, 1)

    @rule(to_subscriber=st.booleans(), place=PLACES, topic=TOPICS)
    def answers_are_lost(self, to_subscriber: bool, place: int, topic: str) -> None:
        """What is said to one alone is lost while messages show a gap."""
        to = SUBSCRIBER if to_subscriber else self.forwarders[1].incarnation

        def loses(sender: int, at: int, frames: Frames) -> bool:
            return at == to and frames[0][:1] == b"\0"

        self.town.losing(loses, lambda: self.lose(place, topic, False, 1))

    @rule(place=PLACES)
    def publisher_is_killed(self, place: int) -> None:
        self.dead.add(self.publishers[place].incarnation)
        self.town.kill(self.publishers[place])
        self.new_publisher(place)

    @rule(place=PLACES)
    def forwarder_is_killed(self, place: int) -> None:
        self.town.kill(self.forwarders[place])
        self.new_forwarder(place)

    @rule(place=PLACES, of_forwarder=st.booleans())
    def subscriber_loses(self, place: int, of_forwarder: bool) -> None:
        other = self.forwarders[place] if of_forwarder else self.publishers[place]
        self.town.cut(self.town.subscriber, other)

    @rule(place=PLACES, of=PLACES)
    def forwarder_loses(self, place: int, of: int) -> None:
        self.unlucky.add(self.publishers[of].incarnation)
        self.town.cut(self.forwarders[place], self.publishers[of])

    @rule()
    def all_meet(self) -> None:
        for forwarder in self.forwarders.values():
            self.town.meet(forwarder, *self.publishers.values())
        self.town.meet(
            self.town.subscriber, *self.forwarders.values(), *self.publishers.values()
        )

    @rule(duration_s=st.sampled_from([0.0, 0.3, 1.5, RETURN_S + 1]))
    def wait(self, duration_s: float) -> None:
        self.town.wait(duration_s)

    @rule(count=st.integers(1, 6))
    def reads(self, count: int) -> None:
        for _ in range(count):
            delivery, effects = self.town.subscriber.take()
            if delivery is not None:
                self.town.clock.judge(delivery)
            self.town.perform(self.town.subscriber, effects)
            if delivery is None:
                return
            key = delivery.publisher, delivery.topic
            read = self.read.setdefault(key, [0])
            for number, body in enumerate(delivery.bodies, delivery.sequence):
                assert body == number, "a message has another's number"
                assert number > read[-1], "out of order, or twice"
                read.append(number)

    # What always holds

    @invariant()
    def is_sound(self) -> None:
        if not hasattr(self, "town"):
            return
        self.town.check()
        for publisher, topic, count in self.town.subscriber.gaps():
            harmless = self.publishers[1].incarnation == publisher and self.keeps_all
            assert not harmless or self.abandoned, f"{count} of {topic} are kept and missing"

    @property
    def abandoned(self) -> bool:
        records = [each.record for each in self.forwarders.values() if each.record is not None]
        counts = [self.town.subscriber.counts, *(each.counts for each in records)]
        return any(each["abandoned"] for each in counts)

    def teardown(self) -> None:
        """Once nothing gets lost, the last message of all that are alive is read."""
        if not hasattr(self, "town"):
            return
        for _ in range(20):
            self.all_meet()
            self.reads(1000)
            self.wait(3.0)
            self.is_sound()
        for (publisher, topic), count in self.published.items():
            alive = publisher in {each.incarnation for each in self.publishers.values()}
            read = self.read.get((publisher, topic), [0])
            if alive and (read[-1] or publisher == self.publishers[1].incarnation):
                assert read[-1] == count or publisher in self.unlucky, "the last was not read"
        self.town.wait(2 * RETURN_S)
        self.reads(1000)
        assert not self.town.subscriber.sources.holding.messages
        assert not any(each.backs.holding.messages for each in self.forwarders.values())


TestForwarderHistoryMachine = pytest.mark.slow(ForwarderHistoryMachine.TestCase)
TestForwarderHistoryMachine.settings = settings(
    max_examples=settings().max_examples, stateful_step_count=40
)
