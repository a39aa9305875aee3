"""A client's calls that are not settled, when they are due, and the count of all others."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.stream_call import StreamCall, answer_stream, end_stream
from zmqkit.errors import ZmqkitError
from zmqkit.options import CREDIT, INSTANCES_MAX, WAITING_CALLS_MAX
from zmqkit.wire.encoding import Buffer

if TYPE_CHECKING:
    from zmqkit.core.calls.instance import Instance

PENDING_CALLS_MAX = WAITING_CALLS_MAX + INSTANCES_MAX * CREDIT
"""What waits in line, and what all instances have been given within their credit."""

_LOOK_S = 1 / 64

_COUNTS = ("delivered", "failed", "expired", "retries", "duplicates")


class Pending:
    """Unsettled calls by sequence number, when to look at them next, and the counters.

    accepted = delivered + failed + expired + dropped + in flight, at any moment. next: the
    number of the next call; all below were accepted. look_at: no call is due before it. It may
    be too early and never too late, so a call that is settled in time costs nothing: all are
    looked at once in the shortest time-out, and never more often than each `_LOOK_S`. window:
    what a stream may have under way.
    """

    def __init__(self, window: tuple[int, int] = StreamCall.window) -> None:
        self.window = window
        self.calls: dict[int, Call] = {}
        self.next = 1
        self.look_at = inf
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._lowest = 1

    def add(
        self,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> Call:
        """Accept a call and give it the next number."""
        sequence = self.next
        call = self.calls[sequence] = Call(sequence, method, body, raw, options, waiter, now)
        self.next = sequence + 1
        if call.deadline_at < self.look_at:
            self.look_at = call.deadline_at
        return call

    def open(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions, now: float
    ) -> StreamCall:
        """Accept a call for a stream and give it the next number."""
        call = StreamCall(self.next, method, body, raw, options, None, now)
        call.window = self.window
        self.calls[self.next] = call
        self.next += 1
        self.look(call.deadline_at)
        return call

    def look(self, at: float) -> None:
        """Look at the calls at `at` at the latest."""
        self.look_at = min(self.look_at, at)

    def due(self, now: float, *, alone: bool) -> list[Call]:
        """The calls whose time is over, at most `_LOOK_S` late.

        alone: nobody is known, so that what never left is due when its patience ends.
        """
        if now < self.look_at:
            return []
        due: list[Call] = []
        look_at = inf
        for call in self.calls.values():
            at = call.give_up_at if alone and not call.may_have_run else call.deadline_at
            if at <= now:
                due.append(call)
            elif at < look_at:
                look_at = at
        self.look_at = max(look_at, now + _LOOK_S)
        return due

    def end(
        self, call: Call, count: str, error: ZmqkitError | None, value: object = None
    ) -> Outcome:
        """Settle a call: it is counted, and gives what its waiter is told."""
        del self.calls[call.sequence]
        self.counts[count] += 1
        return (call.waiter, value, error) if not call.streams else end_stream(call, error)

    def deliver(
        self, rows: list[tuple[int, object]], instance: Instance
    ) -> tuple[list[Outcome], list[tuple[Call, object]]]:
        """Settle what the instance answered; gives outcomes for those that wait, and answers
        from an earlier one.

        The way of almost every call, so it is written out: no function is called for one.
        """
        calls, theirs = self.calls, {} if instance.outbox else instance.calls
        outcomes: list[Outcome] = []
        others: list[tuple[Call, object]] = []
        delivered = 0
        try:
            for sequence, value in rows:
                call = theirs.pop(sequence, None)
                if call is not None:
                    del calls[sequence]
                    delivered += 1
                    if call.waiter is not None:
                        outcomes.append((call.waiter, value, None))
                    elif call.streams:
                        outcomes += answer_stream(call, value)
                    continue
                call = calls.get(sequence)
                mine = call is not None and not (call.begun and call.instance is not instance)
                if call is not None and mine and (call.instance is instance or call.exposed):
                    others.append((call, value))
                else:
                    self.counts["duplicates"] += 1
        finally:  # an interrupt may come in between
            self.counts["delivered"] += delivered
        return outcomes, others

    def drop(self, call: Call, reason: str, error: ZmqkitError) -> Outcome:
        """Settle a call that this side gave up."""
        del self.calls[call.sequence]
        self.dropped[reason] += 1
        return (call.waiter, None, error) if not call.streams else end_stream(call, error)

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
            "accepted": self.next - 1,
            **{name: self.counts[name] for name in _COUNTS},
            "dropped": dict(self.dropped),
            "in_flight": len(self.calls),
        }

    def check(self) -> None:
        """The counters balance, no call is too many, and none is looked at too late."""
        counts = self.counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        assert self.next - 1 == ended + len(self.calls), "stats do not balance"
        assert len(self.calls) <= PENDING_CALLS_MAX
        soonest = min((call.deadline_at for call in self.calls.values()), default=inf)
        assert self.look_at <= soonest + _LOOK_S
