"""A client's instances as they come and go, and what that does to the calls they hold."""

from __future__ import annotations

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.ends import Ends
from zmqkit.core.calls.instance import Instance, State
from zmqkit.core.calls.outcome import LEAVING, Outcome, from_row, lost
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.placement import Placement
from zmqkit.core.calls.roster import Roster
from zmqkit.core.effects import Effect, Note, Tell
from zmqkit.options import INSTANCES_MAX, LINGER_S_MAX, RECORDS_MAX

_CONNECTED = (State.UP, State.EVASIVE, State.LEAVING)


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
        instance = self._roster.instances.get(tell.incarnation)
        if instance is not None and instance.state is State.LEFT:
            return []
        if tell.news == "lost":
            return self._lost(tell.incarnation, now)
        if tell.news == "gone":
            if instance is not None and instance.state in _CONNECTED:
                return self._left(instance, now)
            return self.gone(tell.incarnation, now)
        return self._silence(tell.incarnation, tell.news == "silent", now)

    def tick(self, now: float) -> list[Effect]:
        """Forget those that left, once it is late enough."""
        left = [i for i in self._roster.instances.values() if i.state is State.LEFT]
        return [effect for instance in left for effect in self.part(instance, now)]

    def closed(
        self, instance: Instance, below: int, taken: frozenset[int], now: float
    ) -> list[Effect]:
        """Take an instance's last word, behind all that it answered: which ids it had taken.

        The others did not run there and will not, whatever their methods do.
        """
        if instance.state in (State.UP, State.EVASIVE):
            self._roster.shift(instance, State.LEAVING)
        movable: list[Call] = []
        outcomes: list[Outcome] = []
        for call in list(instance.calls.values()):
            known = call.begun or call.sequence < below or call.sequence in taken
            if call.copies and not known:
                if not self._placement.try_another(call, instance, LEAVING, now):
                    row = (call.sequence, LEAVING, "", "the service has closed", "", False)
                    outcomes.append(self._ends.end(call, "failed", from_row(call, row)))
            elif instance.may_move(call):
                movable.append(call)
            else:
                outcomes.append(self._ends.end(call, "failed", lost(call)))
        return self._ends.settle(outcomes) + self._placement.move(movable, now)

    def part(self, instance: Instance, now: float) -> list[Effect]:
        """Forget one that left, if it owes nothing or has had its time."""
        if instance.calls and now < instance.left_until:
            return []
        return self.gone(instance.incarnation, now)

    def _found(self, incarnation: int, endpoint: str, now: float) -> list[Effect]:
        """An instance can be reached at `endpoint`, for the first time or anew."""
        known = self._roster.known
        if incarnation not in known and len(known) >= RECORDS_MAX:
            return [Note("instances-full", {"name": self._roster.name})]
        known[incarnation] = endpoint
        instance = self._roster.instances.get(incarnation)
        if instance is None:
            return self._connect(now)
        here = instance.state not in (State.LOST, State.LEFT)
        if here and instance.endpoint == endpoint:
            return []
        effects = self._roster.close(instance)
        instance.endpoint = endpoint
        return effects + self._roster.open(instance, now)

    def _lost(self, incarnation: int, now: float) -> list[Effect]:
        """The instance's process is out of reach; it may return."""
        instance = self._roster.instances.get(incarnation)
        if instance is None or instance.state is State.LOST:
            return []
        return [self._roster.note("lost", instance), *self._cut_off(instance, now)]

    def _cut_off(self, instance: Instance, now: float) -> list[Effect]:
        effects = self._roster.close(instance)
        self._roster.shift(instance, State.LOST)
        return effects + self._placement.move(instance.movable(), now)

    def _left(self, instance: Instance, now: float) -> list[Effect]:
        """The instance has closed and was not lost: what it answered last may follow.

        Even its goodbye may, behind a large answer.
        """
        self._roster.known.pop(instance.incarnation, None)
        self._pending.look(now)  # perhaps nobody is left
        self._roster.shift(instance, State.LEFT)
        instance.silent = False
        instance.left_until = now + LINGER_S_MAX
        self._roster.wake(instance.left_until)
        note = self._roster.note("gone", instance)
        moves = self._placement.move(instance.movable(), now)
        return [note, *moves, *self.part(instance, now), *self._connect(now)]

    def _connect(self, now: float) -> list[Effect]:
        """Connect to more instances; if there is no room, in place of one that left."""
        instances = self._roster.instances
        left = next((i for i in instances.values() if i.state is State.LEFT), None)
        others = self._roster.known.keys() - instances.keys()
        if left is not None and others and len(instances) >= INSTANCES_MAX:
            return self.gone(left.incarnation, now)
        return self._roster.connect_best(now)

    def gone(self, incarnation: int, now: float) -> list[Effect]:
        """The instance will not return: its calls move, or end with PeerLost."""
        self._roster.known.pop(incarnation, None)
        self._pending.look(now)  # perhaps nobody is left
        instance = self._roster.instances.get(incarnation)
        if instance is None:
            return []
        effects: list[Effect] = []
        if instance.state is not State.LEFT:
            effects.append(self._roster.note("gone", instance))
        if instance.state is not State.LOST:
            effects += self._cut_off(instance, now)
        del self._roster.instances[incarnation]
        stuck = list(instance.calls.values())
        outcomes = [self._ends.end(call, "failed", lost(call)) for call in stuck]
        return effects + self._ends.settle(outcomes) + self._roster.connect_best(now)

    def _silence(self, incarnation: int, silent: bool, now: float) -> list[Effect]:
        """A process fell silent, so its instance is not chosen, or it answers again."""
        instance = self._roster.instances.get(incarnation)
        if instance is None:
            return []
        effects: list[Effect] = []
        if instance.silent != silent:
            effects.append(self._roster.note("silent" if silent else "answering", instance))
        instance.silent = silent
        if instance.state in (State.UP, State.EVASIVE):
            self._roster.shift(instance, State.EVASIVE if silent else State.UP)
        return effects + self._placement.move(instance.unsent() if silent else [], now)
