"""When delayed tasks of a ledger are due, and when tasks expire that nobody has begun."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from zmqkit.core.tasks.heap import Heap
from zmqkit.core.tasks.task import Task


class Schedule:
    """The times of the tasks that wait."""

    def __init__(self, tasks: Mapping[int, Task]) -> None:
        """Begin without times. tasks: those of the ledger, by number."""
        self._delayed = Heap(tasks)
        self._expiring = Heap(tasks)

    def __len__(self) -> int:
        return len(self._delayed) + len(self._expiring)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._delayed

    def delay(self, task: Task, open_count: int) -> None:
        """Have `due` return a task when its time comes. open_count: how many are open."""
        self._delayed.push(task.due_at, task, open_count)

    def delay_none(self) -> None:
        """Forget which tasks are delayed; they enter again."""
        self._delayed.clear()

    def limit(self, task: Task, open_count: int) -> None:
        """Have `expired` return a task when its time is over, if it has a limit."""
        if task.expires_at < inf:
            self._expiring.push(task.expires_at, task, open_count)

    def due(self, now: float) -> list[Task]:
        """Return the delayed tasks that are due; one may have been delayed again meanwhile."""
        return [task for _, task in self._delayed.pop(now) if task.due_at <= now]

    def expired(self, now: float) -> list[Task]:
        """Return the tasks that wait and whose time is over."""
        return [task for at, task in self._expiring.pop(now) if task.expires_at == at]

    def deadline(self) -> float:
        """Return when `due` or `expired` next has a task."""
        return min(self._delayed.first(), self._expiring.first())
