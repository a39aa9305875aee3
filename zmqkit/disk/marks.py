"""When tasks were pushed: a mark every few seconds, instead of a time in each task's row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

MARK_S = 10.0
"""How far marks are apart, and so how much too old a task may look in the next process."""

MARKS_MAX = 10_000
"""How many marks are kept, the last ones: more than a day of pushing."""


class Marks:
    """The marks of a journal: from which number on tasks were pushed at which time of day."""

    def __init__(self, rows: Iterable[tuple[int, float]]) -> None:
        """rows: numbers with their times, in order."""
        self._rows = list(rows)

    def are_due(self, at: float) -> bool:
        """Return whether what is pushed at this time needs a mark of its own."""
        return not self._rows or abs(at - self._rows[-1][1]) >= MARK_S

    def add(self, sequence: int, at: float) -> None:
        """Note that this task and those after it were pushed at this time, or later."""
        self._rows.append((sequence, at))
        del self._rows[:-MARKS_MAX]

    def of(self, sequence: int) -> float | None:
        """Return about when a task was pushed; None if nobody knows.

        A task before the first mark has its time, and was pushed earlier.
        """
        if not self._rows:
            return None
        after = bisect_right(self._rows, sequence, key=lambda row: row[0])
        return self._rows[max(0, after - 1)][1]
