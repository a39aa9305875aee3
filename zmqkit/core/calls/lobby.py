"""Calls that wait until there is room for them, in line or at the one instance they are for.

Theory of operation. The line of a client is bounded, and so is what one instance has of it. A
call with somebody who waits for it is not refused when that is full: it waits here, where it
has no number, no instance hears of it, and its own deadline ends it. Each call here has a
thread or a task that waits, so whoever makes calls bounds their number; of streams, which only
wait for their one instance, the limit of the line bounds it. There is one row of
calls for the line, and one for each instance that calls are for alone:

    row               a call leaves it for              and ends here when
    any instance      the line, once that has room      its time is over
    one instance      that instance, once it has        its time is over; the instance was not
                      credit left                       found within `wait_s`; or it is gone

A call for one instance is never in line, so it cannot come to another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.outcome import Outcome, full, lost, no_room, not_found
from zmqkit.core.dispatch.instances import Instances
from zmqkit.core.dispatch.job import Instance
from zmqkit.errors import CallCancelled, ZmqkitError
from zmqkit.model import label_of

_LOOK_S = 1 / 64


class Lobby:
    """The calls of one client that wait for room."""

    def __init__(self, name: str, instances: Instances, line_max: Callable[[], int]) -> None:
        """line_max: returns how many calls may stand in line."""
        self.count = 0
        # No call is due before this time. It may be too early, never too late.
        self.look_at = inf
        self._name = name
        self._connections = instances.connections
        self._dispatcher = instances.dispatcher
        self._line_max = line_max
        # Ordered, since the first of them leaves in O(1) there, and not from a dict.
        self._rows: dict[int, OrderedDict[Call, None]] = {}
        # The rows whose instance was found.
        self._found: set[int] = set()

    def __iter__(self) -> Iterator[Call]:
        for row in self._rows.values():
            yield from row

    def accept(self, call: Call, now: float) -> None:
        """Accept a call that nobody waits for yet; QueueFull if there is no room for it.

        Its number is the next. A stream of one instance has none, and may wait for that.
        """
        line_max = self._line_max()
        waiting = self.count if call.only and call.streams else self._dispatcher.line.count
        if waiting >= line_max and (call.streams or not call.only):
            raise full(self._name, line_max)
        if not call.only:
            self._dispatcher.add(call, now)
            return
        if call.streams:
            self.join(call, now)
            return
        instance = self._find(call.only)
        if instance is None or not instance.answers:
            raise not_found(self._name, call.options.instance, self._labels())
        if instance.load >= instance.credit:
            raise full(call.options.instance or "", instance.credit)
        self._dispatcher.give(call, instance, now)

    def join(self, call: Call, now: float) -> Call:
        """Have a call wait at the end of its row, unless there is room for it."""
        self._rows.setdefault(call.only, OrderedDict())[call] = None
        self.count += 1
        self.look_at = min(self.look_at, call.give_up_at)
        if not self._admit_for(call.only, now):
            self.look_at = now  # `admit` ends it at once
        return call

    def join_at(self, call: Call, instance: Instance, now: float) -> Call:
        """Have a call wait for this instance alone, unless that has room for it."""
        call.only = instance.incarnation >> 32
        return self.join(call, now)

    def leave(self, call: Call) -> bool:
        """Take a call out of its row; return False if it is not here."""
        row = self._rows.get(call.only)
        if row is None or call not in row:
            return False
        del row[call]
        self.count -= 1
        if not row:
            del self._rows[call.only]
            self._found.discard(call.only)
        return True

    def cancel(self, call: Call) -> Outcome | None:
        """Give a call up that waits here; return its outcome, or None if it is not here."""
        if not self.leave(call):
            return None
        return call.finish(CallCancelled(f"{call.method!r} was cancelled"))

    def admit(self, now: float) -> list[Outcome]:
        """Let in what there is room for; return the ends of calls whose instance is gone."""
        ended: list[Outcome] = []
        for only in list(self._rows):
            if not self._admit_for(only, now):
                gone = list(self._rows[only])
                ended += [call.finish(lost(call)) for call in gone if self.leave(call)]
        return ended

    def _admit_for(self, only: int, now: float) -> bool:
        """Let in the calls of a row that there is room for; False if its instance is gone."""
        if not only:
            line, line_max = self._dispatcher.line, self._line_max()
            while line.count < line_max and self._next(only, now):
                pass
            return True
        instance = self._find(only)
        if instance is None or instance.is_going:
            return instance is None and only not in self._found
        self._found.add(only)
        while instance.load < instance.credit and self._next(only, now, instance):
            pass
        return True

    def due(self, now: float) -> list[Outcome]:
        """End the calls whose time is over, or whose instance was not found in time."""
        if now < self.look_at:
            return []
        look_at, due = inf, []
        for call in self:
            is_lacked = call.only and call.only not in self._found
            at = call.give_up_at if is_lacked else call.deadline_at
            if at <= now:
                due.append(call)
            else:
                look_at = min(look_at, at)
        self.look_at = max(look_at, now + _LOOK_S)
        return [call.finish(self._late(call)) for call in due if self.leave(call)]

    def close(self) -> list[Outcome]:
        """End all calls, since the client closes."""
        error = "the client was closed"
        ended = [call.finish(CallCancelled(error)) for call in self]
        self._rows.clear()
        self._found.clear()
        self.count, self.look_at = 0, inf
        return ended

    def check(self) -> None:
        """Assert that nothing waits here that has room, and that none is due unseen."""
        assert self.count == sum(map(len, self._rows.values()))
        assert all(self._rows.values()) and self._found <= self._rows.keys()
        assert 0 not in self._rows or self._dispatcher.line.count >= self._line_max()
        for call in self:
            assert not call.sequence and (call.waiter is not None or call.streams)
            assert self.look_at <= call.deadline_at + _LOOK_S
        for only in self._rows.keys() - {0}:
            instance = self._find(only)
            is_full = instance is not None and instance.load >= instance.credit
            assert instance is None or is_full or instance.is_going

    def _next(self, only: int, now: float, instance: Instance | None = None) -> bool:
        """Let the first call of a row in; return False if there is none."""
        row = self._rows.get(only)
        if row is None:
            return False
        call = next(iter(row))
        self.leave(call)
        call.sequence = self._dispatcher.next
        if instance is None:
            self._dispatcher.add(call, now)
        else:
            self._dispatcher.give(call, instance, now)
        return True

    def _find(self, only: int) -> Instance | None:
        known = self._connections.by_incarnation.values()
        return next((each for each in known if each.incarnation >> 32 == only), None)

    def _late(self, call: Call) -> ZmqkitError:
        if call.only and call.only not in self._found:
            return not_found(self._name, call.options.instance, self._labels())
        return no_room(self._name, call, self._line_max())

    def _labels(self) -> list[str]:
        return [label_of(self._name, each) for each in self._connections.by_incarnation]
