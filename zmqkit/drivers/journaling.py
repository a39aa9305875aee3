"""The thread that has a journal: one piece of work at a time, in the order in which they came.

The role hands over what is to be written or read, and goes on. The answers come on this thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes, PlainPage
from zmqkit.errors import JournalError

Given = TypeVar("Given")


class Journaling:
    """Owns an open journal, and works on it in a thread of its own."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._works: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="zmqkit-journal", daemon=True)
        self._begun = False
        self._starting = threading.Lock()
        self._closed = False
        self._closing = threading.Lock()

    def append(
        self, changes: Changes, answered: Callable[[int, JournalError | None], None]
    ) -> None:
        """Have these changes written; any thread may call this.

        answered: is called with the bytes that the journal then has, or with the error.
        """

        def write() -> None:
            size, error = 0, None
            try:
                self.journal.commit(changes)
                size = self.journal.size
            except JournalError as raised:
                error = raised
            answered(size, error)

        self._do(write)

    def page(
        self,
        ask: tuple[int, int, int, int],
        answered: Callable[[PlainPage | None, JournalError | None], None],
    ) -> None:
        """Have a page read, as `Journal.page` does; any thread may call this.

        answered: is called with the page, or with the error.
        """

        def read() -> None:
            page, error = None, None
            try:
                page = self.journal.page(*ask)
            except JournalError as raised:
                error = raised
            answered(page, error)

        self._do(read)

    def set_paused(self, *, paused: bool) -> None:
        """Have the journal say whether its queue is paused. Raises JournalError."""
        self._ask(lambda: self.journal.set_paused(paused=paused))

    def read(self, ask: tuple[int, int, int, int]) -> PlainPage:
        """Return a page, as `Journal.page` does. Raises JournalError."""
        return self._ask(lambda: self.journal.page(*ask))

    def find(self, sequence: int) -> int | None:
        """Return the priority of a plain task; None if it is not there. Raises JournalError."""
        return self._ask(lambda: self.journal.find(sequence))

    def backup(self, to: Path) -> None:
        """Write a copy of the journal to a new file, while tasks come and go.

        The copy has what is on disk when this returns, or less by what came at the end. Raises
        JournalError.
        """
        self._ask(lambda: self.journal.backup(to, self._go_on))

    def close(self) -> None:
        """Do what was handed over, and close the file; another close waits for this one."""
        with self._closing:
            self._closed = True
            if self._begun:
                self._begun = False
                self._works.put(None)
                self._thread.join()
            self.journal.close()

    def _do(self, work: Callable[[], object]) -> None:
        if not self._begun:
            with self._starting:
                if not self._begun:
                    self._thread.start()
                    self._begun = True
        self._works.put(work)

    def _ask(self, question: Callable[[], Given]) -> Given:
        """Have the thread do this, and wait for what it returns or raises."""
        asked: Future[Given] = Future()

        def answer() -> None:
            try:
                asked.set_result(question())
            except Exception as error:  # noqa: BLE001 - raised again where it was asked
                asked.set_exception(error)

        with self._closing:
            if self._closed:
                raise JournalError(f"{self.journal.path} is closed")
            self._do(answer)
        return asked.result()

    def _run(self) -> None:
        while (work := self._works.get()) is not None:
            work()

    def _go_on(self) -> None:
        """Do what has come meanwhile, between two steps of a longer piece of work."""
        while True:
            try:
                work = self._works.get_nowait()
            except Empty:
                return
            if work is None:
                self._works.put(None)  # the end waits for the longer work
                return
            work()
