"""What is kept of tasks that ended: outcomes for a while, dead tasks until they are purged.

Outcomes are kept up to a number, to a number of bytes, and to an age; the oldest are forgotten
first. Dead tasks are kept up to a number and a number of bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf

from zmqkit.core.tap import Taps
from zmqkit.core.tasks.shown import see_end, see_retry, see_return
from zmqkit.core.tasks.task import Task
from zmqkit.limits import PusherLimits


class Settled:
    """The tasks that have ended and are not forgotten."""

    def __init__(self, limits: PusherLimits) -> None:
        # In the order in which they are forgotten; the dead ones stand apart.
        self.over: OrderedDict[int, Task] = OrderedDict()
        self.dead: OrderedDict[int, Task] = OrderedDict()
        # Those that see how tasks end.
        self.taps: Taps = ()
        self._limits = limits
        self._over_size = 0
        self._dead_size = 0

    def keep(self, task: Task, size: int) -> bool:
        """Keep what became of a task, and no more its body; return whether it is too much.

        size: how many bytes its result has.
        """
        if self.taps:
            see_end(self.taps, task, size)
        task.row, task.raw, task.result_size = b"", None, size
        self.over[task.sequence] = task
        self._over_size += size
        return self._is_full()

    def retried(self, task: Task, reason: str, now: float) -> None:
        """Show that an attempt failed and another one follows."""
        if self.taps:
            see_retry(self.taps, task, reason, now)

    def returned(self, task: Task, row: bytes, now: float) -> None:
        """Show that the result of a task waits for a sink, which is called with this row."""
        if self.taps:
            see_return(self.taps, task, row, now)

    def surplus_outcome(self, now: float) -> Task | None:
        """Return the oldest outcome if it is too old, or there are too many; else None."""
        if not self.over:
            return None
        oldest = next(iter(self.over.values()))
        if self._is_full() or oldest.settled_at + self._limits.outcomes_s <= now:
            return oldest
        return None

    def strike(self, task: Task) -> None:
        """Take an outcome out."""
        del self.over[task.sequence]
        self._over_size -= task.result_size

    def bury(self, task: Task) -> Task | None:
        """Keep a dead task; return the oldest dead one if there are too many."""
        if self.taps:
            see_end(self.taps, task, 0)
        self.dead[task.sequence] = task
        self._dead_size += task.size
        return self.surplus()

    def surplus(self) -> Task | None:
        """Return the oldest dead task if there are too many; else None."""
        limits = self._limits
        if len(self.dead) > limits.dead_max or self._dead_size > limits.dead_bytes_max:
            return next(iter(self.dead.values()))
        return None

    def exhume(self, task: Task) -> None:
        """Keep a task among the dead ones no longer."""
        del self.dead[task.sequence]
        self._dead_size -= task.size

    def deadline(self) -> float:
        """Return when the oldest outcome is to be forgotten."""
        if not self.over:
            return inf
        return next(iter(self.over.values())).settled_at + self._limits.outcomes_s

    def check(self) -> None:
        """Assert that the counts are right and within the limits."""
        assert len(self.dead) <= self._limits.dead_max
        assert self._dead_size == sum(task.size for task in self.dead.values())
        assert self._over_size == sum(task.result_size for task in self.over.values())
        assert len(self.over) <= self._limits.outcomes_max

    def _is_full(self) -> bool:
        limits = self._limits
        return (
            len(self.over) > limits.outcomes_max or self._over_size > limits.outcomes_bytes_max
        )
