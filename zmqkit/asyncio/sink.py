"""The asyncio sink: results of tasks, read one after the other."""

from __future__ import annotations

from time import monotonic
from typing import Self

from zmqkit.asyncio.role import Life, Role
from zmqkit.core.tasks.lease import SINK
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.handlers import end_of
from zmqkit.roles.results import Result, Results, sink_core
from zmqkit.roles.role import BoundShown, Plan
from zmqkit.roles.scheme import Binding
from zmqkit.types import ServiceStats


class Sink(BoundShown, Role):
    """Takes the results of tasks that were pushed under a name with results="sink".

    name: the name under which tasks are pushed. bind: `tcp://host:port` instead of any free
    port. insecure: be reachable from other machines, in plain text. advertise: the address that
    other machines are told, for containers. space: the space that it is in, in place of that of
    ZMQKIT_SPACE. statistics: tell other machines that reach it what it counts. Raises
    UsageError or ConfigError for a wrong value. Each result goes to one of the name's sinks. It
    is accepted when the next one is asked for, or by `acknowledge`; what was not accepted is
    delivered again, here or to another sink. So it may come twice, with the same id. Pushers
    and streamers find the sink once it is opened.
    """

    _kind = "zmqkit.asyncio.Sink"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
    ) -> None:
        place = Binding(SINK, name, bind, advertise, insecure=insecure, space=space)
        core = self._core = sink_core(place.incarnation)
        self._results = Results(core)
        self._life: Life[Binding] = Life(
            Plan(
                f"sink of {name!r}",
                place,
                core,
                self._results.hooks(),
                about=core.about,
                statistics=statistics,
            )
        )

    def __aiter__(self) -> Self:
        """Iterate over results as they come, until `stop` or `close`."""
        self._life.open()
        return self

    async def __anext__(self) -> Result:
        result = await self.receive()
        if result is None:
            raise StopAsyncIteration
        return result

    async def receive(self, timeout_s: float | None = None) -> Result | None:
        """Accept the last result, and return the next one.

        Returns None when none came in time or `stop` was called.
        """
        life, results, until = self._life, self._results, end_of(timeout_s)
        driver = life.open()
        while True:
            result, effects = results.take(monotonic())
            if effects:
                driver.perform(effects)
            if result is not None or results.stopping or life.closed or life.is_past(until):
                results.stopping = False
                return result
            await life.wait(lambda: results.has_news or life.closed, until)

    async def acknowledge(self) -> None:
        """Accept the last result without asking for the next one."""
        self._life.command(self._results.acknowledge)

    def stop(self) -> None:
        """Have the reader that waits for a result return; any thread may call this."""
        self._results.stopping = True
        self._life.on_loop(self._life.soon)

    def stats(self) -> ServiceStats:
        """Return the counters.

        Always accepted = delivered + failed + expired + dropped + in flight.
        """
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Hand back the results that were not accepted, and close. Returns 0."""
        core = self._core
        return await self._life.close(
            timeout_s,
            lambda: core.in_flight,
            core.close,
            leave=self._results.leave,
            linger_s=lambda left_s: max(LEAVE_S, left_s if core.owes else 0.0),
        )
