"""The file of a journal in virtual time, and what befalls a disk.

The file has the contract of `disk/journal.py`. An append is written as a whole or not at all,
in its turn. It is answered once it is synced. A crash keeps what was synced. Of the appends
that were handed over and not synced it keeps the first few, perhaps none: that is what a
power cut leaves. A disk may be full for a while; then an append changes nothing. It may fail
for good; then nobody knows whether the append under way is in the file. Every further one
fails, until the file is opened anew.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random

from zmqkit.core.effects import Page
from zmqkit.disk.journal import PASSED_OVER
from zmqkit.disk.rows import Changes, Entry, Held, Outcome, Plain, PlainPage
from zmqkit.errors import JournalError
from zmqkit.simulation.network import Host
from zmqkit.simulation.timeline import Timeline

ANSWER_S = 0.002

Answered = Callable[[int, JournalError | None], None]
"""Is called with the bytes that the journal then has, and with the error if there is one."""

Read = Callable[[PlainPage | None], None]
"""Is called with a page; with None if it cannot be read."""


@dataclass(slots=True)
class _Write:
    number: int
    changes: Changes
    answered: Answered


@dataclass(slots=True)
class _Page:
    page: Page
    answered: Read


class JournalFile:
    """The file of one queue's journal, through all of its openings."""

    def __init__(
        self, timeline: Timeline, random: Random, id: int, write_s: tuple[float, float]
    ) -> None:
        """Make the file. write_s: how long an append takes until it is synced."""
        self.id = id
        self.opening = 0
        # What is synced: the tasks that are open or dead, by number, the plain ones by place,
        # what became of tasks, what each worker has, and the highest number of a task.
        self.rows: dict[int, Entry] = {}
        self.plain: dict[int, Plain] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.held: dict[int, Held] = {}
        self.last = 0
        # The numbers of the last append of this opening that was handed over, and synced.
        self.handed = 0
        self.synced = 0
        # The last append of the opening before whose changes, and all before them, are synced.
        self.synced_before = 0
        # The last one that was synced before one found the disk full when the next one had left
        # already without its changes, as it does when a queue is closed.
        self._before_loss: int | None = None
        self.write_s = write_s
        # The disk is full until then.
        self.full_until = -inf
        # The next append finds that the disk has failed for good.
        self.fails = False
        self.broken = False
        # Is called when an append is under way, once.
        self.watch: Callable[[], None] | None = None
        self.counts: Counter[str] = Counter()
        self._timeline = timeline
        self._random = random
        self._owner: Host | None = None
        self._closing = False
        self._works: deque[_Write | _Page] = deque()
        # An append that failed for good, so it may be in the file or not.
        self._doubtful: list[_Write] = []

    def open(self, host: Host) -> bool:
        """Open the file for a process; return False while another one has it open."""
        if self._owner is not None and self._owner.alive:
            return False
        self._restart()
        self._owner, self._closing, self.broken = host, False, False
        self.last += PASSED_OVER if self.opening else 0
        self.opening += 1
        before_loss = self._before_loss
        self.synced_before = self.synced if before_loss is None else before_loss
        self.handed = self.synced = 0
        self._before_loss = None
        return True

    def append(self, number: int, changes: Changes, answered: Answered) -> None:
        """Take an append, which is synced in a while; `answered` is called after that."""
        self.handed = number
        self._do(_Write(number, changes, answered))

    def page(self, page: Page, answered: Read) -> None:
        """Read a page, behind what was handed over before."""
        self._do(_Page(page, answered))

    def close(self) -> None:
        """Close the file once what was handed over is done."""
        self._closing = True
        if not self._works:
            self._owner = None

    @property
    def busy(self) -> bool:
        """Whether an append is under way."""
        return any(isinstance(work, _Write) for work in self._works)

    @property
    def numbers(self) -> set[int]:
        """The numbers of all tasks that are open or dead."""
        return {*self.rows, *(each.sequence for each in self.plain.values())}

    @property
    def size(self) -> int:
        """About how many bytes the file has."""
        rows: list[Entry | Plain] = [*self.rows.values(), *self.plain.values()]
        return sum(len(each.body) + len(each.raw or b"") for each in rows)

    def plain_counts(self) -> dict[int, int]:
        """Return how many plain tasks of each priority there are."""
        return Counter(each.priority for each in self.plain.values())

    def _do(self, work: _Write | _Page) -> None:
        self._works.append(work)
        if len(self._works) == 1:
            self._begin()

    def _begin(self) -> None:
        watch = self.watch
        if watch is not None and self.busy:
            self.watch = None
            watch()
        owner = self._owner
        self._timeline.after(self._random.uniform(*self.write_s), lambda: self._finish(owner))

    def _finish(self, owner: Host | None) -> None:
        """Finish the first piece of work, and begin with the next one."""
        if owner is None or owner is not self._owner or not owner.alive:
            return
        work = self._works.popleft()
        answer = self._read(work) if isinstance(work, _Page) else self._sync(work)
        self._timeline.after(self._random.uniform(0.0, ANSWER_S), answer)
        if self._works:
            self._begin()
        elif self._closing:
            self._owner = None

    def _sync(self, write: _Write) -> Callable[[], None]:
        """Have an append on disk, or refuse it; return what tells so."""
        error = self._refusal(write)
        if error is None:
            self._apply(write)
            self.synced = write.number
        elif self.busy and self._before_loss is None:
            self._before_loss = self.synced
        size = self.size
        return lambda: write.answered(size, error)

    def _read(self, work: _Page) -> Callable[[], None]:
        """Read a page, unless the disk has failed; return what tells of it."""
        page = work.page
        tasks = [
            each
            for _, each in sorted(self.plain.items())
            if each.priority == page.priority and each.sequence > page.after
        ]
        self.counts["pages"] += 1
        if self.broken:
            return lambda: work.answered(None)
        found, is_last = tasks[: page.count_max], len(tasks) < page.count_max
        read = found[-1].sequence if found else page.after
        return lambda: work.answered(PlainPage(found, [], read, is_last))

    def _refusal(self, write: _Write) -> JournalError | None:
        if self.fails:
            self.fails, self.broken, self._doubtful = False, True, [write]
        if self.broken:
            self.counts["failed"] += 1
            return JournalError("the disk failed; restart on a sound disk")
        if self._timeline.now < self.full_until:
            self.counts["full"] += 1
            return JournalError("the disk is full; make room", may_retry=True)
        return None

    def _apply(self, write: _Write) -> None:
        changes = write.changes
        self.rows.update((each.sequence, each) for each in changes.entries)
        self.outcomes.update((each.sequence, each) for each in changes.outcomes)
        self.plain.update((each.place, each) for each in changes.plain)
        for place in changes.plain_over:
            self.plain.pop(place, None)
        for number in changes.over:
            self.rows.pop(number, None)
        for number in changes.forgotten:
            self.outcomes.pop(number, None)
        self.held.update((each.worker, each) for each in changes.held)
        self.last = max(self.last, changes.last)
        self.counts["appends"] += 1

    def _restart(self) -> None:
        """Keep some of the appends that were under way when the last owner ended."""
        left = [work for work in self._works if isinstance(work, _Write)]
        writes = [*self._doubtful, *left]
        self._works.clear()
        self._doubtful = []
        if not writes:
            return
        kept = self._random.randint(0, len(writes))
        for write in writes[:kept]:
            self._apply(write)
        self.counts["cuts"] += 1
        self.counts["dropped"] += len(writes) - kept
