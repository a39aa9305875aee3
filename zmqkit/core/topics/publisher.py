"""The publisher's side of publish-subscribe: numbers messages by topic, and knows who listens.

What is published leaves at once, or gathers until a flush, and is handed once for all
subscribers to the link, which filters it by topic. Each topic counts its messages, so whoever
misses some knows how many. A message is accepted when it was handed over or gathers;
with `waits`, the driver asks `blocked` before it takes more.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf

from zmqkit.core.effects import Effect, Note, Send
from zmqkit.core.pace import Pace
from zmqkit.core.topics.audience import Audience
from zmqkit.core.topics.gathering import LENT_MAX, Gathering, Rows, encode_body, single_rows
from zmqkit.errors import UsageError
from zmqkit.limits import BATCH_BYTES, BYE_S, COMPRESS_BYTES_MIN, ENDS_MAX, STALL_S, TOPICS_MAX
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet

_PRIVATE_BYTES = len(publication.private(publication.EVERYBODY))


@dataclass(slots=True, eq=False)
class _Topic:
    """A topic as it travels, and the number of its next message."""

    data: bytes
    sequence: int


class PublisherCore:
    """What one publisher object sends, to any number of subscribers."""

    def __init__(
        self,
        incarnation: int,
        *,
        waits: bool = False,
        stall_s: float = STALL_S,
        lent_max: int = LENT_MAX,
    ) -> None:
        """waits: for the slowest subscriber, at most `stall_s` for each that reads nothing.
        lent_max: how many messages may gather between two looks at the clock.

        Its attribute `leaving` tells that it said BYE, so subscribers leave it.
        """
        self.incarnation = incarnation
        self.about: dict[str, object] = {}
        self.audience = Audience(waits=waits, stall_s=stall_s)
        self.gathering = Gathering(lent_max)
        self.pace = Pace()
        self.counts: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._topics: dict[str, _Topic] = {}
        self._leaving: list[Effect] = []
        self._handed = 0
        self._base = 0
        self._bye_at = inf
        self.leaving = False
        self._closed = False

    # Commands

    def publish(self, topic: str, body: object, now: float) -> list[Effect]:
        """Send one message now. Raises UsageError for what cannot travel.

        The way of a message that leaves alone, so it is written out.
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
            return self.send([single_rows(topic, body)], now)
        row = encode_body(body)
        if self.audience.far and len(row) >= COMPRESS_BYTES_MIN:
            return self.send([Rows(topic, [row], 1, len(row))], now)
        size, sequence = len(row), known.sequence
        frame = publication.single(known.data, self.incarnation, sequence, row)
        known.sequence = sequence + 1
        self._handed += 1
        effects: list[Effect] = [Send(EVERY_PEER, (frame,))]
        if self.audience.sent(1, size, now):
            effects.append(self._mark())
        return effects

    def publish_soon(self, topic: str, body: object, now: float) -> list[Effect]:
        """Send one message now, or have it gather if it follows others closely: see `pace`.

        What gathers is for `flush` to send, when it is due. UsageError for what cannot travel.
        """
        if self.leaving or not self.pace.gathers(now):
            return self.publish(topic, body, now)
        if self.gathering.add(topic, body):
            self.pace.fill()
        return []

    def holds(self, now: float) -> bool:
        """Whether what this turn published waits for further turns, as it follows closely.

        It does so once: whoever asks again before `pace` says that it is due wants it sent.
        """
        begins = self.pace.due_at == inf and bool(self.gathering)
        return begins and self.pace.gathers(now)

    def send(self, packets: Iterable[Rows], now: float) -> list[Effect]:
        """Send packets now, in order."""
        if self.leaving:
            raise UsageError("the publisher is closed; make a new one")
        effects: list[Effect] = []
        for rows in packets:
            topic = self._topics.get(rows.topic) or self._number(rows.topic)
            sequence = topic.sequence
            topic.sequence = sequence + rows.count
            self._handed += rows.count
            effects.append(Send(EVERY_PEER, self._frames(topic.data, sequence, rows)))
            if self.audience.sent(rows.count, rows.size, now):
                effects.append(self._mark())
        return effects

    def send_some(self, packets: deque[Rows], now: float) -> list[Effect]:
        """Send the first of these packets now, up to where the publisher is `blocked`.

        The others stay.
        """

        def first() -> Iterator[Rows]:
            while packets and not self.blocked:
                yield packets.popleft()

        return self.send(first(), now)

    def leave(self, now: float) -> list[Effect]:
        """Send what gathers and BYE behind it: who has received all that leaves.

        Nothing more is accepted.
        """
        effects = self.flush(now)
        self.leaving = True
        return [*effects, self._bye(now)]

    def close(self) -> list[Effect]:
        """Drop what still gathers."""
        self._closed = True
        self.counts["closed"] += len(self.gathering)
        self.gathering.take()
        self.pace.left(0, inf)
        return []

    def stats(self) -> dict[str, object]:
        """Counters; accepted = handed_over + queued + dropped, always."""
        queued, dropped = len(self.gathering), self.counts["closed"]
        listeners = self.audience.listeners.values()
        return {
            "accepted": self._handed + queued + dropped,
            "handed_over": self._handed,
            "queued": queued,
            "dropped": {"closed": dropped} if dropped else {},
            "subscribers": self.audience.joined_count,
            "excluded": sum(each.excluded for each in listeners),
            "exclusions": self.counts["exclusions"],
            "topics": len(self._topics),
            "malformed": dict(self.malformed),
        }

    @property
    def blocked(self) -> bool:
        """Whether to wait before more is published."""
        return self.audience.blocked and not self._closed

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a subscription or a packet of a subscriber. Never raises for what it sent."""
        try:
            frame = bytes(frames[0]) if len(frames) == 1 else b""
            first = frame[:1]
            if first == publication.TALK:
                return self._packet(wire.unpack((frame[1:],)), now)
            if len(frame) == 1 + _PRIVATE_BYTES and frame[1] == 0:
                subscriber = int.from_bytes(frame[2:], "big")
                if first == publication.SUBSCRIBE and subscriber:
                    return self._enters(subscriber)
                if first == publication.UNSUBSCRIBE and subscriber:
                    return self._leaves(subscriber, now)
            if first not in (publication.SUBSCRIBE, publication.UNSUBSCRIBE):
                raise Malformed("frames")
        except Malformed as error:
            self.malformed[str(error)] += 1
        return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """The link always takes what is for everybody; a private packet is asked for again."""
        self.counts["unsent"] += 1
        return []

    def tick(self, now: float) -> list[Effect]:
        """Wait no longer for who holds everybody up; say again what may have been lost."""
        effects: list[Effect] = []
        if now >= self.audience.exclude_at():
            stuck = self.audience.exclude(now)
            self.counts["exclusions"] += len(stuck)
            why = "it has read nothing for stall_s, and misses messages until it has caught up"
            effects += [
                Note("subscriber-excluded", {"subscriber": f"{each:016x}", "why": why})
                for each in stuck
            ]
        if now >= self.audience.remark_at:
            self.audience.remark(now)
            effects.append(self._mark())
        if now >= self._bye_at:
            effects.append(self._bye(now))
        return effects

    def flush(self, now: float) -> list[Effect]:
        """What gathered, one packet a topic.

        An interrupt may come at any step, and the next flush goes on from there. At worst a
        packet leaves twice, under the same numbers: subscribers take the first.
        """
        if self.leaving or not (self.gathering or self._leaving):
            self.pace.left(0, now)
            return []
        count, packets = self._handed, self.gathering.pack()
        while packets:
            rows = packets[0]
            topic = self._topics.get(rows.topic) or self._number(rows.topic)
            send = Send(EVERY_PEER, self._frames(topic.data, topic.sequence, rows))
            self._leaving.append(send)
            topic.sequence += rows.count
            self._handed += rows.count
            packets.popleft()
            if self.audience.sent(rows.count, rows.size, now):
                self._leaving.append(self._mark())
        self.pace.left(self._handed - count, now)
        effects, self._leaving = self._leaving, []
        return effects

    def deadline(self) -> float:
        """When `tick`, and `flush` after it, are due next."""
        bye_at = self._bye_at if self.audience.joined_count else inf
        exclude_at = self.audience.exclude_at()
        return min(exclude_at, self.audience.remark_at, bye_at, self.pace.due_at)

    def check(self) -> None:
        """The counts are right, and no table is too large."""
        self.audience.check()
        assert len(self._topics) <= TOPICS_MAX

    # Inside

    def _frames(self, topic: bytes, sequence: int, rows: Rows) -> Frames:
        source = self.incarnation
        if rows.raw is not None:
            return publication.raw_publication(topic, source, sequence, rows.raw)
        far = self.audience.far
        return publication.publication(topic, source, sequence, rows.parts, rows.count, far=far)

    def _number(self, name: str) -> _Topic:
        """A topic that is new, or was forgotten: numbered above all that it ever had.

        The one that is known for longest makes room. Numbers start where the counter of all
        messages stands, which no topic is ahead of.
        """
        if len(self._topics) >= TOPICS_MAX:
            del self._topics[next(iter(self._topics))]
            self._base = self._handed
        topic = self._topics[name] = _Topic(publication.check_topic(name), self._base + 1)
        return topic

    def _bye(self, now: float) -> Send:
        """The last word, for who had no room for it before, too: the number that the next
        message of each topic would have."""
        self._bye_at = now + BYE_S
        latest = islice(reversed(self._topics.items()), ENDS_MAX)
        ends = {name: topic.sequence for name, topic in latest}
        return self._send(wire.BYE, publication.EVERYBODY, {"next": ends})

    def _mark(self) -> Send:
        mark = self.audience.mark
        return self._send(wire.MARK, publication.EVERYBODY, mark)

    def _send(self, kind: int, subscriber: int, meta: object) -> Send:
        frames = publication.to_subscriber(kind, self.incarnation, subscriber, meta)
        return Send(EVERY_PEER, frames)

    def _welcome(self, subscriber: int, token: int) -> Send:
        fields = {"token": token, "waits": self.audience.waits, **self.about}
        return self._send(wire.WELCOME, subscriber, fields)

    def _enters(self, subscriber: int) -> list[Effect]:
        if not self.audience.enter(subscriber):
            self.counts["refused"] += 1
            return [Note("subscribers-full", {"count": len(self.audience.listeners)})]
        # Its connection may have been opened anew, so what it said before counts no more.
        return [self._welcome(subscriber, 0)]

    def _leaves(self, subscriber: int, now: float) -> list[Effect]:
        self.audience.leave(subscriber, now)
        return []

    def _packet(self, packet: Packet, now: float) -> list[Effect]:
        subscriber, meta = packet.source, packet.meta
        if packet.kind == wire.HELLO:
            token = wire.fields_of(packet).get("token")
            if type(token) is not int or not subscriber:
                raise Malformed("hello")
            meant = packet.target in (0, self.incarnation)
            far = wire.fields_of(packet).get("lz4") is True
            if meant and not self.audience.join(subscriber, now, far=far):
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
