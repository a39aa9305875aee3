"""Between the tasks of a core and the entries of a journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

from zmqkit.core.effects import Append
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.task import State, Task
from zmqkit.disk.journal import Change, Entry, Journal
from zmqkit.drivers.journaling import Answered, Journaling
from zmqkit.drivers.notes import log
from zmqkit.errors import RemoteError, UsageError
from zmqkit.roles.scheme import draw_incarnation
from zmqkit.roles.time_of_day import offset_s


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
    changes: list[Change] = [
        each if isinstance(each, int) else _entry(each, offset) for each in append.changes
    ]
    journaling.append(append.number, changes, append.last)


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
        "\n".join(reason.replace("\n", " ") for reason in task.reasons),
        bytes(task.row),
        bytes(task.raw) if task.raw is not None else None,
    )


def _tasks(journal: Journal) -> Iterator[tuple[Task, bool]]:
    offset = offset_s()
    for entry in journal.entries():
        task = Task(entry.body, entry.raw, entry.priority)
        task.sequence = entry.sequence
        task.due_at = max(0.0, entry.due_at - offset)
        task.expires_at = inf if entry.expires_at is None else entry.expires_at - offset
        task.attempt = entry.attempt
        task.own_id, task.unique, task.order_by = entry.own_id, entry.unique, entry.order_by
        task.reasons = tuple(filter(None, entry.reasons.split("\n")))
        if entry.dead and task.reasons:
            task.error = RemoteError("the last attempt", task.reasons[-1], "")
        yield task, entry.dead
