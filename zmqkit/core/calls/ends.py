"""How a client's calls end: taken out of their place, counted, and told to whoever waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from zmqkit.core.calls.call import Call
from zmqkit.core.calls.instance import Instance
from zmqkit.core.calls.outcome import Outcome, nobody, timed_out
from zmqkit.core.calls.pending import Pending
from zmqkit.core.calls.placement import Placement
from zmqkit.core.calls.roster import Roster
from zmqkit.core.effects import Effect, Note, Settle
from zmqkit.errors import CallCancelled, ZmqkitError
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode


class Ends:
    """Ends the calls to one name. hint: membership's word of why nobody is found."""

    def __init__(
        self, name: str, pending: Pending, placement: Placement, roster: Roster
    ) -> None:
        self.hint = ""
        self._name = name
        self._pending = pending
        self._placement = placement
        self._roster = roster

    def end(
        self, call: Call, count: str, error: ZmqkitError | None, value: object = None
    ) -> Outcome:
        """End a call with a value or an error."""
        self._placement.remove(call)
        return self._pending.end(call, count, error, value)

    def drop(self, call: Call, reason: str, text: str) -> Outcome:
        """End a call that this side gave up."""
        self._placement.remove(call)
        error = CallCancelled(text, may_have_run=call.may_have_run)
        return self._pending.drop(call, reason, error)

    def expire(self, call: Call) -> Outcome:
        """End a call whose time is over, or whose patience with nobody there."""
        if not (call.may_have_run or self._roster.known):
            return self.end(call, "failed", nobody(self._name, self.hint))
        return self.end(call, "expired", timed_out(call))

    def settle(self, outcomes: list[Outcome]) -> list[Effect]:
        """Ends for those that wait; a failed one-way message has nobody but the log."""
        waited = [outcome for outcome in outcomes if outcome[0] is not None]
        effects: list[Effect] = [Settle(waited)] if waited else []
        if len(waited) < len(outcomes):
            failed = Counter(str(e) for waiter, _, e in outcomes if waiter is None and e)
            effects.extend(
                Note("notify-failed", {"name": self._name, "error": text, "count": count})
                for text, count in failed.items()
            )
        return effects

    def holder(self, call: Call) -> Instance | None:
        """The instance that may have the call and can be told of its end."""
        instance = call.instance
        told = instance is not None and call.copies and instance.peer in self._roster.by_peer
        return instance if told else None

    def tell_of_streams(self, calls: Iterable[Call]) -> list[Effect]:
        """Tell the instances of the streams among these, about to end, to close them."""
        sequences: dict[Instance, list[int]] = {}
        for call in calls:
            holder = self.holder(call) if call.streams else None
            if holder is not None:
                sequences.setdefault(holder, []).append(call.sequence)
        return [e for holder, theirs in sequences.items() for e in self.tell(holder, theirs)]

    def tell(self, holder: Instance | None, sequences: list[int]) -> list[Effect]:
        """Tell an instance that nobody waits for these any more."""
        if holder is None or not sequences:
            return []
        return [self._roster.packet(holder, wire.CANCEL, encode(sequences))]
