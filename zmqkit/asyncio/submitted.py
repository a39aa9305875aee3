"""A request that a broker keeps, as the asyncio client that submitted it sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any


class Submitted:
    """A request that is on the disk of a broker, of `Client.submit` or `Client.submitted`.

    id: by which any process collects the reply, with `Client.collect`.
    """

    def __init__(
        self,
        id: str,
        collect: Callable[[str, float | None], Awaitable[Any]],
        look: Callable[[str], Awaitable[str]],
    ) -> None:
        self.id = id
        self._collect = collect
        self._look = look

    def __repr__(self) -> str:
        return f"<zmqkit.asyncio.Submitted {self.id!r}>"

    async def result(self, timeout_s: float | None = None) -> Any:
        """Return the value of the request, as `Client.collect` does.

        timeout_s: how long to wait; None is the client's own time.
        """
        return await self._collect(self.id, timeout_s)

    async def state(self) -> str:
        """Return the state, which the broker says: waiting, leased, done, failed, dead, ...

        A worker has the request while it is leased. Others are expired, cancelled and dropped.
        Raises the errors of `Client.collect`.
        """
        return await self._look(self.id)
