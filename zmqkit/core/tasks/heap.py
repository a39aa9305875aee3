"""When tasks that wait are due, or expire: the earliest is first.

An entry whose task has moved on means nothing any more, and is skipped. The heap is made anew
once most of its entries mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from math import inf

from zmqkit.core.tasks.task import State, Task

_STALE_MAX = 1000
"""How many entries may mean nothing any more before the heap is made anew."""


class Heap:
    """Points in time, each of one task of a ledger."""

    def __init__(self, tasks: Mapping[int, Task]) -> None:
        self._tasks = tasks
        self._entries: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, sequence: int) -> bool:
        return any(each == sequence for _, each in self._entries)

    def push(self, at: float, task: Task, open_count: int) -> None:
        """Add the time of a task. open_count: how many tasks are still to be done."""
        if len(self._entries) > 2 * open_count + _STALE_MAX:
            self._entries[:] = {(at, n) for at, n in self._entries if self._waiting(n)}
            heapify(self._entries)
        heappush(self._entries, (at, task.sequence))

    def pop(self, now: float) -> Iterator[tuple[float, Task]]:
        """Yield the tasks that wait and whose time has come, and take them out."""
        while self._entries and self._entries[0][0] <= now:
            at, sequence = heappop(self._entries)
            task = self._waiting(sequence)
            if task is not None:
                yield at, task

    def clear(self) -> None:
        """Take all out."""
        self._entries.clear()

    def first(self) -> float:
        """Return the earliest time; infinity if there is none."""
        return self._entries[0][0] if self._entries else inf

    def _waiting(self, sequence: int) -> Task | None:
        task = self._tasks.get(sequence)
        return task if task is not None and task.state is State.WAITING else None
