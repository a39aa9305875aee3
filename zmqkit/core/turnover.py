"""A client's instances as they come and go, and what that does to the calls they hold."""

from __future__ import annotations

from zmqkit.core.effects import Effect, Note, Tell
from zmqkit.core.ends import Ends
from zmqkit.core.instance import State
from zmqkit.core.outcome import lost
from zmqkit.core.pending import Pending
from zmqkit.core.placement import Placement
from zmqkit.core.roster import Roster
from zmqkit.options import RECORDS_MAX


class Turnover:
    """Takes membership's news of the instances of one name."""

    def __init__(
        self, pending: Pending, roster: Roster, placement: Placement, ends: Ends
    ) -> None:
        self._pending = pending
        self._roster = roster
        self._placement = placement
        self._ends = ends

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of one instance."""
        if tell.news == "found":
            return self._found(tell.incarnation, tell.endpoint, now)
        if tell.news == "lost":
            return self._lost(tell.incarnation, now)
        if tell.news == "gone":
            return self.gone(tell.incarnation, now)
        return self._silence(tell.incarnation, tell.news == "silent", now)

    def _found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        """An instance can be reached at `endpoint`, for the first time or anew."""
        known = self._roster.known
        if incarnation not in known and len(known) >= RECORDS_MAX:
            return [Note("instances-full", {"name": self._roster.name})]
        known[incarnation] = endpoint
        instance = self._roster.instances.get(incarnation)
        if instance is None:
            return self._roster.connect_best(now)
        if instance.state is not State.LOST and instance.endpoint == endpoint:
            return []
        effects = self._roster.close(instance)
        instance.endpoint = endpoint
        return effects + self._roster.open(instance, now)

    def _lost(self, incarnation: int, now: float) -> list[Effect]:
        """The instance's process is out of reach; it may return."""
        instance = self._roster.instances.get(incarnation)
        if instance is None or instance.state is State.LOST:
            return []
        effects = self._roster.close(instance)
        self._roster.shift(instance, State.LOST)
        movable = [call for call in instance.calls.values() if instance.may_move(call)]
        return effects + self._placement.move(movable, now)

    def gone(self, incarnation: int, now: float) -> list[Effect]:
        """The instance will not return: its calls move, or end with PeerLost."""
        effects = self._lost(incarnation, now)
        self._roster.known.pop(incarnation, None)
        self._pending.look(now)  # perhaps nobody is left
        instance = self._roster.instances.pop(incarnation, None)
        if instance is None:
            return effects
        stuck = list(instance.calls.values())
        outcomes = [self._ends.end(call, "failed", lost(call)) for call in stuck]
        return effects + self._ends.settle(outcomes) + self._roster.connect_best(now)

    def _silence(self, incarnation: int, silent: bool, now: float) -> list[Effect]:
        """A process fell silent, so its instance is not chosen, or it answers again."""
        instance = self._roster.instances.get(incarnation)
        if instance is None:
            return []
        instance.silent = silent
        if instance.state in (State.UP, State.EVASIVE):
            self._roster.shift(instance, State.EVASIVE if silent else State.UP)
        return self._placement.move(instance.unsent() if silent else [], now)
