"""The blocking service: handlers in the thread that serves, or in a pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar, overload

from zmqkit.blocking.closing import is_too_late, let_go
from zmqkit.blocking.runner import Runner
from zmqkit.blocking.seat import Seat
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.handlers import Function, Handlers, end_of
from zmqkit.roles.scheme import Binding, shown

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
        self._place = Binding("service", name, bind, advertise, insecure=insecure)
        self._handlers = Handlers()
        self._core = ServiceCore(
            self._place.incarnation,
            self._handlers.idempotent,
            concurrency,
            self._handlers.streams,
        )
        self._concurrency = concurrency
        self._runner = Runner(self._core, self._handlers)
        self._driver: BlockingDriver | None = None
        self._process = current_process()
        self._starting = threading.Lock()
        self._seat = Seat()

    def __repr__(self) -> str:
        state = "closed" if self._runner.closed else self.endpoint or "not started"
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
            self._core.about.update(self._place.about())
            self._driver = BlockingDriver(Driver(self._core, link, self._runner.hooks()))
            threads = self._concurrency if self._concurrency > 1 else 0
            self._runner.begin(self._driver, threads, f"zmqkit-{self.name}")
            if self._place.node is not None:
                self._place.node.keep(self._driver)
            self._place.announce()

    def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`; one thread at a time."""
        until = end_of(timeout_s)
        self.start()
        self._check_open()
        me = object()
        try:
            if not self._seat.take(me):
                raise UsageError(
                    "another thread serves already; use concurrency= for more at once"
                )
            self._runner.serve(until)
        finally:
            if self._seat.holder is me:
                self._runner.stopping = False
                self._seat.holder = None
                self._seat.tell()

    def stop(self) -> None:
        """Have `serve` return when it is done with the request at hand; from any thread."""
        self._runner.stopping = True
        if self._driver is not None and not self._runner.closed:
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
        if is_too_late():
            return 0
        until = end_of(timeout_s)
        with self._starting:
            driver = self._driver
            if self._runner.closed or driver is None:
                self._runner.closed = True
                return 0
            with driver.lock:
                driver.attentive = True
                driver.command(self._core.leave(), time.monotonic())
            self._place.withdraw()
            self.stop()
            me = object()
            try:
                if self._seat.take(me, until):
                    self._runner.drain(until)
            finally:
                if self._seat.holder is me:
                    self._runner.stopping = False
                    self._seat.holder = None
                    self._seat.tell()
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

    def _let_go(self, driver: BlockingDriver, until: float) -> int:
        unanswered = 0

        def close() -> list[Effect]:
            nonlocal unanswered
            self._runner.closed = True
            unanswered = self._core.in_flight
            return self._core.close()

        left_s = until - time.monotonic() if self._core.owes else 0.0
        linger_s = max(LEAVE_S, left_s)
        let_go(driver, self._place.node, close, until, linger_s=linger_s)
        try:
            self._runner.close(wait=not unanswered)
        finally:
            self._place.release()
        if unanswered:
            log.warning("service %r closed with %d unanswered", self.name, unanswered)
        return unanswered

    def _check_open(self) -> None:
        if self._runner.closed:
            raise UsageError(f"service {self.name!r} is closed; make a new one")
