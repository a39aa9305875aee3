"""How long the parts of a role take: a histogram for each method, queue or service.

Whoever owns a meter records at once all that ended at one time. A name beyond the limit shares
the part of all others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

from zmqkit.statistics_limits import PARTS_MAX
from zmqkit.wire.histogram import BOUNDS, Histogram

_method_of, _begun_at = attrgetter("method"), attrgetter("begun_at")

OTHERS = ""
"""The name of the part for all names beyond the limit."""


class Timed(Protocol):
    """What a meter reads of a job: its method, and when it was accepted."""

    method: str
    begun_at: float


class Part:
    """What was recorded of one method, queue or service."""

    __slots__ = ("failed", "more", "took", "waited")

    def __init__(self) -> None:
        # How long each took that ended well; and, of tasks, how long they waited before.
        self.took = Histogram()
        self.waited: Histogram | None = None
        # How many failed, and how many ended well whose time says nothing, as that of a stream.
        self.failed = 0
        self.more = 0


class Meter:
    """The parts of one role by name. One thread at a time records; any other may read."""

    __slots__ = ("_parts_max", "parts")

    def __init__(self, parts_max: int = PARTS_MAX) -> None:
        """parts_max: how many names have a part of their own."""
        self.parts: dict[str, Part] = {}
        self._parts_max = parts_max

    def part(self, name: str) -> Part:
        """Return the part of this name, or that of all others if there are too many."""
        part = self.parts.get(name)
        if part is None:
            if len(self.parts) >= self._parts_max:
                name = OTHERS
            part = self.parts.setdefault(name, Part())
        return part

    def took(self, name: str, duration_s: float, count: int = 1) -> None:
        """Record that so many ended well, and how long each of them took.

        Every call that is alone passes here, so `Histogram.record` is written out.
        """
        took = (self.parts.get(name) or self.part(name)).took
        took.counts[bisect_right(BOUNDS, duration_s)] += count
        took.sum_s += duration_s * count

    def took_all(self, jobs: Sequence[Timed], now: float) -> None:
        """Record that these ended well now."""
        name = jobs[0].method
        if len(jobs) == 1:
            self.took(name, now - jobs[0].begun_at)
        elif [*map(_method_of, jobs)].count(name) == len(jobs):
            self.part(name).took.record_since([*map(_begun_at, jobs)], now)
        else:
            for job in jobs:
                self.took(job.method, now - job.begun_at)
