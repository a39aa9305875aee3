"""What waits in a forwarder until its slowest subscriber has read more.

Credit counts for one hop. A publisher that waits sends MARKs; the forwarder answers one when
the slowest of its subscribers that are not excluded has consumed all before it, and says every
READS_S that it reads. While the slowest subscriber is a window behind, packets of publishers
that wait are held. So is the end of such a publisher, behind its packets.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from math import inf

from zmqkit.core.effects import Effect, Send
from zmqkit.core.topics.backs import Backs
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.core.topics.source import Source
from zmqkit.limits import MARKS_MAX, READS_S
from zmqkit.model import EVERY_PEER, Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet

_FEW = 16
"""So few subscribers are asked at once how far they are, for each MARK of a publisher."""
_ASK_S, _ASK_EACH_S = 0.005, 50e-6
"""How long that waits where there are more, and at least for each of them: the next MARK is for
all publishers, and the answers of many take longer than the messages."""
_HELD_BYTES = 512
"""What a held packet takes beside its frames."""


@dataclass(slots=True, eq=False)
class _Mark:
    """A MARK of a publisher that is not answered yet."""

    source: Source
    publisher: int
    number: int
    load: int = 0  # what subscribers have to consume before it is answered


@dataclass(slots=True, eq=False)
class _Held:
    """A packet of a publisher that waits, while there is no room."""

    frames: Frames
    count: int  # of messages; 0 for the end of a publisher
    source: Source

    @property
    def size(self) -> int:
        """What it takes in memory."""
        return _HELD_BYTES + sum(map(len, self.frames))


class Backlog:
    """The packets that are held for want of room, and the marks that are not answered."""

    def __init__(self, front: PublisherCore, backs: Backs, bytes_max: int) -> None:
        """front: whose subscribers there has to be room at. bytes_max: of held packets."""
        self.size = 0  # bytes of the packets that are held
        self.released = 0  # packets that were held and have left
        self.waiting: deque[_Held | _Mark] = deque()  # packets, and the marks behind them
        self._front = front
        self._audience = front.audience
        self._backs = backs
        self._bytes_max = bytes_max
        self._marks: deque[_Mark] = deque()
        self._packets = 0  # how many are held
        # By publisher: how much is held, and how many marks are not answered.
        self._held: Counter[Source] = Counter()
        self._unanswered: Counter[Source] = Counter()
        self._reads_at = self._ask_at = inf

    def __len__(self) -> int:
        """Return how many packets are held."""
        return self._packets

    @property
    def due_at(self) -> float:
        """When `tick` is due next."""
        return min(self._reads_at, self._ask_at)

    def hold(self, source: Source, frames: Frames, count: int, now: float) -> bool:
        """Hold a packet of so many messages; return false if it finds no room here."""
        held = _Held(frames, count, source)
        if self.size + held.size > self._bytes_max:
            return False
        self.size += held.size
        self._packets += count > 0
        self._held[source] += 1
        self.waiting.append(held)
        self._reads_at = min(self._reads_at, now + READS_S)
        return True

    def hold_end(self, source: Source, frames: Frames, now: float) -> bool:
        """Hold the end of a publisher behind its packets; return false if none are held.

        One that finds no room is told to nobody: ahead of its packets it would end them.
        """
        if not self._held[source]:
            return False
        self.hold(source, frames, 0, now)
        return True

    def marked(self, source: Source, packet: Packet, now: float) -> list[Effect]:
        """Take a MARK: answer it, or wait until subscribers have consumed all before it."""
        number = packet.meta
        if type(number) is not int or number <= 0:
            raise Malformed("mark")
        mark, unanswered = _Mark(source, source.publisher, number), self._unanswered[source]
        if not self._held[source] and any(
            each.source is source and each.number == number
            for each in (self._marks if unanswered else ())
        ):
            return [self._front.mark()]  # it is repeated, so an answer may have been lost
        if unanswered >= MARKS_MAX:
            return []
        self._unanswered[source] += 1
        if self._held[source]:
            self.waiting.append(mark)
            return []
        return self._ask(mark, now)

    def go_on(self, now: float) -> list[Effect]:
        """Answer the marks that were reached, and pass on what there is room for."""
        effects: list[Effect] = []
        consumed = self._audience.consumed
        while self._marks and self._marks[0].load <= consumed:
            effects += self._credit(self._marks.popleft())
        if self.waiting and not self._audience.blocked:
            effects += self.release(now)
        if not (self.waiting or self._marks):
            self._reads_at = inf
        return effects

    def release(self, now: float, *, all_of_it: bool = False) -> list[Effect]:
        """Pass on what is held, as far as there is room."""
        effects: list[Effect] = []
        audience = self._audience
        while self.waiting and (all_of_it or not audience.blocked):
            each = self.waiting.popleft()
            if type(each) is _Mark:
                effects += self._ask(each, now)
                continue
            assert type(each) is _Held
            self._let_go(each)
            effects.append(Send(EVERY_PEER, each.frames))
            if each.count and audience.sent(each.count, len(each.frames[-1]), now):
                effects.append(self._front.mark())
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Ask subscribers how far they are; tell publishers that the forwarder is at work."""
        effects: list[Effect] = []
        if now >= self._ask_at:
            effects += self._ask_all()
        if now >= self._reads_at:
            waiting = {each.source: None for each in (*self._marks, *self.waiting)}
            self._reads_at = now + READS_S if waiting else inf
            effects += [effect for source in waiting for effect in self._say(source)]
        return effects

    def clear(self) -> None:
        """Forget everything."""
        self.waiting.clear()
        self._marks.clear()
        self._held.clear()
        self._unanswered.clear()
        self.size = self._packets = 0

    def check(self) -> None:
        """Assert that the counts are right, and that somebody hears of what waits."""
        held = [each for each in self.waiting if type(each) is _Held]
        assert self.size == sum(each.size for each in held) <= self._bytes_max
        assert self._packets == sum(each.count > 0 for each in held)
        assert self._held == Counter(each.source for each in held)
        marks = [*self._marks, *(each for each in self.waiting if type(each) is _Mark)]
        assert self._unanswered == Counter(each.source for each in marks)
        assert max(self._unanswered.values(), default=0) <= MARKS_MAX
        loads = [each.load for each in self._marks]
        assert loads == sorted(loads)
        assert self._reads_at < inf or not (self._marks or self.waiting)

    # Inside

    def _let_go(self, held: _Held) -> None:
        """Count a packet, or an end, that leaves."""
        self.size -= held.size
        self._packets -= held.count > 0
        self.released += held.count > 0
        self._held[held.source] -= 1
        if not self._held[held.source]:
            del self._held[held.source]

    def _ask(self, mark: _Mark, now: float) -> list[Effect]:
        """Ask subscribers how far they are, unless they are as far as the mark."""
        audience = self._audience
        mark.load = audience.load
        if audience.consumed >= mark.load:
            return self._credit(mark)
        self._marks.append(mark)
        self._reads_at = min(self._reads_at, now + READS_S)
        count = audience.joined_count
        if count <= _FEW:
            return self._ask_all()
        self._ask_at = min(self._ask_at, now + max(_ASK_S, count * _ASK_EACH_S))
        return []

    def _ask_all(self) -> list[Effect]:
        """Send a MARK, unless one was sent behind all that publishers ask for."""
        self._ask_at = inf
        audience = self._audience
        if self._marks and audience.marked < self._marks[-1].load and audience.asks():
            return [self._front.mark()]
        return []

    def _credit(self, mark: _Mark) -> list[Effect]:
        source = mark.source
        self._unanswered[source] -= 1
        if not self._unanswered[source]:
            del self._unanswered[source]
        if source.publisher != mark.publisher:
            return []  # another one has that address by now
        source.credited = mark.number
        return self._say(source)

    def _say(self, source: Source) -> list[Effect]:
        if not self._backs.reach(source):
            return []
        return [self._backs.say(source, wire.CREDIT, source.credited)]
