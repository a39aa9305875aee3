"""A client's streams: values go to whoever waits for them; the client asks for missing ones.

The client grants a window of values and bytes when it makes the call. It moves the window on by
telling the service how many values were taken. It does so whenever a quarter of the window was
taken that the service does not know of.

Values are numbered, so the client notices a missing value. It learns of it from

- the next value;
- the end, which says how many values there were;
- a pong, which says how many values were sent.

The client asks for a missing value once, and again after each pong until the value has come.
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
from zmqkit.wire.packet import STREAM
from zmqkit.wire.rows import EndRow, ErrorRow, GrantRow, ItemRow


class StreamCall(Call):
    """A call whose result is a stream of values."""

    kind = STREAM
    streams = True
    # How many values, and how many bytes of values, may be under way.
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
        # The values that arrived and were not taken, each with its size.
        self.values: deque[tuple[int, object]] = deque()
        # How many values arrived.
        self.have = 0
        # How many values were taken.
        self.taken = 0
        # Of how many taken values the service was told.
        self.told = 0
        # Who waits for the next value.
        self.listener: object = None
        # Once known: how many values there are in all, and the error that ended them, if any.
        self.end: tuple[int, ErrorRow | None] | None = None
        # No more values come. `error` says why; it is None if the stream is complete.
        self.over = False
        self.error: ZmqkitError | None = None
        # The number of the missing value that was asked for last.
        self.asked = -1
        # The next grant is to ask for the missing values.
        self.missing = False
        # The bytes of the taken values that the service was not told of.
        self._untold_bytes = 0

    def restart(self) -> None:
        """Prepare for another instance: forget what the previous one said of the stream."""
        super().restart()
        self.end = None
        self.asked = -1
        self.missing = False

    def take(self) -> object:
        """Return the next value that arrived; there must be one."""
        size, value = self.values.popleft()
        self.taken += 1
        self._untold_bytes += size
        return value

    @property
    def owes_credit(self) -> bool:
        """Whether enough was taken since the last grant that the service is to be told."""
        items_max, bytes_max = self.window
        return not self.over and (
            4 * (self.taken - self.told) >= items_max or 4 * self._untold_bytes >= bytes_max
        )

    def tell(self) -> GrantRow:
        """Return a row of GRANT: how many values were taken, and from which one to resend."""
        self.told, self._untold_bytes = self.taken, 0
        missing, self.missing = self.have if self.missing else None, False
        return (self.sequence, self.taken, missing)

    def lacks(self, number: int) -> bool:
        """Note that values below `number` exist; return True if some must be asked for now."""
        if self.have >= number or self.asked == self.have:
            return False
        self.asked = self.have
        self.missing = True
        return True

    def add(self, size: int, value: object) -> Outcome:
        """Add the next value; return the outcome for the listener, if there is one."""
        self.values.append((size, value))
        self.have += 1
        self.begun = True
        return self.wake()

    def wake(self) -> Outcome:
        """End the wait for a value; return the outcome for the listener, if there is one."""
        listener, self.listener = self.listener, None
        if self.begun:
            self.deadline_at = inf
        return (listener, None, None)

    def finish(self, error: ZmqkitError | None) -> Outcome:
        """End the stream; the values that arrived can still be taken."""
        self.over, self.error = True, error
        return self.wake()

    def answer(self, value: object) -> list[Outcome]:
        """Add the one value of a method that is no stream, and end; return the outcomes."""
        outcome = self.add(0, value)
        self.over = True
        return [outcome] if outcome[0] is not None else []

    def check(self) -> None:
        """Assert that the values here were not taken and fit the window."""
        assert self.told <= self.taken <= self.have
        assert len(self.values) == self.have - self.taken <= self.window[0]
        assert self.begun == (self.have > 0)


@dataclass(slots=True)
class Arrivals:
    """What a packet of stream values or ends brought."""

    # The outcomes of the waits for a value that are over.
    waits: list[Outcome] = field(default_factory=list)
    # The streams that are complete.
    done: list[StreamCall] = field(default_factory=list)
    # The numbers of calls that have ended here, while the instance still sends for them.
    strangers: list[int] = field(default_factory=list)


class ClientStreams:
    """The streams among a client's calls, and the credit that it owes to their services."""

    def __init__(self, dispatcher: Dispatcher, malformed: Counter[str]) -> None:
        self._dispatcher = dispatcher
        self._malformed = malformed
        self._due: dict[int, StreamCall] = {}

    @property
    def owes_credit(self) -> bool:
        """Whether some streams are due a grant."""
        return bool(self._due)

    def take_in(self, instance: Instance, rows: Iterable[ItemRow]) -> Arrivals:
        """Take values of streams; only the next value of each stream is kept."""
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
                    call.copies = call.copies or 1  # a packet that was taken back did arrive
                    if call in instance.outbox:
                        instance.outbox.remove(call)  # the call need not be sent again
                wait = call.add(size, value)
                if wait[0] is not None:
                    arrivals.waits.append(wait)
                if call.end is not None and call.end[0] == call.have:
                    arrivals.done.append(call)
        return arrivals

    def end(self, instance: Instance, rows: Iterable[EndRow]) -> Arrivals:
        """Take ends of streams; a stream is complete once all of its values are here."""
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
        """Grant credit for the taken values with the next flush, if there are enough."""
        if call.owes_credit:
            self._due[call.sequence] = call

    def ask_again(self, jobs: Iterable[Job]) -> list[Job]:
        """Ask for the missing values of the jobs that have begun; return the other jobs."""
        others: list[Job] = []
        for job in jobs:
            if isinstance(job, StreamCall) and job.begun:
                job.missing = True
                self._due[job.sequence] = job
            else:
                others.append(job)
        return others

    def progress(self, instance: Instance, rows: Iterable[tuple[int, int, int]]) -> None:
        """Take what a pong says of streams.

        rows: for each stream its number, how many values were sent before the pong, and of how
        many taken values the service knows.
        """
        for sequence, sent, taken in rows:
            call = instance.jobs.get(sequence)
            if isinstance(call, StreamCall):
                call.missing = call.missing or sent > call.have
                if call.missing or taken < call.told:
                    self._due[sequence] = call

    def grants(self, now: float) -> dict[Instance, list[GrantRow]]:
        """Return the grants that may leave now, by instance; a pong shows which got lost."""
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
        """Owe no service credit any more."""
        self._due.clear()

    def check(self) -> None:
        """Assert that each stream is consistent, and that none which has begun is sent anew."""
        for call in self._dispatcher.jobs.values():
            if isinstance(call, StreamCall):
                call.check()
                assert not call.over
                assert not (call.begun and call.instance is None)
                assert call.instance is None or not (
                    call.begun and call in call.instance.outbox
                )

    def _find(self, instance: Instance, sequence: int, arrivals: Arrivals) -> StreamCall | None:
        """Return the stream that this instance has under the number; None if it has none.

        If the call has ended here, its number joins the strangers.
        """
        call = self._dispatcher.jobs.get(sequence)
        if call is None and 0 < sequence < self._dispatcher.next:
            if sequence not in arrivals.strangers:
                arrivals.strangers.append(sequence)
        elif isinstance(call, StreamCall) and call.instance is instance:
            return call
        return None

    def _ask(self, call: StreamCall, number: int) -> None:
        """Have missing values below `number` sent again, unless they were asked for already."""
        if call.lacks(number):
            self._dispatcher.counts["retries"] += 1
            self._due[call.sequence] = call
