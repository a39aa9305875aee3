"""What is to be measured, and what was."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from zmqkit.wire.histogram import BOUNDS, Histogram

Pattern = Literal["call", "publish", "push"]

WARM_UP_S = 0.3
LOOK_S = 0.1
"""How often the progress is shown."""
ANSWER_S = 5.0
"""How long the last answers may take once the time of a load is over."""
OUTSTANDING_MAX = 10_000
"""How many calls or tasks of an open loop may be under way; what is due beyond is not sent."""
PERCENTS = (50.0, 90.0, 99.0, 99.9)

clock = time.perf_counter


@dataclass(slots=True)
class Load:
    """How a pattern is loaded, and for how long."""

    pattern: Pattern
    body: bytes
    seconds: float
    # So many each second, whatever becomes of them; or so many under way, if it is None.
    rate: float | None = None
    in_flight: int = 200
    # One at a time, by a blocking role.
    alone: bool = False
    # The arguments of calls, where these are not the body.
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)
    # Called now and then with the part of the time that has passed, and the count so far.
    look: Callable[[float, int], object] = lambda part, count: None


@dataclass(slots=True)
class Measured:
    """What one run showed."""

    count: int = 0
    # How long the run took, in seconds.
    took_s: float = 0.0
    # From when each was to be sent to its answer; empty if that is not measured.
    latency: Histogram = field(default_factory=Histogram)
    longest_s: float = 0.0
    # What did not end well, by kind of error; what was due and not sent is `not sent`.
    failed: Counter[str] = field(default_factory=Counter)
    # Of what was published: how many messages were lost on the way or dropped here.
    missing: int = 0

    def record_all(self, ahead_s: list[float]) -> None:
        """Count as many, and how long each took, and empty the list.

        ahead_s: how long before its end each was to be sent, as a negative number.
        """
        if ahead_s:
            self.count += len(ahead_s)
            self.longest_s = max(self.longest_s, -min(ahead_s))
            self.latency.record_since(ahead_s, 0.0)
            ahead_s.clear()

    @property
    def rate(self) -> float:
        """How many there were each second."""
        return self.count / self.took_s if self.took_s else 0.0

    def record(self, duration_s: float) -> None:
        """Count one, and how long it took."""
        self.count += 1
        self.latency.counts[bisect_right(BOUNDS, duration_s)] += 1
        if duration_s > self.longest_s:
            self.longest_s = duration_s

    def percentiles(self) -> dict[str, float]:
        """Return the percentiles, as `p99_s` and so on, and the longest; empty without any."""
        if not self.latency.count:
            return {}
        found = {f"p{each:g}_s": estimated(self.latency, each) for each in PERCENTS}
        return {**{key: min(each, self.longest_s) for key, each in found.items()},
                "max_s": self.longest_s}  # fmt: skip

    def as_object(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {
            "count": self.count,
            "took_s": round(self.took_s, 6),
            "rate": round(self.rate, 3),
            "failed": dict(self.failed),
            "missing": self.missing,
            **self.percentiles(),
        }


def estimated(histogram: Histogram, percent: float) -> float:
    """Return a percentile as if the durations of a bucket were spread over it evenly.

    Of many durations that differ, it is off by much less than the width of a bucket.
    """
    rank = histogram.count * percent / 100
    for bucket, count in enumerate(histogram.counts):
        if count and rank <= count:
            low = BOUNDS[bucket - 1] if bucket else 0.0
            high = BOUNDS[min(bucket, len(BOUNDS) - 1)]
            return low + (high - low) * rank / count
        rank -= count
    return BOUNDS[-1]
