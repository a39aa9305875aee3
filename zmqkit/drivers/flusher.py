"""A thread that sends what gathers in a role while nobody comes to do so.

It is started by the first message that gathers, and woken by one that gathers while it sleeps;
from then on it looks every HOLD_S until nothing gathers any more. So a loop that publishes pays
for neither a timer nor a wake-up a message, and what it leaves behind is sent as soon as the
interpreter lets another thread run. At the end of the process what gathers is sent, too.
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
    """One role's thread of that kind. awake: it looks, or is about to."""

    def __init__(self, lock: threading.Lock, flush: Callable[[float], bool]) -> None:
        """`flush`: sends what is due, with the lock; gives whether anything gathers."""
        self.awake = False
        self._lock = lock
        self._flush = flush
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._started = False
        self._process = current_process()

    def wake(self) -> None:
        """Have it look, as something gathers; the caller holds the lock."""
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
        self._wakes.put(False)  # for another, if an interrupt kept the first from being known

    def _looks(self) -> bool:
        """Look once, in a moment; whether to look again."""
        time.sleep(HOLD_S)
        if not self._lock.acquire(blocking=False):
            return True  # whoever has it is sending, or publishes on
        try:
            self.awake = self._flush(time.monotonic())
            return self.awake
        finally:
            self._lock.release()

    def _exit(self) -> None:
        """The process ends; a thread that has the lock by now may never give it back."""
        if not self._process.forked and self._lock.acquire(timeout=CLOSE_S):
            try:
                self._flush(time.monotonic() + HOLD_S)  # when all that gathers is due
            finally:
                self._lock.release()
