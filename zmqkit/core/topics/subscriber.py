"""The subscriber's side of publish-subscribe: holds what came until it is read, counts gaps.

Messages wait in an inbox until the user reads them; the oldest make room for new ones. Each
publisher that waits for its subscribers has an inbox of its own, which it does not overfill:
its MARKs wait there too, and each is answered once everything before it was read. A subscriber
whose user reads slowly answers the last MARK once more every READS_S, so that the publisher
does not take it for stuck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf

from zmqkit.core.dispatch.connections import State
from zmqkit.core.effects import Effect, News, Note, Tell
from zmqkit.core.topics.inbox import Delivery, Inbox, Latest, Queue
from zmqkit.core.topics.sources import Position, Source, Sources
from zmqkit.limits import READS_S, SubscriberLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed, array, decode
from zmqkit.wire.packet import Packet

_DEFAULTS = SubscriberLimits()

Gap = tuple[int, str, int]
"""A publisher's incarnation, a topic, and how many of its messages are missing."""


class SubscriberCore:
    """What one subscriber object receives, from any number of publishers."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        prefixes: Iterable[str],
        limits: SubscriberLimits = _DEFAULTS,
        *,
        latest: bool = False,
    ) -> None:
        """latest: keep only the latest message of each topic.

        Raises UsageError for a wrong prefix.
        """
        # Returns how many messages were taken and are not read yet; the role sets it.
        self.held: Callable[[], int] = int
        self.incarnation = incarnation
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self.sources = Sources(name, incarnation, prefixes, limits)
        self._limits = limits
        self._private = publication.private(incarnation)
        self._latest = latest
        self._shared: Inbox = self._new_inbox(1)
        self._own: dict[PeerId, Inbox] = {}
        self._filled: dict[Inbox, None] = {}
        self._untold: dict[tuple[int, str], int] = {}
        self._read = 0
        self._looked_at = -inf
        self._closed = False

    # Commands

    def subscribe(self, prefixes: Iterable[str], now: float) -> list[Effect]:
        """Receive topics with these prefixes too. Raises UsageError for a wrong prefix."""
        return self.sources.subscribe(prefixes, now)

    def unsubscribe(self, prefixes: Iterable[str]) -> list[Effect]:
        """Receive topics with these prefixes no longer; messages that came already are kept."""
        return self.sources.unsubscribe(prefixes)

    def take(self) -> tuple[Delivery | None, list[Effect]]:
        """Return the messages to be read next, or None, and the effects of getting there.

        Marks that stand before these messages are answered.
        """
        effects: list[Effect] = []
        while self._filled:
            inbox = next(iter(self._filled))
            delivery = inbox.take()
            del self._filled[inbox]
            if delivery is None:
                self._tidy()
                continue
            self._filled[inbox] = None  # the next turn is another inbox's
            if not delivery.mark:
                self.counts["delivered"] += len(delivery.bodies)
                return delivery, effects
            effects += self._credit(delivery)
        return None, effects

    def gaps(self) -> list[Gap]:
        """Return the gaps that were not returned before."""
        untold, self._untold = self._untold, {}
        return [(publisher, topic, count) for (publisher, topic), count in untold.items()]

    def reads_first(self, tell: Tell) -> bool:
        """Return whether to read what has arrived before this news is heard.

        That is so if the news closes a connection. Otherwise what is to be read may wait where
        it is.
        """
        if tell.news is News.FOUND:
            return self.sources.replaces(tell.incarnation, tell.endpoint)
        return tell.news is News.GONE

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a publisher."""
        if self._closed:
            return []
        if tell.news is News.FOUND:
            return self.sources.found(tell.incarnation, tell.endpoint, now)
        if tell.news is News.LOST:
            return self.sources.lost(tell.incarnation)
        if tell.news is News.GONE:
            return self.sources.gone(tell.incarnation, now)
        return []

    def close(self, in_hand: int = 0) -> list[Effect]:
        """Drop the messages that nobody has read, and close every connection.

        in_hand: how many messages were taken and will not be read.
        """
        self._closed = True
        self.counts["delivered"] -= in_hand
        self.dropped["closed"] += self.queued + in_hand
        self._filled.clear()
        self._own.clear()
        self._shared = self._new_inbox(1)
        return self.sources.close()

    def stats(self) -> dict[str, object]:
        """Return counters; always, received = delivered + queued + dropped."""
        counts = self.counts
        return {
            "received": counts["received"],
            "delivered": counts["delivered"],
            "queued": self.queued,
            "queued_bytes": sum(inbox.size for inbox in self._inboxes()),
            "dropped": {reason: count for reason, count in self.dropped.items() if count},
            "gaps": counts["gaps"],
            "missing": counts["missing"],
            "duplicates": counts["duplicates"],
            "publishers": self.sources.up_count,
            "malformed": dict(self.malformed),
        }

    @property
    def delivered(self) -> int:
        """How many messages were taken to be read."""
        return self.counts["delivered"]

    @property
    def up_count(self) -> int:
        """How many publishers have all subscriptions of this subscriber in place."""
        return self.sources.up_count

    @property
    def publishers(self) -> list[Source]:
        """The publishers in use, reachable or not."""
        return self.sources.all

    @property
    def has_messages(self) -> bool:
        """Whether there may be something to read, or a mark to answer."""
        return bool(self._filled)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a publisher. Never raises for what it sent."""
        source = self.sources.by_peer.get(peer)
        if source is None:
            return []
        try:
            topic, packet = publication.read(frames)
            if packet.target not in (0, self.incarnation):
                return []  # for another subscriber; one of all topics sees it too
            if packet.kind == wire.WELCOME and topic != self._private:
                raise Malformed("topic")  # a WELCOME counts only on this subscriber's topic
            if packet.source != source.publisher and (
                other := self._other(source, packet, now)
            ):
                return other
            if packet.kind == wire.PUBLISH:
                return self._publish(source, topic, packet, len(topic) + packet.size)
            if packet.kind == wire.MARK:
                return self._mark(source, packet)
            if packet.kind == wire.WELCOME:
                return self.sources.welcomed(source, packet, now)
            if packet.kind == wire.BYE:
                return self._bye(source, packet, now)
            raise Malformed("unexpected")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def receive_all(self, arrived: Sequence[tuple[PeerId, Frames]], now: float) -> list[Effect]:
        """Take packets in order, as `receive` does.

        Messages of one topic that came one to a packet, and follow each other, are decoded
        together: this takes half the time.
        """
        effects: list[Effect] = []
        at = 0
        while at < len(arrived):
            peer, frames = arrived[at]
            effects += self.receive(peer, frames, now)
            at += 1
            at += self._go_on(peer, arrived, at)
        return effects

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Note that a packet did not leave.

        If it was a subscription, the connection is incomplete and has to be made anew.
        """
        source = self.sources.by_peer.get(peer)
        if source is not None and frames[0][:1] != publication.TALK:
            source.broken = True
        return []

    def tick(self, now: float) -> list[Effect]:
        """Repeat each HELLO that was not answered; tell publishers that wait what was read."""
        effects = self.sources.tick(now)
        if now >= self._look_at():
            self._looked_at = now
            effects += self._say_that_it_reads()
        return effects

    def flush(self, now: float) -> list[Effect]:
        """Return nothing: a subscriber's packets leave at once."""
        return []

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self.sources.connections.due_at, self._look_at())

    def check(self) -> None:
        """Assert that the counts are right and all that waits can be taken."""
        self.sources.check()
        ended = self.counts["delivered"] + self.queued + sum(self.dropped.values())
        assert self.counts["received"] == ended, "stats do not balance"
        for inbox in self._inboxes():
            assert inbox in self._filled or not inbox.messages

    # Packets in

    def _other(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take a packet from a publisher that is not the expected one at its address.

        Returns no effects at a fixed address: the publisher there is adopted, and the packet is
        then taken as usual.
        """
        if not packet.source:
            raise Malformed("source")
        if source.fixed:
            self.sources.adopt(source, packet.source, now)
            return []
        if packet.kind != wire.WELCOME:
            raise Malformed("source")
        note = Note("replaced", {"name": self.sources.name, "endpoint": source.endpoint})
        return [note, *self.sources.gone(source.publisher, now)]

    def _publish(self, source: Source, topic: bytes, packet: Packet, size: int) -> list[Effect]:
        """Queue messages that are new; count those that are missing before them."""
        sequence = packet.settled
        if not sequence or not topic[0]:
            raise Malformed("sequence" if topic[0] else "topic")
        bodies = publication.bodies_of(packet)
        if source.waits is None:
            return []  # before the WELCOME it is unknown in which inbox it is to wait
        count = len(bodies)
        if not self.sources.wanted(topic):
            self.counts["received"] += count
            self.dropped["unsubscribed"] += count
            return []  # without a position: if it is subscribed to again, it begins anew
        position = source.position(topic)
        missing = sequence - position.next if position.next else 0
        if missing < 0:
            repeated = min(count, -missing)
            self.counts["duplicates"] += repeated
            bodies = bodies[repeated:]
            if not bodies:
                return []
            sequence += repeated
            count -= repeated
        elif missing and not position.fresh:
            self._miss(source, position.name, missing)
        position.next = sequence
        self._queue(source, position, bodies, size)
        return []

    def _go_on(self, peer: PeerId, arrived: Sequence[tuple[PeerId, Frames]], at: int) -> int:
        """Queue the packets from `at` on that continue the topic of the packet before them.

        Only packets of a single message are taken. Returns how many packets were queued.
        """
        source = self.sources.by_peer.get(peer)
        position = source.last if source is not None else None
        if source is None or position is None:
            return 0
        topic, publisher, number = position.topic, source.publisher, position.next
        rows: list[bytes] = []
        for other, frames in islice(arrived, at, None):
            row = publication.single_row(frames, topic, publisher, number)
            if row is None or other != peer:
                break
            rows.append(row)
            number += 1
        if not rows or source.positions.get(topic) is not position:
            return 0
        try:
            bodies = decode(array(rows))
        except Malformed:
            return 0  # `receive` finds out which of them is malformed
        if type(bodies) is not list or len(bodies) != len(rows):
            return 0
        size = sum(map(len, rows)) + len(rows) * (1 + len(topic))
        self._queue(source, position, bodies, size)
        return len(rows)

    def _queue(
        self, source: Source, position: Position, bodies: list[object], size: int
    ) -> None:
        """Put the next messages of a topic into the inbox where they wait to be read."""
        sequence, count = position.next, len(bodies)
        position.next += count
        source.last = position
        self.counts["received"] += count
        name, publisher = position.name, source.publisher
        inbox = self._own.get(source.peer) if source.waits else self._shared
        if inbox is None or not inbox.join(name, publisher, sequence, bodies, size):
            self._put(source, Delivery(name, source.peer, publisher, sequence, bodies, size))

    def _bye(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Leave a publisher that said BYE, and count what has not come by now as missing."""
        for name, number in publication.ends_of(packet).items():
            position = source.positions.get(name.encode())
            if position is not None and not position.fresh and 0 < position.next < number:
                self._miss(source, name, number - position.next)
                position.next = number
        return self.sources.left(source, now)

    def _mark(self, source: Source, packet: Packet) -> list[Effect]:
        if type(packet.meta) is not int or packet.meta <= 0:
            raise Malformed("mark")
        delivery = Delivery("", source.peer, source.publisher, 0, [], 0, packet.meta)
        if self._latest or not source.waits or source.peer not in self._own:
            return self._credit(delivery)
        self._put(source, delivery)
        return []

    # Inside

    @property
    def queued(self) -> int:
        """How many messages wait to be read."""
        return sum(inbox.messages for inbox in self._inboxes())

    def _inboxes(self) -> list[Inbox]:
        return [self._shared, *self._own.values()]

    def _tidy(self) -> None:
        """Drop the inboxes of publishers that are gone, once they are empty."""
        if len(self._own) > len(self.sources.by_peer):
            kept = self._filled.keys() | {self._own.get(p) for p in self.sources.by_peer}
            self._own = {peer: own for peer, own in self._own.items() if own in kept}

    def _new_inbox(self, windows: int) -> Inbox:
        """Return an inbox with room for `windows` times the limit."""
        kind = Latest if self._latest else Queue
        return kind(
            windows * self._limits.queue_messages_max, windows * self._limits.queue_bytes_max
        )

    def _put(self, source: Source, delivery: Delivery) -> None:
        """Put a delivery into the shared inbox, or into its publisher's own if that waits."""
        inbox = self._shared
        if source.waits and not self._latest:
            own = self._own.get(source.peer)
            inbox = self._own[source.peer] = own or self._new_inbox(3)
        self._filled[inbox] = None
        if dropped := inbox.put(delivery):
            self.dropped["replaced" if self._latest else "full"] += dropped

    def _look_at(self) -> float:
        """Return when to see whether anything was read; infinity if no publisher may wait."""
        idle = all(inbox.is_empty for inbox in self._own.values())
        return inf if idle else self._looked_at + READS_S

    def _say_that_it_reads(self) -> list[Effect]:
        """Answer the marks at the front of inboxes, and tell publishers that the user reads.

        A publisher is told by one more answer to the last mark, if something was read and its
        inbox is not empty.
        """
        effects: list[Effect] = []
        held = self.held()
        read, self._read = self._read, self.counts["delivered"] - held
        for peer, inbox in self._own.items():
            while not held and (mark := inbox.take_mark()):
                effects += self._credit(mark)
            source = self.sources.by_peer.get(peer)
            if source is not None and not inbox.is_empty and self._read != read:
                effects += self._answer(source, source.credited)
        return effects

    def _credit(self, delivery: Delivery) -> list[Effect]:
        source = self.sources.by_peer.get(delivery.peer)
        if source is None or source.publisher != delivery.publisher:
            return []
        source.credited = delivery.mark
        return self._answer(source, delivery.mark)

    def _answer(self, source: Source, mark: int) -> list[Effect]:
        if source.state is State.LOST:
            return []
        return [self.sources.say(source, wire.CREDIT, mark)]

    def _miss(self, source: Source, topic: str, missing: int) -> None:
        self.counts["gaps"] += 1
        self.counts["missing"] += missing
        key = (source.publisher, topic)
        if key in self._untold or len(self._untold) < self._limits.untold_gaps_max:
            self._untold[key] = self._untold.get(key, 0) + missing
