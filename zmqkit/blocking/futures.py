"""Calls of a blocking client whose results are Futures.

Theory of operation. A Future may be waited for in ways that know nothing of this client, such
as `concurrent.futures.wait`, so a thread drives the client while calls are open that were
begun. It waits as any thread in a verb does, and completes the Futures without the role's lock,
since their callbacks are the program's. When no call was open for a moment the thread ends.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.effects import Effect
from zmqkit.drivers.blocking import Waiter
from zmqkit.errors import QueueFull, UsageError
from zmqkit.limits import LEAVE_S, WAITING_CALLS_MAX
from zmqkit.roles.answers import value_of

if TYPE_CHECKING:
    from zmqkit.blocking.role import Life
    from zmqkit.core.calls.client import ClientCore
    from zmqkit.roles.scheme import Lookup
    from zmqkit.wire.encoding import Buffer

_LINGER_S = 1.0
"""How long the thread waits for further calls."""


class Promise(Waiter):
    """The wait for a call that was begun."""

    def __init__(self, options: CallOptions) -> None:
        self.options = options
        self.future: Future[Any] = Future()
        self.call: Call | None = None


class Futures:
    """The calls of one client that were begun, and the thread that completes them."""

    def __init__(self, life: Life[Lookup], core: ClientCore) -> None:
        self._life = life
        self._core = core
        self._room = threading.Semaphore(WAITING_CALLS_MAX)
        # Guards the thread and the open calls.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open: set[Promise] = set()
        self._work = threading.Event()
        # The calls that the thread is about to complete.
        self._completing: deque[Promise] = deque()
        # These two belong to the role's lock: the calls that have ended, and who waits for one.
        self._ended: deque[Promise] = deque()
        self._listener: Waiter | None = None

    def begin(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions
    ) -> Future[Any]:
        """Begin a call; see `Client.begin`."""
        self._life.open()  # it says so in a forked child, where the locks here may be held
        inside = threading.current_thread() is self._thread
        if not self._room.acquire(blocking=not inside):
            raise QueueFull(
                f"{WAITING_CALLS_MAX} calls that were begun are open, and a callback of a "
                "Future cannot wait for room; begin fewer at a time"
            )
        promise = Promise(options)
        promise.told = self._note
        try:
            with self._lock:
                self._open.add(promise)
                if self._thread is None:
                    self._start()
            promise.call = self._life.submit(
                self._core.call, method, body, raw, options, promise
            )
        except BaseException:
            self._forget(promise)
            raise
        promise.future.add_done_callback(partial(self._withdraw, promise))
        self._work.set()
        return promise.future

    def close(self) -> None:
        """Wait for the thread, once the client is closed; a callback of its may take longer."""
        thread = self._thread
        self._work.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(LEAVE_S)

    def _start(self) -> None:
        """Start the thread. The caller holds the lock of this."""
        thread = threading.Thread(target=self._run, name="zmqkit-begun", daemon=True)
        thread.start()
        self._thread = thread

    # On the thread

    def _run(self) -> None:
        try:
            while self._has_work():
                if not self._completing:
                    self._completing.extend(self._await_ends())
                while self._completing:
                    self._complete(self._completing.popleft())
        except BaseException:
            # A callback may raise SystemExit, or no memory is left. Another thread goes on.
            with self._lock:
                self._start()
            raise

    def _has_work(self) -> bool:
        """Wait for an open call; return False if there was none for a moment."""
        while True:
            with self._lock:
                if self._open:
                    return True
                self._work.clear()
                if self._life.closed:
                    self._thread = None
                    return False
            if not self._work.wait(_LINGER_S):
                with self._lock:
                    if not self._open:
                        self._thread = None
                        return False

    def _await_ends(self) -> list[Promise]:
        """Wait for calls to end, and return them."""
        try:
            return self._life.pull(self._take, self._listen, self._leave)
        except UsageError as error:  # the role is closed, or an interrupt broke it
            return self._left(error)

    def _complete(self, promise: Promise) -> None:
        self._forget(promise)
        future = promise.future
        if not future.set_running_or_notify_cancel():
            return
        if promise.error is not None:
            future.set_exception(promise.error)
        else:
            future.set_result(value_of(promise.value, promise.options))

    def _forget(self, promise: Promise) -> None:
        with self._lock:
            if promise not in self._open:
                return
            self._open.remove(promise)
        self._room.release()

    def _left(self, error: UsageError) -> list[Promise]:
        """Return all open calls; those that the core did not end have this error."""
        with self._lock:
            left = list(self._open)
        for promise in left:
            if not promise.done:
                promise.error = error
        return left

    def _withdraw(self, promise: Promise, future: Future[Any]) -> None:
        """Cancel the call of a Future that was cancelled."""
        if future.cancelled() and promise.call is not None:
            call = promise.call

            def give_up(waiter: object, now: float) -> list[Effect]:
                return self._core.withdraw([call], now)

            self._life.end(give_up)

    # Under the role's lock

    def _note(self, promise: Waiter) -> None:
        """Note that a call has ended, and end the thread's wait."""
        assert isinstance(promise, Promise)
        self._ended.append(promise)
        listener, self._listener = self._listener, None
        driver = self._life.driver
        if listener is not None and driver is not None:
            driver.settle([(listener, None, None)])

    def _take(self) -> tuple[list[Promise], bool] | None:
        if not self._ended:
            return None
        ended = list(self._ended)
        self._ended.clear()
        return ended, False

    def _listen(self, waiter: object, now: float) -> None:
        assert isinstance(waiter, Waiter)
        self._listener = waiter

    def _leave(self, waiter: object, now: float) -> list[Effect]:
        self._listener = None
        return []
