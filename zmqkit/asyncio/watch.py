"""Changes of who is there, as a loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self

from zmqkit.asyncio.role import in_thread
from zmqkit.roles.handlers import seconds_of
from zmqkit.roles.watching import LOOK_S, Change, Watching


class Watch(AsyncIterator[Change]):
    """The changes of one name; see `watch`. `close`, or leaving the loop, ends it."""

    def __init__(self, watching: Watching, timeout_s: float) -> None:
        self._watching = watching
        self._timeout_s = timeout_s
        self._until = -inf
        self._news = asyncio.Event()
        self._found: deque[Change] = deque()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        watching = self._watching
        if not (self._closed or watching.is_open):
            self._until = monotonic() + self._timeout_s
            self._open()
        while not (self._found or self._closed):
            left_s = self._until - monotonic()
            if left_s <= 0:
                await self.close()
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(LOOK_S, left_s))
            self._news.clear()
            self._found.extend(watching.look())
        if self._closed:
            raise StopAsyncIteration
        return self._found.popleft()

    def _open(self) -> None:
        loop, event = asyncio.get_running_loop(), self._news

        def news() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(event.set)

        self._watching.open(news)

    async def close(self) -> None:
        """End the loop, also from another task; closing again does no harm."""
        self._closed = True
        self._news.set()
        if self._watching.is_open:
            await in_thread(self._watching.close)

    async def aclose(self) -> None:
        """Do the same as `close`; `contextlib.aclosing` uses this name."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

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
