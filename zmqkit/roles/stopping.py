"""What SIGINT and SIGTERM do to what serves: the first one ends it well, the next one at once.

Theory of operation. Python runs the handlers of signals in its main thread, so they are set
there, by the first that serves, and put back by the last. The first signal stops all that serve
in this process. From then on each of them has a time to finish what it has taken. A thread ends
the process once that is over, if the main thread is still in a handler, which nothing else can
end. The next signal ends the process whatever it does. Two signals within a moment are one:
`timeout`, for example, sends one to its child and one to the child's group.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from zmqkit.errors import UsageError
from zmqkit.limits import DRAIN_S_MAX

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FAILED, INTERRUPTED = 1, 130
"""Exit codes: something was left undone; a second SIGINT ended the process."""

END_S = 5.0
"""How much longer than it drains a process may take to end."""
_AGAIN_S = 0.1

_log = logging.getLogger("zmqkit")


class Stops(Protocol):
    """What serves until it is stopped."""

    def stop(self) -> None:
        """Have it end what it does; a signal's handler may call this."""

    def stats(self) -> Mapping[str, Any]:
        """Return the counters, `in_flight` among them."""


@dataclass(slots=True, frozen=True)
class Says:
    """How a process says what its end is like."""

    # Takes how much is still to be finished.
    finishing: Callable[[int], object]
    # Takes how much was left when the time was over.
    left: Callable[[int], object] = int
    # The second SIGINT came.
    interrupted: Callable[[], object] = int


def logged(noun: str) -> Says:
    """Return what says in the log how much is to be finished; a close says what was left."""

    def finishing(count: int) -> None:
        several = noun if count == 1 else f"{noun}s"
        _log.warning("finishing %s %s; interrupt again to stop now", count, several)

    return Says(finishing)


class _Signals:
    """The signals of this process, while anything serves that they are to end."""

    def __init__(self) -> None:
        self._serving: list[Stopping] = []
        self._before: dict[int, Any] = {}
        self._first_at = inf
        self._process = 0

    def add(self, stopping: Stopping) -> None:
        """Have the signals end this one, too; at once, if the first has come already."""
        if not self._serving:
            self._process, self._first_at = os.getpid(), inf
            for each in SIGNALS:
                self._before[each] = signal.signal(each, self._handle)
        self._serving.append(stopping)
        if self._first_at < inf:
            stopping.stop()

    def remove(self, stopping: Stopping) -> None:
        """Leave this one alone; after the last the signals do what they did before."""
        if self._serving == [stopping]:
            if self._first_at < inf:
                # What comes at the same time as the first signal is not to end the process.
                time.sleep(max(0.0, self._first_at + _AGAIN_S - time.monotonic()))
            for each in SIGNALS:
                signal.signal(each, self._before[each] or signal.SIG_DFL)
        self._serving.remove(stopping)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if os.getpid() != self._process:  # a forked child ends as it would have before
            signal.signal(number, self._before[number] or signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._first_at == inf:
            self._first_at = now
            for each in self._serving:
                each.stop()
        elif now - self._first_at >= _AGAIN_S:
            end_by(number, self._serving[0].says.interrupted)


_signals = _Signals()


class Stopping:
    """While the context is entered, the first signal stops a role, and the next the process.

    begun: is called soon after the first one, on another thread.
    """

    def __init__(self, role: Stops, says: Says, begun: Callable[[], object] = int) -> None:
        self.says = says
        self._role = role
        self._begun = begun
        self._over = False
        self._news = threading.Event()
        self._teller = threading.Thread(target=self._tell, name="stopping")

    def __enter__(self) -> Self:
        _signals.add(self)
        self._teller.start()
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
        _signals.remove(self)

    def stop(self) -> None:
        """Stop the role; a signal's handler may call this."""
        self._role.stop()
        self._news.set()

    def _tell(self) -> None:
        """Say how much is still to be finished.

        A thread does so, because a signal may come while the role's lock is held.
        """
        self._news.wait()
        if self._over:
            return
        self._begun()
        count = self._role.stats()["in_flight"]
        if count and not self._over:
            self.says.finishing(count)


class Draining:
    """The time that a process has to finish what it took, once it was told to end.

    close: closes the role at once and returns how much is left, on any thread; None for a role
    whose loop alone may do that.
    """

    def __init__(
        self, drain_s: float, says: Says, close: Callable[[float], int] | None = None
    ) -> None:
        self.drain_s = drain_s
        self.ends_at = inf
        self._says = says
        self._close = close
        self._closing = False
        self._over = threading.Event()
        self._watching: threading.Thread | None = None

    def begin(self) -> bool:
        """Begin with the time, once; return whether it began now."""
        if self.ends_at < inf:
            return False
        self.ends_at = time.monotonic() + self.drain_s
        return True

    def watch(self) -> None:
        """See to it that the process ends in time, though the main thread is in a handler."""
        self.begin()
        if self._watching is None:
            self._watching = threading.Thread(
                target=self._end_in_time, name="drain", daemon=True
            )
            self._watching.start()

    def closing(self) -> float:
        """Return how long the main thread may take to close the role, which it begins now."""
        self._closing = True
        self.begin()
        return max(0.0, self.ends_at - time.monotonic())

    def over(self) -> None:
        """End the watch: the role is closed."""
        self._over.set()
        if self._watching is not None:
            self._watching.join()

    def _end_in_time(self) -> None:
        """End the process once its time is over, if the main thread is still in a handler."""
        if self._over.wait(self.ends_at - time.monotonic()) or self._closing:
            return
        if self._close is not None and (left := self._close(0.0)):
            self._says.left(left)
            end_with(FAILED)
        # The main thread is done, or has a handler that nobody waits for any more.
        if not self._over.wait(END_S):
            end_with(FAILED)


def check_drain(drain_s: object) -> None:
    """Raise UsageError unless these are seconds that the end of a role may take."""
    if type(drain_s) not in (int, float) or not 0 <= drain_s <= DRAIN_S_MAX:  # type: ignore[operator]  # a number
        raise UsageError(f"drain_s is {drain_s!r}; use seconds from 0 to {DRAIN_S_MAX:g}")


class Run:
    """While the context is entered, a role of a program serves until a signal ends it.

    noun: what it has in flight. Raises UsageError outside the main thread.
    """

    def __init__(
        self, role: Stops, noun: str, drain_s: float, close: Callable[[float], int] | None
    ) -> None:
        check_drain(drain_s)
        if threading.current_thread() is not threading.main_thread():
            verb = "work" if noun == "task" else "serve"
            raise UsageError(
                "run() is for the main thread, where Python handles signals; in another one "
                f"use {verb}(), which stop() ends"
            )
        self._draining = Draining(drain_s, logged(noun), close)
        self._stopping = Stopping(role, logged(noun), self._draining.watch)
        self.closing = self._draining.closing

    def __enter__(self) -> Self:
        self._stopping.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.__exit__(kind, error, trace)
        self._draining.over()

    def code(self, left: int, *, held: bool) -> int:
        """Return the exit code of a role that is closed, and left so much undone.

        held: whether handlers go on in threads. The process ends here if they do: Python would
        wait for them.
        """
        if held:
            end_with(FAILED)
        return FAILED if left else 0


def end_with(code: int) -> None:
    """End the process at once, whatever its threads do."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def end_by(number: int, interrupted: Callable[[], object]) -> None:
    """End the process at once, whatever its threads do. interrupted: says so, after SIGINT."""
    if number == signal.SIGINT:
        signal.signal(number, signal.SIG_IGN)  # who says it is not to say it twice
        try:
            interrupted()
        finally:
            os._exit(INTERRUPTED)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
