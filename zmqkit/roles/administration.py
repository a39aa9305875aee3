"""Who answers what `zmqkit queue` asks: the role that has the queue, or the file at rest.

The operations are those of `core/tasks/administration`; what is in the journal alone is looked
up for them. A change is answered once it is on disk, where there is one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

from zmqkit.core.effects import Effect
from zmqkit.core.tasks.administration import Answer, Page, Question, administer
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.task import Task
from zmqkit.disk.rows import PLACE_BITS
from zmqkit.drivers.notes import contained, log
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.limits import ANSWER_S, PAGE_TASKS, PRIORITY_MAX
from zmqkit.roles.journaled import Journaled
from zmqkit.roles.queues import Listening, listen_for
from zmqkit.wire.encoding import Malformed, decode, encode

Work = Callable[[float], Answer]


class Administration:
    """Answers questions about the queue of a role.

    run: has a function run under the role's lock, with the time, and returns what it returns.
    perform: performs effects, and is called by that function. instance: what a role that others
    find is called on the network.
    """

    def __init__(
        self,
        core: PusherCore,
        run: Callable[[Work], Answer],
        perform: Callable[[list[Effect]], None],
        journaled: Journaled | None,
        instance: str | None = None,
    ) -> None:
        self._core = core
        self._instance = instance
        self._run = run
        self._perform = perform
        self._journaled = journaled
        self._backup: tuple[str, Future[None]] | None = None

    def listen(self, name: str) -> Listening:
        """Answer `zmqkit queue` until the result is closed; log it if the queue is paused."""
        path = self._journaled.journal.path if self._journaled is not None else None
        if self._core.ledger.line.paused:
            text = "queue %r is paused; `zmqkit queue resume %s` ends that"
            contained(log.warning, text, name, path)
        return listen_for(name, self.answer, journal=path)

    def answer(self, data: bytes) -> bytes:
        """Return the encoded answer to an encoded question; errors are answers, too."""
        try:
            question = decode(data)
            if type(question) is not dict:
                raise UsageError("a question is a dict")
            return encode(self.ask(question))
        except Malformed as error:
            return encode({"error": f"the question cannot be read: {error}", "usage": True})
        except ZmqkitError as error:
            return encode({"error": str(error), "usage": isinstance(error, UsageError)})

    def ask(self, question: Question) -> Answer:
        """Return the answer to a question. Raises ZmqkitError."""
        if question.get("do") == "backup":
            return self._back_up(question.get("to"), begins=bool(question.get("begins")))
        core, journaled = self._core, self._journaled
        page = self._page(question.get("after"))
        revealed = self._revealed(question.get("ids"))
        change = 0

        def work(now: float) -> Answer:
            nonlocal change
            answer, effects = administer(core, question, now, page)
            change = core.change
            self._perform(effects)
            return answer

        answer = self._run(work)
        del revealed
        if journaled is not None and change:
            journaled.wait(change, ANSWER_S)
        if journaled is not None and question.get("do") in ("pause", "resume"):
            journaled.set_paused(paused=question["do"] == "pause")
        if question.get("do") == "ls":
            answer |= {"process": os.getpid(), "journal": None, "journal_bytes": None}
            answer["instance"] = self._instance
            if journaled is not None:
                path = os.path.realpath(journaled.journal.path)
                answer["journal"] = path.encode(errors="backslashreplace").decode()
                answer["journal_bytes"] = bytes_of(Path(path))
        return answer

    def _page(self, after: object) -> Page | None:
        """Return the tasks with which a question goes on in the journal, if it does."""
        if type(after) is not list or self._journaled is None:
            return None
        if len(after) != 2 or {*map(type, after)} != {int}:
            raise UsageError(f"after is {after!r}; use what an answer had under next")
        priority, number = after
        if not 0 <= priority <= PRIORITY_MAX or not 0 <= number < 1 << PLACE_BITS:
            raise UsageError(f"after is {after!r}; use what an answer had under next")
        tasks, last = self._journaled.plain(priority, number)
        if last is not None:
            return Page(tasks, [priority, last])
        return Page(tasks, [priority - 1, 0] if priority else None)

    def _revealed(self, ids: object) -> list[Task | None]:
        """Have the ledger know those tasks that are in the journal alone, while these live."""
        if type(ids) is not list or len(ids) > PAGE_TASKS or self._journaled is None:
            return []
        named = [each for each in ids if type(each) is str]
        return [self._journaled.find(each, self._look) for each in named]

    def _look(self, question: Callable[[], Task | None]) -> Task | None:
        found: list[Task | None] = []

        def work(now: float) -> Answer:
            found.append(question())
            return {}

        self._run(work)
        return found[0]

    def _back_up(self, to: object, *, begins: bool) -> Answer:
        """Begin a copy of the journal, or say whether the one that was begun is done."""
        if self._journaled is None:
            raise UsageError("this queue has no journal, so there is nothing to copy")
        if type(to) is not str or not os.path.isabs(to):
            raise UsageError(f"to is {to!r}; use the absolute path of a new file")
        if begins:
            if self._backup is not None and not self._backup[1].done():
                raise UsageError(f"a copy to {self._backup[0]} is being made; wait for its end")
            self._backup = to, _begun(partial(self._journaled.backup, Path(to)))
        if self._backup is None or self._backup[0] != to:
            raise UsageError(f"no copy to {to} was begun")
        made = self._backup[1]
        if not made.done():
            return {"done": False}
        made.result()
        return {"done": True}


def _begun(work: Callable[[], None]) -> Future[None]:
    """Return what becomes of work that a thread of its own does."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="zmqkit-backup", daemon=True).start()
    return future


def bytes_of(journal: Path) -> int:
    """Return how many bytes a journal has on disk, with its write-ahead log."""
    size = 0
    for path in (journal, journal.with_name(f"{journal.name}-wal")):
        with suppress(OSError):
            size += path.stat().st_size
    return size
