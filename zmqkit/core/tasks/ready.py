"""The tasks that a worker may have now: which one is next, and which of them are on disk only.

Theory of operation. There is a row of tasks for each priority. Without a journal all tasks are
in their rows. With one, memory has the beginning of each row, and the plain tasks behind that
are on disk only. A task is plain if its body and its priority are all that there is to know:

    rows[p]    in memory, in order: a worker may have these
    on_disk    how many plain tasks of a priority follow, in the journal alone
    tails[p]   in memory, and behind those on disk: tasks with keys or times, whose turn comes
               once what was pushed before them was read; plain tasks that are not written yet

A new plain task goes to the tail once its row is long, and leaves memory once it is written. A
row that gets short has the next page read, and takes from the tail what was pushed before the
page's last task. So the tasks of one priority keep their order. While a row is empty whose
tasks are on disk, tasks of a lower priority wait for its page.

A task that left memory lives on as a stub while somebody has its ticket, and is the same object
when its page is read.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from weakref import WeakValueDictionary

from zmqkit.core.tasks.row import Row
from zmqkit.core.tasks.task import State, Task
from zmqkit.limits import OLDEST_EVERY, PRIORITY_MAX

_LEVELS = range(PRIORITY_MAX + 1)
_FALLING = tuple(reversed(_LEVELS))


@dataclass(slots=True)
class Paged:
    """A page of the plain tasks of one priority, as it was read."""

    priority: int
    tasks: list[Task]
    # The numbers of tasks that were damaged, and are lost.
    damaged: list[int]
    # The number of the last task, and whether no more follow on disk.
    read: int
    is_last: bool


class Ready:
    """The ready tasks by priority, in memory and on disk."""

    def __init__(self, window: int) -> None:
        """Begin without tasks. window: how long a row may get in memory, with a journal."""
        # Whether no task is leased until somebody resumes the queue.
        self.paused = False
        # How many tasks are in rows.
        self.count = 0
        self.rows = [Row() for _ in _LEVELS]
        # How many tasks are on disk only, by priority and in all.
        self.on_disk = [0 for _ in _LEVELS]
        self.total = 0
        # Whether plain tasks may leave memory: there is a journal, and it can be read.
        self.pages = False
        self._window = window
        self._turn = 0
        # By priority: no task up to this number is on disk only.
        self._read = [0 for _ in _LEVELS]
        self._tails = [OrderedDict[int, Task]() for _ in _LEVELS]
        # Plain tasks that went to a tail, until they are written.
        self._unwritten: deque[Task] = deque()
        self._stubs: WeakValueDictionary[int, Task] = WeakValueDictionary()
        # Whether a page is being read.
        self._is_reading = False

    def join(self, task: Task, *, first: bool = False, crowded: bool = False) -> None:
        """Add a task at the end of its row, among those put back, or behind those on disk.

        crowded: memory is short, so that a plain task better waits on disk.
        """
        priority = task.priority
        row = self.rows[priority]
        if self.pages and not first and not task.attempt:
            if self._tails[priority] or self.on_disk[priority]:
                if task.sequence > self._read[priority]:
                    self._follow(task)
                    return
            elif _is_new(task) and row and (crowded or len(row) >= self._window):
                self._read[priority] = task.sequence - 1
                self._follow(task)
                return
        row.join(task, first=first)
        self.count += 1

    def leave(self, task: Task) -> bool:
        """Take a task out that ends; return whether it was here."""
        priority = task.priority
        was_here = self.rows[priority].leave(task)
        self.count -= was_here
        was_here = was_here or self._tails[priority].pop(task.sequence, None) is not None
        self.refill(priority)
        return was_here

    def has(self, task: Task) -> bool:
        """Return whether a task is here, in memory."""
        return (
            task.sequence in self.rows[task.priority]
            or task.sequence in self._tails[task.priority]
        )

    def next(self) -> Task | None:
        """Take the next task out; None while its page is read. A row must have a task."""
        oldest = (self._turn + 1) % OLDEST_EVERY == 0
        priority = self._oldest() if oldest else self._first()
        if priority is None:
            return None
        self._turn += 1
        self.count -= 1
        task = self.rows[priority].take()
        if self._tails[priority]:
            self.refill(priority)
        return task

    def clear(self) -> None:
        """Take all tasks out that are in memory; they are to `join` again in their order."""
        self.count = 0
        self._unwritten.clear()
        self.rows = [Row() for _ in _LEVELS]
        for tail in self._tails:
            tail.clear()

    def refill(self, priority: int) -> None:
        """Move tasks from a tail to its row, unless others come before them."""
        row, tail = self.rows[priority], self._tails[priority]
        while tail and not self.on_disk[priority] and len(row) < self._window:
            sequence, task = tail.popitem(last=False)
            row[sequence] = task
            self.count += 1
            self._read[priority] = max(self._read[priority], sequence)

    # On disk

    def begin(self, on_disk: Mapping[int, int]) -> None:
        """Follow a journal that has so many plain tasks of each priority."""
        self.pages = True
        for priority, count in on_disk.items():
            self.on_disk[priority] = count
            self.total += count

    def written(self, number: int) -> list[Task]:
        """Learn that an append is on disk; return the tasks that leave memory for it."""
        out: list[Task] = []
        while self._unwritten and self._unwritten[0].append <= number:
            task = self._unwritten.popleft()
            if self._tails[task.priority].pop(task.sequence, None) is not None:
                self._shelve(task)
                task.row, task.raw = b"", None
                self.on_disk[task.priority] += 1
                self.total += 1
                out.append(task)
        return out

    def wanted(self, *, crowded: bool) -> tuple[int, int, int] | None:
        """Return of which page there is need: priority, number before it, how many tasks.

        Empty rows come before short ones, as the oldest task of all may be in one of them.
        It counts as being read until `take_in` or `fail`.
        """
        if not self.total or self._is_reading or not self.pages:
            return None
        for short in (0, 0 if crowded else self._window // 2):
            for priority in _FALLING:
                length = len(self.rows[priority])
                if self.on_disk[priority] and length <= short:
                    self._is_reading = True
                    return priority, self._read[priority], self._window - length
        return None

    def take_in(self, page: Paged, tasks: list[Task]) -> None:
        """Add those tasks of a page that are still open, and what was pushed between them."""
        self._is_reading = False
        priority = page.priority
        row, tail = self.rows[priority], self._tails[priority]
        self._read[priority] = max(self._read[priority], page.read)
        between = [each for each in tail.values() if each.sequence < page.read]
        for each in between:
            del tail[each.sequence]
        for each in sorted([*tasks, *between], key=lambda task: task.sequence):
            row[each.sequence] = each
        self.count += len(tasks) + len(between)
        self.refill(priority)

    def take_back(self, task: Task) -> None:
        """Count a task no longer among those on disk only; `refill` follows."""
        del self._stubs[task.sequence]
        task.is_shelved = False
        self.gone(task.priority)

    def gone(self, priority: int, count: int = 1) -> None:
        """Count so many tasks less that are on disk only; `refill` follows."""
        self.on_disk[priority] -= count
        self.total -= count

    def stub(self, sequence: int) -> Task | None:
        """Return a task that is on disk only, if somebody has its ticket."""
        return self._stubs.get(sequence)

    def stubs(self) -> Iterator[Task]:
        """Return all tasks that are on disk only whose tickets somebody has."""
        return iter([*self._stubs.values()])

    def reveal(self, sequence: int, priority: int) -> Task | None:
        """Return a stub for a task that the journal has; None if it is not on disk only."""
        if not self.on_disk[priority] or sequence <= self._read[priority]:
            return None
        task = Task(b"", None, priority)
        task.sequence, task.is_plain = sequence, True
        self._shelve(task)
        return task

    def fail(self) -> None:
        """Go on with what is in memory: the journal cannot be read."""
        self.pages = self._is_reading = False
        self._unwritten.clear()
        for priority in _LEVELS:
            tail = self._tails[priority]
            self.rows[priority].update(tail)
            self.count += len(tail)
            tail.clear()

    def oldest_since(self) -> float:
        """Return since when the task has been ready that waits longest; infinity if none is."""
        firsts = [row.first() for row in self.rows if row]
        return min((each.due_at or each.pushed_at for each in firsts), default=inf)

    def check(self) -> None:
        """Assert that all counts are right."""
        assert self.count == sum(map(len, self.rows))
        assert self.total == sum(self.on_disk) and min(self.on_disk) >= 0
        for row, tail in zip(self.rows, self._tails, strict=True):
            assert not row.keys() & tail.keys()
            for each in (*row.values(), *tail.values()):
                assert each.state is State.WAITING and not each.is_shelved
        for priority in _LEVELS:
            if self._tails[priority]:
                assert self.pages
                assert self.rows[priority] or self.on_disk[priority], "nothing fills its row"

    # Inside

    def _first(self) -> int | None:
        for priority in _FALLING:
            if self.rows[priority]:
                return priority
            if self.on_disk[priority] and self.pages:
                return None
        raise AssertionError("tasks are counted and none is ready")

    def _oldest(self) -> int | None:
        firsts = [row.first() for row in self.rows if row]
        oldest = min(firsts, key=lambda task: task.sequence)
        if self.total and self.pages:
            for priority in _LEVELS:
                unread = self.on_disk[priority] and not self.rows[priority]
                if unread and self._read[priority] < oldest.sequence:
                    return None
        return oldest.priority

    def _follow(self, task: Task) -> None:
        self._tails[task.priority][task.sequence] = task
        if _is_new(task):
            self._unwritten.append(task)
        self.refill(task.priority)

    def _shelve(self, task: Task) -> None:
        task.is_shelved = True
        self._stubs[task.sequence] = task


def _is_new(task: Task) -> bool:
    """Return whether a plain task is as it was pushed; one that is requeued has a due time."""
    return task.is_plain and not task.due_at


def is_plain(task: Task) -> bool:
    """Return whether a new task's body and its priority are all that there is to know of it."""
    return not (
        task.due_at
        or task.own_id is not None
        or task.unique is not None
        or task.order_by is not None
        or task.expires_at < inf
        or task.to_sink
    )
