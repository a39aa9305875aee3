"""The blocking roles: verbs wait in the calling thread, and any thread may call them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from zmqkit._places import ClientPlace, ServicePlace, draw_incarnation
from zmqkit._roles import (
    CallOptions,
    Function,
    Handlers,
    call_body,
    end_of,
    instance_rows,
    run_plain,
)
from zmqkit.core.client import ClientCore
from zmqkit.core.effects import Request, Tell
from zmqkit.core.outcome import Outcome
from zmqkit.core.service import ServiceCore
from zmqkit.drivers.blocking import BlockingDriver, Waiter
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError
from zmqkit.options import CLOSE_S, TIMEOUT_S, WAIT_S

_LEAVE_S = 0.1

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
        self._place = ServicePlace(name, bind, advertise, insecure=insecure)
        self._handlers = Handlers()
        self._core = ServiceCore(
            self._place.incarnation, self._handlers.idempotent, concurrency
        )
        self._concurrency = concurrency
        self._driver: BlockingDriver | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._todo: deque[Request] = deque()
        self._starting = threading.Lock()
        self._serving = threading.Lock()
        self._stopping = False
        self._closed = False

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
        self, function: AnyFunction, /, *, name: str | None = None, idempotent: bool = False
    ) -> AnyFunction: ...

    @overload
    def handler(
        self, function: None = None, /, *, name: str | None = None, idempotent: bool = False
    ) -> Callable[[AnyFunction], AnyFunction]: ...

    def handler(
        self,
        function: AnyFunction | None = None,
        /,
        *,
        name: str | None = None,
        idempotent: bool = False,
    ) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
        """Have a function answer the method of its name; a decorator, bare or called.

        idempotent: running it twice does no harm, so a call whose instance died may move to
        another. Raises UsageError for `async def`, which needs zmqkit.asyncio.
        """

        def add(function: AnyFunction) -> AnyFunction:
            self._handlers.add(function, name, idempotent=idempotent, thread=False)
            method = name or function.__name__
            if self._handlers.by_name[method].waits:
                del self._handlers.by_name[method], self._handlers.idempotent[method]
                raise UsageError(
                    f"{method!r} is async def; use zmqkit.asyncio.Service, or a plain def here"
                )
            return function

        return add if function is None else add(function)

    def start(self) -> None:
        """Listen and be announced; `serve` does it if it was not done.

        Requests wait until a thread serves. Raises ConfigError when the address is taken.
        """
        with self._starting:
            self._check_open()
            if self._driver is not None:
                return
            link = self._place.open()
            self._core.about.update(self._place.about())
            self._driver = BlockingDriver(Driver(self._core, link, self))
            if self._concurrency > 1:
                self._pool = ThreadPoolExecutor(self._concurrency, f"zmqkit-{self.name}")
            if self._place.node is not None:
                self._place.node.keep(self._driver)
            self._place.announce()

    def serve(self, timeout_s: float | None = None) -> None:
        """Answer calls until `stop`, or for `timeout_s`; one thread at a time."""
        self.start()
        driver = self._usable()
        until = end_of(timeout_s)
        if not self._serving.acquire(blocking=False):
            raise UsageError("another thread serves already; use concurrency= for more at once")
        try:
            while not self._stopping and time.monotonic() < until:
                if driver.take_lead():
                    driver.lead(lambda: bool(self._todo or self._stopping), until)
                self._work(driver)
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
        with self._driver.lock:
            return self._core.stats()

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Take no new requests, finish those taken within `timeout_s`, and let go.

        Gives how many accepted requests were left unanswered.
        """
        until = time.monotonic() + timeout_s
        with self._starting:
            driver = self._driver
            if self._closed or driver is None:
                self._closed = True
                return 0
            driver.check_usable()
            with driver.lock:
                driver.attentive = True
                driver.command(self._core.leave())
            self._place.withdraw()
            self.stop()
            if self._serving.acquire(timeout=max(0.0, until - time.monotonic())):
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

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """A service waits for nothing."""
        raise AssertionError("a service has no calls")

    def handle(self, requests: list[Request]) -> None:
        """Run the requests in the pool, or leave them to the serving thread."""
        if self._pool is None:
            self._todo.extend(requests)
        else:
            for request in requests:
                self._pool.submit(self._run, request)

    def abort(self, requests: list[Request]) -> None:
        """Nothing to do: a running handler sees `current_request().cancelled`."""

    def finish(self) -> None:
        """Nothing to do: each answer is given to the core as it comes."""

    def _work(self, driver: BlockingDriver) -> None:
        while self._todo:
            self._run(self._todo.popleft())
            if self._stopping:
                return

    def _run(self, request: Request) -> None:
        answer = run_plain(self._handlers.by_name[request.method], request)
        driver = self._driver
        assert driver is not None
        with driver.lock:
            if not self._closed:
                driver.command(self._core.handled([(request, answer)], time.monotonic()))

    def _drain(self, driver: BlockingDriver, until: float) -> None:
        """Answer what was accepted, while time is left."""

        def due() -> bool:
            return bool(self._todo) or not self._core.in_flight

        while self._core.in_flight and time.monotonic() < until:
            driver.drive_until(due, until)
            while self._todo and time.monotonic() < until:
                self._run(self._todo.popleft())

    def _let_go(self, driver: BlockingDriver, until: float) -> int:
        node = self._place.node
        if node is not None:
            node.let_go(driver)
        with driver.lock:
            self._closed = True
            unanswered = self._core.in_flight
            driver.driver.perform(self._core.close())
        driver.retire(max(until, time.monotonic() + _LEAVE_S))
        with driver.lock:
            driver.driver.link.close(max(_LEAVE_S, until - time.monotonic()))
            driver.close()
        if self._pool is not None:
            self._pool.shutdown(wait=not unanswered, cancel_futures=True)
        self._place.release()
        if unanswered:
            log.warning("service %r closed with %d unanswered", self.name, unanswered)
        return unanswered

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"service {self.name!r} is closed; make a new one")

    def _usable(self) -> BlockingDriver:
        self._check_open()
        assert self._driver is not None
        self._driver.check_usable()
        return self._driver


class BoundClient:
    """A client with other call options; see `Client.options`."""

    def __init__(self, client: Client, options: CallOptions) -> None:
        self._client = client
        self._options = options

    def options(self, **changes: object) -> BoundClient:
        """The same client with these options changed as well."""
        return BoundClient(self._client, self._options.changed(changes))

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives; see `Client.call`."""
        return self._client._call(method, args, kwargs, self._options)

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; see `Client.notify`."""
        self._client._notify(method, args, kwargs, self._options)


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
        self._driver = BlockingDriver(Driver(self._core, self._place.open(), self))
        self._closing = threading.Lock()
        self._closed = False
        if self._place.node is not None:
            self._place.node.keep(self._driver)
        self._place.listen(self._hear)

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

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives for these arguments.

        Raises NoService, CallTimeout, RemoteError, NoMethod, Busy, PeerLost or QueueFull, and
        UsageError for what cannot travel; `error.may_have_run` says whether it may have run.
        """
        return self._call(method, args, kwargs, self._options)

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; it is repeated until the service took it or time is over.

        Returns at once. What became of it is in `stats` and in the log.
        """
        self._notify(method, args, kwargs, self._options)

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` instances can be called; gives how many can be."""
        waiter = Waiter()
        with self._driver.lock:
            self._driver.check_usable()
            limit = inf if timeout_s is None else timeout_s
            now = time.monotonic()
            self._driver.command(self._core.await_ready(count, waiter, limit, now))
        self._driver.wait(waiter)
        assert isinstance(waiter.value, int)
        return waiter.value

    def instances(self) -> list[dict[str, object]]:
        """The instances in use: label, address, state (`up` is chosen), outstanding calls."""
        with self._driver.lock:
            return instance_rows(self.name, self._core.roster.instances.values())

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        with self._driver.lock:
            return self._core.stats()

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` for what is in flight, and let go.

        Gives how many calls were left unsettled; they end with CallCancelled.
        """
        with self._closing:
            if self._closed:
                return 0
            driver = self._driver
            driver.check_usable()
            until = time.monotonic() + timeout_s
            driver.drive_until(lambda: not self._core.in_flight, until)
            if self._place.node is not None:
                self._place.node.let_go(driver)
            with driver.lock:
                self._closed = True
                unsettled = self._core.in_flight
                driver.driver.perform(self._core.close())
            driver.retire(max(until, time.monotonic() + _LEAVE_S))
            with driver.lock:
                driver.driver.link.close(0)
                driver.close()
            self._place.release()
        if unsettled:
            log.warning("client of %r closed with %d calls unsettled", self.name, unsettled)
        return unsettled

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

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """End these threads' waits."""
        self._driver.settle(outcomes)

    def handle(self, requests: list[Request]) -> None:
        """A client runs nothing."""
        raise AssertionError("a client has no handlers")

    def abort(self, requests: list[Request]) -> None:
        """A client runs nothing."""
        raise AssertionError("a client has no handlers")

    def finish(self) -> None:
        """A client runs nothing."""

    def _call(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
    ) -> object:
        waiter = Waiter()
        sequence = self._submit(method, args, kwargs, options, waiter)
        try:
            self._driver.wait(waiter)
        except BaseException:
            with self._driver.lock:
                self._driver.command(self._core.cancel(sequence, time.monotonic()))
            raise
        if waiter.error is not None:
            raise waiter.error
        return waiter.value

    def _notify(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
    ) -> None:
        self._submit(method, args, kwargs, options, None)

    def _submit(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
        waiter: Waiter | None,
    ) -> int:
        body, raw = call_body(method, args, kwargs, options)
        driver = self._driver
        with driver.lock:
            driver.check_usable()
            sequence = self._core.submit(
                method,
                body,
                raw,
                timeout_s=options.timeout_s,
                wait_s=options.wait_s,
                priority=options.priority,
                attempts=options.attempts,
                oneway=waiter is None,
                waiter=waiter,
                now=time.monotonic(),
            )
            driver.command([])
        return sequence

    def _hear(self, tell: Tell) -> None:
        with self._driver.lock:
            if not self._closed:
                self._driver.command(self._core.hear(tell, time.monotonic()))
