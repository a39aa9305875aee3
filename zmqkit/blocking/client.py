"""The blocking client: calls that wait in the calling thread."""

from __future__ import annotations

import threading
import time
from math import inf
from types import TracebackType
from typing import Any, Self

from zmqkit.blocking.closing import is_too_late, let_go
from zmqkit.blocking.stream import Stream
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.effects import Effect, Tell
from zmqkit.drivers.blocking import BlockingDriver, Waiter
from zmqkit.drivers.perform import Driver, Hooks, log
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
        state = "closed" if client._closed else ""
        limits = f"timeout_s={options.timeout_s:g}, priority={options.priority}"
        return shown("zmqkit.Client", client.name, limits, state)

    def options(self, **changes: object) -> BoundClient:
        """The same client with other timeout_s, wait_s, priority, attempts, headers or copy.

        priority: 0 to 9, 9 first. attempts: how many instances a call may try. headers: a
        mapping that travels along. copy=False: a bytes reply of 4096 bytes or more is a
        read-only memoryview of what arrived. Raises UsageError for a wrong one.
        """
        return BoundClient(self._client, self._options.changed(changes))

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """What the service's method gives for these arguments.

        Raises NoService, CallTimeout, RemoteError, NoMethod, BadArguments, Busy, PeerLost or
        QueueFull, and UsageError for what cannot travel; `error.may_have_run` says whether it
        may have run.
        """
        client = self._client
        waiter = Waiter()
        try:
            client._submit(method, args, kwargs, self._options, waiter)
            client._driver.wait(waiter)
        except BaseException:
            client._give_up(waiter)
            raise
        if waiter.error is not None:
            raise waiter.error
        value = waiter.value
        return bytes(value) if type(value) is memoryview and self._options.copy else value

    def stream(self, method: str, /, *args: object, **kwargs: object) -> Stream:
        """The values that the service's method gives one by one, as they come.

        Asked for at once. `timeout_s` bounds the wait for the first value, from now on, and
        then each wait for the next. Iterating raises what `call` does, after the values that
        came before it; PeerLost if the instance is lost once it has begun. Leaving the loop
        early, or `close`, ends the generator. A plain method is a stream of one value.
        """
        return self._client._open_stream(method, args, kwargs, self._options)

    def notify(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a one-way message; it is repeated until it has run or time is over.

        Returns at once. Those that follow each other closely leave together. What became of it
        is in `stats` and in the log.
        """
        self._client._submit(method, args, kwargs, self._options, None)


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
        hooks = Hooks()
        self._driver = BlockingDriver(
            Driver(self._core, self._place.open(), hooks), pace=self._core.pace
        )
        hooks.settle = self._driver.settle
        self._closing = threading.Lock()
        self._closed = False
        if self._place.node is not None:
            self._place.node.keep(self._driver)
        self._place.listen(self._hear)

    @property
    def name(self) -> str:
        """The name or URL it calls."""
        return self._place.name

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` instances can be called; gives how many can be."""
        check_count(count)
        waiter = Waiter()
        self._driver.process.check()
        try:
            with self._driver.lock:
                self._driver.check_open()
                limit = end_of(timeout_s) - time.monotonic()
                now = time.monotonic()
                self._driver.command(self._core.await_ready(count, waiter, limit, now), now)
                self._driver.join(waiter)
            self._driver.wait(waiter)
        except BaseException:
            with self._driver.lock:
                self._core.await_no_more(waiter)
                self._driver.leave(waiter)
            raise
        assert isinstance(waiter.value, int)
        return waiter.value

    def instances(self) -> list[dict[str, object]]:
        """The instances in use: label, address, state (`up` is chosen), outstanding calls."""
        self._driver.process.check()
        with self._driver.lock:
            return instance_rows(self.name, self._core.instances)

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        self._driver.process.check()
        with self._driver.lock:
            return self._core.stats()

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` for what is in flight, and let go.

        Gives how many calls were left unsettled; they end with CallCancelled.
        """
        self._driver.process.check()
        if is_too_late():
            return 0
        with self._closing:
            if self._closed:
                return 0
            driver = self._driver
            until = end_of(timeout_s)
            with driver.lock:
                driver.command([], time.monotonic())  # one-way messages may gather
            driver.drive_until(lambda: not self._core.in_flight, until)
            unsettled = 0

            def close() -> list[Effect]:
                nonlocal unsettled
                self._closed = True
                unsettled = self._core.in_flight
                return self._core.close()

            let_go(driver, self._place.node, close, until)
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

    def _submit(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
        waiter: Waiter | None,
    ) -> None:
        """Send a call, and have its waiter join those that wait."""
        body, raw = call_body(method, args, kwargs, options)
        driver = self._driver
        if driver.process.forked:
            driver.process.check()  # before the lock, which may be held for ever in a child
        with driver.lock:
            if driver.retired:
                driver.check_open()
            now = time.monotonic()
            sequence = self._core.next_sequence
            try:
                if waiter is None:
                    self._core.notify(method, body, raw, options, now)
                else:
                    self._core.submit(method, body, raw, options, waiter, now)
                    waiter.sequence = sequence
            except BaseException:
                driver.command(self._core.cancel(sequence, now), now)
                raise
            if waiter is None and self._core.pace.due_at < inf:
                driver.post([], now)
                return
            if driver.is_last():
                driver.command([], now)
                if waiter is not None:
                    driver.join(waiter)
                return
        time.sleep(0)  # let the others come
        with driver.lock:
            driver.command([], time.monotonic())
            if waiter is not None:
                driver.join(waiter)

    def _open_stream(
        self,
        method: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: CallOptions,
    ) -> Stream:
        """Send a call for a stream; an interrupt on the way leaves none behind."""
        body, raw = call_body(method, args, kwargs, options)
        core, driver = self._core, self._driver
        driver.process.check()
        with driver.lock:
            driver.check_open()
            now = time.monotonic()
            sequence = core.next_sequence
            try:
                stream = Stream(self, core.stream(method, body, raw, options, now))
                driver.command([], now)
            except BaseException:
                driver.command(core.cancel(sequence, now), now)
                raise
        return stream

    def _give_up(self, waiter: Waiter) -> None:
        """Cancel a call that was sent, whose thread was interrupted."""
        if waiter.sequence:
            with self._driver.lock:
                now = time.monotonic()
                self._driver.leave(waiter)
                self._driver.command(self._core.cancel(waiter.sequence, now), now)

    def _hear(self, tell: Tell) -> None:
        with self._driver.lock:
            if not self._closed:
                now = time.monotonic()
                self._driver.driver.catch_up(now)
                self._driver.command(self._core.hear(tell, now), now)
