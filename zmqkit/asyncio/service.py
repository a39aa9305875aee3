"""The asyncio service: handlers on an event loop."""

from __future__ import annotations

import asyncio
from math import inf

from zmqkit.asyncio.role import Life, Role
from zmqkit.asyncio.runner import Runner
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect
from zmqkit.limits import CLOSE_S, CONCURRENCY_ASYNCIO, LEAVE_S
from zmqkit.roles.handlers import Handlers, Registers, check_concurrency, seconds_of
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding


class Service(Registers, BoundShown, Role):
    """Answers calls to a name on an event loop.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers may be under way at once. insecure: be
    reachable from other machines, in plain text. advertise: the address that other machines are
    told, for containers. Raises UsageError or ConfigError for a wrong value. Clients can find
    the service once it is opened: by its `async with` block, or else by `start` or `serve`. Add
    the handlers before that.
    """

    _kind = "zmqkit.asyncio.Service"
    _life: Life[Binding]

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
        handlers = self._handlers = Handlers(plain=False)
        core = self._core = ServiceCore(
            place.incarnation, handlers.idempotent, concurrency, handlers.streams
        )
        runner = self._runner = Runner(core, handlers, concurrency, f"zmqkit-{name}")
        self._stopped = asyncio.Event()
        self._life = Life(
            Plan(
                f"service {name!r}",
                place,
                core,
                runner.hooks(),
                about=core.about,
                opened=runner.begin,
            )
        )

    async def start(self) -> None:
        """Listen and announce the service, unless that was done already.

        Raises AddressTaken when the address is in use.
        """
        self._life.open()

    async def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`."""
        limit_s = seconds_of(timeout_s)
        self._life.open()
        try:
            await asyncio.wait_for(self._stopped.wait(), None if limit_s == inf else limit_s)
        except TimeoutError:
            return
        finally:
            self._stopped.clear()

    def stop(self) -> None:
        """Have `serve` return; any thread may call this."""
        if not self._life.on_loop(self._stopped.set):
            self._stopped.set()

    def stats(self) -> dict[str, object]:
        """Return the counters.

        Always accepted = delivered + failed + expired + dropped + in flight.
        """
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Take no new requests, finish the accepted ones within `timeout_s`, then close.

        Returns how many accepted requests were left unanswered.
        """
        core = self._core
        return await self._life.close(
            timeout_s,
            lambda: core.in_flight,
            self._shut,
            leave=self._leave,
            drained=lambda: not core.in_flight,
            linger_s=lambda left_s: max(LEAVE_S, left_s if core.owes else 0.0),
            over=self._runner.close,
            says="with {} unanswered".format,
        )

    def _leave(self, now: float) -> list[Effect]:
        self._stopped.set()
        return self._core.leave()

    def _shut(self) -> list[Effect]:
        self._runner.stop()
        return self._core.close()
