"""Whether what drives a role still turns, as seen by a thread that must not wait for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from typing import Protocol

from zmqkit.blocking.role import Role

Stats = Mapping[str, object]

ANSWER_S = 2.0
"""How long the loop of an asyncio role may take to answer."""


class Pulse(Protocol):
    """Shows that a role is driven."""

    def beat(self) -> bool:
        """Return whether it turned since the last look, and ask it to turn again; never waits.

        A role that is not open yet, or not any more, has nothing to turn, which is true.
        """

    def stats(self) -> Stats:
        """Return the counters of the role. Raises TimeoutError if its loop does not answer."""


class RolePulse:
    """The pulse of a blocking role or of a device: of its leading thread, or the keeper."""

    def __init__(self, role: Role, stats: Callable[[], Stats]) -> None:
        self._role = role
        self.stats = stats
        self._turns = -1

    def beat(self) -> bool:
        """Return whether the role took a turn since the last look, and have it take another."""
        driver = self._role._life.driver
        if driver is None or driver.retired:
            return True
        before, turns = self._turns, driver.turns
        self._turns = turns
        driver.prod()
        return bool(turns != before or driver.turns != turns)


class LoopPulse:
    """The pulse of an event loop, and what an asyncio role on it counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stats: Callable[[], Stats]) -> None:
        self._loop = loop
        self._stats = stats
        self._turned = True

    def beat(self) -> bool:
        """Return whether the loop turned since the last look, and have it turn once more."""
        turned, self._turned = self._turned, False
        try:
            self._loop.call_soon_threadsafe(self._mark)
        except RuntimeError:  # it is closed
            return True
        return turned

    def stats(self) -> Stats:
        """Return the counters, which the loop itself reads."""
        answer: concurrent.futures.Future[Stats] = concurrent.futures.Future()

        def ask() -> None:
            if answer.set_running_or_notify_cancel():
                answer.set_result(self._stats())

        try:
            self._loop.call_soon_threadsafe(ask)
        except RuntimeError as error:
            raise TimeoutError("the event loop has ended") from error
        try:
            return answer.result(ANSWER_S)
        except TimeoutError as error:
            answer.cancel()
            raise TimeoutError(f"the event loop has not answered for {ANSWER_S:g} s") from error

    def _mark(self) -> None:
        self._turned = True
