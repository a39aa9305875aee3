"""Tell how many messages a slow reader loses: while it happens, and in total at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from zmqkit.cli.output import several, tell

TELL_S = 1.0
"""How long to wait between two looks, whatever is dropped meanwhile."""

_REMEDY = "the reader was too slow; read faster, use --latest, or name fewer topics"


class Drops:
    """While the context is entered, tells on standard error of messages that were dropped.

    count: returns how many messages were dropped since the beginning.
    A thread of its own looks, since the thread that prints waits for the reader.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._told = 0
        self._over = threading.Event()
        self._teller = threading.Thread(target=self._run, name="drops", daemon=True)

    def look(self) -> None:
        """Tell how many messages were dropped since the last look, if any were."""
        total = self._count()
        if total > self._told:
            tell(f"dropped: {several(total - self._told, 'message')}, {_REMEDY}")
            self._told = total

    def __enter__(self) -> Self:
        self._teller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._teller.join()
        if total := self._count():
            tell(f"dropped: {several(total, 'message')} in all, {_REMEDY}")

    def _run(self) -> None:
        while not self._over.wait(TELL_S):
            self.look()
