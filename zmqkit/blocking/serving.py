"""What a blocking service and a blocking worker have in common: they run handlers."""

from __future__ import annotations

from collections.abc import Callable

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life, Role
from zmqkit.blocking.runner import Runner
from zmqkit.core.calls.service import ServiceCore
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.foreign import changed_of, check_handlers, hear_of
from zmqkit.roles.handlers import Handlers, check_imported, end_of
from zmqkit.roles.places import opened
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding, Dialling
from zmqkit.roles.stopping import Run
from zmqkit.types import ServiceStats


class Serving(BoundShown, Role):
    """Runs the handlers of a core, in the thread that serves or in a pool."""

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
        threads = concurrency if concurrency > 1 else 0
        self._core = core
        self._handlers = handlers
        self._runner = Runner(core, handlers, threads, f"zmqkit-{place.name}")
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
        """Have the serving thread return after what it runs; any thread may call this."""
        self._runner.stopping = True
        self._life.wake()

    def stats(self) -> ServiceStats:
        """Return the counters.

        Always accepted = delivered + failed + expired + dropped + in flight.
        """
        return self._life.look(self._core.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Take no new requests, finish the accepted ones within `timeout_s`, then close.

        Returns how many accepted requests were left unanswered.
        """
        core, runner = self._core, self._runner
        return self._life.close(
            timeout_s,
            Ending(
                lambda: core.in_flight,
                core.close,
                leave=lambda now: core.leave(),
                drain=runner.drain,
                linger_s=lambda left_s: max(LEAVE_S, left_s if core.owes else 0.0),
                over=lambda unanswered: runner.close(wait=not (unanswered or core.overdue)),
                says="with {} unanswered".format,
            ),
        )

    def _serve(self, timeout_s: float | None) -> None:
        until = end_of(timeout_s)
        self._life.open()
        self._runner.serve(until)

    def _run(self, noun: str, drain_s: float, serve: Callable[[], None]) -> int:
        """Do what `run` says. noun: what is under way. serve: serves until `stop`."""
        check_imported("run")
        with Run(self, noun, drain_s, self.close) as run:
            try:
                serve()
            finally:
                left = self.close(run.closing())
            goes_on = left or self._core.overdue
            return run.code(left, held=bool(goes_on and self._runner.has_threads))

    def _begin(self, driver: BlockingDriver) -> None:
        check_handlers(self._core)
        opened(self._core, self._life.plan.place)
        self._runner.begin(driver)
