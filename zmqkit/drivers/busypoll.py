"""Whether the next wait begins awake: after a short one it does, for a moment.

To be woken costs a thread more than a whole small call: the kernel's way from one processor to
the other, and caches that others have filled meanwhile. Whoever looks again and again is there
at once. It pays where answers come that soon, so it is done for no longer than that, and only
after a wait that was over as soon: a role that waits longer sleeps, and costs nothing. Between
two looks everybody else who wants the processor has it; libzmq's thread, which brings the
answer, is one of them.

Others may also want it for longer. The kernel prefers those who slept, so whoever gave way has
the processor back a time slice later, long after the answer came. A wait that did not have it
back within BUSY_POLL_S goes to sleep, and so do those of the next CROWDED_S. A process bound to
one processor may share it with the other side, which cannot answer then: there two waits in a
row tell of it that lost the processor for SHARED_S, more than libzmq's own thread takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from math import inf

from zmqkit.drivers.processors import bound, processors
from zmqkit.limits import BUSY_POLL_S, CROWDED_S, SHARED_S

give_way: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))
"""Let other threads have the processor and the interpreter first."""

_LOST_MAX = 2


class BusyPoll:
    """What one driver learnt from its last wait.

    pays: whether that was over within BUSY_POLL_S; never where only one processor may be used,
    which the other side may need, nor where it is not wanted. until: how long the wait at hand
    may stay awake, on the monotonic clock.
    """

    __slots__ = ("_away_s_max", "_crowded_until", "_lost", "_may", "pays", "until")

    def __init__(
        self, count: int | None = None, *, wanted: bool = True, alone: bool | None = None
    ) -> None:
        """`count`: how many processors may be used, if not as many as this process may.

        alone: whether its threads are bound to one, if not as they are.
        """
        self._may = wanted and (processors() if count is None else count) > 1
        alone = bound() == 1 if alone is None else alone
        self._away_s_max = SHARED_S if alone else BUSY_POLL_S
        self._crowded_until = -inf
        self._lost = 0
        self.pays = False
        self.until = 0.0

    def begin(self, now: float) -> None:
        """A wait begins."""
        self.until = now + BUSY_POLL_S

    def gave_way(self, begun: float, now: float) -> None:
        """Others had the processor from `begun` until now: if that was long, sleep."""
        if now - begun > self._away_s_max:
            self.until = begun
            self._lost += 1
            if self._lost >= _LOST_MAX or now - begun > BUSY_POLL_S:
                self._crowded_until = now + CROWDED_S

    def end(self, now: float) -> None:
        """It is over, for something came."""
        if self.pays and now < self.until:
            self._lost = 0
        self.pays = self._may and now < self.until and now >= self._crowded_until
