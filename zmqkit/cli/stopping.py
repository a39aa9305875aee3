"""What SIGINT and SIGTERM do to a service: the first one ends it well, the next one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from types import FrameType, TracebackType
from typing import Protocol, Self

from zmqkit.cli.main import INTERRUPTED
from zmqkit.cli.output import say_error, several, tell

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_AGAIN_S = 0.1


class Stops(Protocol):
    """What serves until it is stopped."""

    def stop(self) -> None:
        """Have it end what it does; a signal's handler may call this."""

    def stats(self) -> Mapping[str, object]:
        """Return the counters, `in_flight` among them."""


class Stopping:
    """While the context is entered, signals end a service.

    The first signal stops the service, and `begun` is called soon after, on another thread. If
    requests are still to be finished, a line says so.
    The next signal ends the process. Two signals at the same time count as one: `timeout`, for
    example, sends a signal to its child and to the child's group.
    """

    def __init__(
        self, service: Stops, noun: str = "request", begun: Callable[[], object] = int
    ) -> None:
        self._service = service
        self._begun = begun
        self._noun = noun
        self._first_at = inf
        self._over = False
        self._news = threading.Event()
        self._teller = threading.Thread(target=self._tell, name="stopping")

    def __enter__(self) -> Self:
        self._teller.start()
        for each in SIGNALS:
            signal.signal(each, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        self._news.set()
        self._teller.join()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first_at == inf:
            self._first_at = now
            self._service.stop()
            self._news.set()
        elif now - self._first_at >= _AGAIN_S:
            end_by(number)

    def _tell(self) -> None:
        """Say how many requests are still to be finished.

        A thread does so, because a signal may come while the service's lock is held.
        """
        self._news.wait()
        if self._over:
            return
        self._begun()
        requests = self._service.stats()["in_flight"]
        if requests and not self._over:
            tell(f"finishing {several(requests, self._noun)}; interrupt again to stop now")


def end_with(code: int) -> None:
    """End the process at once, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def end_by(number: int) -> None:
    """End the process at once, whatever its threads do."""
    if number == signal.SIGINT:
        try:
            say_error("interrupted")
        finally:
            os._exit(INTERRUPTED)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
