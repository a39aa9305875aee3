"""How plain tasks of a ledger leave memory for the journal, and come back page by page.

`Ready` says which tasks these are. Here the ledger's counts follow: a task on disk only is
still accepted and waiting, and takes no room in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import Event, State
from zmqkit.errors import JournalError
from zmqkit.limits import TASK_BYTES


class Paging:
    """Moves plain tasks of a ledger between memory and the journal."""

    def __init__(self, ledger: Ledger, tasks_max: int) -> None:
        """tasks_max: how many tasks may be in memory before pages have one task only."""
        self._ledger = ledger
        self._tasks_max = tasks_max

    def written(self, number: int) -> None:
        """Learn that an append is on disk; plain tasks that come much later leave memory."""
        ledger = self._ledger
        for task in ledger.line.written(number):
            del ledger.tasks[task.sequence]
            ledger.open_count -= 1
            ledger.size -= task.size + TASK_BYTES

    def wanted(self) -> tuple[int, int, int] | None:
        """Return of which page there is need, as `Ready.wanted` does."""
        ledger = self._ledger
        is_full = ledger.open_count >= self._tasks_max
        wanted = ledger.line.wanted(crowded=is_full or ledger.is_crowded())
        if wanted is None or not is_full:
            return wanted
        priority, after, _ = wanted
        return priority, after, 1  # a row is empty, and without its next task nothing goes on

    def take_in(self, page: Paged, ended: Callable[[int], bool], now: float) -> int:
        """Take the tasks of a page that are open; return how many are lost, which are dropped.

        ended: returns whether this task has ended, which the disk did not know yet.
        """
        ledger, line, taken = self._ledger, self._ledger.line, []
        for task in page.tasks:
            if ended(task.sequence) or task.sequence in ledger.tasks:
                continue
            stub = line.stub(task.sequence)
            if stub is not None:
                stub.row, stub.raw, stub.size = task.row, task.raw, task.size
                task = stub
            ledger.bring_in(task)
            taken.append(task)
        lost = [n for n in page.damaged if not ended(n)]
        stubs = [stub for n in lost if (stub := line.stub(n)) is not None]
        line.take_in(page, taken)
        count = len(lost)
        if page.is_last:  # whatever there should be besides is not there
            count = line.on_disk[page.priority]
            stubs = [each for each in line.stubs() if each.priority == page.priority]
        for stub in stubs:
            error = JournalError("the task was damaged on disk, and is lost")
            ledger.settle(stub, Event.PURGED, now, error=error)
        self._drop(page.priority, count - len(stubs))
        return count

    def _drop(self, priority: int, count: int) -> None:
        """Count so many tasks as dropped that were on disk only."""
        ledger = self._ledger
        ledger.line.gone(priority, count)
        ledger.line.refill(priority)
        ledger.counts[State.WAITING] -= count
        ledger.counts[State.DROPPED] += count
