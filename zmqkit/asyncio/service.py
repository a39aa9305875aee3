"""The asyncio service: handlers on an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Self, TypeVar, overload

from zmqkit.asyncio.closing import in_thread
from zmqkit.asyncio.runner import Runner
from zmqkit.core.calls.service import ServiceCore
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S, CONCURRENCY_ASYNCIO, LEAVE_S
from zmqkit.roles.handlers import Function, Handlers, end_of
from zmqkit.roles.scheme import Binding, shown

AnyFunction = TypeVar("AnyFunction", bound=Function)


class Service:
    """Answers calls to a name on an event loop.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers may be under way at once. insecure: be
    reachable from other machines, in plain text. advertise: the address to announce to them,
    for containers. Raises UsageError or ConfigError for a wrong value.
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
        self._place = Binding("service", name, bind, advertise, insecure=insecure)
        self._handlers = Handlers()
        self._core = ServiceCore(
            self._place.incarnation,
            self._handlers.idempotent,
            concurrency,
            self._handlers.streams,
        )
        self._runner = Runner(self._core, self._handlers, concurrency, f"zmqkit-{name}")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AioDriver | None = None
        self._stopped = asyncio.Event()
        self._process = current_process()
        self._closing: asyncio.Future[int] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closing is not None else self.endpoint or "not started"
        return shown("zmqkit.asyncio.Service", self.name, state)

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
        """Where it listens, as another program reaches it; empty before `start`.

        When it listens on all interfaces, it is the address that is advertised, or the best one
        that this machine had then.
        """
        return self._place.endpoint

    @overload
    def handler(
        self,
        function: AnyFunction,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        copy: bool = True,
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
        copy: bool = True,
        thread: bool = False,
    ) -> Callable[[AnyFunction], AnyFunction]: ...

    def handler(
        self,
        function: AnyFunction | None = None,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
        copy: bool = True,
        thread: bool = False,
    ) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
        """Have a function answer the method of its name; a decorator, bare or called.

        A generator streams its values to the caller.

        idempotent: running it twice does no harm, so a call whose instance died may move to
        another. copy=False: take a single bytes argument of 4096 bytes or more as a read-only
        memoryview of what arrived, which saves copying it. thread: run a slow plain function
        in a thread, off the loop.
        """

        def add(function: AnyFunction) -> AnyFunction:
            self._handlers.add(function, name, idempotent=idempotent, copy=copy, thread=thread)
            return function

        return add if function is None else add(function)

    async def start(self) -> None:
        """Listen and be announced; `serve` does it if it was not done.

        Raises AddressTaken when another listens there.
        """
        self._check_usable()
        if self._driver is None:
            self._loop = asyncio.get_running_loop()
            link = self._place.open()
            self._core.about.update(self._place.about())
            self._driver = AioDriver(Driver(self._core, link, self._runner.hooks()), self._loop)
            self._runner.begin(self._driver)
            self._place.announce()

    async def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`."""
        limit = None if end_of(timeout_s) == inf else timeout_s
        await self.start()
        try:
            await asyncio.wait_for(self._stopped.wait(), limit)
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
            self._process.check()
            self._closing = asyncio.ensure_future(self._close(end_of(timeout_s)))
            return await asyncio.shield(self._closing)  # who ends the wait ends no close
        await asyncio.wait([self._closing])  # however it ended
        return 0

    async def _close(self, until: float) -> int:
        driver = self._driver
        if driver is None:
            return 0
        self._stopped.set()
        driver.perform(self._core.leave())
        self._place.withdraw()
        try:
            await driver.drive_until(lambda: not self._core.in_flight, until)
        finally:
            unanswered = await self._let_go(driver, until)  # when it is cancelled, too
        return unanswered

    async def _let_go(self, driver: AioDriver, until: float) -> int:
        self._driver = None
        self._runner.stop()
        unanswered, owes = self._core.in_flight, self._core.owes
        driver.driver.perform(self._core.close())
        driver.close()
        try:
            await self._runner.close()
        finally:
            left_s = until - time.monotonic() if owes else 0.0
            driver.driver.link.close(max(LEAVE_S, left_s))
            await in_thread(self._place.release)
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

    def _check_usable(self) -> None:
        if self._closing is not None:
            raise UsageError(f"service {self.name!r} is closed; make a new one")
        self._process.check()
