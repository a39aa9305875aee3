"""The asyncio driver: one reader on the link's descriptor, one timer, one flush a turn."""

from __future__ import annotations

import asyncio
import atexit
import math
import select
import time
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident

from zmqkit.core.effects import Effect
from zmqkit.drivers.busypoll import BusyPoll, give_way
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver
from zmqkit.limits import BUSY_POLL_LOOKS, REST_S_MAX, TIMER_S_MIN, TURN_MESSAGES


class OwnLoop(asyncio.SelectorEventLoop):
    """The loop of zmqkit's own thread. Log handlers that run there may use blocking roles.

    In development mode asyncio would tell the user of each step here that takes long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)


class AioDriver:
    """Drives a core from an event loop, in turns: drain, decide, send what gathered.

    awake: a wait may begin awake, which pays where somebody waits for an answer. holds: returns
    whether what this turn gathered waits for further turns, until the core is due or somebody
    flushes. sent: is called with the time after each flush.
    """

    def __init__(
        self,
        driver: Driver,
        loop: asyncio.AbstractEventLoop,
        *,
        awake: bool = True,
        holds: Callable[[float], bool] | None = None,
        sent: Callable[[float], None] | None = None,
    ) -> None:
        self.driver = driver
        self.loop = loop
        self._thread = get_ident()
        self._process = current_process()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.flush_due = False  # true: this turn is going to end with a flush
        self._room = 0
        self._busy = BusyPoll(wanted=awake)
        self._holds = holds
        self._sent = sent
        self._after: dict[asyncio.Event, Callable[[], bool]] = {}
        self._closed = False
        # A log handler may use the role, which is in the middle of its work now.
        driver.notes.arrived = lambda: loop.call_soon(driver.notes.tell)
        poll = select.poll()
        poll.register(driver.link.fileno(), select.POLLIN)
        self._look = poll.poll
        loop.add_reader(driver.link.fileno(), self._read)
        if holds is not None:
            atexit.register(self._exit)
        self.soon()  # the descriptor may not tell of what came while the link was made

    def is_here(self) -> bool:
        """Return whether the caller runs on this driver's loop, in the driver's own process.

        Every call asks this, so it does not use `asyncio.get_running_loop`, which makes a
        system call before Python 3.12.
        """
        here = get_ident() == self._thread and not self._process.forked
        return here and self.loop.is_running()

    def perform(self, effects: list[Effect]) -> None:
        """Perform the effects of a command, and flush at the end of this turn."""
        self.driver.perform(effects)
        self.soon()

    def soon(self) -> None:
        """Send what gathers in this turn of the loop when the turn ends."""
        if not self.flush_due and not self._closed:
            self.flush_due = True
            self._room = TURN_MESSAGES
            self.loop.call_soon(self._flush)

    def gathered(self) -> None:
        """Count one more message that waits in the core for the end of the turn.

        A long turn sends what it has now and then, so that the other side need not wait for the
        end of the turn.
        """
        self._room -= 1
        if self._room <= 0:
            if self.flush_due:
                self._room = TURN_MESSAGES
                self.driver.flush(time.monotonic())
            else:
                self.soon()

    def close(self) -> None:
        """Stop driving, and end all waits; the link stays open.

        What was noted is logged, here or by whoever logs already.
        """
        self._closed = True
        self.driver.notes.arrived = None
        self.driver.notes.tell()
        atexit.unregister(self._exit)
        self.loop.remove_reader(self.driver.link.fileno())
        if self._timer is not None:
            self._timer.cancel()
        for reached in self._after:
            reached.set()

    async def drive_until(self, done: Callable[[], bool], until: float) -> None:
        """Wait until `done` returns true, the time `until`, or `close`; ask after each turn.

        The loop turns at least once in REST_S_MAX meanwhile: Python runs the handler of a
        signal only then, if it came in the moment before the loop began to rest.
        """
        if done():
            return
        reached = asyncio.Event()
        self._after[reached] = done
        left_s = max(0.0, until - time.monotonic())
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(reached.wait(), min(left_s, REST_S_MAX))
                if reached.is_set() or (left_s := until - time.monotonic()) <= 0:
                    return
        finally:
            del self._after[reached]

    def _read(self) -> None:
        """Drain within the budget; the tasks that this wakes have their turn before the flush.

        A role with handlers has sent the answers of its plain handlers by then. The others
        answer in turns of their own, so the role may sleep without another turn.
        """
        now = time.monotonic()
        if self._closed or not self.driver.pump(now):
            return
        self._busy.end(now)
        answered = self.driver.hooks.finished is not None and not self.flush_due
        if answered and not self.driver.link.pending():
            self._rest(now)
        else:
            self.soon()

    def _flush(self) -> None:
        self.flush_due = False
        self._room = 0
        if self._closed:
            return
        now = time.monotonic()
        if self._holds is None or not self._holds(now):
            self.driver.flush(now)
            if self._sent is not None:
                self._sent(time.monotonic())
        if self.driver.link.pending():
            self._busy.begin(now)
            self._read()
            self._look_around()
        else:
            self._rest(now)

    def _rest(self, now: float) -> None:
        """Sleep, as there is nothing to do, or stay awake for a moment if that pays."""
        self._busy.begin(now)
        if self._busy.pays:
            self.loop.call_soon(self._stay_awake)
        self._look_around()

    def _look_around(self) -> None:
        """Set the timer for what is due next, and end the waits that are over."""
        self._arm()
        self._tell()

    def _tell(self) -> None:
        for reached, done in self._after.items():
            if done():
                reached.set()

    def _exit(self) -> None:
        """Flush as the process ends, unless another thread still runs the loop."""
        if not self.loop.is_running() and not self._process.forked:
            self.driver.notes.arrived = None  # the loop may be closed
            self.driver.flush(time.monotonic())
            self.driver.notes.tell()

    def _stay_awake(self) -> None:
        """Keep the loop from sleeping for a moment.

        Between the calls of this function the loop looks at all of its descriptors. A turn of
        the loop costs as much as several looks at the link alone.
        """
        if self.flush_due or self._closed:
            return
        now = time.monotonic()
        self._busy.resume(now)
        for _ in range(BUSY_POLL_LOOKS):
            if self._look(0):
                self._read()
                return
            give_way()
            begun, now = now, time.monotonic()
            self._busy.gave_way(begun, now)
        if now < self._busy.until:
            self.loop.call_soon(self._stay_awake)

    def _arm(self) -> None:
        """Keep the one timer no later than the core's deadline; an early timer does no harm."""
        at = self.driver.core.deadline()
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            pause_s = max(TIMER_S_MIN, at - time.monotonic())
            self._timer = self.loop.call_later(pause_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        if not self._closed:
            now = time.monotonic()
            self.driver.pump(now)  # a packet may have come in time for the deadline
            self.driver.tick(now)
            self.soon()
