"""Tasks with the same key: one of them holds the key, and the others wait behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from zmqkit.core.tasks.task import Task


class Keys:
    """By key, the tasks that wait behind the one that holds it until it is settled."""

    def __init__(self) -> None:
        self._behind: dict[str, deque[Task]] = {}

    def take(self, task: Task) -> bool:
        """Have a task hold its key; return False if it waits behind another one instead."""
        key = task.order_by
        if key is None:
            return True
        if key in self._behind:
            self._behind[key].append(task)
            return False
        self._behind[key] = deque()
        return True

    def keep(self, task: Task) -> None:
        """Have a task hold its key that a worker has, beside another one if need be."""
        if task.order_by is not None:
            self._behind.setdefault(task.order_by, deque())

    def leave(self, task: Task) -> None:
        """Take a task out that ends while it waits behind another; it held no key."""
        behind = self._behind.get(task.order_by or "", ())
        if task in behind:
            self._behind[task.order_by or ""].remove(task)
            task.order_by = None

    def free(self, task: Task) -> Task | None:
        """Take the key from a task that is settled; return the next one, which holds it now."""
        behind = self._behind.get(task.order_by or "")
        if behind:
            return behind.popleft()
        if behind is not None:
            del self._behind[task.order_by or ""]
        return None

    def begin(self, holders: Iterable[Task]) -> None:
        """Begin anew with tasks that hold their keys already."""
        self._behind = {each.order_by: deque() for each in holders if each.order_by is not None}

    def waiting(self) -> set[int]:
        """Return the numbers of the tasks that wait behind another one."""
        return {task.sequence for behind in self._behind.values() for task in behind}

    def check(self, opened: Iterable[Task]) -> None:
        """Assert that each key is that of an open task."""
        assert self._behind.keys() <= {each.order_by for each in opened}
        for key, behind in self._behind.items():
            assert all(each.order_by == key for each in behind)
