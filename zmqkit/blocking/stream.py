"""The blocking side of a stream: its values, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.drivers.blocking import Waiter
from zmqkit.errors import UsageError

if TYPE_CHECKING:
    from zmqkit.blocking.client import Client


class Stream(Iterator[Any]):
    """The values that a service's generator gives, in order and each once; see `Client.stream`.

    Used as an iterator, by one thread at a time. Whoever stops early closes it, or leaves that
    to the end of a `with` block or of the object's life: its generator is closed then.
    """

    def __init__(self, client: Client, call: StreamCall) -> None:
        self._client = client
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        call, driver = self._call, self._client._driver
        if driver.process.forked:
            driver.process.check()  # before the lock, which may be held for ever in a child
        waiter: Waiter | None = None
        try:
            while True:
                with driver.lock:
                    if waiter is not None:
                        driver.is_last()  # of those just released, this one is back
                    if call.values:
                        return self._take()
                    if call.over:
                        break
                    waiter = Waiter()
                    self._listen(waiter)
                driver.wait(waiter)
        except UsageError:
            raise  # whoever else reads it goes on
        except BaseException:
            if waiter is not None:
                with driver.lock:
                    driver.leave(waiter)
            self.close()
            raise
        error, call.error = call.error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Want no more of it: the service closes the generator. Nothing follows; may repeat."""
        self._client._driver.process.check()
        with self._client._driver.lock:
            self._give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Maybe in the middle of this client's own work, on any thread: never wait for the lock.
        if not hasattr(self, "_call"):
            return  # an interrupt came while it was made
        driver = self._client._driver
        if self._call.over or driver.process.forked:
            return
        lock = driver.lock
        if lock.acquire(blocking=False):
            try:
                self._give_up()
            finally:
                lock.release()
        else:
            self._client._core.abandoned.append(self._call.sequence)

    def _take(self) -> Any:
        """The next value, which is here; the caller holds the lock."""
        core, call = self._client._core, self._call
        value = core.take(call)
        if core.owes_credit:
            self._client._driver.command([], time.monotonic())
        return bytes(value) if type(value) is memoryview and call.options.copy else value

    def _listen(self, waiter: Waiter) -> None:
        """Begin to wait for something to come; the caller holds the lock."""
        driver, now = self._client._driver, time.monotonic()
        if self._call.listener is not None:
            raise UsageError("another thread waits for this stream; read it in one alone")
        self._client._core.listen(self._call, waiter, now)
        driver.command([], now)
        driver.join(waiter)

    def _give_up(self) -> None:
        """Cancel the call if it goes on, and forget what came; the caller holds the lock."""
        driver, call, now = self._client._driver, self._call, time.monotonic()
        if not call.over:
            driver.command(self._client._core.cancel(call.sequence, now), now)
        call.values.clear()
        call.error = None
