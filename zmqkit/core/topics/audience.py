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
    stands_for: int = 1  # how many subscribers; of a forwarder, all of its own


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
        self.subscriber_count = 0  # those behind forwarders included
        self.far = False
        self.load = 0
        self.limit: float = inf
        self.mark = 0
        self.stalled_at = inf
        self.remark_at = inf
        # When to look for subscribers that have held up the publisher for too long.
        self.exclude_at = inf
        self._marks: deque[int] = deque()  # the load at each of the last marks
        self._slowest_count = 0  # how many subscribers are the slowest
        self._mark_at: float = self._stride if waits else inf
        self._watch_at: float = self._mark_at

    @property
    def blocked(self) -> bool:
        """Whether the slowest subscriber is a window behind."""
        return self.load >= self.limit

    def by_state(self) -> dict[str, int]:
        """Return how many subscribers there are that joined, are excluded, or came only."""
        states = [
            "excluded" if each.excluded else "up" if each.joined else "opening"
            for each in list(self.listeners.values())
        ]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def enter(self, subscriber: int) -> bool:
        """Note that a subscriber is present; return false when there are too many."""
        if subscriber not in self.listeners:
            if len(self.listeners) >= self._subscribers_max:
                return False
            self.listeners[subscriber] = Listener()
        return True

    def join(
        self, subscriber: int, now: float, *, far: bool = False, stands_for: int = 1
    ) -> bool:
        """Note that all of a subscriber's subscriptions are in place.

        stands_for: of a forwarder, how many subscribers have joined there. Returns false when
        the subscriber is not present.
        """
        listener = self.listeners.get(subscriber)
        if listener is None:
            return False
        self.subscriber_count += stands_for - listener.stands_for * listener.joined
        listener.stands_for = stands_for
        if listener.joined:
            return True  # it subscribes to more, and has read no more than before
        self.joined_count += 1
        listener.joined, listener.far = True, far
        listener.consumed = self.load
        self.far = self.far or far
        if self._slowest_count:  # nobody is further than a new one
            self._slowest_count += self.consumed == self.load
        else:
            self._recount(now)
        return True

    def leave(self, subscriber: int, now: float) -> bool:
        """Drop a subscriber that is gone; return false when it was not present."""
        listener = self.listeners.pop(subscriber, None)
        if listener is None:
            return False
        self.joined_count -= listener.joined
        self.subscriber_count -= listener.stands_for * listener.joined
        if listener.far:
            self.far = any(each.far for each in self.listeners.values())
        if self._is_slowest(listener):
            self._slowest_count -= 1
            if not self._slowest_count:
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
        self._recount(now)
        return is_due and self.asks()

    def asks(self) -> bool:
        """Count a MARK that is to be sent now; return false if nobody has joined."""
        self._mark_at = self.load + self._stride
        self._watch()
        if not self.joined_count:
            return False
        self.mark += 1
        self._marks.append(self.load)
        while self._marks[0] <= self.load - 2 * self._window:
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
        at = len(self._marks) - 1 - (self.mark - mark)
        consumed = self._marks[at] if at >= 0 else 0
        if consumed <= listener.consumed:
            return False
        was_slowest = self._is_slowest(listener)
        listener.consumed = consumed
        caught_up = listener.excluded and self.load - consumed < self._window
        if caught_up:
            listener.excluded = False
        self._slowest_count -= was_slowest
        if caught_up or not self._slowest_count:
            self._recount(now)
        return caught_up

    def exclude(self, now: float) -> list[int]:
        """Exclude the subscribers that held up the publisher for too long, and return them."""
        holders = self._holders()
        stuck = [subscriber for subscriber, at in holders if now >= at]
        for subscriber in stuck:
            self.listeners[subscriber].excluded = True
        self._recount(now)
        if self.blocked:
            self.exclude_at = min((at for _, at in holders if now < at), default=inf)
        return stuck

    def remark(self, now: float) -> None:
        """Note that the last MARK is sent once more, and schedule the next repetition."""
        self.remark_at = 2 * now - self.stalled_at

    def check(self) -> None:
        """Assert that the counts match the listeners, and the limit matches the slowest one."""
        assert self.joined_count == sum(each.joined for each in self.listeners.values())
        assert (self.consumed, self._slowest_count) == self._slowest()
        stood_for = [each.stands_for for each in self.listeners.values() if each.joined]
        assert self.subscriber_count == sum(stood_for)
        assert self.far == any(each.far for each in self.listeners.values())
        assert (self.stalled_at < inf) == (self.remark_at < inf) == self.blocked
        assert (self.exclude_at < inf) == self.blocked or not self._holders()
        assert all(each.consumed <= self.load for each in self.listeners.values())

    def _holders(self) -> list[tuple[int, float]]:
        """Return each subscriber that holds up the publisher, and until when it may."""
        if not self.blocked:
            return []
        return [
            (subscriber, max(each.read_at, self.stalled_at) + self._stall_s)
            for subscriber, each in self.listeners.items()
            if self._counts(each) and each.consumed + self._window <= self.load
        ]

    def _counts(self, listener: Listener) -> bool:
        return listener.joined and not listener.excluded

    def _is_slowest(self, listener: Listener) -> bool:
        counts = self.waits and self._counts(listener)
        return counts and listener.consumed + self._window <= self.limit

    @property
    def consumed(self) -> float:
        """The load up to which all subscribers that count have consumed; infinity for none."""
        return self.limit - self._window

    @property
    def marked(self) -> int:
        """The load at the last MARK."""
        return self._marks[-1] if self._marks else 0

    def _slowest(self) -> tuple[float, int]:
        """Return up to which load the slowest ones have consumed, and how many these are."""
        counting = (each.consumed for each in self.listeners.values() if self._counts(each))
        consumed = list(counting) if self.waits else []
        slowest = min(consumed, default=inf)
        return slowest, consumed.count(slowest)  # type: ignore[arg-type]  # infinity is of none

    def _recount(self, now: float) -> None:
        slowest, self._slowest_count = self._slowest()
        self.limit = slowest + self._window
        self._watch()
        if not self.blocked:
            self.stalled_at = self.remark_at = self.exclude_at = inf
            return
        if self.stalled_at == inf:
            self.stalled_at, self.remark_at = now, now + REMARK_S
        self.exclude_at = self.stalled_at + self._stall_s  # nobody's time is over before that

    def _watch(self) -> None:
        """Set the load at which something follows: a MARK, or that the publisher is blocked."""
        self._watch_at = self._mark_at if self.blocked else min(self._mark_at, self.limit)
