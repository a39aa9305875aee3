"""The results of many calls, of which a window is under way at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.roles.answers import value_of
from zmqkit.roles.mapping import Body, Items

if TYPE_CHECKING:
    from zmqkit.asyncio.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup


class Mapped(AsyncIterator[Any]):
    """The results of `Client.map`, in the order of its items.

    Only one task at a time may iterate. `close`, the end of an `async with` block, or of the
    object's life, cancels the calls that are under way and reads no further items.
    """

    def __init__(
        self,
        life: Life[Lookup],
        core: ClientCore,
        method: str,
        items: Items,
        options: CallOptions,
        *,
        return_errors: bool,
    ) -> None:
        self._life = life
        self._core = core
        self._method = method
        self._items: Items | None = items
        self._options = options
        self._return_errors = return_errors
        # The calls that were begun and whose results were not returned, in order.
        self._under_way: deque[Call | ZmqkitError] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        items, under_way = self._items, self._under_way
        if items is None:
            raise StopAsyncIteration
        count = len(under_way)
        room = items.room(count) if not count or self._waits() else items.wanted(count)
        if room:
            try:
                self._begin(items.take(room))
            except BaseException:
                self._give_up()
                raise
        if not under_way:
            self._items = None
            raise StopAsyncIteration
        value, error = await self._first()
        if self._items is None:
            raise StopAsyncIteration  # another task closed this
        under_way.popleft()
        if error is None:
            return value_of(value, self._options)
        if self._return_errors:
            return error
        self._give_up()
        raise error

    async def close(self) -> None:
        """Cancel the calls that are under way; no further result follows.

        Any task may close, and it does no harm to close again. Who waits for a result then gets
        none: the loop ends.
        """
        self._give_up()

    async def aclose(self) -> None:
        """Do the same as `close`; `contextlib.aclosing` uses this name."""
        self._give_up()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_up()

    def __del__(self) -> None:
        # This may run on any thread, and after the loop is gone.
        if getattr(self, "_under_way", None):
            self._life.on_loop(_drop, self._life, self._core, self._under_way)

    def _waits(self) -> bool:
        """Whether the first call has no outcome yet."""
        first = self._under_way[0]
        return isinstance(first, Call) and not _future_of(first).done()

    def _begin(self, bodies: list[Body | UsageError]) -> None:
        """Begin a call for each body; one that cannot travel stands for itself."""
        ask, call, add = self._life.ask, self._core.call, self._under_way.append
        for each in bodies:
            if isinstance(each, UsageError):
                add(each)
            else:
                add(ask(call, self._method, *each, self._options)[1])

    async def _first(self) -> tuple[object, ZmqkitError | None]:
        """Wait for the first call to end; return its value and its error."""
        first = self._under_way[0]
        if not isinstance(first, Call):
            return None, first
        future = _future_of(first)
        try:
            return (future.result() if future.done() else await future), None
        except ZmqkitError as error:
            return None, error
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._items = None
        _drop(self._life, self._core, self._under_way)


def _future_of(call: Call) -> asyncio.Future[Any]:
    assert isinstance(call.waiter, asyncio.Future)
    return call.waiter


def _drop(life: Life[Lookup], core: ClientCore, under_way: deque[Call | ZmqkitError]) -> None:
    """Cancel these calls; nobody will ask for their errors."""
    calls = [each for each in under_way if isinstance(each, Call)]
    under_way.clear()
    life.end(core.withdraw, calls)
    for call in calls:
        future = _future_of(call)
        if future.done() and not future.cancelled():
            future.exception()
