"""The asyncio service: handlers on an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from math import inf
from types import TracebackType
from typing import Self, TypeVar, overload

from zmqkit._places import BoundPlace, shown
from zmqkit._roles import (
    Function,
    Handler,
    Handlers,
    end_of,
    error_answer,
    is_interrupt,
    run_plain,
    run_waiting,
)
from zmqkit._streams import (
    close_generator,
    close_waiting,
    is_value,
    next_value,
    next_waiting,
)
from zmqkit.asyncio.closing import in_thread
from zmqkit.asyncio.threads import Threads
from zmqkit.core import effects
from zmqkit.core.service import Result, ServiceCore
from zmqkit.core.stream import StreamRequest
from zmqkit.core.window import Answer
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, Hands, log
from zmqkit.errors import UsageError
from zmqkit.options import (
    CLOSE_S,
    CONCURRENCY_ASYNCIO,
    LEAVE_S,
    STEP_S,
    THREADS_MAX,
    TURN_MESSAGES,
)

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
        self._place = BoundPlace("service", name, bind, advertise, insecure=insecure)
        self._handlers = Handlers()
        self._core = ServiceCore(
            self._place.incarnation,
            self._handlers.idempotent,
            concurrency,
            self._handlers.streams,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AioDriver | None = None
        self._threads = Threads(min(concurrency, THREADS_MAX), f"zmqkit-{name}")
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._results: list[Result] = []
        self._waiting: dict[int, asyncio.Future[None]] = {}
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
            hands = Hands(
                handle=self._handle,
                advance=self._advance,
                abort=self._abort,
                finished=self._finished,
            )
            self._core.about.update(self._place.about())
            self._driver = AioDriver(Driver(self._core, link, hands), self._loop)
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
        await asyncio.shield(self._closing)
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
        unanswered = self._core.in_flight
        driver.driver.perform(self._core.close())
        driver.close()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=LEAVE_S)
        self._threads.close()
        driver.driver.link.close(max(LEAVE_S, until - time.monotonic()))
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

    # What the driver asks for

    def _handle(self, requests: list[effects.Request]) -> None:
        """Run plain handlers now and answer them together; start the others."""
        assert self._loop is not None
        for request in requests:
            handler = self._handlers.by_name[request.method]
            if handler.waits or handler.thread:
                task = self._loop.create_task(self._run(handler, request))
                self._tasks[request.ticket] = task
            else:
                self._results.append((request, run_plain(handler, request)))
                if len(self._results) >= TURN_MESSAGES and self._driver is not None:
                    self._driver.driver.finish(time.monotonic())

    def _finished(self) -> list[effects.Effect]:
        """What follows from what handlers finished in this turn."""
        if not self._results:
            return []
        results, self._results = self._results, []
        return self._core.handled(results, time.monotonic())

    def _advance(self, requests: list[StreamRequest]) -> None:
        """Run generators on, each in a task of its own from its beginning to its end."""
        assert self._loop is not None
        for request in requests:
            if request.ticket in self._tasks:
                self._go_on(request)
            else:
                handler = self._handlers.by_name[request.method]
                task = self._loop.create_task(self._stream(handler, request))
                self._tasks[request.ticket] = task

    def _abort(self, requests: list[effects.Request]) -> None:
        """Cancel the tasks of these requests; plain generators see it at their next value."""
        for request in requests:
            task = self._tasks.get(request.ticket)
            handler = self._handlers.by_name[request.method]
            if task is not None and (handler.waits or not handler.streams):
                task.add_done_callback(partial(self._never_began, request))
                task.cancel()
            else:
                self._go_on(request)

    def _never_began(self, request: effects.Request, task: asyncio.Task[None]) -> None:
        """A task that was cancelled before its first step ran nothing that answers."""
        if self._tasks.get(request.ticket) is task:
            answer = error_answer(asyncio.CancelledError())
            if isinstance(request, StreamRequest):
                self._ended(request, answer)
            else:
                self._answered(request, answer)

    def _go_on(self, request: effects.Request) -> None:
        waiting = self._waiting.pop(request.ticket, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _stream(self, handler: Handler, request: StreamRequest) -> None:
        """Send a generator's values as its caller's credit allows; close it at the end."""
        try:
            error = await self._send_values(handler, request)
        except GeneratorExit:
            raise  # the loop is gone, and nobody waits
        except BaseException as raised:
            await self._end(handler, request, error_answer(raised))
            if is_interrupt(raised):
                raise
        else:
            await self._end(handler, request, error)

    async def _send_values(self, handler: Handler, request: StreamRequest) -> Answer | None:
        """Until the generator ends, raises, or is unwanted; gives what it raised."""
        until = time.monotonic() + STEP_S
        while not request.cancelled:
            answer = await self._next(handler, request)
            if answer is None or not is_value(answer):
                return answer
            now = time.monotonic()
            self._core.yielded(request, answer, now)
            if self._driver is not None:
                self._driver.gathered()
            if not request.goes_on or now >= until:
                await self._pause(request)
                until = time.monotonic() + STEP_S
        return None

    async def _end(
        self, handler: Handler, request: StreamRequest, error: Answer | None
    ) -> None:
        try:
            if handler.waits:
                await close_waiting(request)
            else:
                close_generator(request)
        finally:
            self._ended(request, error)

    def _ended(self, request: StreamRequest, error: Answer | None) -> None:
        self._tasks.pop(request.ticket, None)
        if self._driver is not None:
            self._driver.perform(self._core.ended(request, error, time.monotonic()))

    async def _next(self, handler: Handler, request: StreamRequest) -> Answer | None:
        if handler.waits:
            return await next_waiting(handler, request)
        if not handler.thread:
            return next_value(handler, request)
        return await self._threads.run(next_value, handler, request)

    async def _pause(self, request: StreamRequest) -> None:
        """Wait for credit, and for this stream's turn."""
        if self._driver is not None and self._loop is not None:
            waiting = self._waiting[request.ticket] = self._loop.create_future()
            self._driver.perform(self._core.paused(request, time.monotonic()))
            await waiting

    async def _run(self, handler: Handler, request: effects.Request) -> None:
        try:
            answer = await self._answer(handler, request)
        except GeneratorExit:
            raise  # the loop is gone, and nobody waits
        except BaseException as raised:
            self._answered(request, error_answer(raised))
            if is_interrupt(raised):
                raise
        else:
            self._answered(request, answer)

    async def _answer(self, handler: Handler, request: effects.Request) -> Answer:
        if handler.waits:
            return await run_waiting(handler, request)
        return await self._threads.run(run_plain, handler, request)

    def _answered(self, request: effects.Request, answer: Answer) -> None:
        """A task's answer leaves at the end of the turn, with all else finished by then."""
        del self._tasks[request.ticket]
        if not self._results and self._loop is not None:
            self._loop.call_soon(self._finish_later)
        self._results.append((request, answer))

    def _finish_later(self) -> None:
        if self._driver is not None:
            self._driver.driver.finish(time.monotonic())
            self._driver.soon()

    def _check_usable(self) -> None:
        if self._closing is not None:
            raise UsageError(f"service {self.name!r} is closed; make a new one")
        self._process.check()
