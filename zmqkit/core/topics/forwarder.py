"""The forwarder: between the publishers and the subscribers of a name.

Theory of operation. Towards subscribers it is a publisher that publishes nothing of its own,
and towards publishers a subscriber that reads nothing. It passes packets on as they came, and
opens none. A packet names its publisher, topic and first number, so subscribers tell gaps and
copies as if it had come directly.

*Subscriptions.* ZeroMQ tells the forwarder when the first of its subscribers wants a prefix,
and when the last one no longer does. It subscribes to the same at each publisher. The HELLO of
a subscriber is answered once each publisher has answered a HELLO of the forwarder behind these
subscriptions; but after `place_s` at the latest, also if there never was one. The HELLO to
publishers says for how many subscribers the forwarder stands.

*Credit.* It counts for one hop, see `Backlog`. A subscriber that reads nothing for `stall_s` is
excluded here, so a publisher never has to exclude the forwarder for it. While the slowest
subscriber is a window behind, packets of publishers that wait are held. Those of others leave:
they slow nobody, and what the slowest subscriber has no room for it loses.

*Two ways.* A forwarder that finds its publishers by name uses no other forwarder, so there is
no circle. One with `connect` uses the publishers and forwarders at these URLs alone. Packets
may then come twice, and each leaves once. A forwarder tells which forwarders it has behind it;
one that finds itself among them does not use the other.

*History.* A forwarder with a `Record` keeps what passes, subscribes to all topics for it, and
answers subscribers that ask.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from zmqkit.core.effects import Effect, News, Note, Send, Tell
from zmqkit.core.topics.backlog import Backlog
from zmqkit.core.topics.backs import Backs
from zmqkit.core.topics.copies import Copies
from zmqkit.core.topics.counting import looked
from zmqkit.core.topics.figures import source_rows
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.record import Record
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.wanted import Wanted
from zmqkit.forwarder_limits import PATH_MAX, ForwarderHistory, ForwarderLimits
from zmqkit.model import EVERY_PEER, Frames, PeerId
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet
from zmqkit.wire.publication import Head
from zmqkit.wire.statistics import Figures

_DEFAULTS = ForwarderLimits()
_HELLO = publication.TALK + (wire.FIRST + wire.HELLO).to_bytes(4, "big")


@dataclass(slots=True, eq=False)
class _Joining:
    """Answers to subscribers, which wait until publishers have answered."""

    answers: list[Effect]
    awaited: dict[Source, int]  # the token that each has to name
    until: float


class ForwarderCore:
    """What one forwarder passes on, from all publishers to all subscribers of a name."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        limits: ForwarderLimits = _DEFAULTS,
        *,
        connect: Sequence[str] = (),
        history: ForwarderHistory | None = None,
    ) -> None:
        """connect: URLs of publishers and forwarders, instead of those found by the name.

        history: how much of what passes it keeps; None for nothing.
        """
        self.incarnation = incarnation
        self.record = Record(history) if history is not None else None
        self.front = PublisherCore(
            incarnation, limits.front, waits=True, stall_s=limits.stall_s, kept=self.record
        )
        self.about = self.front.about  # further fields of each WELCOME
        self.tap = self.front.tap
        self.about["forwards"] = [incarnation]
        self._received = self._handed_over = 0
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._limits = limits
        self._private = publication.private(incarnation)
        self.backs = Backs(
            name,
            incarnation,
            limits.back,
            connect,
            about=self.about,
            history=history.messages if history is not None else 0,
            origins=self.record.origins if self.record is not None else None,
        )
        if self.record is not None:
            self.record.begin(self.backs)
        self._wanted = Wanted(limits.prefixes_max)
        self._is_asked = False  # new subscriptions were sent to publishers
        self._answers: list[Effect] = []
        self._joining: deque[_Joining] = deque()
        self._backlog = Backlog(self.front, self.backs, limits.held_bytes_max)
        self._copies = Copies(limits.origins_max, limits.topics_max)
        self._closed = False

    # Commands

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a publisher."""
        if self._closed:
            return []
        if tell.news in (News.LOST, News.GONE):
            for source in self.sources:
                if tell.incarnation in (source.incarnation, source.publisher):
                    self._away(source, now)
        effects = self.backs.hear(tell, now)
        if self.record is not None:
            effects += self.record.recovering.rehome(now)
        return effects + self._welcome(now)

    def leave(self, now: float) -> list[Effect]:
        """Pass on what is held, say BYE behind it, and take nothing more."""
        effects = self.front.shown(self._backlog.release(now, all_of_it=True), now)
        return [*effects, *self.front.leave(now)]

    def close(self) -> list[Effect]:
        """Drop what is held, and leave every publisher."""
        self._closed = True
        self.dropped["closed"] += self.held
        self._backlog.clear()
        self._joining.clear()
        return self.backs.close() + self.front.close()

    def stats(self) -> dict[str, object]:
        """Return counters of packets; always, received = handed_over + held + dropped."""
        audience = self.front.audience
        listeners = audience.listeners.values()
        return {
            "received": self._received,
            "handed_over": self._handed_over + self._backlog.released,
            "held": self.held,
            "held_bytes": self._backlog.size,
            "dropped": {reason: count for reason, count in self.dropped.items() if count},
            "publishers": self.backs.up_count,
            "subscribers": audience.subscriber_count,
            "excluded": sum(each.excluded for each in listeners),
            "exclusions": self.front.counts["exclusions"],
            "prefixes": len(self._wanted),
            "kept": len(self.record) if self.record is not None else 0,
            "kept_bytes": self.record.size if self.record is not None else 0,
            "recovered": self.record.counts["recovered"] if self.record is not None else 0,
            "malformed": dict(self.malformed + self.front.malformed),
        }

    def looked(self, now: float) -> None:
        """Count by topic from now on for LOOKED_S; any thread may call this."""
        self.front.counting = looked(self.front.counting, now)

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the device, and one of each topic that passed while looked at."""
        return source_rows(self.stats(), self.sources, counting=self.front.counting)

    @property
    def held(self) -> int:
        """How many packets are held until there is room."""
        return len(self._backlog)

    @property
    def joined_count(self) -> int:
        """How many subscribers have joined, here or at forwarders that have."""
        return self.front.joined_count

    @property
    def sources(self) -> list[Source]:
        """The publishers in use, reachable or not."""
        return self.backs.all

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet of a publisher or a subscriber. Never raises for what it sent."""
        return self.receive_all([(peer, frames)], now)

    def receive_all(self, arrived: Iterable[tuple[PeerId, Frames]], now: float) -> list[Effect]:
        """Take packets in order. Most are messages, so their way is written out here."""
        effects: list[Effect] = []
        find, head_of, audience = self.backs.find, publication.head_of, self.front.audience
        sent, by_url, backlog = audience.sent, self.backs.by_url, self._backlog
        held, came, record = backlog.waiting, self._copies.came, self.record
        for peer, frames in arrived:
            source = find(peer)
            if source is None:
                effects += self._from_subscriber(peer, frames, now)
                continue
            head = head_of(frames)
            if head is None or (head[1] != source.publisher and not source.forwards):
                effects += self._from_publisher(source, frames, now)
                continue
            if source.waits is None:
                continue  # before its WELCOME it is unknown whether it waits
            self._received += 1
            if by_url and came(head[1], bytes(frames[0][: head[0]]), head[2]):
                self.dropped["copy"] += 1
                continue
            if record is not None:
                effects += self._record(record, source, frames, head, now)
            if source.waits and (held or audience.load >= audience.limit):
                self.dropped["full"] += not backlog.hold(source, frames, head[3], now)
                continue
            self._handed_over += 1
            effects.append(Send(EVERY_PEER, frames))
            if sent(head[3], len(frames[-1]), now):
                effects.append(self.front.mark())
        return self.front.shown(effects, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Note that a packet did not leave."""
        source = self.backs.find(peer)
        if source is None:
            return self.front.unsent(peer, frames, now)
        source.unsent(frames)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Exclude subscribers that read nothing, and repeat what was not answered."""
        effects = self.front.tick(now) + self.front.shown(self._backlog.go_on(now), now)
        effects += self.backs.tick(now) + self._backlog.tick(now)
        if self.record is not None:
            effects += self.record.tick(now)
        return effects + self._welcome(now)

    def flush(self, now: float) -> list[Effect]:
        """Ask publishers what new subscribers wait for, all of a turn at once."""
        effects: list[Effect] = []
        count = self.front.joined_count
        if self._is_asked or self.backs.stands_for(count):
            self._is_asked = False
            effects += self.backs.ask(count, now)
        if self._answers:
            awaited = {s: s.token for s in self.sources if s.is_open}
            self._joining.append(_Joining(self._answers, awaited, now + self._limits.place_s))
            self._answers = []
        return effects + self._welcome(now)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        joining = self._joining[0].until if self._joining else inf
        backs = self.backs.due_at
        asks = self.record.recovering.due_at if self.record is not None else inf
        return min(self.front.deadline(), backs, joining, self._backlog.due_at, asks)

    def check(self) -> None:
        """Assert that the counts are right and no table is too large."""
        self.front.check()
        self.backs.check()
        self._backlog.check()
        handed_over = self._handed_over + self._backlog.released
        ended = handed_over + self.held + sum(self.dropped.values())
        assert self._received == ended, "stats do not balance"
        self._wanted.check()

    # From subscribers

    def _from_subscriber(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        if peer != EVERY_PEER:
            return []  # a publisher's connection that was closed
        frame = bytes(frames[0]) if len(frames) == 1 else b""
        verb, prefix = frame[:1], frame[1:]
        if verb == publication.SUBSCRIBE and prefix[:1] != b"\0":
            return self._subscribed(prefix)
        if verb == publication.UNSUBSCRIBE and prefix[:1] != b"\0":
            return self._unsubscribed(prefix)
        effects = self.front.receive(EVERY_PEER, frames, now)
        if frame[: len(_HELLO)] == _HELLO:
            self._answers += effects
            effects = []
        return effects + self._backlog.go_on(now)

    def _subscribed(self, prefix: bytes) -> list[Effect]:
        wanted = self._wanted.add(prefix)
        if self.record is not None:
            return []  # it hears everything
        self._is_asked = True
        return self.backs.place(wanted)

    def _unsubscribed(self, prefix: bytes) -> list[Effect]:
        unwanted = self._wanted.remove(prefix)
        if unwanted is None or self.record is not None:
            return []
        return self.backs.displace(unwanted)

    def _welcome(self, now: float) -> list[Effect]:
        """Answer the subscribers whose subscriptions are in place at all publishers."""
        effects: list[Effect] = []
        while self._joining:
            first = self._joining[0]
            first.awaited = {
                source: token
                for source, token in first.awaited.items()
                if source.is_open and (source.answered < token or source.expects)
            }
            if now < first.until and (first.awaited or not self._has_had_publishers):
                break
            effects += first.answers
            self._joining.popleft()
        return effects

    @property
    def _has_had_publishers(self) -> bool:
        """Whether a publisher is there, or was and has left something behind."""
        return self.backs.has_answered or bool(self.record)

    # What is kept

    def _record(
        self, record: Record, source: Source, frames: Frames, head: Head, now: float
    ) -> list[Effect]:
        """Keep what passes."""
        try:
            return record.take(source, frames, head, now)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def _away(self, source: Source, now: float) -> None:
        """Note that a publisher is out of reach; what is held behind a gap waits for it."""
        if self.record is not None:
            self.record.recovering.away(source, now)

    # From publishers

    def _from_publisher(self, source: Source, frames: Frames, now: float) -> list[Effect]:
        """Take a packet that is no message."""
        back = self.backs.of(source)
        try:
            topic, packet = publication.read(frames)
            if not publication.is_for(packet, self.incarnation):
                return []
            if packet.kind == wire.WELCOME and topic != self._private:
                raise Malformed("topic")
            if packet.source != source.publisher and not source.passes(packet):
                if source.fixed and packet.source and self.record is not None:
                    self.record.recovering.abandon(source)
                if other := back.other(source, packet, now):
                    return other
            if packet.kind == wire.WELCOME:
                return self._welcomed(source, packet, now)
            if packet.kind == wire.MARK:
                return self._backlog.marked(source, packet, now)
            if packet.kind == wire.BYE:
                return self._bye(source, packet, frames, now)
            if packet.kind in (wire.HEADS, wire.HISTORY) and self.record is not None:
                return self.record.answered(source, packet, now) + self._welcome(now)
            if packet.kind == wire.HEADS or source.waits is None:
                return []  # it is for those who recover; or it came before the WELCOME
            raise Malformed("unexpected")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def _welcomed(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        back = self.backs.of(source)
        effects = back.welcomed(source, packet, now)
        if self.incarnation in source.path:
            why = "its messages come from here; leave it out of backend.connect"
            note = Note("forwarders-in-a-circle", {"upstream": source.endpoint, "why": why})
            return [note, *self.backs.abandon(back)]
        path = [self.incarnation, *(each for s in self.sources for each in s.path)]
        self.about["forwards"] = [*dict.fromkeys(path)][:PATH_MAX]
        if self.record is not None:
            effects += self.record.welcomed(source, now)
        return effects + self._welcome(now)

    def _bye(self, source: Source, packet: Packet, frames: Frames, now: float) -> list[Effect]:
        """Pass on the BYE of a publisher, behind what is held of it; leave it if it is here.

        It comes again while something is to be recovered from this publisher.
        """
        publication.ends_of(packet)
        effects: list[Effect] = []
        if self.record is not None:
            effects += self.record.bye(source, packet, now)
        passes = packet.source != source.publisher or not source.forwards
        if passes and not self._backlog.hold_end(source, frames, now):
            effects.append(Send(EVERY_PEER, frames))
        if packet.source == source.publisher and not source.expects:
            self._away(source, now)
            effects += self.backs.of(source).left(source, now)
        return effects + self._welcome(now)
