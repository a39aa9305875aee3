"""Between the tasks of a core and the rows of a journal."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Protocol

from zmqkit.core.effects import Append, Effect, Page
from zmqkit.core.tasks.held import Numbers
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import OPEN, Encoded, State, Task, number_of
from zmqkit.disk.faults import is_held
from zmqkit.disk.glance import check_kind
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import (
    DEAD,
    IS_RESULT,
    PLACE_BITS,
    TO_SINK,
    Changes,
    Entry,
    Held,
    Outcome,
    Plain,
    PlainPage,
    number_at,
    place,
)
from zmqkit.drivers.journaling import Journaling
from zmqkit.drivers.notes import log
from zmqkit.errors import (
    BadArguments,
    CallCancelled,
    CallTimeout,
    JournalError,
    NoMethod,
    PeerError,
    PeerLost,
    RemoteError,
    UsageError,
    ZmqkitError,
)
from zmqkit.limits import PAGE_BYTES, PAGE_TASKS, PRIORITY_MAX
from zmqkit.node.time_of_day import offset_s
from zmqkit.roles.queues import process_at, socket_beside
from zmqkit.roles.scheme import draw_incarnation
from zmqkit.wire.encoding import Malformed, decode, encode_checked, pack_plain

_ERRORS = {
    each.__name__: each
    for each in (CallCancelled, CallTimeout, PeerLost, BadArguments, NoMethod)
}
"""What may end a task, beside RemoteError."""

Heard = Callable[..., None]


class Follows(Protocol):
    """What hears the answers of a journal, each with the time behind the values."""

    def appended(self, number: int, size: int, now: float) -> list[Effect]:
        """Learn that an append is on disk, and how many bytes the journal has now."""

    def unwritten(self, number: int, error: JournalError, now: float) -> list[Effect]:
        """Learn that an append failed, and changed nothing on disk."""

    def paged(self, page: Paged, now: float) -> list[Effect]:
        """Learn what a page of the journal has."""

    def unpaged(self, error: JournalError, now: float) -> list[Effect]:
        """Learn that a page cannot be read."""


Look = Callable[[Callable[[], Task | None]], Task | None]


def open_journal(path: object, queue: str, *, has_requests: bool = False) -> Journal:
    """Open the journal of a queue at a path, or make it. Raises UsageError or JournalError.

    has_requests: whether its tasks are requests that a broker keeps; workers of tasks could not
    read these.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise UsageError(f"journal is {path!r}; use the path of a file")
    try:
        journal = Journal(Path(path), queue, draw_incarnation(), has_requests=has_requests)
    except JournalError as error:
        process = process_at(socket_beside(Path(path))) if is_held(error.__cause__) else None
        if process is None:
            raise
        who = "this process" if process == os.getpid() else f"process {process}"
        raise JournalError(
            f"{path}: it is open already, in {who}; have that one close it first"
        ) from error
    try:
        check_kind(path, has_requests=journal.has_requests, wanted=has_requests)
    except UsageError:
        journal.close()
        raise
    return journal


class Journaled:
    """The journal that follows a core: what a role has of it.

    front: the core that hears the answers, if it is another one. heard: has it run a command
    with these values; it is called on the journal's thread.
    """

    def __init__(
        self,
        journal: Journal,
        core: PusherCore,
        heard: Heard,
        front: Follows | None = None,
    ) -> None:
        """Give the core what the journal has; from now on it follows the core's ledger."""
        try:
            held = journal.held()
            plain = journal.at(places_of(held))
            core.recover(
                [*_tasks(journal), *(self._plain_task(journal, each) for each in plain)],
                journal.last,
                journal.opening,
                time.monotonic(),
                on_disk=without(journal.plain_counts(), plain),
                size=journal.size,
                leases=numbers_of(held),
            )
            core.ledger.line.paused = journal.paused
        except BaseException:
            journal.close()
            raise
        self.journal = journal
        self._core = core
        self._front: Follows = front or core
        self._heard = heard
        self._journaling = Journaling(journal)
        # The last append that is on disk, and the error of the last one, if it failed.
        self._written = 0
        self._error: JournalError | None = None
        self._news = threading.Condition()
        self._told = 0
        self._tell_damage()

    def append(self, append: Append) -> None:
        """Hand an append over, with each task as it is now."""

        def answered(size: int, error: JournalError | None) -> None:
            with self._news:
                self._written = self._written if error else append.number
                self._error = error
                self._news.notify_all()
            if error is None:
                self._heard(self._front.appended, append.number, size)
            else:
                self._heard(self._front.unwritten, append.number, error)

        offset = offset_s()
        changes = changes_of(append, offset)
        changes.at = time.monotonic() + offset
        self._journaling.append(changes, answered)

    def wait(self, number: int, timeout_s: float) -> None:
        """Wait until the append with this number, or one after it, is on disk.

        Raises JournalError if it is not in time, or cannot be written.
        """
        with self._news:
            self._news.wait_for(lambda: self._is_decided(number), timeout_s)
            if self._written < number:
                raise self._error or JournalError(
                    f"{self.journal.path} was not written within {timeout_s:g} s; see whether "
                    "the disk is busy"
                )

    def _is_decided(self, number: int) -> bool:
        error = self._error
        return self._written >= number or (error is not None and not error.may_retry)

    def set_paused(self, *, paused: bool) -> None:
        """Have the journal keep whether the queue is paused. Raises JournalError."""
        self._journaling.set_paused(paused=paused)

    def plain(self, priority: int, after: int) -> tuple[list[Task], int | None]:
        """Read plain tasks of a priority, whether they are in memory too or not.

        Returns them, and the number after which to go on; None if no more follow. Raises
        JournalError.
        """
        found = self._journaling.read((priority, after, PAGE_TASKS, PAGE_BYTES))
        self._tell_damage()
        tasks = [self._plain_task(self.journal, each) for each in found.tasks]
        return tasks, None if found.is_last else found.read

    def oldest_since(self) -> float:
        """Return since when the plain task has been there that waits longest, if none began.

        Infinity if there is none. Raises JournalError.
        """
        found = [self._journaling.read((each, 0, 1, 1)) for each in range(PRIORITY_MAX + 1)]
        tasks = [self._plain_task(self.journal, each) for page in found for each in page.tasks]
        return min((each.pushed_at for each in tasks), default=inf)

    def page(self, page: Page) -> None:
        """Have a page read."""

        def answered(found: PlainPage | None, error: JournalError | None) -> None:
            if found is None:
                self._heard(self._front.unpaged, error)
                return
            self._tell_damage()
            tasks = [self._plain_task(self.journal, each) for each in found.tasks]
            damaged = [each.sequence for each in found.damaged]
            paged = Paged(page.priority, tasks, damaged, found.read, found.is_last)
            self._heard(self._front.paged, paged)

        ask = (page.priority, page.after, page.count_max, page.bytes_max)
        self._journaling.page(ask, answered)

    def find(self, id: str, look: Look) -> Task | None:
        """Return the task of an id; None if nobody knows it. look: asks under the role's lock.

        What is on disk only is looked up there, behind a commit that is under way. Raises
        JournalError.
        """
        ledger, own = self._core.ledger, self._core.incarnation
        task = look(lambda: ledger.find(id, own))
        number = number_of(id, own)
        if task is not None or number is None or not ledger.line.total:
            return task
        priority = self._journaling.find(number)
        if priority is None:
            return look(lambda: ledger.find(id, own))  # it may have come to memory meanwhile
        return look(lambda: ledger.find(id, own) or ledger.line.reveal(number, priority))

    def backup(self, to: Path) -> None:
        """Write a copy of the journal to a new file, as `Journaling.backup` does."""
        self._journaling.backup(to)

    def close(self) -> None:
        """Write what was handed over, and close the file; log what the disk did not take."""
        self._journaling.close()
        error, self._error = self._error, None
        if error is not None:
            log.error("%s; what ended last is not written, and may run again", error)

    @staticmethod
    def _plain_task(journal: Journal, plain: Plain) -> Task:
        task = plain_task(plain)
        task.pushed_at = _pushed_at(journal, plain.sequence, offset_s())
        return task

    def _tell_damage(self) -> None:
        damaged = self.journal.damaged
        for what in damaged[self._told :]:
            log.error("%s: %s; it was set aside", self.journal.path, what)
        self._told = len(damaged)


def changes_of(append: Append, offset: float) -> Changes:
    """Return the rows of an append, with each task as it is now.

    offset: what the clock of the tasks lacks of the time of day, in seconds.
    """
    changes = Changes(append.last)
    for worker, leases in append.leases.items():
        placed = [(n, task.priority << PLACE_BITS | task.sequence) for n, task in leases]
        changes.held.append(Held(worker, placed))  # as `place` says, without the call
    for task in append.changes:
        if task.state in OPEN and task.journal:
            _remove(changes, task)  # a streamer has it on its disk
            if task.reasons:
                changes.forgotten.append(task.sequence)  # it may have been dead
            continue
        if task.state in OPEN:
            _put(changes, task, offset)
            continue
        if task.state is State.DEAD:
            changes.entries.append(_entry(task, offset))
            if task.is_plain:
                changes.plain_over.append(place(task.priority, task.sequence))
        else:
            _remove(changes, task)
        outcome = None if task.is_forgotten else _outcome(task, offset)
        if outcome is not None:
            changes.outcomes.append(outcome)
        else:
            changes.forgotten.append(task.sequence)
    return changes


def places_of(held: Iterable[Held]) -> list[int]:
    """Return the places of the tasks that workers had, each once and in order."""
    return sorted({at for each in held for _, at in each.leases})


def numbers_of(held: Iterable[Held]) -> Numbers:
    """Return by worker what it had: the number of each lease, and that of the task."""
    return {
        each.worker: [(number, number_at(at)) for number, at in each.leases] for each in held
    }


def without(counts: Mapping[int, int], tasks: Iterable[Plain]) -> dict[int, int]:
    """Return how many plain tasks of each priority there are besides these."""
    taken = Counter(each.priority for each in tasks)
    return {priority: count - taken[priority] for priority, count in counts.items()}


def _remove(changes: Changes, task: Task) -> None:
    """Remove a task from where it is: among the plain ones unless it was tried before."""
    if task.reasons or not task.is_plain:
        changes.over.append(task.sequence)
    if task.is_plain:
        changes.plain_over.append(place(task.priority, task.sequence))


def _put(changes: Changes, task: Task, offset: float) -> None:
    """Write an open task: among the plain ones unless it was tried before."""
    if task.is_plain and not task.due_at:
        raw = bytes(task.raw) if task.raw is not None else None
        changes.plain.append(Plain(task.sequence, task.priority, bytes(task.row), raw))
        return
    changes.entries.append(_entry(task, offset))
    if task.is_plain:
        changes.plain_over.append(place(task.priority, task.sequence))
    if task.reasons:
        changes.forgotten.append(task.sequence)  # it may have been dead


def plain_task(plain: Plain) -> Task:
    """Return a task of which the journal has its body and its priority."""
    task = Task(plain.body, plain.raw, plain.priority)
    task.sequence, task.is_plain = plain.sequence, True
    return task


def _pushed_at(journal: Journal, sequence: int, offset: float) -> float:
    """Return about when a task was pushed; a journal of format 1 says nothing of that."""
    at = journal.marks.of(sequence)
    return at - offset if at is not None else time.monotonic()


def _entry(task: Task, offset: float) -> Entry:
    return Entry(
        task.sequence,
        DEAD * (task.state is State.DEAD) + TO_SINK * task.to_sink + IS_RESULT * task.is_result,
        task.priority,
        task.due_at + offset if task.due_at else 0.0,
        task.expires_at + offset if task.expires_at < inf else None,
        task.failures,
        task.own_id,
        task.unique,
        task.order_by,
        _text_of(task.reasons),
        bytes(task.row),
        bytes(task.raw) if task.raw is not None else None,
    )


def _outcome(task: Task, offset: float) -> Outcome | None:
    """Return what became of a task; None if a worker returned what cannot be encoded again."""
    value = raw = error = None
    if task.error is not None:
        error = pack_plain(_parts_of(task.error))
    elif type(task.value) is memoryview:
        raw = bytes(task.value)
    elif type(task.value) is Encoded:
        value = task.value.data
    else:
        try:
            value = encode_checked(task.value)
        except UsageError:
            return None
    return Outcome(
        task.sequence, task.state.value, task.settled_at + offset, task.attempt, task.own_id,
        _text_of(task.reasons), value, raw, error,
    )  # fmt: skip


def _tasks(journal: Journal) -> Iterator[Task]:
    """Yield what `tasks_of` does, each with about when it was pushed."""
    offset = offset_s()
    for task in tasks_of(journal.entries(), journal.outcomes(), offset):
        task.pushed_at = _pushed_at(journal, task.sequence, offset)
        yield task


def tasks_of(
    entries: Iterable[Entry], outcomes: Iterable[Outcome], offset: float
) -> Iterator[Task]:
    """Yield what has ended, in the order in which it did, and then what is open or dead.

    offset: what the clock of the tasks lacks of the time of day now, in seconds.
    """
    ends = {each.sequence: each for each in outcomes}
    opened = [_open_task(each, offset, ends) for each in entries]
    for outcome in sorted(ends.values(), key=lambda each: each.settled_at):
        task = Task(b"", None, 0)
        task.sequence, task.own_id, task.attempt = (
            outcome.sequence, outcome.own_id, outcome.attempt,
        )  # fmt: skip
        task.state = State(outcome.state)
        task.reasons = _reasons_of(outcome.reasons)
        _settle(task, outcome, offset)
        yield task
    yield from opened


def _open_task(entry: Entry, offset: float, outcomes: dict[int, Outcome]) -> Task:
    """Return a task that is open or dead, and take its outcome out of the outcomes."""
    task = Task(entry.body, entry.raw, entry.priority)
    task.sequence = entry.sequence
    task.due_at = max(0.0, entry.due_at - offset)
    task.expires_at = inf if entry.expires_at is None else entry.expires_at - offset
    task.attempt = entry.attempt
    task.own_id, task.unique, task.order_by = entry.own_id, entry.unique, entry.order_by
    task.reasons = _reasons_of(entry.reasons)
    outcome = outcomes.pop(entry.sequence, None)
    task.to_sink = bool(entry.flags & TO_SINK)
    task.is_result = bool(entry.flags & IS_RESULT)
    if entry.flags & DEAD:
        task.state = State.DEAD
        if outcome is not None:
            _settle(task, outcome, offset)
        elif task.reasons:  # a journal of format 1 says no more
            task.error = RemoteError("the last attempt", task.reasons[-1], "")
    return task


def _settle(task: Task, outcome: Outcome, offset: float) -> None:
    task.settled_at = outcome.settled_at - offset
    if outcome.error is not None:
        task.error = _error_of(outcome.error)
    elif outcome.raw is not None:
        task.value, task.result_size = memoryview(outcome.raw), len(outcome.raw)
    else:
        value = outcome.value or b""
        task.value, task.result_size = Encoded(value), len(value)


def _text_of(reasons: tuple[str, ...]) -> str:
    return "\n".join(reason.replace("\n", " ") for reason in reasons) if reasons else ""


def _reasons_of(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split("\n")))


def _parts_of(error: ZmqkitError) -> list[object]:
    if isinstance(error, RemoteError):
        return ["RemoteError", True, error.message, error.type, error.traceback]
    return [type(error).__name__, error.may_have_run, str(error)]


def _error_of(data: bytes) -> ZmqkitError:
    parts: object = None
    with suppress(Malformed):
        parts = decode(data)
    match parts:
        case ["RemoteError", _, str(message), str(type_), str(traceback)]:
            return RemoteError(type_, message, traceback)
        case [str(name), bool(doubt), str(text)]:
            return _ERRORS.get(name, PeerError)(text, may_have_run=doubt)
    return PeerError("its end cannot be read", may_have_run=True)
