"""The thread that writes a journal: one transaction at a time, in the order they came.

The role hands over appends and goes on; `answered` is called on this thread with the outcome.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from zmqkit.disk.journal import Change, Journal
from zmqkit.errors import JournalError

Answered = Callable[[int, JournalError | None], None]
"""Is called with the number of an append, and with the error if it failed."""


class Journaling:
    """Owns an open journal, and writes it in a thread of its own."""

    def __init__(self, journal: Journal, answered: Answered) -> None:
        self.journal = journal
        self._answered = answered
        self._appends: SimpleQueue[tuple[int, list[Change], int] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="zmqkit-journal", daemon=True)
        self._begun = False
        self._closing = threading.Lock()

    def append(self, number: int, changes: list[Change], last: int) -> None:
        """Have these changes written; any thread may call this."""
        if not self._begun:
            self._begun = True
            self._thread.start()
        self._appends.put((number, changes, last))

    def close(self) -> None:
        """Write what was handed over, and close the file; another close waits for this one."""
        with self._closing:
            if self._begun:
                self._begun = False
                self._appends.put(None)
                self._thread.join()
            self.journal.close()

    def _run(self) -> None:
        while (append := self._appends.get()) is not None:
            number, changes, last = append
            error = None
            try:
                self.journal.commit(changes, last)
            except JournalError as raised:
                error = raised
            self._answered(number, error)
