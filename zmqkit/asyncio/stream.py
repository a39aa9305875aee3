"""The asyncio side of a stream: its values, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.errors import UsageError

if TYPE_CHECKING:
    from zmqkit.asyncio.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup


class Stream(AsyncIterator[Any]):
    """The values of a service's generator, in order and each once; see `Client.stream`.

    Only one task at a time may iterate over a stream. A reader that stops early calls `close`.
    The end of an `async with` block, or of the object's life, closes the stream too. So does
    cancelling a task that waits for a value. The service then closes the generator.
    """

    def __init__(self, life: Life[Lookup], core: ClientCore, call: StreamCall) -> None:
        self._life = life
        self._core = core
        self._call = call

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        core, call = self._core, self._call
        while not call.values:
            if call.over:
                error, call.error = call.error, None
                raise error or StopAsyncIteration
            await self._wait()
        value = core.take(call)
        if core.owes_credit:
            self._life.soon()
        return bytes(value) if type(value) is memoryview and call.options.copy else value

    async def close(self) -> None:
        """Give up the stream: the service closes the generator, and no value follows.

        It does no harm to close a stream again.
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
        life, call = self._life, self._call
        if not call.over:
            life.on_loop(life.end, self._core.withdraw, [call])

    async def _wait(self) -> None:
        """Wait for a value, or for the end of the stream."""
        if self._call.listener is not None:
            raise UsageError("another task waits for this stream; read it in one alone")
        future, _ = self._life.ask(self._core.listen, self._call)
        try:
            await future
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Cancel the call if it goes on, and drop the values that came."""
        call = self._call
        if not call.over:
            self._life.end(self._core.withdraw, [call])
        call.values.clear()
        call.error = None
