"""A client's calls that are not settled, when they are due, and the count of all others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from zmqkit.core.call import Call
from zmqkit.core.outcome import Outcome
from zmqkit.core.timers import Wheel
from zmqkit.errors import ZmqkitError
from zmqkit.options import CREDIT, INSTANCES_MAX, WAITING_CALLS_MAX

if TYPE_CHECKING:
    from zmqkit.core.instance import Instance

PENDING_CALLS_MAX = WAITING_CALLS_MAX + INSTANCES_MAX * CREDIT
"""What waits in line, and what all instances have been given within their credit."""

_COUNTS = ("accepted", "delivered", "failed", "expired", "retries", "duplicates")


class Pending:
    """Unsettled calls by sequence number, the wheel of their deadlines, and the counters.

    accepted = delivered + failed + expired + dropped + in flight, at any moment.
    """

    def __init__(self) -> None:
        self.calls: dict[int, Call] = {}
        self.wheel = Wheel()
        self.next = 1
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._lowest = 1

    def add(self, call: Call) -> None:
        """Accept a call; its number is `next`."""
        self.next = call.sequence + 1
        self.counts["accepted"] += 1
        self.calls[call.sequence] = call
        call.slots = (self.wheel.add(call.sequence, call.deadline_at),)

    def end(
        self, call: Call, count: str, error: ZmqkitError | None, value: object = None
    ) -> Outcome:
        """Settle a call: it is counted, and gives what its waiter is told."""
        self._remove(call)
        self.counts[count] += 1
        return (call.waiter, value, error)

    def deliver(
        self, rows: list[tuple[int, object]], instance: Instance
    ) -> tuple[list[Outcome], list[tuple[Call, object]]]:
        """Settle what the instance answered; gives outcomes, and answers from an earlier one.

        The way of almost every call, so it is written out: no function is called for one.
        """
        calls, theirs, taken = self.calls, instance.calls, len(instance.outbox) == 0
        outcomes: list[Outcome] = []
        others: list[tuple[Call, object]] = []
        for sequence, value in rows:
            call = calls.get(sequence)
            if call is not None and call.instance is instance and taken:
                del calls[sequence], theirs[sequence]
                for slot in call.slots:
                    slot.pop(sequence, None)
                outcomes.append((call.waiter, value, None))
            elif call is not None and (call.instance is instance or call.exposed):
                others.append((call, value))
            else:
                self.counts["duplicates"] += 1
        self.counts["delivered"] += len(outcomes)
        return outcomes, others

    def drop(self, call: Call, reason: str, error: ZmqkitError) -> Outcome:
        """Settle a call that this side gave up."""
        self._remove(call)
        self.dropped[reason] += 1
        return (call.waiter, None, error)

    def settled_below(self) -> int:
        """The lowest sequence number that is not settled."""
        lowest = self._lowest
        while lowest < self.next and lowest not in self.calls:
            lowest += 1
        self._lowest = lowest
        return lowest

    def stats(self) -> dict[str, object]:
        """The counters, and how many calls are in flight."""
        return {
            **{name: self.counts[name] for name in _COUNTS},
            "dropped": dict(self.dropped),
            "in_flight": len(self.calls),
        }

    def check(self) -> None:
        """The counters balance, and no call is too many."""
        counts = self.counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        assert counts["accepted"] == ended + len(self.calls), "stats do not balance"
        assert len(self.calls) <= PENDING_CALLS_MAX

    def _remove(self, call: Call) -> None:
        del self.calls[call.sequence]
        for slot in call.slots:
            slot.pop(call.sequence, None)
