"""Whom to ask about a queue: the process that has it, or else the file of its journal.

A running queue is asked at its socket (see `queues`). A journal that nobody has open is opened
for as long as the questions last.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Protocol

from zmqkit.core.effects import Append, Effect
from zmqkit.core.majordomo.errand import shown
from zmqkit.core.tasks.administration import Answer, Question
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.disk.faults import is_held
from zmqkit.disk.glance import glance
from zmqkit.disk.journal import Journal
from zmqkit.disk.places import check_place
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
from zmqkit.roles.queues import ask_at, drop, entries, process_at, socket_beside
from zmqkit.roles.tasks import jitter
from zmqkit.wire.encoding import Malformed, decode, encode

LOOK_S = 2.0
"""How long one of many processes may take to say which queue it has."""

_TRIES = 20
_TRY_S = 0.05
_NAMED_MAX = 5
"""Journals that an error names."""
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
            said = f"at {self._entry}, {_silent(self._entry)}"
            raise CallTimeout(said, may_have_run=True) from error
        except OSError as error:
            raise PeerLost(
                f"the process at {self._entry} does not answer: {error}", may_have_run=True
            ) from error
        return read(data)


class QueueAtRest:
    """A queue in the file of a journal that no process has open, until `close`."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises JournalError."""
        glance(path)
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
    """Return the body of a task of an answer. Raises Malformed if it cannot be read.

    That of a broker's request is a dict with its method and arguments.
    """
    row, raw = task.get("row"), task.get("raw")
    if type(row) is not bytes:
        raise Malformed("body")
    request = shown(row, raw if type(raw) is bytes else None)
    if request is not None:
        return request
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
        except TimeoutError:
            found.append((entry, {"error": _silent(entry), "silent": True}))
        except (OSError, ZmqkitError) as error:
            found.append((entry, {"error": str(error)}))
    return found


def _silent(entry: Path) -> str:
    """Return what there is to say of the process at a socket or link that does not answer."""
    process = process_at(entry)
    if process is None:
        return "a process does not answer: it is stopped, or hangs"
    remedy = f"`kill -CONT {process}` has a stopped one go on"
    return f"process {process} does not answer: it is stopped, or hangs; {remedy}"


@contextmanager
def opened(target: str) -> Iterator[Queue]:
    """Enter with the queue that is meant: a name of one that runs, or the path of a journal.

    Raises UsageError if there is none, and JournalError if its file cannot be opened.
    """
    path = Path(target)
    entry = _named(target) if _is_name(target) else None
    if entry is not None:
        yield RunningQueue(entry)
        return
    if path.is_dir():
        named = ", ".join(_journals_in(path)[:_NAMED_MAX])
        if not named:
            raise UsageError(f"{target} is a folder without journals; name the file of one")
        raise UsageError(f"{target} is a folder of journals; name one of them: {named}")
    if _is_socket(path):
        yield RunningQueue(path)
        return
    queue = _running_or_at_rest(path)
    try:
        yield queue
    finally:
        if isinstance(queue, QueueAtRest):
            queue.close()


def queues_of(target: str) -> list[str]:
    """Return what `opened` takes for each queue that is meant: one, or all of a name or folder.

    The folder of a broker may have no journals yet. The name of a queue that runs means that,
    even if a folder has the same name.
    """
    path = Path(target)
    if _is_name(target):
        found = _called(target, running())
        if found or not path.is_dir():
            return _places(found) if len(found) > 1 else [target]
    return _journals_in(path) if path.is_dir() else [target]


def _is_name(target: str) -> bool:
    """Return whether a target may be the name of a queue that runs, and not only a path."""
    path = Path(target)
    return not (os.sep in target or path.suffix == ".journal" or path.is_file())


def _journals_in(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("*.journal")))


def _called(name: str, found: list[tuple[Path, Answer]]) -> list[tuple[Path, Answer]]:
    return [(entry, each) for entry, each in found if each.get("name") == name]


def _places(found: list[tuple[Path, Answer]]) -> list[str]:
    """Return the file of each queue, or its socket where it has none."""
    return [str(each["journal"] or entry) for entry, each in found]


def _named(name: str) -> Path | None:
    """Return the socket of the queue that has the name, or None if a folder has it instead."""
    all_of_them = running()
    found = _called(name, all_of_them)
    if len(found) == 1:
        return found[0][0]
    if found:
        places = ", ".join(_places(found))
        raise UsageError(f"{len(found)} queues are called {name!r}; name the file: {places}")
    if Path(name).is_dir():
        return None
    silent = [str(each["error"]) for _, each in all_of_them if each.get("silent")]
    if silent:
        raise CallTimeout(f"it is not known whether {name!r} runs here: {'; '.join(silent)}")
    there = sorted({str(each.get("name", entry)) for entry, each in all_of_them})
    others = f"here run {', '.join(there)}" if there else "none runs here"
    raise UsageError(
        f"no streamer {name!r} runs here, and no pusher or broker that has a journal of that "
        f"name ({others}); name the file of its journal"
    )


def _running_or_at_rest(path: Path) -> Queue:
    """Return the queue of a journal; wait a moment for an owner that does not listen yet."""
    if not path.exists():
        raise UsageError(f"there is no journal at {path}")
    check_place(path)
    for left in reversed(range(_TRIES)):
        if _is_answered(socket_beside(path), path.stat().st_uid):
            return RunningQueue(socket_beside(path))
        try:
            return QueueAtRest(path)
        except JournalError as error:
            if not left and is_held(error.__cause__):
                raise JournalError(
                    f"{path} is open in a process that does not answer here: its pusher is not "
                    "open yet, it hangs, or another machine or container has it; end it, and "
                    "try again"
                ) from error
            if not is_held(error.__cause__):
                raise
        time.sleep(_TRY_S)
    raise AssertionError("the last try returns or raises")


def _is_answered(beside: Path, owner: int) -> bool:
    """Return whether the journal's owner, or whoever runs this, listens at a socket.

    Raises CallTimeout if the process there does not answer.
    """
    try:
        if os.stat(beside).st_uid not in (owner, os.geteuid()):
            return False
        ask_at(beside, encode({"do": "ls"}), LOOK_S)
    except TimeoutError as error:
        raise CallTimeout(f"at {beside}, {_silent(beside)}") from error
    except (ConfigError, OSError):
        return False
    return True


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


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
