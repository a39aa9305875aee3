"""A client's streams: their values go to whoever waits, and what is missing is asked for.

The caller grants a window of values and bytes when it asks, and moves it on by saying how many
values were taken: whenever that is a quarter of the window more than the service knows. What
arrives is numbered, so what is missing is noticed: by the next value, by the end, which says
how many there were, or by a pong, which says how many were sent. It is asked for once, and
again with each pong until it is there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.errors import ZmqkitError
from zmqkit.limits import STREAM_BYTES, STREAM_ITEMS
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import STREAM, ErrorRow
from zmqkit.wire.streams import EndRow, GrantRow, ItemRow


class StreamCall(Call):
    """A call that brings many values.

    values: those that arrived and were not taken, with their sizes. have, taken, told: how many
    arrived, were taken, and of how many taken ones the service was told. listener: who waits
    for the next. end: how many there are in all, and what ended them, once that is known. over:
    nothing more comes; `error` says why, if not because it is complete. asked: which number
    was asked for last. missing: to be asked for with the next grant. window: how
    many values may be under way, and bytes of them.
    """

    kind = STREAM
    streams = True
    window = (STREAM_ITEMS, STREAM_BYTES)

    def __init__(
        self,
        sequence: int,
        method: str,
        row: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> None:
        super().__init__(sequence, method, row, raw, options, waiter, now)
        self.values: deque[tuple[int, object]] = deque()
        self.have = 0
        self.taken = 0
        self.told = 0
        self.listener: object = None
        self.end: tuple[int, ErrorRow | None] | None = None
        self.over = False
        self.error: ZmqkitError | None = None
        self.asked = -1
        self.missing = False
        self._untold_bytes = 0

    def restart(self) -> None:
        """Know nothing of what the instance before may have said."""
        super().restart()
        self.end = None
        self.asked = -1
        self.missing = False

    def take(self) -> object:
        """The next value that arrived; there must be one."""
        size, value = self.values.popleft()
        self.taken += 1
        self._untold_bytes += size
        return value

    @property
    def owes_credit(self) -> bool:
        """Whether so much was taken that the service is to be told."""
        items_max, bytes_max = self.window
        return not self.over and (
            4 * (self.taken - self.told) >= items_max or 4 * self._untold_bytes >= bytes_max
        )

    def tell(self) -> GrantRow:
        """A row of GRANT: the service learns what was taken, and from where to send again."""
        self.told, self._untold_bytes = self.taken, 0
        missing, self.missing = self.have if self.missing else None, False
        return (self.sequence, self.taken, missing)

    def lacks(self, number: int) -> bool:
        """Whether values below that number are missing and were not asked for yet."""
        if self.have >= number or self.asked == self.have:
            return False
        self.asked = self.have
        self.missing = True
        return True

    def add(self, size: int, value: object) -> Outcome:
        """Take the next value in; tells whoever waits for it."""
        self.values.append((size, value))
        self.have += 1
        self.begun = True
        return self.wake()

    def wake(self) -> Outcome:
        """End the wait for a value; there may be none."""
        listener, self.listener = self.listener, None
        if self.begun:
            self.deadline_at = inf
        return (listener, None, None)

    def finish(self, error: ZmqkitError | None) -> Outcome:
        """Nothing more comes; the values that are here can still be taken."""
        self.over, self.error = True, error
        return self.wake()

    def answer(self, value: object) -> list[Outcome]:
        """Take the one value of a method that returns no more, and end; tells who waits."""
        outcome = self.add(0, value)
        self.over = True
        return [outcome] if outcome[0] is not None else []

    def check(self) -> None:
        """What is here was neither taken nor too much."""
        assert self.told <= self.taken <= self.have
        assert len(self.values) == self.have - self.taken <= self.window[0]
        assert self.begun == (self.have > 0)


@dataclass(slots=True)
class Arrivals:
    """What a packet brought. waits: those that are over. done: streams that are complete.

    strangers: streams that the client gave up and their service does not know of it.
    """

    waits: list[Outcome] = field(default_factory=list)
    done: list[StreamCall] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)


class ClientStreams:
    """The streams among a client's calls, and the credit that their services are due."""

    def __init__(self, dispatcher: Dispatcher, malformed: Counter[str]) -> None:
        self._dispatcher = dispatcher
        self._malformed = malformed
        self._due: dict[int, StreamCall] = {}

    @property
    def owes_credit(self) -> bool:
        """Whether `grants` has something to send."""
        return bool(self._due)

    def take_in(self, instance: Instance, rows: Iterable[ItemRow]) -> Arrivals:
        """Take values of streams: the next of each, never one twice and none after a gap."""
        arrivals = Arrivals()
        for sequence, number, size, value in rows:
            call = self._find(instance, sequence, arrivals)
            if call is None or number < call.have:
                self._dispatcher.counts["duplicates"] += 1
            elif number > call.have:
                self._ask(call, number)
            elif number >= call.taken + call.window[0]:
                self._malformed["credit"] += 1
            else:
                if not call.begun:
                    call.copies = call.copies or 1  # an earlier one of those that came back
                    if call in instance.outbox:
                        instance.outbox.remove(call)  # it need not be asked for again
                wait = call.add(size, value)
                if wait[0] is not None:
                    arrivals.waits.append(wait)
                if call.end is not None and call.end[0] == call.have:
                    arrivals.done.append(call)
        return arrivals

    def end(self, instance: Instance, rows: Iterable[EndRow]) -> Arrivals:
        """Take ends of streams: each is over once all of its values are here."""
        arrivals = Arrivals()
        for sequence, count, error in rows:
            call = self._find(instance, sequence, arrivals)
            if call is None:
                self._dispatcher.counts["duplicates"] += 1
            elif count < call.have or call.end not in (None, (count, error)):
                self._malformed["end"] += 1
            else:
                call.end = (count, error)
                if count > call.have:
                    self._ask(call, count)
                elif call not in arrivals.done:
                    arrivals.done.append(call)
        return arrivals

    def taken(self, call: StreamCall) -> None:
        """Grant credit for what was taken, if it is enough, with the next flush."""
        if call.owes_credit:
            self._due[call.sequence] = call

    def ask_again(self, jobs: Iterable[Job]) -> list[Job]:
        """Ask for what is missing of those that have begun; returns the others."""
        others: list[Job] = []
        for job in jobs:
            if isinstance(job, StreamCall) and job.begun:
                job.missing = True
                self._due[job.sequence] = job
            else:
                others.append(job)
        return others

    def progress(self, instance: Instance, rows: Iterable[tuple[int, int, int]]) -> None:
        """Take what a pong says: how many values were sent before it, how many grants came."""
        for sequence, sent, taken in rows:
            call = instance.jobs.get(sequence)
            if isinstance(call, StreamCall):
                call.missing = call.missing or sent > call.have
                if call.missing or taken < call.told:
                    self._due[sequence] = call

    def grants(self, now: float) -> dict[Instance, list[GrantRow]]:
        """The credit that may leave now; a pong shows which did not arrive."""
        rows: dict[Instance, list[GrantRow]] = {}
        later: dict[int, StreamCall] = {}
        for call in self._due.values():
            instance = call.instance
            if instance is None or call.over:
                continue
            if not instance.sends or now < instance.blocked_until:
                later[call.sequence] = call
            else:
                rows.setdefault(instance, []).append(call.tell())
        self._due = later
        return rows

    def clear(self) -> None:
        """Owe nobody credit any more."""
        self._due.clear()

    def check(self) -> None:
        """Each stream has what it must; one that has begun is not asked for anew."""
        for call in self._dispatcher.jobs.values():
            if isinstance(call, StreamCall):
                call.check()
                assert not call.over
                assert not (call.begun and call.instance is None)
                assert call.instance is None or not (
                    call.begun and call in call.instance.outbox
                )

    def _find(self, instance: Instance, sequence: int, arrivals: Arrivals) -> StreamCall | None:
        """The stream that this instance has; None for what is not its business (any more)."""
        call = self._dispatcher.jobs.get(sequence)
        if call is None and 0 < sequence < self._dispatcher.next:
            if sequence not in arrivals.strangers:
                arrivals.strangers.append(sequence)
        elif isinstance(call, StreamCall) and call.instance is instance:
            return call
        return None

    def _ask(self, call: StreamCall, number: int) -> None:
        """Have values below that number sent again, unless they were asked for already."""
        if call.lacks(number):
            self._dispatcher.counts["retries"] += 1
            self._due[call.sequence] = call
