"""Where each unsettled call of a client is: in line, or at exactly one instance."""

from __future__ import annotations

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.instance import Instance, State
from zmqkit.core.calls.outcome import LEAVING
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.roster import Roster
from zmqkit.core.effects import Effect, Settle
from zmqkit.core.line import Line


class Placement:
    """The line of calls that wait, and the ways from there to an instance and back."""

    def __init__(self, pending: Pending, roster: Roster) -> None:
        self.line: Line[Call] = Line()
        self._pending = pending
        self._roster = roster

    def place(self, call: Call, now: float) -> None:
        """Give a new call to an instance, or have it wait for one."""
        instance = None if self.line.count else self._roster.choose()
        if instance is not None:
            self._roster.assign(call, instance, now)
        else:
            self.line.join(call.sequence, call.options.priority, call)
            self._pending.look(call.give_up_at)

    def remove(self, call: Call) -> None:
        """Take a call that ends out of its place."""
        if call.instance is not None:
            self._roster.unassign(call)
        else:
            self.line.leave(call.sequence, call.options.priority)

    def fill(self, now: float) -> list[Effect]:
        """Give waiting calls, highest priority first, to instances with credit; send them."""
        roster = self._roster
        while self.line.count and (instance := roster.choose()) is not None:
            call = self.line.serve()
            if call is not None:
                roster.assign(call, instance, now)
        over = roster.awaited_over(now)
        sends = roster.flush(now)
        return [Settle(over), *sends] if over else sends

    def move(self, calls: list[Call], now: float) -> list[Effect]:
        """Take calls from their instances and put them in line again."""
        for call in calls:
            self._roster.unassign(call)
            if call.copies:
                call.exposed = True
                call.restart()
                self._pending.counts["retries"] += 1
            self.line.join(call.sequence, call.options.priority, call)
        return self.fill(now)

    def try_another(self, call: Call, instance: Instance, code: str, now: float) -> bool:
        """Let another instance have what this one refused; false if the refusal is the end.

        The one that refused never accepts this id again, so it did not run and will not.
        """
        if code == LEAVING and instance.state in (State.UP, State.EVASIVE):
            self._roster.shift(instance, State.LEAVING)
        call.refused_by = (*call.refused_by, instance.incarnation)
        other = self._roster.choose(call.refused_by) if call.attempts > 0 else None
        if other is None and (code != LEAVING or call.attempts <= 0):
            return False
        self._roster.unassign(call)
        call.restart()
        self._pending.counts["retries"] += 1
        if other is not None:
            self._roster.assign(call, other, now)
        else:
            self.line.join(call.sequence, call.options.priority, call)
        return True

    def check(self) -> None:
        """Each call is in one place."""
        places = [call.sequence for call in self.line]
        assert all(call.instance is None for call in self.line)
        for instance in self._roster.instances.values():
            places.extend(instance.calls)
        assert sorted(places) == sorted(self._pending.calls), "a call in no place, or in two"
