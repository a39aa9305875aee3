"""A core and its journal, as slow as a test likes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from zmqkit.core.effects import Append, Effect, Note, Page, Settle
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import OPEN, Task
from zmqkit.errors import JournalError
from zmqkit.limits import PusherLimits

WINDOW = 4
LIMITS = PusherLimits(
    choice_s=0,
    window_tasks=WINDOW,
    tasks_max=30,
    outcomes_max=3,
    journal_bytes_max=1 << 20,
    dead_max=3,
)


@dataclass
class Row:
    """A task as the disk has it."""

    sequence: int
    priority: int
    body: bytes
    is_plain: bool
    order_by: str | None
    attempt: int
    due_at: float


class Disk:
    """A core and its journal, whose thread does one piece of work at a time, when told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows: dict[int, Row] = {}
        self.last = 0
        self.opening = 0
        self.full = False
        self.notes: list[Note] = []
        self.acknowledged: dict[object, Task] = {}
        self.refused: set[object] = set()
        self.open()

    def open(self) -> None:
        """Begin with what the disk has; what was under way is lost."""
        self.works: deque[Callable[[], Callable[[], list[Effect]]]] = deque()
        self.answers: deque[Callable[[], list[Effect]]] = deque()
        self.opening += 1
        self.core = PusherCore("thumbnails", 7 << 32, lambda: 1.0, LIMITS)
        on_disk: dict[int, int] = {}
        tasks = []
        for row in sorted(self.rows.values(), key=lambda row: row.sequence):
            if row.is_plain:
                on_disk[row.priority] = on_disk.get(row.priority, 0) + 1
            else:
                tasks.append(made(row))
        self.core.recover(tasks, self.last, self.opening, self.now, on_disk=on_disk)

    def push(self, number: object, priority: int = 4, order_by: str | None = None) -> Task:
        task = Task(b"%d" % hash(number), None, priority)
        task.order_by = order_by
        self.core.submit_safely(task, number, self.now)
        self.flush()
        return task

    def flush(self) -> None:
        self.perform(self.core.flush(self.now))

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                self.works.append(self._append(effect))
            elif isinstance(effect, Page):
                self.works.append(self._page(effect))
            elif isinstance(effect, Settle):
                for waiter, value, error in effect.outcomes:
                    if error is None and isinstance(value, Task):
                        self.acknowledged[waiter] = value
                    else:
                        self.refused.add(waiter)
            elif isinstance(effect, Note):
                self.notes.append(effect)

    def work(self) -> None:
        """Have the thread do its next piece of work."""
        if self.works:
            self.answers.append(self.works.popleft()())

    def answer(self) -> None:
        """Have the core hear the next answer."""
        if self.answers:
            self.perform(self.answers.popleft()())
            self.flush()

    def settle(self) -> None:
        """Let all work be done, and all answers be heard."""
        self.flush()
        while self.works or self.answers:
            self.work()
            self.answer()

    def _append(self, append: Append) -> Callable[[], Callable[[], list[Effect]]]:
        puts = [
            Row(
                task.sequence, task.priority, task.row, task.is_plain and not task.due_at,
                task.order_by, task.attempt, task.due_at,
            )
            for task in append.changes
            if task.state in OPEN
        ]  # fmt: skip
        over = [task.sequence for task in append.changes if task.is_over]
        assert all(row.body for row in puts), "a task without its body would be written"

        def work() -> Callable[[], list[Effect]]:
            if self.full:
                error = JournalError("the disk is full", may_retry=True)
                return lambda: self.core.unwritten(append.number, error, self.now)
            self.rows.update({row.sequence: row for row in puts})
            for sequence in over:
                self.rows.pop(sequence, None)
            self.last = max(self.last, append.last)
            return lambda: self.core.appended(append.number, 1000, self.now)

        return work

    def _page(self, page: Page) -> Callable[[], Callable[[], list[Effect]]]:
        def work() -> Callable[[], list[Effect]]:
            rows = sorted(
                (row for row in self.rows.values() if self._follows(row, page)),
                key=lambda row: row.sequence,
            )
            read = rows[: page.count_max]
            upto = read[-1].sequence if read else page.after
            is_last = len(rows) <= page.count_max
            paged = Paged(page.priority, [made(row) for row in read], [], upto, is_last)
            return lambda: self.core.paged(paged, self.now)

        return work

    @staticmethod
    def _follows(row: Row, page: Page) -> bool:
        return row.is_plain and row.priority == page.priority and row.sequence > page.after


def made(row: Row) -> Task:
    task = Task(row.body, None, row.priority)
    task.sequence, task.is_plain, task.order_by = row.sequence, row.is_plain, row.order_by
    task.attempt, task.due_at = row.attempt, row.due_at
    return task
