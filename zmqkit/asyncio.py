"""The asyncio roles: the same names as in zmqkit, verbs that wait are `async def`.

A role belongs to the event loop on which it is first used. Plain handlers run on that loop, so
they should be quick; `thread=True` moves a slow one off it, `async def` handlers may wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from zmqkit._places import ClientPlace, ServicePlace, draw_incarnation
from zmqkit._roles import (
    CallOptions,
    Function,
    Handler,
    Handlers,
    Request,
    call_body,
    current_request,
    end_of,
    error_answer,
    instance_rows,
    run_plain,
    run_waiting,
)
from zmqkit.core import effects
from zmqkit.core.client import ClientCore
from zmqkit.core.effects import Tell
from zmqkit.core.outcome import Outcome
from zmqkit.core.service import Result, ServiceCore
from zmqkit.core.window import Answer
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import ForkGuard
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import (
    Busy,
    CallCancelled,
    CallTimeout,
    ConfigError,
    NoMethod,
    NoService,
    PeerError,
    PeerLost,
    QueueFull,
    RemoteError,
    UsageError,
    ZmqkitError,
)
from zmqkit.options import CLOSE_S, CONCURRENCY_ASYNCIO, TIMEOUT_S, TURN_MESSAGES, WAIT_S

AnyFunction = TypeVar("AnyFunction", bound=Function)

_LEAVE_S = 0.1


class Service:
    """Answers calls to a name on an event loop.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers may be under way at once. insecure: be
    reachable from other machines, in plain text. advertise: the address to announce to them, for
    containers. Raises UsageError or ConfigError for a wrong value.
    """

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        concurrency: int = CONCURRENCY_ASYNCIO,
        insecure: bool | None = None,
        advertise: str | None = None,
    ) -> None:
        if type(concurrency) is not int or concurrency < 1:
            raise UsageError(f"concurrency is {concurrency!r}; use 1 or more")
        self._place = ServicePlace(name, bind, advertise, insecure=insecure)
        self._handlers = Handlers()
        self._core = ServiceCore(
            self._place.incarnation, self._handlers.idempotent, concurrency
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AioDriver | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._results: list[Result] = []
        self._stopped = asyncio.Event()
        self._fork_guard = ForkGuard()
        self._closing: asyncio.Future[int] | None = None

    @property
    def name(self) -> str:
        """What clients look up."""
        return self._place.name

    @property
    def incarnation(self) -> int:
        """The number that tells this object from all others of its name."""
        return self._place.incarnation

    @property
    def endpoint(self) -> str:
        """Where it listens; empty before `start`."""
        return self._place.endpoint

    @overload
    def handler(
        self,
        function: AnyFunction,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        thread: bool = False,
    ) -> AnyFunction: ...

    @overload
    def handler(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        thread: bool = False,
    ) -> Callable[[AnyFunction], AnyFunction]: ...

    def handler(
        self,
        function: AnyFunction | None = None,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        thread: bool = False,
    ) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
        """Have a function answer the method of its name; a decorator, bare or called.

        idempotent: running it twice does no harm, so a call whose instance died may move to
        another. thread: run a slow plain function in a thread, off the loop.
        """

        def add(function: AnyFunction) -> AnyFunction:
            self._handlers.add(function, name, idempotent=idempotent, thread=thread)
            return function

        return add if function is None else add(function)

    async def start(self) -> None:
        """Listen and be announced; `serve` does it if it was not done.

        Raises ConfigError when the address is taken.
        """
        self._check_usable()
        if self._driver is None:
            self._loop = asyncio.get_running_loop()
            link = self._place.open()
            self._core.about.update(self._place.about())
            self._driver = AioDriver(Driver(self._core, link, self), self._loop)
            self._place.announce()

    async def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`."""
        await self.start()
        try:
            await asyncio.wait_for(self._stopped.wait(), timeout_s)
        except TimeoutError:
            return
        finally:
            self._stopped.clear()

    def stop(self) -> None:
        """Have `serve` return; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        else:
            self._stopped.set()

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Take no new requests, finish those taken within `timeout_s`, and let go.

        Gives how many accepted requests were left unanswered.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(timeout_s))
            return await self._closing
        await self._closing
        return 0

    async def _close(self, timeout_s: float) -> int:
        driver = self._driver
        if driver is None:
            return 0
        until = end_of(timeout_s)
        self._stopped.set()
        driver.perform(self._core.leave())
        self._place.withdraw()
        await driver.drive_until(lambda: not self._core.in_flight, until)
        self._driver = None
        unanswered = self._core.in_flight
        driver.driver.perform(self._core.close())
        driver.close()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_LEAVE_S)
        if self._pool is not None:
            self._pool.shutdown(wait=not unanswered, cancel_futures=True)
        driver.driver.link.close(max(_LEAVE_S, until - time.monotonic()))
        await _in_thread(self._place.release)
        if unanswered:
            log.warning("service %r closed with %d unanswered", self.name, unanswered)
        return unanswered

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # What the driver asks for

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """A service waits for nothing."""
        raise AssertionError("a service has no calls")

    def handle(self, requests: list[effects.Request]) -> None:
        """Run plain handlers now and answer them together; start the others."""
        assert self._loop is not None
        for request in requests:
            handler = self._handlers.by_name[request.method]
            if handler.waits or handler.thread:
                task = self._loop.create_task(self._run(handler, request))
                self._tasks[request.ticket] = task
            else:
                self._results.append((request, run_plain(handler, request)))
                if len(self._results) >= TURN_MESSAGES:
                    self.finish()

    def finish(self) -> None:
        """Answer together what one turn finished."""
        while self._results and self._driver is not None:
            results, self._results = self._results, []
            self._driver.driver.perform(self._core.handled(results, time.monotonic()))

    def abort(self, requests: list[effects.Request]) -> None:
        """Cancel the tasks of these requests."""
        for request in requests:
            task = self._tasks.get(request.ticket)
            if task is not None:
                task.cancel()

    async def _run(self, handler: Handler, request: effects.Request) -> None:
        try:
            answer = await self._answer(handler, request)
        except asyncio.CancelledError as error:
            answer = error_answer(error)
        del self._tasks[request.ticket]
        self._later(request, answer)

    async def _answer(self, handler: Handler, request: effects.Request) -> Answer:
        if handler.waits:
            return await run_waiting(handler, request)
        assert self._loop is not None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(thread_name_prefix=f"zmqkit-{self.name}")
        return await self._loop.run_in_executor(self._pool, run_plain, handler, request)

    def _later(self, request: effects.Request, answer: Answer) -> None:
        """Answer at the end of the turn, with all else that is finished by then."""
        if not self._results and self._loop is not None:
            self._loop.call_soon(self._finish)
        self._results.append((request, answer))

    def _finish(self) -> None:
        self.finish()
        if self._driver is not None:
            self._driver.soon()

    def _check_usable(self) -> None:
        if self._closing is not None:
            raise UsageError(f"service {self.name!r} is closed; make a new one")
        self._fork_guard.check()


class BoundClient:
    """A client with other call options; see `Client.options`."""

    def __init__(self, client: Client, options: CallOptions) -> None:
        self._client = client
        self._options = options

    def options(self, **changes: object) -> BoundClient:
        """The same client with these options changed as well."""
        return BoundClient(self._client, self._options.changed(changes))

    async def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives; see `Client.call`."""
        return await self._client._call(method, args, kwargs, self._options)

    async def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; see `Client.notify`."""
        self._client._usable()
        self._client._submit(method, args, kwargs, self._options, None)


class Client:
    """Calls the service of a name, wherever its instances are, or the one at a URL.

    name: a name, `tcp://host:port[/name]` or `memory://name`. timeout_s: how long a call may
    take. wait_s: how long it waits for a first instance. insecure: use instances on other
    machines, in plain text. Raises UsageError or ConfigError for a wrong value.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = WAIT_S,
        insecure: bool | None = None,
    ) -> None:
        self._options = CallOptions(timeout_s=timeout_s, wait_s=wait_s)
        self._place = ClientPlace(name, insecure=insecure)
        self._core = ClientCore(name, draw_incarnation())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AioDriver | None = None
        self._fork_guard = ForkGuard()
        self._closing: asyncio.Future[int] | None = None

    @property
    def name(self) -> str:
        """The name or URL it calls."""
        return self._place.name

    def options(self, **changes: object) -> BoundClient:
        """This client with other call options: timeout_s, wait_s, priority, attempts, headers.

        priority: 0 to 9, 9 first. attempts: how many instances a call may try. headers: a
        mapping that travels along. Raises UsageError for a wrong one.
        """
        return BoundClient(self, self._options.changed(changes))

    async def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives for these arguments.

        Raises NoService, CallTimeout, RemoteError, NoMethod, Busy, PeerLost or QueueFull, and
        UsageError for what cannot travel; `error.may_have_run` says whether it may have run.
        Cancelling the task tells the service.
        """
        return await self._call(method, args, kwargs, self._options)

    async def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; it is repeated until the service took it or time is over.

        Returns at once. What became of it is in `stats` and in the log.
        """
        self._usable()
        self._submit(method, args, kwargs, self._options, None)

    async def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` instances can be called; gives how many can be."""
        driver = self._usable()
        future: asyncio.Future[int] = driver.loop.create_future()
        limit = inf if timeout_s is None else timeout_s
        driver.perform(self._core.await_ready(count, future, limit, time.monotonic()))
        return await future

    def instances(self) -> list[dict[str, object]]:
        """The instances in use: label, address, state (`up` is chosen), outstanding calls."""
        return instance_rows(self.name, self._core.roster.instances.values())

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` for what is in flight, and let go.

        Gives how many calls were left unsettled; they end with CallCancelled.
        """
        if self._closing is None:
            self._fork_guard.check()
            self._closing = asyncio.ensure_future(self._close(timeout_s))
            return await self._closing
        await self._closing
        return 0

    async def _close(self, timeout_s: float) -> int:
        driver = self._driver
        if driver is None:
            return 0
        await driver.drive_until(lambda: not self._core.in_flight, end_of(timeout_s))
        self._driver = None
        unsettled = self._core.in_flight
        driver.driver.perform(self._core.close())
        driver.close()
        driver.driver.link.close(0)
        await _in_thread(self._place.release)
        if unsettled:
            log.warning("client of %r closed with %d calls unsettled", self.name, unsettled)
        return unsettled

    async def __aenter__(self) -> Self:
        self._usable()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # What the driver asks for

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """End the futures of these calls."""
        future: Any
        for future, value, error in outcomes:
            if future.done():
                continue  # its task was cancelled
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def handle(self, requests: list[effects.Request]) -> None:
        """A client runs nothing."""
        raise AssertionError("a client has no handlers")

    def abort(self, requests: list[effects.Request]) -> None:
        """A client runs nothing."""
        raise AssertionError("a client has no handlers")

    def finish(self) -> None:
        """A client runs nothing."""

    async def _call(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
    ) -> Any:
        driver = self._usable()
        future: asyncio.Future[Any] = driver.loop.create_future()
        sequence = self._submit(method, args, kwargs, options, future)
        try:
            return await future
        except asyncio.CancelledError:
            self._cancel(sequence)
            raise

    def _cancel(self, sequence: int) -> None:
        if self._driver is not None:
            self._driver.perform(self._core.cancel(sequence, time.monotonic()))

    def _submit(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
        future: asyncio.Future[Any] | None,
    ) -> int:
        body, raw = call_body(method, args, kwargs, options)
        driver = self._driver or self._usable()
        sequence = self._core.submit(
            method,
            body,
            raw,
            timeout_s=options.timeout_s,
            wait_s=options.wait_s,
            priority=options.priority,
            attempts=options.attempts,
            oneway=future is None,
            waiter=future,
            now=time.monotonic(),
        )
        driver.gathered()
        return sequence

    def _usable(self) -> AioDriver:
        """The driver, started on the running loop at first use."""
        if self._closing is not None:
            raise UsageError(f"the client of {self.name!r} is closed; make a new one")
        self._fork_guard.check()
        if self._driver is None:
            loop = self._loop = asyncio.get_running_loop()
            self._driver = AioDriver(Driver(self._core, self._place.open(), self), loop)
            self._place.listen(self._hear)
        return self._driver

    def _hear(self, tell: Tell) -> None:
        """Take the node's news, from its thread to the loop."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, tell)

    def _take(self, tell: Tell) -> None:
        if self._driver is not None:
            self._driver.perform(self._core.hear(tell, time.monotonic()))


async def _in_thread(work: Callable[[], None]) -> None:
    """Wait for what would block the loop, on a thread that ends with it."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=run, name="zmqkit-close")
    thread.start()
    await done.wait()
    thread.join()


__all__ = [
    "Busy",
    "CallCancelled",
    "CallTimeout",
    "Client",
    "ConfigError",
    "NoMethod",
    "NoService",
    "PeerError",
    "PeerLost",
    "QueueFull",
    "RemoteError",
    "Request",
    "Service",
    "UsageError",
    "ZmqkitError",
    "current_request",
]
