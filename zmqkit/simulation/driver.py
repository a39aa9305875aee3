"""The simulated driver: turns in virtual time, at moments and in an order that chance decides.

In a turn a role does what its user asked for, reads what has arrived and does what is due. Then
it sends what has gathered. Now and then the driver checks its core, which takes longer than the
turn itself. A process takes no turns while it is stopped, or while it is silent because a
handler holds the interpreter.
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
CHECK_TURNS = 8
"""After so many turns a core is checked; a table that is wrong mostly stays so."""

Event = Callable[[float], object]
"""Something that happens in a turn. It is called with the time of the turn."""


class SimulatedDriver:
    """A driver that gives its core turns while the process takes turns.

    paused: returns whether the process takes no turns now.
    rested: called after each turn.
    """

    def __init__(
        self, driver: Driver, timeline: Timeline, paused: Callable[[], bool], rested: Event
    ) -> None:
        self.driver = driver
        self.pace = Pace()  # a role whose commands may gather puts its core's pace here
        self.closed = False
        self._paused = paused
        self._timeline = timeline
        self._rested = rested
        self._events: deque[Event] = deque()
        self._turn_at = inf
        self._spins = 0
        self._turns = 0

    def perform(self, effects: list[Effect]) -> None:
        """Carry out effects that a command of the core returned. Call it within a turn."""
        self.driver.perform(effects)

    def command(self, command: Callable[[float], list[Effect]]) -> None:
        """Carry out a command of the core in the next turn, unless it is closed by then."""
        self.post(partial(self._perform, command))

    def post(self, event: Event) -> None:
        """Call `event` in the next turn."""
        self._events.append(event)
        self.wake()

    def later(self, delay_s: float, event: Event) -> None:
        """Call `event` in a turn after `delay_s`; 0 means the next turn."""
        if delay_s <= 0.0:
            self.post(event)
        else:
            self._timeline.after(delay_s, lambda: self.post(event))

    def wake(self) -> None:
        """Take a turn soon."""
        self._wake_at(self._timeline.now + self._timeline.random.uniform(0.0, TURN_S))

    def run_on(self) -> None:
        """Take a turn at once, after a pause."""
        self._turn_at = inf
        self._wake_at(self._timeline.now)

    def close(self) -> None:
        """Close the link and stop driving the core. Events that users posted still happen."""
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
            self._turns += 1
            if self._turns % CHECK_TURNS == 0:
                core.check()
            self._rested(now)
            wake_at = core.deadline()
        self._spins = self._spins + 1 if idle and wake_at <= now else 0
        assert self._spins < SPIN_MAX, "a core is due for ever"
        # A generator that goes on at once has its turn now, so many small packets fill a lane.
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
