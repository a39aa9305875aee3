"""Decides whether the next wait begins awake: after a short wait it does, for a moment.

To be woken costs a thread more than a whole small call: the kernel has to reach another
processor, and other threads have filled the caches meanwhile. A thread that stays awake and
looks again and again sees the answer at once. That pays where answers come soon. So a wait
stays awake for a moment only, and only after a wait that was over as soon. A role that waits
longer sleeps, and costs nothing. Between two looks a waiting thread gives the processor to all
others; libzmq's thread, which brings the answer, is one of them.

Other processes may want the processor for longer. The kernel prefers threads that slept, so a
thread that gave way gets the processor back a time slice later, long after the answer came. A
wait that did not get it back within BUSY_POLL_S goes to sleep. So do the waits of the next
CROWDED_S. A process bound to one processor may share it with the other side, which cannot
answer while the wait stays awake. Two waits in a row that lost the processor for SHARED_S are
the sign of that. Time that this process itself has used is not lost: libzmq's thread brings the
answer, and other threads make calls of their own.
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
    """What one driver learnt from its last wait."""

    __slots__ = (
        "_awake_s",
        "_away_s_max",
        "_begun",
        "_crowded_until",
        "_lost",
        "_may",
        "_used",
        "_used_before",
        "pays",
        "until",
    )

    def __init__(
        self,
        count: int | None = None,
        *,
        wanted: bool = True,
        alone: bool | None = None,
        awake_s: float = BUSY_POLL_S,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        """Begin with no wait that paid.

        count: how many processors there are to use; None asks the system. wanted: waits may
        stay awake at all. alone: whether the threads are bound to one processor; None asks the
        system. awake_s: how long a wait may stay awake. used: returns how long all threads of
        this process have run, in seconds.
        """
        self._may = wanted and (processors() if count is None else count) > 1
        alone = bound() == 1 if alone is None else alone
        self._away_s_max = SHARED_S if alone else awake_s
        self._awake_s = awake_s
        self._used = used
        self._used_before = 0.0  # when the wait at hand went on, at `_begun`
        self._begun = 0.0
        self._crowded_until = -inf
        self._lost = 0
        # Whether the last wait was over in time. Never true if it is not wanted, nor with a
        # single processor, which the other side may need.
        self.pays = False
        # Until when the wait at hand may stay awake, on the monotonic clock.
        self.until = 0.0

    def begin(self, now: float) -> None:
        """Begin a wait."""
        self.until = now + self._awake_s
        self.resume(now)

    def resume(self, now: float) -> None:
        """Go on with a wait, after other work of this thread that may have slept."""
        if self.pays:
            self._begun, self._used_before = now, self._used()

    def gave_way(self, begun: float, now: float) -> None:
        """Take note that others had the processor since `begun`; if that was long, sleep."""
        away_s = now - begun
        if away_s <= self._away_s_max or self._taken_s(now) <= self._away_s_max:
            return
        self.until = begun
        self._lost += 1
        if self._lost >= _LOST_MAX or away_s > self._awake_s:
            self._crowded_until = now + CROWDED_S

    def _taken_s(self, now: float) -> float:
        """Return how long other processes have had the processor since the wait went on."""
        return now - self._begun - (self._used() - self._used_before)

    def end(self, now: float) -> None:
        """End the wait, as something came."""
        if self.pays and now < self.until:
            self._lost = 0
        self.pays = self._may and now < self.until and now >= self._crowded_until
