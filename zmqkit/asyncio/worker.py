"""The asyncio worker: one handler that does tasks on an event loop."""

from __future__ import annotations

from functools import partial

from zmqkit.asyncio.serving import Serving
from zmqkit.core.calls.request import Request
from zmqkit.limits import DRAIN_S, WORKER_CONCURRENCY_ASYNCIO
from zmqkit.roles.handlers import Handlers, check_concurrency, check_imported
from zmqkit.roles.scheme import working_place
from zmqkit.roles.tasks import HandlesTasks, check_tasks_max, worker_core


class Worker(HandlesTasks, Serving):
    """Does the tasks that are pushed under a name, on an event loop.

    name: the name under which tasks are pushed, or `tcp://host:port/name`: then the worker
    dials the streamer there, and nobody has to reach the worker. bind: `tcp://host:port`
    instead of any free port, or `memory://name`. concurrency: how many tasks may be under way
    at once. insecure: use the network beyond this machine, in plain text. advertise: the
    address that other machines are told, for containers. space: the space that it is in, in
    place of that of ZMQKIT_SPACE. statistics: tell other machines that reach it what it counts.
    Raises UsageError or ConfigError for a wrong value. Pushers can find the worker once it is
    opened: by its `async with` block, or else by `start` or `work`. Decorate the handler with
    `task` before that.
    """

    _kind = "zmqkit.asyncio.Worker"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        concurrency: int = WORKER_CONCURRENCY_ASYNCIO,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
    ) -> None:
        check_concurrency(concurrency)
        place = working_place("worker", name, bind, advertise, insecure=insecure, space=space)
        handlers = Handlers(plain=False)
        core = worker_core(place, handlers, concurrency)
        super().__init__("worker", place, core, handlers, concurrency, statistics=statistics)
        self._about = core.about

    async def start(self) -> None:
        """Listen and announce the worker, unless that was done already.

        Raises AddressTaken when the address is in use.
        """
        self._check_handler()
        self._life.open()

    async def work(
        self, timeout_s: float | None = None, *, tasks_max: int | None = None
    ) -> None:
        """Do tasks until `stop`, for `timeout_s`, or until `tasks_max` of them have ended.

        After so many the worker takes no more, ever; close it.
        """
        check_imported("work")
        self._check_handler()
        check_tasks_max(tasks_max)
        self._life.open()
        if tasks_max is not None:
            self._life.command(self._core.limit_requests, tasks_max)
        await self._serve(timeout_s)

    async def run(self, *, drain_s: float = DRAIN_S, tasks_max: int | None = None) -> int:
        """Work until SIGTERM or SIGINT, finish what was begun, close; return the exit code.

        For the end of a program: `sys.exit(asyncio.run(worker.run()))`. `stop` ends it, too,
        and so do `tasks_max` tasks. drain_s: how long the end may take. The code is 0, or 1 if
        tasks were left then, which others do. A handler that goes on in a thread, or holds the
        main thread, ends with the process. A second signal ends the process at once: with 130
        after SIGINT, else as SIGTERM does. Raises the errors of `work`, and UsageError outside
        the main thread.
        """
        return await self._run("task", drain_s, partial(self.work, tasks_max=tasks_max))

    def _report(self, request: Request, value: bytes) -> None:
        driver, life = self._life.driver, self._life
        if driver is not None and driver.is_here():
            life.end(self._core.report, request, value)
        else:
            life.on_loop(life.end, self._core.report, request, value)
