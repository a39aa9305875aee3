"""Changes of who is there, as a loop."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from math import inf
from types import TracebackType
from typing import Self

from zmqkit.roles.handlers import seconds_of
from zmqkit.roles.watching import LOOK_S, Change, Watching


class Watch(Iterator[Change]):
    """The changes of one name; see `watch`. `close`, or leaving the loop, ends it."""

    def __init__(self, watching: Watching, timeout_s: float) -> None:
        self._watching = watching
        self._timeout_s = timeout_s
        self._until = -inf
        self._news = threading.Event()
        self._found: deque[Change] = deque()
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        watching = self._watching
        if not (self._closed or watching.is_open):
            self._until = time.monotonic() + self._timeout_s
            watching.open(self._news.set)
        while not (self._found or self._closed):
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                self.close()
                break
            self._news.wait(min(LOOK_S, left_s))
            self._news.clear()
            self._found.extend(watching.look())
        if self._closed:
            raise StopIteration
        return self._found.popleft()

    def close(self) -> None:
        """End the loop, also from another thread; closing again does no harm."""
        self._closed = True
        self._news.set()
        self._watching.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # This may run on any thread, in the middle of what the close would wait for.
        watching = getattr(self, "_watching", None)
        if watching is not None and watching.is_open and not sys.is_finalizing():
            threading.Thread(target=watching.close, name="zmqkit-close").start()


def watch(name: str, *, timeout_s: float | None = None, insecure: bool | None = None) -> Watch:
    """Return an iterator over the changes of who is there under a name.

    It begins with all that are there, as `added`. timeout_s: when the loop ends; None is never.
    insecure: watch other machines too, asked in plain text. Raises UsageError for a URL.
    """
    return Watch(Watching(name, insecure=insecure), seconds_of(timeout_s))
