"""Whether tasks go to workers or to streamers.

While a streamer of the name is there, tasks go to it, and not to workers. Whoever chooses waits
TURN_S before it turns, so that a streamer that is replaced, or a connection that breaks for a
moment, moves nothing. What a worker or a streamer has stays with it. Only a pusher that has
just found its first peers turns at once, for a worker may answer a moment before the streamer.
"""

from __future__ import annotations

from math import inf

from zmqkit.core.dispatch.connections import Connections
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.tasks.leases import Leases
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.limits import TURN_S


class Turn:
    """Chooses the instances that get new tasks."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        connections: Connections[Instance],
        *,
        passes_on: bool,
    ) -> None:
        """Begin with workers. passes_on: turn to streamers; else they are never used."""
        # When `tick` is due.
        self.due_at = inf
        # Until then nothing was settled: the first streamer that answers is used at once.
        self._young_until = -inf
        self._ledger = ledger
        self._leases = leases
        self._connections = connections
        self._passes_on = passes_on

    def choose(self, instance: Instance) -> None:
        """Use an instance that has just said what it is, or pass it over."""
        is_streamer = self._leases.policy_of(instance).is_streamer
        passed_over = is_streamer is not self._leases.passes_on
        if instance.passed_over is not passed_over:
            self._connections.pass_over(instance, passed_over=passed_over)

    def look(self, now: float) -> None:
        """See whether to turn, at once if nothing else can be used, or in a while."""
        if self._young_until == -inf and self._connections.by_incarnation:
            self._young_until = now + TURN_S
        if self._is_right():
            self.due_at = inf
        elif not self._leases.passes_on and (
            now < self._young_until or not self._connections.ready
        ):
            self._turn(now)
        elif self.due_at == inf:
            self.due_at = now + TURN_S

    def tick(self, now: float) -> None:
        """Turn, if that is due."""
        if now >= self.due_at:
            self._turn(now)

    def _is_right(self) -> bool:
        return self._leases.passes_on is (self._passes_on and self._has_streamer())

    def _has_streamer(self) -> bool:
        return any(
            each.answers and self._leases.policy_of(each).is_streamer
            for each in self._connections.by_incarnation.values()
        )

    def _turn(self, now: float) -> None:
        self.due_at = inf
        self._leases.passes_on = not self._leases.passes_on
        self._ledger.hold(now, holds=not self._leases.passes_on)
        for instance in self._connections.by_incarnation.values():
            self.choose(instance)
