"""Tasks by the names that their senders gave them: ids and unique keys."""

from __future__ import annotations

from zmqkit.core.tasks.task import Task


class Names:
    """Tasks by id, for as long as they are known, and by unique key, while they are open."""

    def __init__(self) -> None:
        self._by_id: dict[str, Task] = {}
        self._by_unique: dict[str, Task] = {}

    def known(self, task: Task) -> Task | None:
        """Return the task that has this task's id or unique key already, if there is one."""
        found = self._by_id.get(task.own_id) if task.own_id is not None else None
        if found is None and task.unique is not None:
            found = self._by_unique.get(task.unique)
        return found

    def find(self, id: str) -> Task | None:
        """Return the task that was pushed with this id, if it is known."""
        return self._by_id.get(id)

    def holder(self, unique: str | None) -> Task | None:
        """Return the open task that has this unique key."""
        return self._by_unique.get(unique) if unique is not None else None

    def add(self, task: Task) -> None:
        """Know a task by its names."""
        if task.own_id is not None:
            self._by_id[task.own_id] = task
        if task.unique is not None and not task.is_over:
            self._by_unique[task.unique] = task

    def close(self, task: Task) -> None:
        """Free the unique key of a task that is done."""
        if task.unique is not None and self._by_unique.get(task.unique) is task:
            del self._by_unique[task.unique]

    def open(self, task: Task) -> None:
        """Know a requeued task by its unique key again, unless another task has it by now."""
        if task.unique is not None:
            self._by_unique.setdefault(task.unique, task)

    def forget(self, task: Task) -> None:
        """Forget the id of a task; another one may have it from now on."""
        if task.own_id is not None and self._by_id.get(task.own_id) is task:
            del self._by_id[task.own_id]
