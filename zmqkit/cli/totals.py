"""What several processes of one role count together, those that have ended included.

Each process tells what it counts now and then, so the sum is that of a moment ago. What a
process had in hand when it ended, and said no more about, is dropped: `process-ended`.
"""

from __future__ import annotations

from collections.abc import Mapping

from zmqkit.cli.pulse import Stats

_COUNTERS = (
    "accepted", "delivered", "failed", "expired", "refused", "duplicates", "evicted", "dropped",
    "malformed",
)  # fmt: skip
"""What is counted for good; all else is how much there is of something now."""


class Totals:
    """Adds up what processes count."""

    def __init__(self) -> None:
        self._ended: Stats = {}
        self._by_process: dict[int, Stats] = {}

    def take(self, pid: int, stats: Stats) -> None:
        """Learn what a process counts now."""
        self._by_process[pid] = stats

    def ended(self, pid: int) -> None:
        """Learn that a process has ended; what it counted stays counted."""
        last = self._by_process.pop(pid, {})
        held = last.get("in_flight")
        counted = {key: value for key, value in last.items() if key in _COUNTERS}
        self._ended = _sum(self._ended, counted)
        if held:
            self._ended = _sum(self._ended, {"dropped": {"process-ended": held}})

    def stats(self) -> Stats:
        """Return what all of them count together."""
        together = self._ended
        for stats in self._by_process.values():
            together = _sum(together, stats)
        return together


def _sum(one: Mapping[str, object], other: Mapping[str, object]) -> Stats:
    """Return the sums of numbers, also of those within maps."""
    total = dict(one)
    for key, value in other.items():
        before = total.get(key)
        if isinstance(value, Mapping):
            total[key] = _sum(before if isinstance(before, Mapping) else {}, value)
        elif isinstance(value, int | float) and isinstance(before, int | float | None):
            total[key] = value + (before or 0)
    return total
