"""A thread that sends what gathers in a role while no other thread comes to send it.

The first message that gathers starts the thread. A message that gathers while the thread sleeps
wakes it. From then on the thread looks every HOLD_S, until nothing gathers any more. So a loop
that publishes pays neither for a timer nor for a wake-up with each message. What the loop
leaves behind is sent as soon as the interpreter lets another thread run. At the end of the
process, too, what gathers is sent.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from zmqkit.drivers.fork import current_process
from zmqkit.limits import CLOSE_S, HOLD_S


class Flusher:
    """The flushing thread of one role."""

    def __init__(
        self,
        lock: threading.Lock,
        flush: Callable[[float], bool],
        tell: Callable[[], None],
    ) -> None:
        """Make the thread's owner; the first message that gathers starts the thread.

        flush: called with the lock; sends what is due, returns whether to look again. tell:
        called without the lock; logs what was noted under it.
        """
        self.awake = False  # true: the thread looks, or is about to
        self._lock = lock
        self._flush = flush
        self._tell = tell
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._started = False
        self._process = current_process()

    def wake(self) -> None:
        """Have the thread look, as something gathers. The caller holds the lock."""
        if not self._started:
            atexit.register(self._exit)
            with suppress(RuntimeError):  # no thread can start while the process ends
                threading.Thread(target=self._run, name="zmqkit-flush", daemon=True).start()
            self._started = True
        self._wakes.put(True)
        self.awake = True

    def close(self) -> None:
        """End the thread, at its next look at the latest."""
        atexit.unregister(self._exit)
        self._wakes.put(False)

    def _run(self) -> None:
        while self._wakes.get():
            while self._looks():
                pass

    def _looks(self) -> bool:
        """Look once, after HOLD_S; return whether to look again."""
        time.sleep(HOLD_S)
        if not self._lock.acquire(blocking=False):
            return True  # the thread that has the lock sends, or publishes more
        try:
            self.awake = self._flush(time.monotonic())
            return self.awake
        finally:
            self._lock.release()
            self._tell()

    def _exit(self) -> None:
        """Flush as the process ends; a thread that holds the lock now may never release it."""
        if not self._process.forked and self._lock.acquire(timeout=CLOSE_S):
            try:
                self._flush(time.monotonic() + HOLD_S)  # when all that gathers is due
            finally:
                self._lock.release()
                self._tell()
