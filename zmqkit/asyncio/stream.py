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
    """The values that a service's generator gives, in order and each once; see `Client.stream`.

    Used as an iterator, by one task at a time. Whoever stops early closes it, or leaves that to
    the end of an `async with` block or of the object's life: its generator is closed then. So
    it is when a task that waits for a value is cancelled.
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
        """Want no more of it: the service closes the generator. Nothing follows; may repeat."""
        self._give_up()

    async def aclose(self) -> None:
        """The same as `close`, by the name that `contextlib.aclosing` uses."""
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
        # On any thread, and perhaps when the loop is gone.
        life, call = self._life, self._call
        if not call.over:
            life.on_loop(life.end, self._core.cancel, call.sequence)

    async def _wait(self) -> None:
        """Wait for something to come, or for the end."""
        if self._call.listener is not None:
            raise UsageError("another task waits for this stream; read it in one alone")
        future, _ = self._life.ask(self._core.listen, self._call)
        try:
            await future
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Cancel the call if it goes on, and forget what came."""
        call = self._call
        if not call.over:
            self._life.end(self._core.cancel, call.sequence)
        call.values.clear()
        call.error = None
