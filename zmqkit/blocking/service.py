"""The blocking service: handlers in the thread that serves, or in a pool."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, overload

from zmqkit._places import BoundPlace, shown
from zmqkit._roles import Function, Handlers, end_of, run_plain
from zmqkit._streams import close_generator, is_value, next_value
from zmqkit.blocking.closing import let_go
from zmqkit.core.effects import Effect, Request
from zmqkit.core.service import ServiceCore
from zmqkit.core.stream import StreamRequest
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, Hands, log
from zmqkit.errors import UsageError
from zmqkit.options import (
    CLOSE_S,
    LEAVE_S,
    QUICK_RUNS_MIN,
    QUICK_S,
    STEP_S,
    TURN_MESSAGES,
    WAIT_S_MAX,
)

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


AnyFunction = TypeVar("AnyFunction", bound=Function)


class Service:
    """Answers calls to a name, in the thread that is inside `serve`.

    name: what clients look up. bind: `tcp://host:port` instead of any free port, or
    `memory://name`. concurrency: how many handlers run at once; above 1 they run in a pool of
    threads. insecure: be reachable from other machines, in plain text. advertise: the address
    to announce to them, for containers. Raises UsageError or ConfigError for a wrong value.
    """

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        concurrency: int = 1,
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
        self._concurrency = concurrency
        self._driver: BlockingDriver | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._todo: deque[Request] = deque()
        self._steps: deque[StreamRequest] = deque()
        self._generators: dict[int, StreamRequest] = {}
        self._quick_runs: dict[str, int] = {}
        self._process = current_process()
        self._starting = threading.Lock()
        self._serving = threading.Lock()
        self._stopping = False
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.endpoint or "not started"
        return shown("zmqkit.Service", self.name, state)

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
        memoryview of what arrived, which saves copying it. Raises UsageError for `async
        def` and `thread=True`, which need zmqkit.asyncio.
        """

        def add(function: AnyFunction) -> AnyFunction:
            self._handlers.add(function, name, idempotent=idempotent, copy=copy, thread=thread)
            method = name or function.__name__
            handler = self._handlers.by_name[method]
            if handler.waits or handler.thread:
                self._handlers.remove(method)
                raise UsageError(
                    f"{method!r} is async def; use zmqkit.asyncio.Service, or a plain def here"
                    if handler.waits
                    else f"thread=True of {method!r} is for zmqkit.asyncio.Service; here pass "
                    "Service(concurrency=...) above 1, and all handlers run in threads"
                )
            return function

        return add if function is None else add(function)

    def start(self) -> None:
        """Listen and be announced; `serve` does it if it was not done.

        Requests wait until a thread serves. Raises AddressTaken when another listens there.
        """
        self._process.check()
        with self._starting:
            self._check_open()
            if self._driver is not None:
                return
            link = self._place.open()
            hands = Hands(handle=self._handle, advance=self._advance, abort=self._abort)
            self._core.about.update(self._place.about())
            self._driver = BlockingDriver(Driver(self._core, link, hands))
            if self._concurrency > 1:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._concurrency, f"zmqkit-{self.name}")
            if self._place.node is not None:
                self._place.node.keep(self._driver)
            self._place.announce()

    def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`; one thread at a time."""
        until = end_of(timeout_s)
        self.start()
        driver = self._usable()
        if not self._serving.acquire(blocking=False):
            raise UsageError("another thread serves already; use concurrency= for more at once")
        try:
            while not self._stopping and time.monotonic() < until:
                if driver.take_lead():
                    driver.lead(
                        lambda: bool(self._todo or self._steps or self._stopping), until
                    )
                self._work(driver, inf)
                if self._steps and not self._stopping:
                    self._step(self._steps.popleft())
        finally:
            self._stopping = False
            self._serving.release()

    def stop(self) -> None:
        """Have `serve` return when it is done with the request at hand; from any thread."""
        self._stopping = True
        if self._driver is not None and not self._closed:
            self._driver.wake()  # without the lock: a signal handler may call this

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        if self._driver is None:
            return self._core.stats()
        self._process.check()
        with self._driver.lock:
            return self._core.stats()

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Take no new requests, finish those taken within `timeout_s`, and let go.

        Gives how many accepted requests were left unanswered.
        """
        self._process.check()
        until = end_of(timeout_s)
        with self._starting:
            driver = self._driver
            if self._closed or driver is None:
                self._closed = True
                return 0
            with driver.lock:
                driver.attentive = True
                driver.command(self._core.leave(), time.monotonic())
            self._place.withdraw()
            self.stop()
            left_s = min(max(0.0, until - time.monotonic()), WAIT_S_MAX)
            if self._serving.acquire(timeout=left_s):
                self._stopping = False  # it was for whoever served
                self._drain(driver, until)
                self._serving.release()
            return self._let_go(driver, until)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What the driver asks for

    def _handle(self, requests: list[Request]) -> None:
        """Run the requests in the pool, or leave them to the serving thread."""
        if self._pool is None:
            self._todo.extend(requests)
        else:
            for request in requests:
                self._pool.submit(self._run_in_pool, request)

    def _advance(self, requests: list[StreamRequest]) -> None:
        """The same for generators."""
        for request in requests:
            self._generators[request.ticket] = request
            if self._pool is None:
                self._steps.append(request)
            else:
                self._pool.submit(self._step, request)

    def _abort(self, requests: list[Request]) -> None:
        """Nothing to do: a running handler sees `current_request().cancelled`."""

    def _work(self, driver: BlockingDriver, until: float) -> None:
        """Run the requests in hand; the answers of quick handlers leave together.

        An answer waits only for another request of the same method, which was quick many times
        in a row and just now. Should it take longer this time, the keeper sends what waits, so
        none waits while the keeper does not look often.
        """
        todo, begun, held = self._todo, time.monotonic(), 0
        while todo and begun < until and not self._stopping:
            request = todo.popleft()
            answer = run_plain(self._handlers.by_name[request.method], request)
            now = time.monotonic()
            with driver.lock:
                if self._closed:
                    return
                driver.driver.perform(self._core.handled([(request, answer)], now))
                runs = 0
                if now - begun < QUICK_S:
                    runs = self._quick_runs.get(request.method, 0) + 1
                self._quick_runs[request.method] = runs
                holds = runs > QUICK_RUNS_MIN and driver.watched and not self._stopping
                alike = todo and todo[0].method == request.method
                held += 1
                if not (holds and alike and held < TURN_MESSAGES):
                    driver.command([], now)
                    held = 0
            begun = now

    def _run_in_pool(self, request: Request) -> None:
        answer = run_plain(self._handlers.by_name[request.method], request)
        driver = self._driver
        assert driver is not None
        with driver.lock:
            if not self._closed:
                now = time.monotonic()
                driver.command(self._core.handled([(request, answer)], now), now)

    def _step(self, request: StreamRequest) -> None:
        """Run a generator on for a moment, or as far as its caller's credit reaches.

        Its values leave at once, unless it was quick many times in a row: see `_work`.
        """
        driver, handler = self._usable_driver(), self._handlers.by_name[request.method]
        begun, held = time.monotonic(), 0
        until = begun + STEP_S
        while not (request.cancelled or self._closed):
            answer = next_value(handler, request)
            now = time.monotonic()
            runs = self._quick_runs.get(request.method, 0) + 1 if now - begun < QUICK_S else 0
            self._quick_runs[request.method] = runs
            with driver.lock:
                if self._closed:
                    break
                if answer is None or not is_value(answer):
                    del self._generators[request.ticket]
                    driver.command(self._core.ended(request, answer, now), now)
                    return
                driver.driver.perform(self._core.yielded(request, answer, now))
                if not request.goes_on or now >= until:
                    driver.command(self._core.paused(request, now), now)
                    return
                held += 1
                if not (runs > QUICK_RUNS_MIN and driver.watched and held < TURN_MESSAGES):
                    driver.command([], now)
                    held = 0
            begun = now
        close_generator(request)
        with driver.lock:
            self._generators.pop(request.ticket, None)
            if not self._closed:
                now = time.monotonic()
                driver.command(self._core.ended(request, None, now), now)

    def _drain(self, driver: BlockingDriver, until: float) -> None:
        """Answer what was accepted, while time is left."""

        def due() -> bool:
            return bool(self._todo or self._steps) or not self._core.in_flight

        while self._core.in_flight and time.monotonic() < until:
            driver.drive_until(due, until)
            self._work(driver, until)
            if self._steps:
                self._step(self._steps.popleft())

    def _let_go(self, driver: BlockingDriver, until: float) -> int:
        unanswered = 0

        def close() -> list[Effect]:
            nonlocal unanswered
            self._closed = True
            unanswered = self._core.in_flight
            return self._core.close()

        linger_s = max(LEAVE_S, until - time.monotonic())
        let_go(driver, self._place.node, close, until, linger_s=linger_s)
        if self._pool is not None:
            self._pool.shutdown(wait=not unanswered, cancel_futures=True)
        for request in list(self._generators.values()):
            close_generator(request)
        self._place.release()
        if unanswered:
            log.warning("service %r closed with %d unanswered", self.name, unanswered)
        return unanswered

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"service {self.name!r} is closed; make a new one")

    def _usable(self) -> BlockingDriver:
        self._check_open()
        return self._usable_driver()

    def _usable_driver(self) -> BlockingDriver:
        assert self._driver is not None
        return self._driver
