"""The asyncio service: handlers on an event loop."""

from __future__ import annotations

from zmqkit.asyncio.serving import Serving
from zmqkit.core.calls.service import ServiceCore
from zmqkit.limits import CONCURRENCY_ASYNCIO
from zmqkit.roles.handlers import Handlers, Registers, check_concurrency, check_imported
from zmqkit.roles.scheme import Binding


class Service(Registers, Serving):
    """Answers calls to a name on an event loop.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers may be under way at once. insecure: be
    reachable from other machines, in plain text. advertise: the address that other machines are
    told, for containers. Raises UsageError or ConfigError for a wrong value. Clients can find
    the service once it is opened: by its `async with` block, or else by `start` or `serve`. Add
    the handlers before that.
    """

    _kind = "zmqkit.asyncio.Service"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        concurrency: int = CONCURRENCY_ASYNCIO,
        insecure: bool | None = None,
        advertise: str | None = None,
    ) -> None:
        check_concurrency(concurrency)
        place = Binding("service", name, bind, advertise, insecure=insecure)
        handlers = Handlers(plain=False)
        core = ServiceCore(
            place.incarnation, handlers.idempotent, concurrency, handlers.streams
        )
        super().__init__("service", place, core, handlers, concurrency)

    async def start(self) -> None:
        """Listen and announce the service, unless that was done already.

        Raises AddressTaken when the address is in use.
        """
        self._life.open()

    async def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`."""
        check_imported("serve")
        await self._serve(timeout_s)
