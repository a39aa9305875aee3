"""The simulated driver: turns in virtual time, at moments and in an order that chance decides.

In a turn a role does what its user asked for, reads what has arrived and does what is due; then
it sends what gathered, and its core is checked. A process that is stopped, or silent because a
handler holds the interpreter, takes no turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf

from zmqkit.core.effects import Effect
from zmqkit.core.pace import Pace
from zmqkit.drivers.perform import Driver
from zmqkit.simulation.timeline import Timeline

TURN_S = 0.002
SPIN_MAX = 50

Event = Callable[[float], object]
"""Something that happens in a turn, at that time."""


class SimulatedDriver:
    """Drives a core when its process has a turn for it; `rested` is called after each.

    paused: whether the process takes no turns now. pace: the core's, if commands of it may
    gather.
    """

    def __init__(
        self, driver: Driver, timeline: Timeline, paused: Callable[[], bool], rested: Event
    ) -> None:
        self.driver = driver
        self.pace = Pace()
        self.closed = False
        self._paused = paused
        self._timeline = timeline
        self._rested = rested
        self._events: deque[Event] = deque()
        self._turn_at = inf
        self._spins = 0

    def perform(self, effects: list[Effect]) -> None:
        """Carry out what a command of the core asked for; within a turn."""
        self.driver.perform(effects)

    def command(self, command: Callable[[float], list[Effect]]) -> None:
        """Have a command of the core carried out in the next turn, unless it is closed then."""
        self.post(partial(self._perform, command))

    def post(self, event: Event) -> None:
        """Have something done in the next turn."""
        self._events.append(event)
        self.wake()

    def later(self, delay_s: float, event: Event) -> None:
        """Have something done in a turn after a while; 0 is the next turn."""
        if delay_s <= 0.0:
            self.post(event)
        else:
            self._timeline.after(delay_s, lambda: self.post(event))

    def wake(self) -> None:
        """Have a turn soon."""
        self._wake_at(self._timeline.now + self._timeline.random.uniform(0.0, TURN_S))

    def run_on(self) -> None:
        """Have a turn at once, after a pause."""
        self._turn_at = inf
        self._wake_at(self._timeline.now)

    def close(self) -> None:
        """Close the link, and drive no more; what users posted happens all the same."""
        self.closed = True
        self.driver.link.close(0.0)

    def _wake_at(self, at: float) -> None:
        if at < self._turn_at and not self._paused():
            self._turn_at = at
            self._timeline.at(at, lambda: self._turn_if(at))

    def _turn_if(self, at: float) -> None:
        if self._turn_at == at and not self._paused():
            self._turn_at = inf
            self._turn(self._timeline.now)

    def _turn(self, now: float) -> None:
        driver, core, pending = self.driver, self.driver.core, self.driver.link.pending
        idle = not self._events and not pending()
        steps: list[Event] = [self._obey, driver.pump, driver.tick]
        self._timeline.random.shuffle(steps)
        for step in steps:
            if step == self._obey or not self.closed:
                step(now)
        wake_at = inf
        if not self.closed:
            if not now < self.pace.due_at < inf:
                driver.flush(now)
            core.check()
            self._rested(now)
            wake_at = core.deadline()
        self._spins = self._spins + 1 if idle and wake_at <= now else 0
        assert self._spins < SPIN_MAX, "a core is due for ever"
        # A generator that goes on at once does so: many small packets fill a lane.
        wake_at = now if self._events or pending() else wake_at
        if wake_at < inf:
            self._wake_at(max(now + 1e-6, wake_at))

    def _perform(self, command: Callable[[float], list[Effect]], now: float) -> None:
        if not self.closed:
            self.driver.perform(command(now))

    def _obey(self, now: float) -> None:
        """Do what users and handlers have posted by now."""
        for _ in range(len(self._events)):
            self._events.popleft()(now)
