"""What an asyncio service and an asyncio worker have in common: they run handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from zmqkit.asyncio.role import Life, Role
from zmqkit.asyncio.runner import Runner
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect
from zmqkit.drivers.aio import AioDriver
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.foreign import changed_of, check_handlers, hear_of
from zmqkit.roles.handlers import Handlers, check_imported, end_of
from zmqkit.roles.places import opened
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding, Dialling
from zmqkit.roles.stopping import Run
from zmqkit.types import ServiceStats


class Serving(BoundShown, Role):
    """Runs the handlers of a core on an event loop."""

    _life: Life[Binding | Dialling]

    def __init__(
        self,
        title: str,
        place: Binding | Dialling,
        core: ServiceCore,
        handlers: Handlers,
        concurrency: int,
        *,
        statistics: bool,
    ) -> None:
        self._core = core
        self._handlers = handlers
        self._runner = Runner(core, handlers, concurrency, f"zmqkit-{place.name}")
        self._stopped = asyncio.Event()
        self._life = Life(
            Plan(
                f"{title} {place.name!r}",
                place,
                core,
                self._runner.hooks(),
                about=core.about,
                hear=hear_of(core),
                changed=changed_of(core),
                opened=self._begin,
                statistics=statistics,
            )
        )

    def stop(self) -> None:
        """Have the serving task return; any thread may call this."""
        if not self._life.on_loop(self._stop):
            self._stopped.set()

    def stats(self) -> ServiceStats:
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

    def _stop(self) -> None:
        self._stopped.set()
        self._life.soon()  # whoever waits in `_serve` looks after each turn

    def _leave(self, now: float) -> list[Effect]:
        self._stopped.set()
        return self._core.leave()

    def _shut(self) -> list[Effect]:
        self._runner.stop()
        return self._core.close()

    async def _serve(self, timeout_s: float | None) -> None:
        until = end_of(timeout_s)
        self._life.open()
        try:
            await self._life.wait(lambda: self._stopped.is_set() or self._core.is_spent, until)
        finally:
            self._stopped.clear()

    async def _run(
        self, noun: str, drain_s: float, serve: Callable[[], Awaitable[None]]
    ) -> int:
        """Do what `run` says. noun: what is under way. serve: serves until `stop`."""
        check_imported("run")
        with Run(self, noun, drain_s, None) as run:
            try:
                await serve()
            finally:
                left = await self.close(run.closing())
            return run.code(left, held=self._runner.has_threads)

    def _begin(self, driver: AioDriver) -> None:
        check_handlers(self._core)
        opened(self._core, self._life.plan.place)
        self._runner.begin(driver)
