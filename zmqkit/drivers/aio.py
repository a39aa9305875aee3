"""The asyncio driver: one reader on the link's descriptor, one timer, one flush a turn."""

from __future__ import annotations

import asyncio
import math
import time

from zmqkit.core.effects import Effect
from zmqkit.drivers.perform import Driver


class AioDriver:
    """Drives a core from an event loop, in turns: drain, decide, send what gathered."""

    def __init__(self, driver: Driver, loop: asyncio.AbstractEventLoop) -> None:
        self.driver = driver
        self.loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._turn_due = False
        self._closed = False
        loop.add_reader(driver.link.fileno(), self._turn)

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what a command of the core asked for, and look around after it."""
        self.driver.perform(effects)
        self.soon()

    def soon(self) -> None:
        """Have a turn at the end of this turn of the loop."""
        if not self._turn_due and not self._closed:
            self._turn_due = True
            self.loop.call_soon(self._turn)

    def close(self) -> None:
        """Stop driving; the link stays open."""
        self._closed = True
        self.loop.remove_reader(self.driver.link.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        """Drain within the budget and flush; come again at once for what is left."""
        if self._closed:
            return
        self._turn_due = False
        driver = self.driver
        driver.flush()
        driver.pump()
        driver.flush()
        if driver.link.pending():
            self.soon()
        self._arm()

    def _arm(self) -> None:
        """Keep the one timer no later than the core's deadline; an early one does no harm."""
        at = self.driver.core.deadline()
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self.loop.call_later(max(0.0, at - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._turn()
