"""Whom to ask about a queue: the process that has it, or else the file of its journal.

A running queue is asked at its socket (see `queues`). A journal that nobody has open is opened
for as long as the questions last.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from zmqkit.core.effects import Append, Effect
from zmqkit.core.tasks.administration import Answer, Question
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.disk.journal import APPLICATION, Journal
from zmqkit.errors import (
    CallTimeout,
    ConfigError,
    JournalError,
    PeerError,
    PeerLost,
    UsageError,
    ZmqkitError,
)
from zmqkit.limits import ANSWER_S, PusherLimits
from zmqkit.roles.administration import Administration, Work
from zmqkit.roles.journaled import Journaled
from zmqkit.roles.queues import ask_at, drop, entries, socket_beside
from zmqkit.roles.tasks import jitter
from zmqkit.wire.encoding import Malformed, decode, encode

LOOK_S = 2.0
"""How long one of many processes may take to say which queue it has."""

_TRIES = 20
_TRY_S = 0.05
_BOUNDLESS = 1 << 50


class Queue(Protocol):
    """A queue that can be asked."""

    def ask(self, question: Question) -> Answer:
        """Return the answer to a question. Raises ZmqkitError."""


class RunningQueue:
    """A queue that a process of this machine has."""

    def __init__(self, entry: Path) -> None:
        self._entry = entry

    def ask(self, question: Question) -> Answer:
        """Return the answer of the process. Raises what it raised, or that it is silent."""
        try:
            data = ask_at(self._entry, encode({**question}), ANSWER_S)
        except TimeoutError as error:
            raise CallTimeout(
                f"the process at {self._entry} has not answered for {ANSWER_S:g} s: it hangs, "
                "or is stopped",
                may_have_run=True,
            ) from error
        except OSError as error:
            raise PeerLost(
                f"the process at {self._entry} does not answer: {error}", may_have_run=True
            ) from error
        return read(data)


class QueueAtRest:
    """A queue in the file of a journal that no process has open, until `close`."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises JournalError."""
        _check_is_ours(path)
        self._lock = threading.Lock()
        self.journal = Journal(path, None)
        drop(socket_beside(path))  # a killed process left it
        try:
            name, id = self.journal.queue, self.journal.id
            self._core = PusherCore(name, id, jitter, _limits_of(self.journal))
            self._journaled = Journaled(self.journal, self._core, self._heard)
        except BaseException:
            self.journal.close()
            raise
        self._desk = Administration(
            self._core, self._run, lambda effects: None, self._journaled
        )

    def ask(self, question: Question) -> Answer:
        """Return the answer. Raises ZmqkitError."""
        answer = self._desk.ask(question)
        if question.get("do") == "ls":
            ages = [time.monotonic() - self._journaled.oldest_since(), answer["oldest_s"]]
            known = [each for each in ages if type(each) is float and each > -inf]
            answer |= {"process": None, "oldest_s": max(known, default=None)}
        return answer

    def close(self) -> None:
        """Close the file; all changes are on disk."""
        self._journaled.close()

    def _run(self, work: Work) -> Answer:
        with self._lock:
            answer = work(time.monotonic())
            self._flush()
        return answer

    def _heard(self, command: Callable[..., list[Effect]], *values: object) -> None:
        """Have the core run a command; called on the journal's thread."""
        with self._lock:
            command(*values, time.monotonic())
            self._flush()

    def _flush(self) -> None:
        for effect in self._core.flush(time.monotonic()):
            if isinstance(effect, Append):  # pages are for workers, and there are none
                self._journaled.append(effect)


def _limits_of(journal: Journal) -> PusherLimits:
    """Return limits that what a journal has is within, whatever those of its owner are."""
    count = sum(1 for _ in journal.outcomes())
    return PusherLimits(
        tasks_max=_BOUNDLESS,
        tasks_bytes_max=_BOUNDLESS,
        journal_bytes_max=_BOUNDLESS,
        dead_max=_BOUNDLESS,
        dead_bytes_max=_BOUNDLESS,
        outcomes_max=max(count, PusherLimits().outcomes_max),
        outcomes_bytes_max=_BOUNDLESS,
        outcomes_s=_BOUNDLESS,
    )


def read(data: bytes) -> Answer:
    """Return an answer. Raises the error that it stands for, or PeerError."""
    try:
        answer = decode(data)
    except Malformed as error:
        raise PeerError(f"the answer cannot be read: {error}") from error
    if type(answer) is not dict:
        raise PeerError("the answer is no dict; the process has another version of zmqkit")
    if "error" in answer:
        raise (UsageError if answer.get("usage") else PeerError)(str(answer["error"]))
    return answer


def body_of(task: Answer) -> object:
    """Return the body of a task of an answer. Raises Malformed if it cannot be read."""
    row, raw = task.get("row"), task.get("raw")
    if type(row) is not bytes:
        raise Malformed("body")
    if raw is not None:
        return raw
    arguments = decode(b"\x92" + row)  # the positional and the keyword arguments
    if type(arguments) is not list or type(arguments[0]) is not list or not arguments[0]:
        raise Malformed("body")
    return arguments[0][0]


def running() -> list[tuple[Path, Answer]]:
    """Return the queues of this user that run on this machine, each with its numbers.

    Raises ConfigError if the runtime folder cannot be used.
    """
    found: list[tuple[Path, Answer]] = []
    try:
        listed = entries()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; set XDG_RUNTIME_DIR") from error
    for entry in listed:
        try:
            found.append((entry, read(ask_at(entry, encode({"do": "ls"}), LOOK_S))))
        except (ConnectionRefusedError, FileNotFoundError):
            drop(entry)
        except (OSError, ZmqkitError) as error:
            found.append((entry, {"error": str(error)}))
    return found


@contextmanager
def opened(target: str) -> Iterator[Queue]:
    """Enter with the queue that is meant: a name of one that runs, or the path of a journal.

    Raises UsageError if there is none, and JournalError if its file cannot be opened.
    """
    path = Path(target)
    if not (os.sep in target or path.suffix == ".journal" or path.is_file()):
        yield RunningQueue(_named(target))
        return
    if _is_socket(path):
        yield RunningQueue(path)
        return
    queue = _running_or_at_rest(path)
    try:
        yield queue
    finally:
        if isinstance(queue, QueueAtRest):
            queue.close()


def _named(name: str) -> Path:
    all_of_them = running()
    found = [(entry, each) for entry, each in all_of_them if each.get("name") == name]
    if len(found) == 1:
        return found[0][0]
    if found:
        places = ", ".join(str(each["journal"] or entry) for entry, each in found)
        raise UsageError(f"{len(found)} queues are called {name!r}; name the file: {places}")
    there = sorted({str(each.get("name", entry)) for entry, each in all_of_them})
    others = f"here run {', '.join(there)}" if there else "none runs here"
    raise UsageError(
        f"neither a streamer {name!r} nor a pusher of that name with a journal runs here "
        f"({others}); name the file of its journal"
    )


def _running_or_at_rest(path: Path) -> Queue:
    """Return the queue of a journal; wait a moment for an owner that does not listen yet."""
    if not path.exists():
        raise UsageError(f"there is no journal at {path}")
    for left in reversed(range(_TRIES)):
        if _is_answered(socket_beside(path), path.stat().st_uid):
            return RunningQueue(socket_beside(path))
        try:
            return QueueAtRest(path)
        except JournalError as error:
            if not left and _is_held(error):
                raise JournalError(
                    f"{path} is open in a process that does not answer here: its pusher is not "
                    "open yet, it hangs, or another machine or container has it; end it, and "
                    "try again"
                ) from error
            if not _is_held(error):
                raise
        time.sleep(_TRY_S)
    raise AssertionError("the last try returns or raises")


def _is_answered(beside: Path, owner: int) -> bool:
    """Whether the journal's owner, or whoever runs this, listens at a socket, and answers."""
    try:
        if os.stat(beside).st_uid not in (owner, os.geteuid()):
            return False
        ask_at(beside, encode({"do": "ls"}), LOOK_S)
    except (ConfigError, OSError):
        return False
    return True


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _is_held(error: JournalError) -> bool:
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _check_is_ours(path: Path) -> None:
    """Raise JournalError for a database of another program, which opening would change.

    SQLite looks, and not this function itself: closing a file gives up the locks that this
    process has on it, and only SQLite knows of those.
    """
    quoted = quote(os.fsencode(path.absolute()))
    try:
        with closing(sqlite3.connect(f"file:{quoted}?mode=ro&immutable=1", uri=True)) as file:
            [[application]] = file.execute("PRAGMA application_id").fetchall()
            [[tables]] = file.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise JournalError(f"{path} is no journal; name another file ({error})") from error
    if tables and application != APPLICATION:
        raise JournalError(f"{path} is a database of another program; name another file")


def tasks_of(queue: Queue, states: list[str], bytes_max: int) -> Iterator[Answer]:
    """Yield the tasks in these states, page by page, with bodies up to this size."""
    seen: set[object] = set()
    in_memory = True
    question: Answer = {"do": "peek", "states": states, "bodies": bytes_max}
    for answer in pages(queue, question):
        tasks = answer["tasks"]
        assert isinstance(tasks, list)
        yield from (task for task in tasks if task["number"] not in seen)
        if in_memory:  # the journal may have these, too
            seen.update(task["number"] for task in tasks)
        in_memory = type(answer["next"]) is int


def pages(queue: Queue, question: Question) -> Iterator[Answer]:
    """Ask a question about many tasks until there are no more, and yield the answers."""
    after: object = 0
    while after is not None:
        answer = queue.ask({**question, "after": after})
        yield answer
        after = answer["next"]
