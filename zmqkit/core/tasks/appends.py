"""How a journal follows a ledger: one append at a time, and what came meanwhile is the next.

An append has all changes since the one before: tasks that are new or have changed, tasks that
have ended, and which workers have other leases now. What happens to a task between two appends
is written once. A push is acknowledged when its append is on disk.
"""

from __future__ import annotations

from collections import deque
from math import inf

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.effects import Append
from zmqkit.core.tasks.held import Held
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import Task
from zmqkit.errors import JournalError
from zmqkit.limits import RETRY_S


class Appends:
    """The changes of a ledger on their way to the journal, and who waits for them."""

    def __init__(self, ledger: Ledger, held: Held | None = None) -> None:
        """Begin without changes. held: which leases the journal is told of, if of any."""
        self._ledger = ledger
        self._held = held or Held(())
        # How many appends there were, and the last one that is on disk.
        self.count = 0
        self._written = 0
        # The highest number of a task that may be on disk.
        self.last = 0
        # What the append under way has, and the bytes of its new tasks; nothing while none is.
        self._is_under_way = False
        self._under_way: dict[int, Task] = {}
        self._bytes = 0
        self._last_under_way = 0
        # After a failure: not before this time.
        self._not_before = -inf
        # Why nothing is written any more. What a disk says after it failed cannot be trusted.
        self.fault: JournalError | None = None
        # By append: who waits, and for which task.
        self._waits: deque[tuple[int, object, Task]] = deque()

    @property
    def next(self) -> int:
        """The number of the append that has what changes now."""
        return self.count + 1

    def wait(self, task: Task, waiter: object) -> bool:
        """Have the wait end once the journal has the task; return False if it has it."""
        if not self.due(task):
            return False
        self._waits.append((task.append, waiter, task))
        return True

    def due(self, task: Task) -> int:
        """Return the append that has a task as it was pushed; 0 if it is on disk."""
        return task.append if task.append > self._written else 0

    def forget(self, waiter: object) -> None:
        """Let this waiter go."""
        self._waits = deque(each for each in self._waits if each[1] is not waiter)

    def take(self, now: float) -> list[Append]:
        """Return the next append, if there is something to write and none is under way."""
        changes = self._ledger.changes
        if changes is None or self._is_under_way:
            return []
        if not (changes or self._held.has_more()) or self.fault is not None:
            return []
        return self._take() if now >= self._not_before else []

    def take_last(self) -> list[Append]:
        """Return the last append, which may follow on another one that is under way."""
        return self._take() if self._ledger.changes is not None and self.fault is None else []

    def written(self, number: int, size: int) -> list[Outcome]:
        """Learn that an append is on disk; return the outcomes of those who waited for it.

        size: how many bytes the journal has now.
        """
        self._under_way, self._is_under_way = {}, False
        self._held.written()
        self._written, self.last = number, self._last_under_way
        self._ledger.journal_bytes = size
        self._ledger.unwritten_bytes -= self._bytes
        return [(waiter, task, None) for waiter, task in self._over(number)]

    def failed(self, number: int, error: JournalError, now: float) -> list[tuple[object, Task]]:
        """Learn that an append changed nothing; its changes join the next one, a while later.

        There is no next one unless the error says that they may be written once more. Returns
        who waited for it, or for the next one that never comes, and for which tasks.
        """
        if not error.may_retry:
            self.fault = error
        changes = self._ledger.changes
        assert changes is not None
        for sequence, task in self._under_way.items():
            if task.append == number:
                task.append = self.next
            changes.setdefault(sequence, task)
        self._ledger.changes = {
            sequence: task
            for sequence, task in changes.items()
            if sequence <= self.last or not task.is_forgotten  # the others are not on disk
        }
        self._under_way, self._is_under_way = {}, False
        self._held.again()
        self._ledger.unwritten_bytes -= self._bytes
        self._not_before = now + RETRY_S
        return self._over(number if self.fault is None else self.next)

    def of(self, sequence: int) -> int:
        """Return the append that has a task's last change; 0 if that is on disk."""
        if sequence in (self._ledger.changes or ()):
            return self.next
        return self.count if sequence in self._under_way else 0

    def is_pending(self, sequence: int) -> bool:
        """Whether a change of this task is on its way to the disk."""
        return sequence in self._under_way or sequence in (self._ledger.changes or ())

    def waiting(self) -> list[object]:
        """Return all who wait, and let them go."""
        return [waiter for waiter, _ in self._over(self.count + 1)]

    def due_at(self) -> float:
        """Return when `take` has something that it has not now."""
        has_more = self._ledger.changes or (
            self._ledger.changes is not None and self._held.has_more()
        )
        waits = has_more and not self._is_under_way and self.fault is None
        return self._not_before if waits else inf

    def _take(self) -> list[Append]:
        leases = self._held.take()
        if not (leases or self._ledger.changes):
            self._held.written()
            return []
        changes, self._ledger.changes = self._ledger.changes, {}
        assert changes is not None
        self._is_under_way = True
        self._under_way, self._last_under_way = changes, self._ledger.last
        self._bytes = self._ledger.unwritten_bytes
        self.count += 1
        return [Append(self.count, [*changes.values()], self._ledger.last, leases=leases)]

    def _over(self, number: int) -> list[tuple[object, Task]]:
        over = [(waiter, task) for at, waiter, task in self._waits if at <= number]
        if over:
            self._waits = deque(each for each in self._waits if each[0] > number)
        return over
