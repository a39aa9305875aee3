"""The subscriber's side of publish-subscribe: holds what came until it is read, counts gaps.

Messages wait in an inbox until the user reads them; the oldest make room for new ones. Each
publisher that waits for its subscribers has an inbox of its own, which it does not overfill:
its MARKs wait there too, see `Reading`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.topics.figures import source_rows
from zmqkit.core.topics.inbox import Delivery
from zmqkit.core.topics.inboxes import Inboxes
from zmqkit.core.topics.positions import Held, Position
from zmqkit.core.topics.reading import Reading
from zmqkit.core.topics.recovering import Recovering
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.sources import Sources
from zmqkit.limits import SubscriberLimits
from zmqkit.model import Frames, PeerId
from zmqkit.types import SubscriberStats
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed, array, decode
from zmqkit.wire.packet import Packet
from zmqkit.wire.statistics import Figures

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
        history: int = 0,
        recover: bool = False,
    ) -> None:
        """latest: keep only the latest message of each topic.

        history: how many messages of each topic to get on joining, if the publisher kept them.
        recover: whether to get those that a gap missed, too.
        Raises UsageError for a wrong prefix.
        """
        self.incarnation = incarnation
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self.sources = Sources(
            name, incarnation, prefixes, limits, history=history, recovers=recover
        )
        self._inboxes = Inboxes(limits, self.dropped, latest=latest)
        self._recovering = Recovering(
            self.sources,
            self.counts,
            inboxes=self._inboxes,
            put=self._queue,
            miss=self._miss,
        )
        self.reading = Reading(
            self.sources, self._inboxes, lambda: self.delivered, latest=latest
        )
        self._limits = limits
        self._private = publication.private(incarnation)
        self._untold: dict[tuple[int, str], int] = {}
        self._closed = False

    @property
    def about(self) -> dict[str, object]:
        """What publishers are told of the place of the subscriber: its space."""
        return self.sources.about

    # Commands

    def subscribe(self, prefixes: Iterable[str], now: float) -> list[Effect]:
        """Receive topics with these prefixes too. Raises UsageError for a wrong prefix."""
        return self.sources.subscribe(prefixes, now)

    def unsubscribe(self, prefixes: Iterable[str]) -> list[Effect]:
        """Receive topics with these prefixes no longer; messages that came already are kept."""
        effects = self.sources.unsubscribe(prefixes)
        self._recovering.unwanted()
        self.sources.begin_anew()
        return effects

    def take(self) -> tuple[Delivery | None, list[Effect]]:
        """Return the messages to be read next, or None, and the effects of getting there.

        Marks that stand before these messages are answered.
        """
        effects: list[Effect] = []
        while (taken := self._inboxes.take(self.sources.by_peer)) is not None:
            inbox, delivery = taken
            self._recovering.read(inbox)
            if not delivery.mark:
                self.counts["delivered"] += len(delivery.bodies)
                return delivery, effects
            effects += self.reading.credit(delivery)
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
        return tell.news is News.GONE or self.sources.turns(tell.incarnation)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a publisher."""
        if self._closed:
            return []
        effects = self._hear(tell, now) + self.sources.turn(now)
        return effects + self._recovering.rehome(now)

    def _hear(self, tell: Tell, now: float) -> list[Effect]:
        if tell.news is News.FOUND:
            incarnation, endpoint, forwards = tell.incarnation, tell.endpoint, tell.is_device
            return self.sources.found(incarnation, endpoint, now, forwards=forwards)
        if tell.news in (News.LOST, News.GONE):
            source = self.sources.find(tell.incarnation)
            if source is not None:
                self._recovering.away(source, now)
        if tell.news is News.LOST:
            return self.sources.lost(tell.incarnation, now)
        if tell.news in (News.SILENT, News.ANSWERING):
            silent = tell.news is News.SILENT
            return self.sources.hush(tell.incarnation, now, silent=silent)
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
        self._inboxes.clear()
        self._recovering.clear()
        return self.sources.close()

    def stats(self) -> SubscriberStats:
        """Return counters; always, received = delivered + queued + dropped."""
        counts = self.counts
        return {
            "received": counts["received"],
            "delivered": counts["delivered"],
            "queued": self.queued,
            "queued_bytes": self._inboxes.size + self.sources.holding.size,
            "dropped": {reason: count for reason, count in self.dropped.items() if count},
            "gaps": counts["gaps"],
            "missing": counts["missing"],
            "duplicates": counts["duplicates"],
            "recovered": counts["recovered"],
            "publishers": self.sources.up_count,
            "malformed": dict(self.malformed),
        }

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the subscriber and one of each topic; any thread may ask."""
        return source_rows(self.stats(), self.sources.all, origins=self.sources.origins)

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
        return bool(self._inboxes)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a publisher. Never raises for what it sent."""
        source = self.sources.by_peer.get(peer)
        if source is None:
            return []
        try:
            topic, packet = publication.read(frames)
            if not publication.is_for(packet, self.incarnation):
                return []  # for another subscriber; one of all topics sees it too
            if packet.kind == wire.WELCOME and topic != self._private:
                raise Malformed("topic")  # a WELCOME counts only on this subscriber's topic
            if packet.source != source.publisher and (
                not source.passes(packet) and (other := self._other(source, packet, now))
            ):
                return other
            if packet.kind == wire.PUBLISH:
                return self._publish(source, topic, packet, now)
            return self._take_other(source, topic, packet, now)
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
        """Note that a packet did not leave."""
        source = self.sources.by_peer.get(peer)
        if source is not None:
            source.unsent(frames)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Repeat each HELLO that was not answered; tell publishers that wait what was read."""
        effects = self.sources.tick(now) + self._recovering.tick(now)
        return effects + self.reading.tick(now)

    def flush(self, now: float) -> list[Effect]:
        """Return nothing: a subscriber's packets leave at once."""
        return []

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self.sources.due_at, self._recovering.due_at, self.reading.due_at)

    def check(self) -> None:
        """Assert that the counts are right and all that waits can be taken."""
        self.sources.check()
        self._recovering.check()
        ended = self.counts["delivered"] + self.queued + sum(self.dropped.values())
        assert self.counts["received"] == ended, "stats do not balance"
        self._inboxes.check()

    # Packets in

    def _other(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take a packet from a publisher that is not the expected one at its address.

        Returns no effects at a fixed address: the publisher there is adopted, and the packet is
        then taken as usual.
        """
        if source.fixed and packet.source:
            self._recovering.abandon(source)
        return self.sources.other(source, packet, now)

    def _take_other(
        self, source: Source, topic: bytes, packet: Packet, now: float
    ) -> list[Effect]:
        """Take a packet of any kind but PUBLISH."""
        if packet.kind == wire.CLEAR:
            return self._publish(source, topic, packet, now)
        if packet.kind == wire.HISTORY:
            return self._recovering.page(source, packet, now)
        if packet.kind == wire.HEADS:
            return self._recovering.heads(source, packet, now)
        if packet.kind == wire.MARK:
            return self.reading.marked(source, packet)
        if packet.kind == wire.WELCOME:
            effects = self.sources.welcomed(source, packet, now)
            effects += self._recovering.rehome(now) + self._recovering.go_on(source, now)
            return effects + self.sources.turn(now)
        if packet.kind == wire.BYE:
            return self._bye(source, packet, now) + self.sources.turn(now)
        raise Malformed("unexpected")

    def _publish(
        self, source: Source, topic: bytes, packet: Packet, now: float
    ) -> list[Effect]:
        """Queue messages that are new; count or recover those that are missing before them."""
        sequence = packet.settled
        if not sequence or not topic[0]:
            raise Malformed("sequence" if topic[0] else "topic")
        cleared = packet.kind == wire.CLEAR
        bodies: list[object] = [None] if cleared else publication.bodies_of(packet)
        if source.waits is None or source.is_early:
            return []  # before the WELCOME it is unknown in which inbox it is to wait
        count = len(bodies)
        if not self.sources.prefixes.want(topic):
            self.counts["received"] += count
            self.dropped["unsubscribed"] += count
            return []  # without a position: if it is subscribed to again, it begins anew
        position = self.sources.origins.position(packet.source, topic, source)
        origin = self.sources.recoverer(source, position)
        recovery = origin.recovery if origin is not None else None
        if recovery is not None and not position.next:
            recovery.place(position, sequence)
        hole = position.hole
        known = hole.known if hole is not None else position.next or position.floor
        missing = sequence - known if known else 0
        if missing < 0:
            repeated = min(count, -missing)
            self.counts["duplicates"] += repeated
            bodies = bodies[repeated:]
            if not bodies:
                position.confirm(source)
                return []
            sequence += repeated
        times = [publication.seconds_of(packet.target)] * len(bodies)
        size, begins = len(topic) + packet.size, position.begins
        position.anew = False
        if position.fresh:
            position.expect(self._way_of(packet.source, topic, source))
        if origin is not None and recovery is not None:
            fits = self._inboxes.at(position, source).fits(len(bodies), size)
            if hole is None and recovery.recovers and (missing > 0 or not fits):
                hole = recovery.open(position, sequence, free=begins * sequence)
            if hole is not None:
                held = Held(sequence, bodies, times, size, cleared)
                return self._recovering.hold(origin, recovery, hole, held, now)
        if missing > 0 and not begins:
            if self.sources.comes_otherwise(position, source, now):
                return []
            self._miss(position, missing)
        position.next = sequence
        self.counts["received"] += len(bodies)
        self._queue(source, position, bodies, times, size, cleared=cleared)
        return []

    def _way_of(self, publisher: int, topic: bytes, source: Source) -> Source:
        """Return by which way messages of a topic are expected, of which one came by a source.

        That is the publisher itself once it has the subscription in place.
        """
        direct = self.sources.find(publisher)
        return direct if direct is not None and topic.startswith(direct.placed) else source

    def _go_on(self, peer: PeerId, arrived: Sequence[tuple[PeerId, Frames]], at: int) -> int:
        """Queue the packets from `at` on that continue the topic of the packet before them.

        Only packets of a single message are taken. Returns how many packets were queued.
        """
        source = self.sources.by_peer.get(peer)
        position = source.last if source is not None else None
        if source is None or position is None:
            return 0
        topic, publisher, number = position.topic, position.publisher, position.next
        head = publication.single_head(topic, publisher)
        rows: list[bytes] = []
        times: list[float] = []
        for other, frames in islice(arrived, at, None):
            single = publication.single_row(frames, head, number)
            if single is None or other != peer:
                break
            rows.append(single[0])
            times.append(single[1])
            number += 1
        if not rows or position.anew or position.hole is not None:
            return 0
        if self.sources.origins.find(publisher, topic) is not position:
            return 0
        size = sum(map(len, rows)) + len(rows) * (1 + len(topic))
        fits = self._inboxes.at(position, source).fits(len(rows), size)
        if not fits and self.sources.recoverer(source, position) is not None:
            return 0
        try:
            bodies = decode(array(rows))
        except Malformed:
            return 0  # `receive` finds out which of them is malformed
        if type(bodies) is not list or len(bodies) != len(rows):
            return 0
        self.counts["received"] += len(rows)
        self._queue(source, position, bodies, times, size)
        return len(rows)

    def _queue(
        self,
        source: Source,
        position: Position,
        bodies: list[object],
        times: list[float],
        size: int,
        *,
        cleared: bool = False,
        recovered: bool = False,
    ) -> None:
        """Put the next messages of a topic into the inbox where they wait to be read."""
        sequence = position.next
        position.next += len(bodies)
        position.count += len(bodies)
        source.last = position
        if position.way is not source:
            position.turn(source)
        name, publisher = position.name, position.publisher
        delivery = Delivery(
            name, source.peer, publisher, sequence, bodies, times, size,
            cleared=cleared, recovered=recovered,
        )  # fmt: skip
        self._inboxes.put(self._inboxes.at(position, source), delivery)

    def _bye(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Leave a publisher that said BYE, and count what has not come by now as missing.

        A forwarder passes on the BYE of a publisher, and stays itself.
        """
        origins, publisher = self.sources.origins, packet.source
        asked: dict[Source, None] = {source: None}
        for name, number in publication.ends_of(packet).items():
            position = origins.find(publisher, name.encode())
            if position is None or not self.sources.wants(position.topic):
                continue
            origin = self.sources.recoverer(source, position)
            if origin is not None and self._recovering.ends(origin, position, number):
                asked[origin] = None
                continue
            if position.begins or not 0 < position.next < number:
                continue
            if not self.sources.comes_otherwise(position, source, now):
                self._miss(position, number - position.next)
                position.next = number
        origins.end(publisher)
        effects = [effect for each in asked for effect in self._recovering.go_on(each, now)]
        if publisher != source.publisher:
            return effects
        if source.expects:
            return effects  # it leaves once it has everything; the BYE comes again
        self._recovering.away(source, now)
        return effects + self.sources.left(source, now)

    # Inside

    @property
    def queued(self) -> int:
        """How many messages wait to be read."""
        return self._inboxes.messages + self.sources.holding.messages

    def _miss(self, position: Position, missing: int) -> None:
        self.counts["gaps"] += 1
        self.counts["missing"] += missing
        key = (position.publisher, position.name)
        if key in self._untold or len(self._untold) < self._limits.untold_gaps_max:
            self._untold[key] = self._untold.get(key, 0) + missing
