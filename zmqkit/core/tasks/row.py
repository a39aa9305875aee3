"""Tasks in a row: those put back come first, in the order in which they were pushed."""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush

from zmqkit.core.tasks.task import Task


class Row(OrderedDict[int, Task]):
    """Tasks by number, in the order in which they came; see `join` for those that return.

    A task that may have been put back is removed by `leave` or `take`. Each takes O(log n).
    """

    def __init__(self) -> None:
        super().__init__()
        # The numbers of those put back, as a heap, whose first one is always here.
        self._back: list[int] = []

    def join(self, task: Task, *, first: bool) -> None:
        """Add a task at the end, or put it back: before those that were never taken."""
        self[task.sequence] = task
        if first:
            heappush(self._back, task.sequence)

    def first(self) -> Task:
        """Return the task whose turn it is. The row must have one."""
        return self[self._back[0]] if self._back else next(iter(self.values()))

    def take(self) -> Task:
        """Take that task out."""
        task = self.first()
        self.leave(task)
        return task

    def leave(self, task: Task) -> bool:
        """Take a task out; return whether it was here."""
        was_here = self.pop(task.sequence, None) is not None
        while self._back and self._back[0] not in self:
            heappop(self._back)
        return was_here
