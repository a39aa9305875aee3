"""One end of a bridge, which carries messages of a name between two networks.

Theory of operation. On its network each end is a publisher that publishes nothing of its own,
and a subscriber of all other publishers of the name. What it hears there goes to the other end
(`Span`), and what comes from there it publishes, packets whole and unread. So subscribers and
forwarders use it as one publisher more. Rules say which topics leave and which are let in.

*What comes round.* A packet names its publisher, topic and number. Each end carries it once in
each direction, so nothing goes in a circle, however many bridges there are. It publishes
nothing of a publisher that it hears directly on its own network (an echo), and it tells the
other end of these publishers, which then sends nothing of theirs. What came from the other end
does not go back there.

*The beginning.* In the first `place_s` after it met the other end, a new end passes nothing on,
so that subscribers find it. What comes then is kept, by the other end too.

*Credit.* It counts for one hop. A publisher that waits sends MARKs; one is answered once the
other end has passed on all before it. The other end passes on no packet of such a publisher
while its slowest subscriber is a window behind, and the link has a window of its own. When the
link has been cut for `stall_s`, marks are answered all the same.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.effects import Effect, News, Send, Tell
from zmqkit.core.membership.interests import url_key
from zmqkit.core.tap import see_messages
from zmqkit.core.topics.copies import Copies
from zmqkit.core.topics.counting import looked
from zmqkit.core.topics.figures import source_rows
from zmqkit.core.topics.passage import Item, item_of
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.source import Source
from zmqkit.core.topics.sources import Sources
from zmqkit.core.topics.span import AT_SPAN, Span
from zmqkit.limits import MARKS_MAX, PUBLISHERS_MAX, READS_S
from zmqkit.model import EVERY_PEER, Frames, PeerId, parse_url
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet
from zmqkit.wire.statistics import Figures

_DEFAULTS = BridgeLimits()


@dataclass(slots=True, eq=False)
class _Mark:
    """A MARK of a publisher that is not answered yet."""

    source: Source
    publisher: int
    number: int
    # How many packets the other end has to have dealt with before it is answered.
    at: int


class BridgeCore:
    """What one end of a bridge passes on in either direction."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        limits: BridgeLimits = _DEFAULTS,
        *,
        leaves: Iterable[str],
        enters: Iterable[str],
        connect: str | None = None,
    ) -> None:
        """leaves: the beginnings of topics that go to the other end. enters: of those that are
        let in. connect: the URL where the other end listens, or None to have it dial.
        """
        self.incarnation = incarnation
        self.front = PublisherCore(
            incarnation, limits.front, waits=True, stall_s=limits.stall_s
        )
        self.about = self.front.about  # further fields of each WELCOME
        self.tap = self.front.tap
        self.about["forwards"] = [incarnation]
        leaves = list(leaves)
        self.back = Sources(name, incarnation, leaves, limits.back)
        self.back.about = self.about
        self.back.stands_for = int(bool(leaves))
        self._enters = tuple(publication.check_prefix(prefix) for prefix in enters)
        self._left = Copies(limits.origins_max, limits.topics_max)
        self._entered = Copies(limits.origins_max, limits.topics_max)
        self._connect = url_key("bridge", connect) if connect is not None else None
        url = parse_url(connect) if connect is not None else None
        self.span = Span(
            name, incarnation, self._enters, limits, url, self._comes_round, self.about
        )
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._private = publication.private(incarnation)
        self._stall_s = limits.stall_s
        self._place_s = limits.place_s
        self._opens_at = inf  # nothing is passed on before; it is set when the link is first up
        self._is_open = not limits.place_s
        self._direct: frozenset[int] = frozenset()
        self._marks: deque[_Mark] = deque()
        # Packets that wait for room, and how many were passed on behind each.
        self._held: deque[Item | int] = deque()
        self._held_count = self._received = self._handed_over = self._heard = self._again = 0
        self._reads_at = inf
        self._leaving = self._closed = False

    # Commands

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of a publisher, maybe an end of another bridge, or of where to dial."""
        effects: list[Effect] = []
        if tell.key == self._connect:
            return self.span.begin(now)
        if self._leaving or tell.incarnation == self.incarnation:
            return effects
        if tell.news is News.FOUND and not tell.is_device:
            effects = self.back.found(tell.incarnation, tell.endpoint, now)
        elif tell.news is News.LOST:
            effects = self.back.lost(tell.incarnation, now)
        elif tell.news is News.GONE:
            effects = self.back.gone(tell.incarnation, now)
        self._look()
        return effects

    def leave(self, now: float) -> list[Effect]:
        """Pass on what is held, hear nobody any more, and take nothing more from the link."""
        effects = self._release(now, all_of_it=True)
        self._leaving = True
        self.span.leave()
        self._forget_marks()
        return [*effects, *self.back.close(), *self.front.leave(now)]

    def close(self) -> list[Effect]:
        """Drop what the other end has not passed on, and leave everybody."""
        self._closed = self._leaving = True
        self.dropped["closed"] += self._held_count
        self._held.clear()
        self._held_count = 0
        self._forget_marks()
        return [*self.span.close(), *self.back.close(), *self.front.close()]

    def stats(self) -> dict[str, object]:
        """Return counters of packets; in either direction, all that came is accounted for.

        That is heard = carried + waiting + kept_back, and received = handed_over + held +
        dropped.
        """
        span = self.span
        kept_back = {**span.dropped, "copy": self._again + span.dropped["copy"]}
        return {
            "heard": self._heard,
            "carried": span.ended_count - sum(span.dropped.values()),
            "waiting": span.count,
            "waiting_bytes": span.size,
            "kept_back": {reason: count for reason, count in kept_back.items() if count},
            "received": self._received,
            "handed_over": self._handed_over,
            "held": self._held_count,
            "dropped": {reason: count for reason, count in self.dropped.items() if count},
            "connected": span.up,
            "publishers": self.back.up_count,
            "subscribers": self.front.joined_count,
            "exclusions": self.front.counts["exclusions"],
            "malformed": dict(self.malformed + self.front.malformed + span.malformed),
        }

    def looked(self, now: float) -> None:
        """Count by topic from now on for LOOKED_S; any thread may call this."""
        self.front.counting = looked(self.front.counting, now)

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the device, and one of each topic that passed while looked at."""
        return source_rows(self.stats(), self.sources, counting=self.front.counting)

    @property
    def sources(self) -> list[Source]:
        """The publishers in use, reachable or not."""
        return self.back.all

    @property
    def unfinished(self) -> int:
        """How many packets the other end lacks, and subscribers have not received all."""
        return self.span.count + self.front.joined_count

    @property
    def awaited(self) -> int:
        """How much of that may still change; the other end takes no more if it leaves, too."""
        return self.front.joined_count + (0 if self.span.is_over else self.span.count)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet of a publisher, a subscriber or the other end. Never raises for it."""
        return self.receive_all([(peer, frames)], now)

    def receive_all(self, arrived: Iterable[tuple[PeerId, Frames]], now: float) -> list[Effect]:
        """Take packets in order."""
        effects: list[Effect] = []
        find = self.back.by_peer.get
        for peer, frames in arrived:
            source = find(peer)
            if source is not None:
                effects += self._from_publisher(source, frames, now)
            elif peer == EVERY_PEER:
                effects += self.front.receive(peer, frames, now)
                effects += self._release(now)
            elif peer.startswith(AT_SPAN):
                effects += self.span.receive(peer, frames, now)
                effects += self._let_in(now)
        return effects + self._answer(now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Note that a packet did not leave."""
        source = self.back.by_peer.get(peer)
        if peer.startswith(AT_SPAN):
            self.span.unsent(frames)
        elif source is None:
            return self.front.unsent(peer, frames, now)
        else:
            source.unsent(frames)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Exclude subscribers that read nothing, and repeat what was not answered."""
        effects = [*self.front.tick(now), *self.back.tick(now), *self.span.tick(now)]
        self._look()
        effects += self._release(now)
        if now >= self._reads_at:
            self._reads_at = now + READS_S
            waiting = {each.source: None for each in self._marks}
            effects += [effect for source in waiting for effect in self._say_credit(source)]
        return effects + self._answer(now)

    def flush(self, now: float) -> list[Effect]:
        """Send to the other end what this turn brought."""
        top, taps = self.span.top, self.front.taps
        effects = self.span.flush(now)
        if taps:
            for item in self.span.since(top):
                see_messages(taps, item.frames, "carried", now)
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        due_at = min(self.front.deadline(), self.back.connections.due_at, self.span.deadline())
        return min(due_at, self._reads_at, self._opens_at)

    def check(self) -> None:
        """Assert that the counts are right and no table is too large."""
        self.front.check()
        self.back.check()
        self.span.check()
        ended = self._handed_over + self._held_count + sum(self.dropped.values())
        assert self._received == ended, "stats do not balance"
        assert self._heard == self.span.put_count + self._again
        assert self._held_count == sum(type(each) is Item for each in self._held)
        assert (self._reads_at < inf) == bool(self._marks)

    # From publishers, to the other end

    def _from_publisher(self, source: Source, frames: Frames, now: float) -> list[Effect]:
        try:
            head = publication.head_of(frames)
            if head is not None and (head[1] == source.publisher or source.forwards):
                self._take(source, frames)
                return []
            topic, packet = publication.read(frames)
            if not publication.is_for(packet, self.incarnation):
                return []
            if packet.kind == wire.WELCOME and topic != self._private:
                raise Malformed("topic")
            if packet.source != source.publisher and (
                not source.passes(packet) and (other := self.back.other(source, packet, now))
            ):
                return other
            if packet.kind == wire.WELCOME:
                effects = self.back.welcomed(source, packet, now)
                self._look()
                return effects
            if packet.kind == wire.MARK:
                return self._marked(source, packet, now)
            if packet.kind == wire.BYE:
                return self._bye(source, packet, frames, now)
            if packet.kind == wire.HEADS or source.waits is None:
                return []  # it is for those who recover; or it came before the WELCOME
            raise Malformed("unexpected")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def _take(self, source: Source, frames: Frames) -> None:
        """Keep a packet for the other end, if it came by the best way and for the first time.

        What a publisher sends itself is in order and complete, so that counts alone.
        """
        if source.waits is None:
            return  # before its WELCOME it is unknown whether it waits
        item = item_of(frames, waits=source.waits)
        self._heard += 1
        round_about = item.publisher != source.publisher and item.publisher in self._direct
        if round_about or self._left.came(item.publisher, item.topic, item.sequence):
            self._again += 1
        else:
            self.span.put(item)

    def _bye(self, source: Source, packet: Packet, frames: Frames, now: float) -> list[Effect]:
        """Tell the other end that a publisher left, behind what it published."""
        if packet.source != source.publisher or not source.forwards:
            self._take(source, frames)
        if packet.source != source.publisher:
            return []
        effects = self.back.left(source, now)
        self._look()
        return effects

    def _look(self) -> None:
        """See which publishers are heard directly; the other end needs nothing of theirs."""
        direct = [
            source.publisher
            for source in self.back.all
            if source.is_open and source.waits is not None and not source.forwards
        ]
        self._direct = frozenset(direct)
        self.span.direct = direct[:PUBLISHERS_MAX]

    def _comes_round(self, item: Item) -> str:
        """Return why an item is not to be sent to the other end: it came from there."""
        came = self._entered.has(item.publisher, item.topic, item.sequence)
        return "copy" if came else ""

    # From the other end, to subscribers

    def _let_in(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        arrived = self.span.arrived
        if self._leaving:
            arrived.clear()  # the other end keeps them for the next one
        if self.span.up and self._opens_at == inf and not self._is_open:
            self._opens_at = now + self._place_s
        while arrived:
            item = arrived.popleft()
            self._received += 1
            why = self._refuses(item)
            if why:
                self.dropped[why] += 1
                self._ended()
            else:
                effects += self._pass_on(item, now)
        return self.front.shown(effects, now)

    def _pass_on(self, item: Item, now: float) -> list[Effect]:
        """Publish an item, or hold it where that has to wait."""
        if not self._is_open or (item.waits and (self._held or self._is_full)):
            self._held.append(item)
            self._held_count += 1
            return []
        effects = self._publish(item, now)
        self._ended()
        return effects

    @property
    def _is_full(self) -> bool:
        return self.front.audience.blocked

    def _refuses(self, item: Item) -> str:
        """Return why an item is not let in, or nothing."""
        if not item.frames:
            return "malformed"
        if item.publisher in self._direct or item.publisher == self.incarnation:
            return "echo"
        if item.topic and not item.topic.startswith(self._enters):
            return "rule"
        came = self._entered.came(item.publisher, item.topic, item.sequence)
        return "copy" if came else ""

    def _publish(self, item: Item, now: float) -> list[Effect]:
        self._handed_over += 1
        effects: list[Effect] = [Send(EVERY_PEER, item.frames)]
        if self.front.audience.sent(item.count, len(item.frames[-1]), now):
            effects.append(self.front.mark())
        return effects

    def _ended(self, count: int = 1) -> None:
        """Note that more items are dealt with; the other end hears of it in order."""
        if not self._held:
            self.span.pass_on(count)
        elif type(last := self._held[-1]) is int:
            self._held[-1] = last + count
        else:
            self._held.append(count)

    def _open(self, now: float) -> list[Effect]:
        """End the beginning: what came meanwhile is passed on as if it came now."""
        self._opens_at, self._is_open = inf, True
        held, self._held, self._held_count = self._held, deque(), 0
        effects: list[Effect] = []
        for each in held:
            if isinstance(each, Item):
                effects += self._pass_on(each, now)
            else:
                self._ended(each)
        return effects

    def _release(self, now: float, *, all_of_it: bool = False) -> list[Effect]:
        """Pass on what is held, as far as there is room."""
        effects = self._open(now) if now >= self._opens_at else []
        if not (self._is_open or all_of_it):
            return effects
        while self._held and (all_of_it or not self._is_full):
            each = self._held.popleft()
            if isinstance(each, Item):
                self._held_count -= 1
                effects += self._publish(each, now)
                each = 1
            self.span.pass_on(each)
        return self.front.shown(effects, now)

    # Credit

    def _forget_marks(self) -> None:
        self._marks.clear()
        self._reads_at = inf

    def _marked(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take a MARK; it is answered when the other end has all before it."""
        number = packet.meta
        if type(number) is not int or number <= 0:
            raise Malformed("mark")
        theirs = [each.number for each in self._marks if each.source is source]
        if number not in theirs and len(theirs) < MARKS_MAX:
            at = self.span.put_count
            self._marks.append(_Mark(source, source.publisher, number, at))
            self._reads_at = min(self._reads_at, now + READS_S)
        return []

    def _answer(self, now: float) -> list[Effect]:
        """Answer the marks that were reached."""
        effects: list[Effect] = []
        span = self.span
        is_cut = not span.up and now >= span.cut_at + self._stall_s
        while self._marks and (is_cut or self._marks[0].at <= span.ended_count):
            mark = self._marks.popleft()
            if mark.source.publisher == mark.publisher:
                mark.source.credited = mark.number
                effects += self._say_credit(mark.source)
        if not self._marks:
            self._reads_at = inf
        return effects

    def _say_credit(self, source: Source) -> list[Effect]:
        if self.back.by_peer.get(source.peer) is not source or not source.is_open:
            return []
        return [self.back.say(source, wire.CREDIT, source.credited)]
