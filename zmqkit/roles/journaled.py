"""Between the tasks of a core and the rows of a journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

from zmqkit.core.effects import Append
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.task import OPEN, Encoded, State, Task
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes, Entry, Outcome
from zmqkit.drivers.journaling import Answered, Journaling
from zmqkit.drivers.notes import log
from zmqkit.errors import (
    BadArguments,
    CallCancelled,
    CallTimeout,
    NoMethod,
    PeerError,
    PeerLost,
    RemoteError,
    UsageError,
    ZmqkitError,
)
from zmqkit.roles.scheme import draw_incarnation
from zmqkit.roles.time_of_day import offset_s
from zmqkit.wire.encoding import Malformed, decode, encode_checked, pack_plain

_ERRORS = {
    each.__name__: each
    for each in (CallCancelled, CallTimeout, PeerLost, BadArguments, NoMethod)
}
"""What may end a task, beside RemoteError."""


def open_journal(path: object, queue: str) -> Journal:
    """Open the journal of a queue at a path, or make it. Raises UsageError or JournalError."""
    if not isinstance(path, str | Path) or not str(path):
        raise UsageError(f"journal is {path!r}; use the path of a file")
    return Journal(Path(path), queue, draw_incarnation())


def follow(journal: Journal, core: PusherCore, answered: Answered) -> Journaling:
    """Give the core the tasks of the journal, which follows its ledger from now on."""
    core.recover(_tasks(journal), journal.last, journal.opening, time.monotonic())
    for what in journal.damaged:
        log.error("%s: %s; it was set aside", journal.path, what)
    return Journaling(journal, answered)


def write(journaling: Journaling, append: Append) -> None:
    """Hand an append over, with each task as it is now."""
    offset = offset_s()
    changes = Changes(append.last)
    for task in append.changes:
        if task.state in OPEN and task.journal:
            changes.over.append(task.sequence)  # a streamer has it on its disk
            continue
        if task.state in OPEN:
            changes.entries.append(_entry(task, offset))
            if task.reasons:
                changes.forgotten.append(task.sequence)  # it may have been dead
            continue
        if task.state is State.DEAD:
            changes.entries.append(_entry(task, offset))
        else:
            changes.over.append(task.sequence)
        outcome = None if task.is_forgotten else _outcome(task, offset)
        if outcome is not None:
            changes.outcomes.append(outcome)
        else:
            changes.forgotten.append(task.sequence)
    journaling.append(append.number, changes)


def _entry(task: Task, offset: float) -> Entry:
    return Entry(
        task.sequence,
        task.state is State.DEAD,
        task.priority,
        task.due_at + offset if task.due_at else 0.0,
        task.expires_at + offset if task.expires_at < inf else None,
        task.attempt,
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
    """Yield what has ended, in the order in which it did, and then what is open or dead."""
    offset = offset_s()
    outcomes = {each.sequence: each for each in journal.outcomes()}
    opened = [_open_task(each, offset, outcomes) for each in journal.entries()]
    for outcome in sorted(outcomes.values(), key=lambda each: each.settled_at):
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
    if entry.dead:
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
