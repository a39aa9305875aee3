"""Who listens to a publisher, and how far each of them is.

Theory of operation. A subscriber is present from when ZeroMQ reports its own subscription until
that ends, and has joined once it said HELLO behind all its subscriptions. To know how far they
are costs a publisher nothing for each message: now and then it sends all of them a MARK, which
waits in each one's queue behind the messages before it, and is answered with CREDIT when those
are consumed. A publisher that waits has at most WINDOW between what it sent and what the
slowest consumed. Who holds it up and has not said for `stall_s` that it reads is excluded,
until it has caught up. While it is blocked the publisher says the last MARK again, less and
less often: the first may be lost with a connection that a subscriber opened anew.

Load is what a window holds: the bytes of a message, a share for the message itself, and one
for its packet, so that QUEUE_BYTES of large ones fill a window, QUEUE_MESSAGES small ones in
batches, or WINDOW_PACKETS that leave alone. A link counts packets, be they large or small, and
keeps as many for who is excluded as for who is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from zmqkit.limits import (
    MARKS_PER_WINDOW,
    QUEUE_BYTES,
    QUEUE_MESSAGES,
    REMARK_S,
    STALL_S,
    SUBSCRIBERS_MAX,
    WINDOW_PACKETS,
)

WINDOW = QUEUE_BYTES
MESSAGE_LOAD = WINDOW // QUEUE_MESSAGES
PACKET_LOAD = WINDOW // WINDOW_PACKETS
_STRIDE = WINDOW // MARKS_PER_WINDOW


@dataclass(slots=True)
class Listener:
    """One subscriber. far: it is on another machine, and takes compressed packets. consumed:
    the load up to which it has consumed everything, for sure. read_at: when it last said that
    it reads."""

    joined: bool = False
    far: bool = False
    excluded: bool = False
    consumed: int = 0
    read_at: float = 0.0


class Audience:
    """The subscribers of one publisher, and its window over them."""

    def __init__(self, *, waits: bool, stall_s: float = STALL_S) -> None:
        """`waits`: the publisher waits for its slowest subscriber, if that reads at all."""
        self.waits = waits
        self._stall_s = stall_s
        self.listeners: dict[int, Listener] = {}
        self.joined_count = 0
        self.far = False
        self.load = 0
        self.limit: float = inf
        self.mark = 0
        self.stalled_at = inf
        self.remark_at = inf
        self._marks: deque[tuple[int, int]] = deque()
        self._mark_at: float = _STRIDE if waits else inf
        self._watch_at: float = self._mark_at

    @property
    def blocked(self) -> bool:
        """Whether the slowest subscriber is a window behind."""
        return self.load >= self.limit

    def enter(self, subscriber: int) -> bool:
        """One is present now; false when there are too many."""
        if subscriber not in self.listeners:
            if len(self.listeners) >= SUBSCRIBERS_MAX:
                return False
            self.listeners[subscriber] = Listener()
        return True

    def join(self, subscriber: int, now: float, *, far: bool = False) -> bool:
        """All its subscriptions are in place; false when it is not present."""
        listener = self.listeners.get(subscriber)
        if listener is None:
            return False
        if listener.joined:
            return True  # it subscribes to more, and has read no more than before
        self.joined_count += 1
        listener.joined, listener.far = True, far
        listener.consumed = self.load
        self._recount(now)
        return True

    def leave(self, subscriber: int, now: float) -> bool:
        """It is gone; false when it was not there."""
        listener = self.listeners.pop(subscriber, None)
        if listener is None:
            return False
        self.joined_count -= listener.joined
        self._recount(now)
        return True

    def sent(self, count: int, size: int, now: float) -> bool:
        """So many messages and bytes left; whether it is time for a MARK, `mark` by number."""
        self.load += size + count * MESSAGE_LOAD + PACKET_LOAD
        if self.load < self._watch_at:
            return False
        is_due = self.load >= self._mark_at
        if is_due:
            self._mark_at = self.load + _STRIDE
        self._recount(now)
        if not (is_due and self.joined_count):
            return False
        self.mark += 1
        self._marks.append((self.mark, self.load))
        if len(self._marks) > 2 * MARKS_PER_WINDOW:
            self._marks.popleft()  # whoever answers one as old is as far behind as before
        return True

    def credit(self, subscriber: int, mark: int, now: float) -> bool | None:
        """It reads, and consumed what came before a mark, 0 for nothing yet: whether that takes
        it in again; None for who must not say so."""
        listener = self.listeners.get(subscriber)
        if listener is None or not 0 <= mark <= self.mark:
            return None
        listener.read_at = now
        consumed = next((load for number, load in self._marks if number == mark), 0)
        if consumed <= listener.consumed:
            return False
        listener.consumed = consumed
        caught_up = listener.excluded and self.load - consumed < WINDOW
        if caught_up:
            listener.excluded = False
        self._recount(now)
        return caught_up

    def exclude_at(self) -> float:
        """When somebody will have held everybody up for too long."""
        return min((at for _, at in self._holders()), default=inf)

    def exclude(self, now: float) -> list[int]:
        """Wait no more for those that have held everybody up for too long; gives them."""
        stuck = [subscriber for subscriber, at in self._holders() if now >= at]
        for subscriber in stuck:
            self.listeners[subscriber].excluded = True
        self._recount(now)
        return stuck

    def remark(self, now: float) -> None:
        """The last MARK leaves once more; when that is due again."""
        self.remark_at = 2 * now - self.stalled_at

    def check(self) -> None:
        """The counts are those of the listeners, and the limit is that of the slowest."""
        assert self.joined_count == sum(each.joined for each in self.listeners.values())
        assert self.limit == self._limit()
        assert self.far == any(each.far for each in self.listeners.values())
        assert (self.stalled_at < inf) == (self.remark_at < inf) == self.blocked
        assert all(each.consumed <= self.load for each in self.listeners.values())

    def _holders(self) -> Iterator[tuple[int, float]]:
        """Those for whom the publisher waits, and until when."""
        if self.blocked:
            for subscriber, each in self.listeners.items():
                if self._counts(each) and each.consumed + WINDOW <= self.load:
                    yield subscriber, max(each.read_at, self.stalled_at) + self._stall_s

    def _counts(self, listener: Listener) -> bool:
        return listener.joined and not listener.excluded

    def _limit(self) -> float:
        if not self.waits:
            return inf
        slowest = min(
            (each.consumed for each in self.listeners.values() if self._counts(each)),
            default=inf,
        )
        return slowest + WINDOW

    def _recount(self, now: float) -> None:
        self.far = any(each.far for each in self.listeners.values())
        self.limit = self._limit()
        self._watch_at = min(self._mark_at, self.limit)
        if not self.blocked:
            self.stalled_at = self.remark_at = inf
        elif self.stalled_at == inf:
            self.stalled_at, self.remark_at = now, now + REMARK_S
