"""Calls of an asyncio client that were begun, and whose results are Futures."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.limits import WAITING_CALLS_MAX
from zmqkit.roles.answers import value_of

if TYPE_CHECKING:
    from zmqkit.asyncio.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup
    from zmqkit.wire.encoding import Buffer


class Futures:
    """The calls of one client that were begun."""

    def __init__(self, life: Life[Lookup], core: ClientCore) -> None:
        self._life = life
        self._core = core
        self._open_count = 0
        # Who waits to begin a call.
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions
    ) -> asyncio.Future[Any]:
        """Begin a call; see `Client.begin`."""
        while self._open_count >= WAITING_CALLS_MAX:
            await self._room()
        try:
            inner, call = self._life.ask(self._core.call, method, body, raw, options)
        except BaseException:
            self._wake()  # another one may have this room, or hear why there is none
            raise
        outer: asyncio.Future[Any] = inner.get_loop().create_future()
        self._open_count += 1
        inner.add_done_callback(partial(self._ended, outer, options))
        outer.add_done_callback(partial(self._withdraw, inner, call))
        return outer

    async def _room(self) -> None:
        """Wait until a call has ended, in turn."""
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        try:
            await room
        except asyncio.CancelledError:
            if room.done() and not room.cancelled():
                self._wake()  # another one may have this room
            raise

    def _wake(self) -> None:
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return

    def _ended(
        self, outer: asyncio.Future[Any], options: CallOptions, inner: asyncio.Future[Any]
    ) -> None:
        self._open_count -= 1
        self._wake()
        error = None if inner.cancelled() else inner.exception()
        if outer.done():
            return
        if error is not None:
            outer.set_exception(error)
        else:
            outer.set_result(value_of(inner.result(), options))

    def _withdraw(
        self, inner: asyncio.Future[Any], call: Call, outer: asyncio.Future[Any]
    ) -> None:
        """Cancel the call of a Future that was cancelled."""
        if outer.cancelled() and not inner.done():
            inner.cancel()
            self._life.end(self._core.withdraw, [call])
