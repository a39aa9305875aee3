"""The subscribers of a publisher, and how much each of them has consumed.

Theory of operation. ZeroMQ reports to the publisher that a subscriber subscribed to its own
private topic. The subscriber is present from then until that subscription ends. It has joined
once it said HELLO behind all its subscriptions.

Following the subscribers costs the publisher nothing for each message. Now and then the
publisher sends a MARK to all of them. The MARK waits in each subscriber's queue behind the
messages before it. When these are consumed, the subscriber answers the MARK with CREDIT.

A publisher that waits is at most a window ahead of what its slowest subscriber consumed. A
subscriber that holds the publisher up, and has not said for `stall_s` that it reads, is
excluded until it has caught up. While the publisher is blocked it repeats the last MARK, less
and less often: the first may be lost with a connection that a subscriber opened anew.

Load measures what a window holds. A message adds its bytes and a share for the message itself;
each packet adds a share of its own. So a window is full with `window_bytes` of large messages,
with `window_messages` small messages in batches, or with `window_packets` messages that leave
alone. A link counts packets, whether they are large or small. It keeps as many of them for a
subscriber that is excluded as for any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from zmqkit.limits import MARKS_PER_WINDOW, REMARK_S, STALL_S, PublisherLimits

_DEFAULTS = PublisherLimits()


@dataclass(slots=True)
class Listener:
    """One subscriber, as the publisher knows it."""

    joined: bool = False
    far: bool = False  # it is on another machine, and takes compressed packets
    excluded: bool = False  # the publisher does not wait for it
    consumed: int = 0  # the load up to which it has certainly consumed everything
    read_at: float = 0.0  # when it last said that it reads


class Audience:
    """The subscribers of one publisher, and its window over them."""

    def __init__(
        self, limits: PublisherLimits = _DEFAULTS, *, waits: bool, stall_s: float = STALL_S
    ) -> None:
        """waits: whether the publisher waits for its slowest subscriber that still reads.

        stall_s: for how long a subscriber may hold the publisher up without reading.
        """
        self.waits = waits
        self._subscribers_max = limits.subscribers_max
        self._window = limits.window_bytes
        self._message_load = limits.message_load
        self._packet_load = limits.packet_load
        self._stride = limits.window_bytes // MARKS_PER_WINDOW
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
        self._mark_at: float = self._stride if waits else inf
        self._watch_at: float = self._mark_at

    @property
    def blocked(self) -> bool:
        """Whether the slowest subscriber is a window behind."""
        return self.load >= self.limit

    def enter(self, subscriber: int) -> bool:
        """Note that a subscriber is present; return false when there are too many."""
        if subscriber not in self.listeners:
            if len(self.listeners) >= self._subscribers_max:
                return False
            self.listeners[subscriber] = Listener()
        return True

    def join(self, subscriber: int, now: float, *, far: bool = False) -> bool:
        """Note that all of a subscriber's subscriptions are in place.

        Returns false when the subscriber is not present.
        """
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
        """Drop a subscriber that is gone; return false when it was not present."""
        listener = self.listeners.pop(subscriber, None)
        if listener is None:
            return False
        self.joined_count -= listener.joined
        self._recount(now)
        return True

    def sent(self, count: int, size: int, now: float) -> bool:
        """Count a packet of `count` messages and `size` bytes that was sent.

        Returns whether a MARK is to be sent now; its number is then in `mark`.
        """
        self.load += size + count * self._message_load + self._packet_load
        if self.load < self._watch_at:
            return False
        is_due = self.load >= self._mark_at
        if is_due:
            self._mark_at = self.load + self._stride
        self._recount(now)
        if not (is_due and self.joined_count):
            return False
        self.mark += 1
        self._marks.append((self.mark, self.load))
        if len(self._marks) > 2 * MARKS_PER_WINDOW:
            self._marks.popleft()  # an answer to a mark this old would help no subscriber
        return True

    def credit(self, subscriber: int, mark: int, now: float) -> bool | None:
        """Note that a subscriber reads, and has consumed everything before a mark.

        mark: 0 when it has consumed nothing yet. Returns true if the subscriber was excluded
        and has now caught up, and None if the subscriber or the mark is unknown.
        """
        listener = self.listeners.get(subscriber)
        if listener is None or not 0 <= mark <= self.mark:
            return None
        listener.read_at = now
        consumed = next((load for number, load in self._marks if number == mark), 0)
        if consumed <= listener.consumed:
            return False
        listener.consumed = consumed
        caught_up = listener.excluded and self.load - consumed < self._window
        if caught_up:
            listener.excluded = False
        self._recount(now)
        return caught_up

    def exclude_at(self) -> float:
        """Return when a subscriber will have held up the publisher for too long."""
        return min((at for _, at in self._holders()), default=inf)

    def exclude(self, now: float) -> list[int]:
        """Exclude the subscribers that held up the publisher for too long, and return them."""
        stuck = [subscriber for subscriber, at in self._holders() if now >= at]
        for subscriber in stuck:
            self.listeners[subscriber].excluded = True
        self._recount(now)
        return stuck

    def remark(self, now: float) -> None:
        """Note that the last MARK is sent once more, and schedule the next repetition."""
        self.remark_at = 2 * now - self.stalled_at

    def check(self) -> None:
        """Assert that the counts match the listeners, and the limit matches the slowest one."""
        assert self.joined_count == sum(each.joined for each in self.listeners.values())
        assert self.limit == self._limit()
        assert self.far == any(each.far for each in self.listeners.values())
        assert (self.stalled_at < inf) == (self.remark_at < inf) == self.blocked
        assert all(each.consumed <= self.load for each in self.listeners.values())

    def _holders(self) -> Iterator[tuple[int, float]]:
        """Yield each subscriber that holds up the publisher, and until when it may."""
        if self.blocked:
            for subscriber, each in self.listeners.items():
                if self._counts(each) and each.consumed + self._window <= self.load:
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
        return slowest + self._window

    def _recount(self, now: float) -> None:
        self.far = any(each.far for each in self.listeners.values())
        self.limit = self._limit()
        self._watch_at = min(self._mark_at, self.limit)
        if not self.blocked:
            self.stalled_at = self.remark_at = inf
        elif self.stalled_at == inf:
            self.stalled_at, self.remark_at = now, now + REMARK_S
