"""The publisher's side of publish-subscribe: numbers messages by topic, and knows who listens.

A message leaves at once, or gathers with others until a flush. The publisher hands it to the
link once for all subscribers, and the link filters by topic. Each topic numbers its messages,
so a subscriber that misses some knows how many. A message is accepted once it was handed over
or gathers. With `waits`, the driver asks `blocked` before it takes more messages.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from zmqkit.core.effects import Effect, Note, Send
from zmqkit.core.pace import Pace
from zmqkit.core.tap import Taps, see_sent
from zmqkit.core.topics import recall
from zmqkit.core.topics.audience import Audience
from zmqkit.core.topics.counting import Counting
from zmqkit.core.topics.figures import topic_rows
from zmqkit.core.topics.gathering import LENT_MAX, Gathering, Rows, encode_body, single_rows
from zmqkit.core.topics.memory import Memory
from zmqkit.core.topics.numbers import Numbers, Topic
from zmqkit.core.topics.recall import Kept
from zmqkit.errors import UsageError
from zmqkit.history_limits import History
from zmqkit.limits import (
    BATCH_BYTES,
    BYE_S,
    COMPRESS_BYTES_MIN,
    ENDS_MAX,
    HELLO_S,
    HELLO_S_MAX,
    STALL_S,
    PublisherLimits,
)
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.types import PublisherStats
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed
from zmqkit.wire.packet import Packet
from zmqkit.wire.statistics import Figures

_DEFAULTS = PublisherLimits()
_PRIVATE_BYTES = len(publication.private(publication.EVERYBODY))


def _untimed() -> int:
    """Return the time of who has no clock."""
    return 0


class PublisherCore:
    """What one publisher object sends, to any number of subscribers."""

    def __init__(
        self,
        incarnation: int,
        limits: PublisherLimits = _DEFAULTS,
        *,
        waits: bool = False,
        stall_s: float = STALL_S,
        lent_max: int = LENT_MAX,
        history: History | None = None,
        kept: Kept | None = None,
        wall_us: Callable[[], int] = _untimed,
    ) -> None:
        """waits: whether the publisher waits for its slowest subscriber.

        stall_s: how long it waits at most for a subscriber that reads nothing.
        lent_max: how many messages may gather between two looks at the clock.
        history: how much of what it published it keeps; None for nothing.
        kept: of a device, what it keeps of what others published.
        wall_us: reads the time of day, in microseconds since 1970, for each packet that leaves.
        A device publishes nothing itself, so it needs none.
        """
        self.incarnation = incarnation
        self._limits = limits
        self.about: dict[str, object] = {}  # further fields of each WELCOME
        self.audience = Audience(limits, waits=waits, stall_s=stall_s)
        self.gathering = Gathering(limits, lent_max=lent_max)
        # Both have a message wait for `flush`. `quick` returns false when there is no room;
        # `gather` returns whether it is time to flush.
        self.quick, self.gather = self.gathering.quick, self.gathering.add
        self.pace = Pace(limits.follow_s, limits.hold_s)  # when what gathers is due
        self.counts: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._numbers = Numbers(limits.topics_max)
        self._topics = self._numbers.topics
        self._memory = (
            Memory(incarnation, history, self._numbers) if history is not None else None
        )
        self._kept = kept if self._memory is None else self._memory
        self._wall_us = wall_us
        self._handed = 0
        self._bye_at = inf
        # When subscribers that have not joined are asked again, and after what pause.
        self._ask_at = inf
        self._ask_s = HELLO_S
        self.leaving = False  # it said BYE, so subscribers leave it
        self._closed = False
        self.taps: Taps = ()  # those that want to see what passes
        # Of a device that somebody looks at: how much of each topic passes.
        self.counting: Counting | None = None

    # Commands

    def tap(self, taps: Taps) -> None:
        """Have these see what is published; any thread may call this."""
        self.taps = taps

    def shown(self, effects: list[Effect], now: float) -> list[Effect]:
        """Return these effects; whoever taps or looks has seen the messages among them."""
        if self.taps:
            see_sent(self.taps, effects, now)
        if self.counting is not None and not self.counting.saw(effects, now):
            self.counting = None
        return effects

    def publish(self, topic: str, body: object, now: float) -> list[Effect]:
        """Send one message now. Raises UsageError for a topic or body that cannot be sent.

        Every message that leaves alone comes this way, so `send` is written out here.
        """
        try:
            known = self._topics.get(topic)
        except TypeError:  # no text, which is refused below
            known = None
        if (
            known is None
            or type(body) is memoryview
            or (type(body) is bytes and len(body) >= BATCH_BYTES)
            or self.leaving
        ):
            return self.send([single_rows(topic, body, self._limits.body_bytes_max)], now)
        row = encode_body(body, self._limits.body_bytes_max)
        if self.audience.far and len(row) >= COMPRESS_BYTES_MIN:
            return self.send([Rows(topic, [row], 1, len(row))], now)
        size, sequence, wall_us = len(row), known.sequence, self._wall_us()
        frame = publication.single(known.data, self.incarnation, sequence, row, wall_us)
        known.sequence = sequence + 1
        self._handed += 1
        if self._memory is not None:
            self._memory.keep(topic, sequence, 1, (row,), now, wall_us)
        effects: list[Effect] = [Send(EVERY_PEER, (frame,))]
        if self.audience.sent(1, size, now):
            effects.append(self.mark())
        if self.taps:
            see_sent(self.taps, effects, now)
        return effects

    def publish_soon(self, topic: str, body: object, now: float) -> list[Effect]:
        """Send one message now, or gather it if it follows others closely, as `pace` tells.

        `flush` sends what gathers when it is due. Raises UsageError for a topic or body that
        cannot be sent.
        """
        if self.leaving or not self.pace.gathers(now):
            return self.publish(topic, body, now)
        if self.gathering.add(topic, body):
            self.pace.fill()
        return []

    def holds(self, now: float) -> bool:
        """Whether what this turn published waits for further turns, as it follows closely.

        True only the first time: a caller that asks again before it is due wants it sent.
        """
        begins = self.pace.due_at == inf and bool(self.gathering)
        return begins and self.pace.gathers(now)

    def send(self, packets: Iterable[Rows], now: float) -> list[Effect]:
        """Send packets now, in order. Raises UsageError once the publisher said BYE."""
        if self.leaving:
            raise UsageError("the publisher is closed; make a new one")
        effects: list[Effect] = []
        for rows in packets:
            topic = self._topics.get(rows.topic) or self._number(rows.topic)
            sequence = topic.sequence
            topic.sequence = sequence + rows.count
            self._handed += rows.count
            wall_us = self._wall_us()
            frames = self._frames(topic.data, sequence, rows, wall_us)
            if self._memory is not None:
                parts: Sequence[Buffer] = rows.parts
                if not self.audience.far and rows.raw is None:
                    parts = (publication.bodies_behind(frames, topic.data, rows.count),)
                self._memory.keep(
                    rows.topic, sequence, rows.count, parts, now, wall_us, rows.raw
                )
            effects.append(Send(EVERY_PEER, frames))
            if self.audience.sent(rows.count, rows.size, now):
                effects.append(self.mark())
        return self.shown(effects, now)

    def clear(self, topic: str, now: float) -> list[Effect]:
        """Send what gathers, and then a message that clears a topic: none before it is kept.

        Raises UsageError for a wrong topic, and once the publisher said BYE.
        """
        publication.check_topic(topic)
        effects = self.flush(now)
        effects += self.send([], now)
        known = self._topics.get(topic) or self._number(topic)
        wall_us = self._wall_us()
        frames = history.clear(known.data, self.incarnation, known.sequence, wall_us)
        if self._memory is not None:
            self._memory.clear(topic, known.sequence, now, wall_us)
        known.sequence += 1
        self._handed += 1
        effects += self.shown([Send(EVERY_PEER, frames)], now)
        if self.audience.sent(1, 0, now):
            effects.append(self.mark())
        return effects

    def send_some(self, packets: deque[Rows], now: float) -> list[Effect]:
        """Send what gathers, and then packets from the front until the publisher is `blocked`.

        The packets that were sent are removed from `packets`; the others stay.
        """

        def first() -> Iterator[Rows]:
            while packets and not self.blocked:
                yield packets.popleft()

        return [*self.flush(now), *self.send(first(), now)]

    def leave(self, now: float) -> list[Effect]:
        """Send what gathers, and BYE behind it; accept nothing more.

        A subscriber that received BYE has received all before it, and leaves.
        """
        effects = self.flush(now)
        self.leaving = True
        return [*effects, self._bye(now)]

    def close(self) -> list[Effect]:
        """Drop the messages that still gather."""
        self._closed = True
        self.counts["closed"] += len(self.gathering)
        self.gathering.take()
        self.pace.left(0, inf)
        return []

    def stats(self) -> PublisherStats:
        """Return counters; always, accepted = handed_over + queued + dropped."""
        queued, dropped = len(self.gathering), self.counts["closed"]
        listeners = self.audience.listeners.values()
        return {
            "accepted": self._handed + queued + dropped,
            "handed_over": self._handed,
            "queued": queued,
            "dropped": {"closed": dropped} if dropped else {},
            "subscribers": self.audience.subscriber_count,
            "excluded": sum(each.excluded for each in listeners),
            "exclusions": self.counts["exclusions"],
            "topics": len(self._topics),
            "kept": len(self._kept) if self._kept is not None else 0,
            "kept_bytes": self._kept.size if self._kept is not None else 0,
            "malformed": dict(self.malformed),
        }

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the publisher and one of each topic; any thread may ask."""
        audience, topics = self.audience, list(self._topics.items())
        counts = {name: topic.sequence - topic.first for name, topic in topics}
        return topic_rows(self.stats(), audience.by_state(), [*audience.listeners], counts)

    @property
    def blocked(self) -> bool:
        """Whether the caller is to wait before it publishes more."""
        audience = self.audience
        return audience.load >= audience.limit and not self._closed

    @property
    def joined_count(self) -> int:
        """How many subscribers have joined, here or at forwarders that have."""
        return self.audience.subscriber_count

    @property
    def unreached(self) -> int:
        """How many subscribers have not left; a forwarder counts, also if it has none."""
        return self.audience.subscriber_count or self.audience.joined_count

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a subscription or a packet from a subscriber. Never raises for what it sent."""
        try:
            frame = bytes(frames[0]) if len(frames) == 1 else b""
            first = frame[:1]
            if first == publication.TALK:
                return self._packet(wire.unpack((frame[1:],)), now)
            if len(frame) == 1 + _PRIVATE_BYTES and frame[1] == 0:
                subscriber = int.from_bytes(frame[2:], "big")
                if first == publication.SUBSCRIBE and subscriber:
                    return self._enters(subscriber, now)
                if first == publication.UNSUBSCRIBE and subscriber:
                    return self._leaves(subscriber, now)
            if first not in (publication.SUBSCRIBE, publication.UNSUBSCRIBE):
                raise Malformed("frames")
        except Malformed as error:
            self.malformed[str(error)] += 1
        return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Count a packet that the link did not take.

        The link takes every packet for all subscribers. A subscriber asks again for a private
        packet.
        """
        self.counts["unsent"] += 1
        return []

    def tick(self, now: float) -> list[Effect]:
        """Exclude subscribers that hold up the publisher; repeat a MARK, BYE or WELCOME."""
        effects: list[Effect] = []
        if now >= self.audience.exclude_at:
            stuck = self.audience.exclude(now)
            self.counts["exclusions"] += len(stuck)
            why = "it has read nothing for stall_s, and misses messages until it has caught up"
            effects += [
                Note("subscriber-excluded", {"subscriber": f"{each:016x}", "why": why})
                for each in stuck
            ]
        if now >= self.audience.remark_at:
            self.audience.remark(now)
            effects.append(self.mark())
        if now >= self._bye_at:
            effects.append(self._bye(now))
        if now >= self._ask_at and not self.leaving:
            effects += self._ask_again(now)
        if self._kept is not None and now >= self._kept.due_at:
            effects += recall.repeat(self.incarnation, self._kept, now)
        return effects

    def flush(self, now: float) -> list[Effect]:
        """Send the messages that gathered, those of one topic together."""
        if self.leaving or not self.gathering:
            self.pace.left(0, now)
            return []
        count = self._handed
        effects = self.send(self.gathering.take(), now)
        self.pace.left(self._handed - count, now)
        return effects

    def deadline(self) -> float:
        """Return when `tick`, and `flush` after it, are due next."""
        bye_at = self._bye_at if self.audience.joined_count else inf
        complete = self.audience.joined_count == len(self.audience.listeners)
        ask_at = inf if complete or self.leaving else self._ask_at
        exclude_at = self.audience.exclude_at
        heads_at = self._kept.due_at if self._kept is not None else inf
        return min(
            exclude_at, self.audience.remark_at, bye_at, ask_at, heads_at, self.pace.due_at
        )

    def check(self) -> None:
        """Assert that the counts are right and no table is too large."""
        self.audience.check()
        self._numbers.check()
        if self._kept is not None:
            self._kept.check()

    # Inside

    def _frames(self, topic: bytes, sequence: int, rows: Rows, wall_us: int) -> Frames:
        source = self.incarnation
        if rows.raw is not None:
            return publication.raw_publication(topic, source, sequence, rows.raw, wall_us)
        return publication.publication(
            topic, source, sequence, rows.parts, rows.count, wall_us, far=self.audience.far
        )

    def _number(self, name: str) -> Topic:
        """Add a topic that is new or was forgotten. Raises UsageError for a wrong name."""
        topic, oldest = self._numbers.add(name, self._handed)
        if oldest and self._memory is not None:
            self._memory.forget(oldest)
        return topic

    def _bye(self, now: float) -> Send:
        """Return BYE, with the number that the next message of each topic would have.

        It is repeated every BYE_S, because a subscriber may have had no room for it.
        """
        self._bye_at = now + BYE_S
        ends = {"next": self._numbers.latest(ENDS_MAX)}
        return self._send(wire.BYE, publication.EVERYBODY, ends)

    def mark(self) -> Send:
        """Return the last MARK, for all subscribers."""
        mark = self.audience.mark
        return self._send(wire.MARK, publication.EVERYBODY, mark)

    def _send(self, kind: int, subscriber: int, meta: object) -> Send:
        frames = publication.to_subscriber(kind, self.incarnation, subscriber, meta)
        return Send(EVERY_PEER, frames)

    def _welcome(self, subscriber: int, token: int) -> Send:
        fields = {"token": token, "waits": self.audience.waits, **self.about}
        if self._kept is not None:
            fields["history"] = True
        return self._send(wire.WELCOME, subscriber, fields)

    def _enters(self, subscriber: int, now: float) -> list[Effect]:
        if not self.audience.enter(subscriber):
            self.counts["refused"] += 1
            return [Note("subscribers-full", {"count": len(self.audience.listeners)})]
        # The subscriber's connection may be a new one, so it is asked to say HELLO again.
        self._ask_s = HELLO_S
        self._ask_at = now + HELLO_S
        return [self._welcome(subscriber, 0)]

    def _ask_again(self, now: float) -> list[Effect]:
        """Ask present subscribers that have not joined for their HELLO, ever less often.

        A subscriber that was up before does not know that its connection is a new one, and the
        WELCOME that told it may have found no room.
        """
        absent = [each for each, known in self.audience.listeners.items() if not known.joined]
        self._ask_s = min(2 * self._ask_s, HELLO_S_MAX)
        self._ask_at = now + self._ask_s if absent else inf
        return [self._welcome(each, 0) for each in absent]

    def _leaves(self, subscriber: int, now: float) -> list[Effect]:
        self.audience.leave(subscriber, now)
        return []

    def _packet(self, packet: Packet, now: float) -> list[Effect]:
        subscriber, meta = packet.source, packet.meta
        if packet.kind in (wire.HEADS, wire.RECOVER):
            return self._recall(packet, now)
        if packet.kind == wire.HELLO:
            token = wire.fields_of(packet).get("token")
            if type(token) is not int or not subscriber:
                raise Malformed("hello")
            if wire.space_of(wire.fields_of(packet)) != wire.space_of(self.about):
                return [self._welcome(subscriber, 0)]  # which says that this one is in another
            meant = packet.target in (0, self.incarnation)
            far = wire.fields_of(packet).get("lz4") is True
            count = publication.stands_for(packet)
            if meant and not self.audience.join(subscriber, now, far=far, stands_for=count):
                raise Malformed("stranger")
            return [self._welcome(subscriber, token)]
        if packet.kind != wire.CREDIT or type(meta) is not int:
            raise Malformed("unexpected")
        if packet.target != self.incarnation:
            return []  # for an earlier owner of this address
        taken_in = self.audience.credit(subscriber, meta, now)
        if taken_in is None:
            raise Malformed("credit")
        if not taken_in:
            return []
        return [Note("subscriber-included", {"subscriber": f"{subscriber:016x}"})]

    def _recall(self, packet: Packet, now: float) -> list[Effect]:
        """Answer a subscriber that asks for what was published."""
        listener = self.audience.listeners.get(packet.source)
        if self._kept is None or listener is None:
            raise Malformed("unexpected" if self._kept is None else "stranger")
        if packet.target != self.incarnation:
            return []  # for an earlier owner of this address
        far = listener.far
        return [recall.answer(self.incarnation, self._kept, packet, now, far=far)]
