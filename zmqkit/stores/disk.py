"""The journal of a store: it follows the store's ledger, on a thread of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf

from zmqkit.core.effects import Append
from zmqkit.core.tasks.appends import Appends
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.paging import Paging
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import State, Task, number_of
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import PlainPage
from zmqkit.drivers.journaling import Journaling
from zmqkit.drivers.notes import log
from zmqkit.errors import JournalError
from zmqkit.limits import PusherLimits
from zmqkit.node.time_of_day import offset_s
from zmqkit.roles.journaled import changes_of, plain_task, tasks_of

_PAGE_PART = 16
"""One page may have such a part of the bytes that all tasks may have in memory."""


class _Wait:
    """Somebody waits until the disk has what changed; new: the tasks that are new in it."""

    def __init__(self, new: Sequence[Task]) -> None:
        self.new = new
        self.over: asyncio.Future[JournalError | None] = (
            asyncio.get_running_loop().create_future()
        )

    def end(self, error: JournalError | None) -> None:
        """Let whoever waits go on."""
        if not self.over.done():
            self.over.set_result(error)


class Disk:
    """Writes what changes in a ledger, and reads the tasks that are on disk only."""

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        limits: PusherLimits,
        changed: Callable[[], None],
    ) -> None:
        """Give the ledger what the journal has. Raises JournalError.

        changed: is called when there may be more tasks to take than before.
        """
        self.journal = journal
        # Whether a page is being read, so that more tasks come soon.
        self.is_reading = False
        self._ledger = ledger
        self._page_bytes = limits.tasks_bytes_max // _PAGE_PART
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._appends = Appends(ledger)
        self._paging = Paging(ledger, 2 * limits.tasks_max)
        self._journaling = Journaling(journal)
        self._closed = False
        # The error of the last append, if it failed.
        self._error: JournalError | None = None
        self._recover(time.monotonic())

    @property
    def fault(self) -> JournalError | None:
        """Why nothing is written any more; None while it is."""
        return self._appends.fault

    def write(self) -> None:
        """Hand over what has changed, and have a page read if there is need of one."""
        if self._closed:
            return
        for append in self._appends.take(time.monotonic()):
            self._append(append)
        wanted = self._paging.wanted()
        if wanted is not None:
            self.is_reading = True
            priority, *_ = wanted
            answered = partial(self._tell, self._paged, priority)
            self._journaling.page((*wanted, self._page_bytes), answered)

    async def written(
        self,
        changed: Sequence[Task] = (),
        *,
        new: Sequence[Task] = (),
        known: Sequence[Task] = (),
    ) -> JournalError | None:
        """Wait until the disk has these tasks as they are now; return why it has not.

        changed, new: tasks that have just changed, and that were just added. The ledger forgets
        new ones if they cannot be written. known: tasks that may be on their way already.
        """
        for task in (*changed, *new):
            task.append = self._appends.next
        latest = max((*changed, *new, *known), key=lambda task: task.append)
        wait = _Wait(new)
        if self.fault is not None:
            return self.fault
        if not self._appends.wait(latest, wait):
            return None
        try:
            while not wait.over.done():
                self.write()
                due_s = self._appends.due_at() - time.monotonic()
                timeout_s = max(0.0, due_s) if due_s < inf else None
                await asyncio.wait([wait.over], timeout=timeout_s)
        finally:
            self._appends.forget(wait)
        return wait.over.result()

    async def find(self, id: str) -> Task | None:
        """Return the task of an id; None if nobody knows it. Raises JournalError."""
        ledger, own = self._ledger, self.journal.id
        task, number = ledger.find(id, own), number_of(id, own)
        if task is not None or number is None or not ledger.line.total:
            return task
        priority = await asyncio.to_thread(self._journaling.find, number)
        task = ledger.find(id, own)  # it may have come to memory meanwhile
        if task is None and priority is not None:
            task = ledger.line.reveal(number, priority)
        return task

    async def close(self) -> None:
        """Write what is left, and close the file. Raises JournalError if the disk refuses."""
        self._closed = True
        for append in self._appends.take_last():
            self._append(append)
        # The loop has the answers to all that before it has the end of the thread.
        await asyncio.to_thread(self._journaling.close)
        error = self.fault or self._error
        self._end(self._appends.waiting(), error)
        if error is not None:
            raise error

    def _recover(self, now: float) -> None:
        journal, ledger = self.journal, self._ledger
        ledger.begin(journal.plain_counts())
        ledger.journal_bytes = journal.size
        for task in tasks_of(journal.entries(), journal.outcomes(), offset_s()):
            ledger.restore(task, now)
        ledger.line.paused = journal.paused
        ledger.last = self._appends.last = max(ledger.last, journal.last)
        for what in journal.damaged:
            log.error("%s: %s; it was set aside", journal.path, what)

    def _append(self, append: Append) -> None:
        answered = partial(self._tell, self._answered, append.number)
        offset = offset_s()
        changes = changes_of(append, offset)
        changes.at = time.monotonic() + offset
        self._journaling.append(changes, answered)

    def _tell(self, call: Callable[..., None], *values: object) -> None:
        """Have the loop call this, from the journal's thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call, *values)

    def _answered(self, number: int, size: int, error: JournalError | None) -> None:
        self._error = error
        if error is None:
            waits: list[object] = [wait for wait, *_ in self._appends.written(number, size)]
            self._paging.written(number)
        else:
            failed = self._appends.failed(number, error, time.monotonic())
            waits = [wait for wait, _ in failed]
        self._end(waits, error)
        self.write()
        self._changed()

    def _end(self, waits: list[object], error: JournalError | None) -> None:
        for wait in waits:
            assert isinstance(wait, _Wait)
            if error is not None:
                self._refuse(wait.new, error)
            wait.end(error)

    def _refuse(self, new: Sequence[Task], error: JournalError) -> None:
        for task in new:
            # One that was taken and has ended meanwhile needs no journal.
            if not task.is_over or task.state is State.DEAD:
                begun = error.with_doubt(may_have_run=task.attempt > 0)
                self._ledger.refuse(task, begun, time.monotonic())

    def _paged(
        self, priority: int, found: PlainPage | None, error: JournalError | None
    ) -> None:
        self.is_reading = False
        if found is None:
            log.error("%s; what is on disk only stays there", error)
            self._ledger.line.fail()
        else:
            tasks = [plain_task(each) for each in found.tasks]
            damaged = [each.sequence for each in found.damaged]
            page = Paged(priority, tasks, damaged, found.read, found.is_last)
            lost = self._paging.take_in(page, self._appends.is_pending, time.monotonic())
            if lost:
                log.error("%s: %d tasks were damaged, and are lost", self.journal.path, lost)
        self.write()
        self._changed()
