"""Whether jobs go to devices or past them.

While a device of the name is there, jobs go to devices: calls to routers and brokers, not to
services that were found directly; tasks to streamers, not to workers. Whoever chooses waits
TURN_S before it turns, so that a device that is replaced, or a connection that breaks for a
moment, moves nothing. What an instance has stays with it. A role that has just found its first
instances turns at once, for a service may answer a moment before the device; and a client whose
last device is gone turns at once, for its calls have no time to wait. A pusher, whose tasks
have that time, gives nothing away for a moment, in which a device may be found, too.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zmqkit.core.dispatch.connections import Connections
from zmqkit.core.dispatch.job import Instance
from zmqkit.limits import TURN_S


class Turn:
    """Chooses the instances that get new jobs."""

    def __init__(
        self,
        connections: Connections[Instance],
        turned: Callable[[float], None] | None = None,
        *,
        turns: bool = True,
        returns_at_once: bool = False,
        waits_s: float = 0.0,
    ) -> None:
        """Begin without devices.

        turned: called after each turn, before instances are chosen anew.
        turns: turn to devices; else they are never used.
        returns_at_once: turn away from devices as soon as none answers.
        waits_s: how long jobs wait for a device, once the first instance is known.
        """
        # Whether jobs go to devices now.
        self.uses_devices = False
        # When to turn.
        self._turn_at = inf
        # Until then nothing was settled: the first device that answers is used at once.
        self._young_until = -inf
        self._connections = connections
        self._turned = turned
        self._turns = turns
        self._waits_s = waits_s
        # Until then jobs wait; inf before anybody is known, -inf afterwards.
        self._waits_until = inf if turns and waits_s else -inf
        self._returns_at_once = returns_at_once

    @property
    def waits(self) -> bool:
        """Whether jobs are to wait, since a device may be found yet."""
        return self._waits_until > -inf and not self.uses_devices

    @property
    def due_at(self) -> float:
        """When `tick` is due."""
        return min(self._turn_at, self._waits_until if self._waits_until > -inf else inf)

    def choose(self, instance: Instance) -> None:
        """Use an instance that has just said what it is, or pass it over."""
        passed_over = instance.is_device is not self.uses_devices
        if instance.passed_over is not passed_over:
            self._connections.pass_over(instance, passed_over=passed_over)

    def look(self, now: float) -> None:
        """See whether to turn, at once if nothing else can be used, or in a while."""
        if self._young_until == -inf and self._connections.by_incarnation:
            self._young_until = now + TURN_S
            if self._waits_until == inf:
                self._waits_until = now + self._waits_s
        if self.uses_devices is (self._turns and self._has_device()):
            self._turn_at = inf
        elif self._turns_at_once(now):
            self._turn(now)
        elif self._turn_at == inf:
            self._turn_at = now + TURN_S

    def tick(self, now: float) -> None:
        """Turn, or wait no longer, if that is due."""
        if now >= self._waits_until:
            self._waits_until = -inf
        if now >= self._turn_at:
            self._turn(now)

    def _turns_at_once(self, now: float) -> bool:
        if self.uses_devices:
            return self._returns_at_once
        return now < self._young_until or not self._connections.ready

    def _has_device(self) -> bool:
        instances = self._connections.by_incarnation.values()
        return any(each.is_device and each.answers for each in instances)

    def _turn(self, now: float) -> None:
        self._turn_at = inf
        self.uses_devices = not self.uses_devices
        if self._turned is not None:
            self._turned(now)
        for instance in self._connections.by_incarnation.values():
            self.choose(instance)
