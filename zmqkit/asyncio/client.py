"""The asyncio client: calls as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self

from zmqkit.asyncio.closing import in_thread
from zmqkit.asyncio.stream import Stream
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.effects import Tell
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, Hooks, log
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S, TIMEOUT_S, WAIT_S
from zmqkit.roles.handlers import call_body, check_count, end_of, instance_rows
from zmqkit.roles.scheme import Lookup, draw_incarnation, shown


class BoundClient:
    """A client's calls with options of their own; see `options`."""

    def __init__(self, client: Client, options: CallOptions) -> None:
        self._client = client
        self._options = options

    def __repr__(self) -> str:
        client, options = self._client, self._options
        state = "closed" if client._closing is not None else ""
        limits = f"timeout_s={options.timeout_s:g}, priority={options.priority}"
        return shown("zmqkit.asyncio.Client", client.name, limits, state)

    def options(self, **changes: object) -> BoundClient:
        """The same client with other timeout_s, wait_s, priority, attempts, headers or copy.

        priority: 0 to 9, 9 first. attempts: how many instances a call may try. headers: a
        mapping that travels along. copy=False: a bytes reply of 4096 bytes or more is a
        read-only memoryview of what arrived. Raises UsageError for a wrong one.
        """
        return BoundClient(self._client, self._options.changed(changes))

    async def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives for these arguments.

        Raises NoService, CallTimeout, RemoteError, NoMethod, BadArguments, Busy, PeerLost or
        QueueFull, and UsageError for what cannot travel; `error.may_have_run` says whether it
        may have run. Cancelling the task tells the service.
        """
        client, options = self._client, self._options
        driver = client._driver
        if driver is None or client._closing is not None or not driver.is_here():
            driver = client._usable()
        future: asyncio.Future[Any] = driver.loop.create_future()
        body, raw = call_body(method, args, kwargs, options)
        sequence = client._core.submit(method, body, raw, options, future, monotonic())
        driver.gathered()
        try:
            value = await future
        except asyncio.CancelledError:
            client._cancel(sequence)
            raise
        return bytes(value) if type(value) is memoryview and self._options.copy else value

    def stream(self, method: str, /, *args: object, **kwargs: object) -> Stream:
        """The values that the service's method gives one by one, as they come.

        Asked for at once. `timeout_s` bounds the wait for the first value, from now on, and
        then each wait for the next. Iterating raises what `call` does, after the values that
        came before it; PeerLost if the instance is lost once it has begun. Leaving the loop
        early, or `close`, ends the generator. A plain method is a stream of one value.
        """
        client, options = self._client, self._options
        driver = client._usable()
        body, raw = call_body(method, args, kwargs, options)
        call = client._core.stream(method, body, raw, options, monotonic())
        driver.gathered()
        return Stream(client, call)

    async def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; it is repeated until it has run or time is over.

        Returns at once. What became of it is in `stats` and in the log.
        """
        client, options = self._client, self._options
        driver = client._usable()
        body, raw = call_body(method, args, kwargs, options)
        client._core.submit(method, body, raw, options, None, monotonic(), oneway=True)
        driver.gathered()


class Client(BoundClient):
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
        super().__init__(self, CallOptions(timeout_s=timeout_s, wait_s=wait_s))
        self._place = Lookup("service", name, insecure=insecure)
        self._core = ClientCore(name, draw_incarnation())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AioDriver | None = None
        self._process = current_process()
        self._closing: asyncio.Future[int] | None = None

    @property
    def name(self) -> str:
        """The name or URL it calls."""
        return self._place.name

    async def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` instances can be called; gives how many can be."""
        check_count(count)
        driver = self._usable()
        future: asyncio.Future[int] = driver.loop.create_future()
        limit = end_of(timeout_s) - monotonic()
        driver.perform(self._core.await_ready(count, future, limit, monotonic()))
        try:
            return await future
        finally:
            self._core.await_no_more(future)

    def instances(self) -> list[dict[str, object]]:
        """The instances in use: label, address, state (`up` is chosen), outstanding calls."""
        return instance_rows(self.name, self._core.instances)

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        return self._core.stats()

    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` for what is in flight, and let go.

        Gives how many calls were left unsettled; they end with CallCancelled.
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
        try:
            await driver.drive_until(lambda: not self._core.in_flight, until)
        finally:
            unsettled = await self._let_go(driver)  # when it is cancelled, too
        return unsettled

    async def _let_go(self, driver: AioDriver) -> int:
        self._driver = None
        unsettled = self._core.in_flight
        driver.driver.perform(self._core.close())
        driver.close()
        driver.driver.link.close(0)
        await in_thread(self._place.release)
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

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """End the futures of these calls."""
        future: Any
        for future, value, error in outcomes:
            if future.done():
                continue  # its task was cancelled
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def _cancel(self, sequence: int) -> None:
        if self._driver is not None:
            self._driver.perform(self._core.cancel(sequence, monotonic()))

    def _usable(self) -> AioDriver:
        """The driver, started on the running loop at first use; else UsageError."""
        if self._closing is not None:
            raise UsageError(f"the client of {self.name!r} is closed; make a new one")
        self._process.check()
        loop = asyncio.get_running_loop()
        if self._driver is None:
            self._loop = loop
            self._driver = AioDriver(
                Driver(self._core, self._place.open(), Hooks(settle=self._settle)), loop
            )
            self._place.listen(self._hear)
        elif loop is not self._loop:
            raise UsageError(
                f"the client of {self.name!r} belongs to another event loop; make one in each"
            )
        return self._driver

    def _hear(self, tell: Tell) -> None:
        """Take the node's news, from its thread to the loop."""
        assert self._loop is not None
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._take, tell)

    def _take(self, tell: Tell) -> None:
        if self._driver is not None:
            self._driver.driver.catch_up(monotonic())
            self._driver.perform(self._core.hear(tell, monotonic()))
