"""The keeper: drives the blocking roles that no thread drives, from the node's event loop.

The keeper looks at the roles every KEEPER_S, and less often while nothing happens. It adopts a
role that has no leading thread and took no turn since the last look. The keeper watches the
descriptor and the deadline of an adopted role until a thread leads it again. A role that is
used in a tight loop always takes turns, so the keeper never adopts it.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.limits import KEEPER_S, KEEPER_S_MAX


@dataclass(slots=True, eq=False)
class _Kept:
    driver: BlockingDriver
    turns: int = -1  # of the driver, at the last look
    adopted: bool = False
    timer: asyncio.TimerHandle | None = None


class Keeper:
    """Drives blocking roles while no thread does. Its methods run on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._kept: dict[BlockingDriver, _Kept] = {}
        self._pause_s = KEEPER_S
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, driver: BlockingDriver) -> None:
        """Look after a role from now on."""
        self._kept[driver] = _Kept(driver)
        self._look_again(KEEPER_S)

    def release(self, driver: BlockingDriver) -> None:
        """Look after a role no longer, because it is about to be closed."""
        kept = self._kept.pop(driver, None)
        if kept is not None:
            self._give_back(kept)
        if not self._kept and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self, pause_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pause_s = pause_s
        self._timer = self._loop.call_later(pause_s, self._look)

    def _look(self) -> None:
        active = False
        for kept in list(self._kept.values()):
            if kept.driver not in self._kept:
                continue  # a finalizer that ran here has closed the role
            turns, led = kept.driver.turns, kept.driver.led
            if turns != kept.turns:
                active = True
                self._give_back(kept)  # a thread drove it since the last look
                if not led:
                    # The thread may have left something: if it only publishes, it seldom looks
                    # at what arrived.
                    kept.driver.step()
                    turns = kept.driver.turns
            elif not led and not kept.adopted:
                self._adopt(kept)
            kept.turns = turns
        for kept in list(self._kept.values()):
            kept.driver.watched = active and not kept.adopted
        self._look_again(KEEPER_S if active else min(2 * self._pause_s, KEEPER_S_MAX))

    def _adopt(self, kept: _Kept) -> None:
        kept.adopted = True
        kept.driver.watched = False
        self._loop.add_reader(kept.driver.driver.link.fileno(), self._step, kept)
        self._step(kept)

    def _give_back(self, kept: _Kept) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        if kept.adopted:
            kept.adopted = False
            self._loop.remove_reader(kept.driver.driver.link.fileno())

    def _step(self, kept: _Kept) -> None:
        """Drive a role once, or give it back if a thread drives it."""
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        at = kept.driver.step()
        if at is None:
            self._give_back(kept)
            self._look_again(KEEPER_S)
            return
        kept.turns = kept.driver.turns
        if at == -math.inf:
            self._loop.call_soon(self._step_again, kept)
        elif at < math.inf:
            pause_s = max(0.0, at - time.monotonic())
            kept.timer = self._loop.call_later(pause_s, self._step, kept)

    def _step_again(self, kept: _Kept) -> None:
        if kept.adopted:
            self._step(kept)
