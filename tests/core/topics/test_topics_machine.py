"""A publisher and two subscribers over a link that breaks, against a model of what is lost."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

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

from tests.core.topics.publications import ENDPOINT, PEER, PUBLISHER
from zmqkit.core.dispatch.connections import State
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Tell
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.subscriber import SubscriberCore
from zmqkit.limits import FOLLOW_STREAK, STALL_S, PublisherLimits, SubscriberLimits
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import packet as wire
from zmqkit.wire import publication

SUBSCRIBERS = st.sampled_from([1, 2])
TOPICS = st.sampled_from(["a", "ab", "b"])
PREFIXES = st.sampled_from(["a", "ab", "b", ""])

WINDOW_MESSAGES, MESSAGE_LOAD = 8, 1000
LIMITS = SubscriberLimits(queue_messages_max=WINDOW_MESSAGES)
PUBLISHER_LIMITS = PublisherLimits(
    window_bytes=WINDOW_MESSAGES * MESSAGE_LOAD,
    window_messages=WINDOW_MESSAGES,
    window_packets=WINDOW_MESSAGES,
)
PIPE_MAX = 20


@dataclass
class Wire:
    """A connection as libzmq keeps it: what is subscribed to on each side, and both ways."""

    there: bool = False
    asked: set[bytes] = field(default_factory=set)
    granted: set[bytes] = field(default_factory=set)
    up: deque[tuple[Frames, set[bytes]]] = field(default_factory=deque)
    down: deque[Frames] = field(default_factory=deque)
    recovering: set[bytes] = field(default_factory=set)

    def matches(self, frames: Frames) -> bool:
        return bytes(frames[0]).startswith(tuple(self.granted))


@dataclass
class Reader:
    """A subscriber, its connection, and what the model knows of it.

    sure: the number of the last message of each topic since its subscription is in place.
    owed: how many messages of each topic the link lost. missing: how many are to be counted.
    read: the number of the last message of each topic that was read.
    """

    core: SubscriberCore
    wire: Wire = field(default_factory=Wire)
    sure: dict[str, int] = field(default_factory=dict)
    owed: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    read: dict[str, int] = field(default_factory=dict)
    undisturbed: bool = True

    @property
    def state(self) -> State | None:
        source = self.core.sources.by_peer.get(PEER)
        return source.state if source is not None else None


class TopicsMachine(RuleBasedStateMachine):
    """Each step is one packet's, one read's, or one event's; any of them may come next."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.readers: dict[int, Reader] = {}
        self.inbox: deque[tuple[Frames, set[bytes]]] = deque()
        self.published: Counter[str] = Counter()

    @initialize(waits=st.booleans(), latest=st.booleans())
    def begin(self, waits: bool, latest: bool) -> None:
        self.waits = waits
        self.publisher = PublisherCore(PUBLISHER, PUBLISHER_LIMITS, waits=waits)
        for number in (1, 2):
            core = SubscriberCore(
                "weather", number, ["a"], LIMITS, latest=latest and number == 2
            )
            self.readers[number] = Reader(core)

    # What the drivers and libzmq do

    def perform(self, reader: Reader, effects: Iterable[Effect]) -> None:
        """Carry out what a subscriber asked for."""
        for effect in effects:
            if isinstance(effect, Connect):
                self.end(reader)
                reader.wire = Wire(
                    there=True, recovering=reader.wire.asked | reader.wire.recovering
                )
            elif isinstance(effect, Disconnect):
                self.end(reader)
                reader.wire = Wire(recovering=reader.wire.asked | reader.wire.recovering)
            elif isinstance(effect, Send):
                assert reader.wire.there
                self.send_up(reader.wire, effect.frames)

    def send_up(self, wire: Wire, frames: Frames) -> None:
        first, prefix = bytes(frames[0][:1]), bytes(frames[0][1:])
        if first == publication.SUBSCRIBE:
            wire.asked.add(prefix)
        elif first == publication.UNSUBSCRIBE:
            wire.asked.discard(prefix)
        wire.up.append((frames, set(wire.asked)))

    def end(self, reader: Reader) -> None:
        """The connection is over: what is under way is lost, the publisher hears of its end."""
        wire = reader.wire
        for frames in wire.down:
            self.lose(reader, frames)
        for prefix in sorted(wire.granted):
            self.inbox.append(((publication.UNSUBSCRIBE + prefix,), set()))
        if wire.there:
            reader.undisturbed = False

    def lose(self, reader: Reader, frames: Frames) -> None:
        topic, packet = publication.read(frames)
        if packet.kind == wire.PUBLISH:
            reader.owed[topic.decode()] += len(publication.bodies_of(packet))

    def perform_all(self, effects: Iterable[Effect]) -> None:
        """Carry out what the publisher asked for: the link filters, and may be full."""
        for effect in effects:
            if isinstance(effect, Note):
                self.noted(effect)
                continue
            assert isinstance(effect, Send) and effect.peer == EVERY_PEER
            for reader in self.readers.values():
                if not reader.wire.matches(effect.frames):
                    # Whoever lost its connection is owed what it had subscribed to before.
                    if bytes(effect.frames[0]).startswith(tuple(reader.wire.recovering)):
                        self.lose(reader, effect.frames)
                elif len(reader.wire.down) >= PIPE_MAX and not self.waits:
                    self.lose(reader, effect.frames)
                    reader.undisturbed = False
                else:
                    reader.wire.down.append(effect.frames)

    def noted(self, note: Note) -> None:
        if note.event == "subscriber-excluded":
            number = int(str(note.fields["subscriber"]), 16)
            self.readers[number].undisturbed = False

    # What happens

    @rule(number=SUBSCRIBERS)
    def found(self, number: int) -> None:
        reader = self.readers[number]
        tell = Tell(News.FOUND, "", PUBLISHER, ENDPOINT)
        self.perform(reader, reader.core.hear(tell, self.now))

    @rule(number=SUBSCRIBERS)
    def meet(self, number: int) -> None:
        """All that is under way arrives, both ways, until nothing is left."""
        self.found(number)
        reader = self.readers[number]
        while reader.wire.up or self.inbox or reader.wire.down:
            self.arrives_up(number, 8)
            self.publisher_reads(8)
            self.arrives_down(number, 8)

    @rule(number=SUBSCRIBERS, news=st.sampled_from([News.LOST, News.GONE]))
    def news(self, number: int, news: News) -> None:
        reader = self.readers[number]
        self.perform(reader, reader.core.hear(Tell(news, "", PUBLISHER), self.now))

    @rule(number=SUBSCRIBERS)
    def breaks(self, number: int) -> None:
        """TCP breaks, and libzmq connects anew: subscriptions go again, in byte order."""
        reader = self.readers[number]
        if reader.wire.there:
            self.end(reader)
            asked = reader.wire.asked
            recovering = asked | reader.wire.recovering
            reader.wire = Wire(there=True, asked=asked, recovering=recovering)
            for prefix in sorted(asked):
                frames: Frames = (publication.SUBSCRIBE + prefix,)
                reader.wire.up.append((frames, set(asked)))

    @rule(number=SUBSCRIBERS, count=st.integers(1, 8))
    def arrives_up(self, number: int, count: int) -> None:
        """libzmq takes subscriptions at once; the publisher reads of them later."""
        wire = self.readers[number].wire
        for _ in range(min(count, len(wire.up))):
            frames, asked = wire.up.popleft()
            first, prefix = bytes(frames[0][:1]), bytes(frames[0][1:])
            if first == publication.SUBSCRIBE:
                wire.granted.add(prefix)
            elif first == publication.UNSUBSCRIBE:
                wire.granted.discard(prefix)
            if wire.granted >= wire.recovering:
                wire.recovering = set()
            self.inbox.append((frames, asked))

    @rule(count=st.integers(1, 8))
    def publisher_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.inbox))):
            frames, asked = self.inbox.popleft()
            joined = self.publisher.audience.joined_count
            effects = self.publisher.receive(EVERY_PEER, frames, self.now)
            if self.publisher.audience.joined_count > joined:
                source = wire.unpack((bytes(frames[0][1:]),)).source
                granted = self.readers[source].wire.granted
                ended = [each for each, _ in self.inbox if each[0][:1] == b"\0"]
                assert granted >= asked or ended, "joined without its subscriptions"
            self.perform_all(effects)

    @rule(number=SUBSCRIBERS, count=st.integers(1, 8))
    def arrives_down(self, number: int, count: int) -> None:
        reader = self.readers[number]
        for _ in range(min(count, len(reader.wire.down))):
            frames = reader.wire.down.popleft()
            self.expect(reader, frames)
            self.perform(reader, reader.core.receive(PEER, frames, self.now))

    def expect(self, reader: Reader, frames: Frames) -> None:
        """What a subscriber is to count when this arrives."""
        topic, packet = publication.read(frames)
        source = reader.core.sources.by_peer[PEER]
        if packet.kind != wire.PUBLISH or source.waits is None:
            return
        if not reader.core.sources.prefixes.want(topic):
            return
        name, count = topic.decode(), len(publication.bodies_of(packet))
        if name in reader.sure:
            reader.missing += packet.settled - reader.sure[name] - 1
        elif source.state is not State.UP and not topic.startswith(source.placed):
            return  # else it was in place before, and what is lost since then is missing
        reader.sure[name] = packet.settled + count - 1

    @rule(number=SUBSCRIBERS, count=st.integers(1, 4))
    def reads(self, number: int, count: int) -> None:
        reader = self.readers[number]
        for _ in range(count):
            delivery, effects = reader.core.take()
            self.perform(reader, effects)
            if delivery is None:
                return
            for sequence, body in enumerate(delivery.bodies, delivery.sequence):
                assert body == sequence, "a message has another's number"
                assert reader.read.get(delivery.topic, 0) < sequence, "out of order"
                reader.read[delivery.topic] = sequence

    @rule(number=SUBSCRIBERS, prefix=PREFIXES)
    def subscribe(self, number: int, prefix: str) -> None:
        reader = self.readers[number]
        self.perform(reader, reader.core.subscribe([prefix], self.now))

    @rule(number=SUBSCRIBERS, prefix=PREFIXES)
    def unsubscribe(self, number: int, prefix: str) -> None:
        reader = self.readers[number]
        self.perform(reader, reader.core.unsubscribe([prefix]))
        for name in list(reader.sure):
            if not reader.core.sources.prefixes.want(name.encode()):
                del reader.sure[name]

    @precondition(lambda self: self.readers and not self.publisher.blocked)
    @rule(topic=TOPICS, count=st.integers(1, 3))
    def publish(self, topic: str, count: int) -> None:
        for _ in range(count):
            self.published[topic] += 1
            self.publisher.gathering.add(topic, self.published[topic])
        self.perform_all(self.publisher.flush(self.now))

    @precondition(lambda self: self.readers)
    @rule(topic=TOPICS, count=st.integers(1, 2 * FOLLOW_STREAK))
    def publish_closely(self, topic: str, count: int) -> None:
        """What gathers stays until it is full or due, or something else has it leave."""
        for _ in range(count):
            if self.publisher.blocked:
                break
            self.published[topic] += 1
            body = self.published[topic]
            self.perform_all(self.publisher.publish_soon(topic, body, self.now))
            if len(self.publisher.gathering) >= WINDOW_MESSAGES:
                self.perform_all(self.publisher.flush(self.now))

    @rule(duration_s=st.sampled_from([0.01, 0.6, STALL_S + 0.1]))
    def wait(self, duration_s: float) -> None:
        self.now += duration_s
        if self.now >= self.publisher.deadline():
            self.perform_all(self.publisher.tick(self.now))
            self.perform_all(self.publisher.flush(self.now))
        assert self.publisher.deadline() > self.now
        for reader in self.readers.values():
            self.perform(reader, reader.core.tick(self.now))

    # What always holds

    @invariant()
    def is_sound(self) -> None:
        for reader in self.readers.values():
            core, stats = reader.core, reader.core.stats()
            core.check()
            assert not core.malformed and stats["duplicates"] == 0
            assert stats["missing"] == reader.missing <= reader.owed.total()
            if self.waits and reader.undisturbed:
                assert stats["missing"] == 0 and "full" not in core.dropped
            if reader.state is State.UP and not reader.wire.recovering:
                assert reader.wire.granted >= set(core.sources.prefixes)
        if self.readers:
            self.publisher.check()
            assert not self.publisher.malformed
            stats = self.publisher.stats()
            assert stats["accepted"] == self.published.total()
            assert self.publisher.deadline() < inf or not stats["queued"]


TestTopicsMachine = pytest.mark.slow(TopicsMachine.TestCase)
TestTopicsMachine.settings = settings(
    max_examples=settings().max_examples, stateful_step_count=50
)


def test_a_late_answer_of_a_lost_publisher_places_no_subscription_made_since() -> None:
    machine = TopicsMachine()
    machine.begin(waits=False, latest=False)
    machine.found(number=2)
    machine.arrives_up(number=2, count=4)
    machine.news(number=2, news=News.LOST)
    machine.meet(number=1)
    machine.subscribe(number=2, prefix="ab")
    machine.arrives_down(number=2, count=2)
    machine.is_sound()


def test_what_is_lost_of_a_topic_that_was_in_place_before_is_missing() -> None:
    machine = TopicsMachine()
    machine.begin(waits=False, latest=False)
    machine.meet(number=1)
    machine.subscribe(number=1, prefix="ab")
    machine.breaks(number=1)
    machine.meet(number=1)
    machine.publish(topic="ab", count=1)
    machine.arrives_down(number=1, count=1)
    machine.breaks(number=1)
    machine.publish(topic="ab", count=1)
    machine.meet(number=1)
    machine.publish(topic="ab", count=1)
    machine.meet(number=1)
    machine.is_sound()
    assert machine.readers[1].missing == 1
