"""A histogram of durations: of fixed size, quick to record into, and mergeable.

Its buckets are log-linear: eight of equal width between one power of two and the next, from
1 µs to 4.4 hours. So a percentile is off by 6 % at most, whatever was recorded, and histograms
of several processes, or of two points in time, add up and subtract bucket by bucket.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from math import ceil

from zmqkit.wire.encoding import Malformed

STEPS = 8
"""How many buckets there are between one power of two and the next."""

_OCTAVES = 34
BOUNDS = tuple(
    1e-6 * 2.0**octave * (1 + step / STEPS)
    for octave in range(_OCTAVES)
    for step in range(STEPS)
)
"""In seconds, rising: where each bucket ends and the next one begins."""

BUCKETS = len(BOUNDS) + 1
"""How many buckets there are; the first and the last have no other side."""

ERROR_MAX = 1 / (2 * STEPS + 1)
"""By what part a duration between the first and the last bound is off, at most."""

_SUM_US_MAX = COUNT_MAX = (1 << 63) - 1


def _typical(bucket: int) -> float:
    """Return the duration that is off least from all in a bucket, by proportion."""
    if bucket == 0:
        return BOUNDS[0]
    if bucket == len(BOUNDS):
        return BOUNDS[-1]
    low, high = BOUNDS[bucket - 1], BOUNDS[bucket]
    return 2 * low * high / (low + high)


TYPICAL = tuple(map(_typical, range(BUCKETS)))
"""The duration, in seconds, that stands for each bucket."""


class Histogram:
    """How often which duration was recorded, in seconds, and their sum.

    One thread at a time may record; any other may read meanwhile.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self, counts: Iterable[int] = (), sum_s: float = 0.0) -> None:
        """counts: of each bucket, or nothing for an empty histogram."""
        self.counts = list(counts) or [0] * BUCKETS
        self.sum_s = sum_s

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, {self.sum_s:g} s>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # it changes

    def record(self, duration_s: float, count: int = 1) -> None:
        """Record a duration, as often as `count` says."""
        self.counts[bisect_right(BOUNDS, duration_s)] += count
        self.sum_s += duration_s * count

    def record_since(self, begun: list[float], now: float) -> None:
        """Record what began at these times and ended now; the list is sorted here.

        It is quick where the times differ little. What ends on the very bound of a bucket may
        be in the one before.
        """
        begun.sort()
        counts, end, first = self.counts, len(begun), now - begun[0]
        self.sum_s += end * now - sum(begun)
        while end:
            bucket = bisect_right(BOUNDS, now - begun[end - 1])
            at = 0
            if bucket < len(BOUNDS) and first >= BOUNDS[bucket]:
                at = min(bisect_right(begun, now - BOUNDS[bucket], 0, end), end - 1)
            counts[bucket] += end - at
            end = at

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float | None:
        """Return the duration that so many percent do not exceed, by nearest rank.

        It is None if nothing was recorded.
        """
        counts = self.counts[:]  # which another thread may record into
        rank = max(1, ceil(sum(counts) * percent / 100))
        for bucket, count in enumerate(counts):
            rank -= count
            if rank <= 0:
                return TYPICAL[bucket]
        return None

    def copy(self) -> Histogram:
        """Return a histogram of its own with the same durations."""
        return Histogram(self.counts, self.sum_s)

    def add(self, other: Histogram) -> None:
        """Record all that the other one has."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was recorded since an earlier copy of this one.

        It is all of this one if that was no copy of it, as after a restart.
        """
        counts = [a - b for a, b in zip(self.counts, earlier.counts, strict=True)]
        if min(counts) < 0:
            return self.copy()
        return Histogram(counts, max(0.0, self.sum_s - earlier.sum_s))

    def packed(self) -> list[int]:
        """Return it as it travels: the sum in µs, and each filled bucket with its count."""
        packed = [min(round(self.sum_s * 1e6), _SUM_US_MAX)]
        for bucket, count in enumerate(self.counts[:]):
            if count:
                packed += (bucket, count)
        return packed


def unpacked(value: object) -> Histogram:
    """Return the histogram that travelled so. Raises Malformed for anything else."""
    if (
        type(value) is not list
        or not len(value) % 2
        or len(value) > 1 + 2 * BUCKETS
        or any(type(each) is not int or not 0 <= each <= COUNT_MAX for each in value)
    ):
        raise Malformed("histogram")
    buckets = value[1::2]
    if any(a >= b for a, b in pairwise([*buckets, BUCKETS])):
        raise Malformed("histogram")
    histogram = Histogram(sum_s=value[0] / 1e6)
    for bucket, count in zip(buckets, value[2::2], strict=True):
        histogram.counts[bucket] = count
    return histogram
