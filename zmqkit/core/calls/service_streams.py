"""All streams of a service: which run, which wait for credit, and what is to be sent.

A stream that has not ended is in line, runs, or is parked until its client grants credit. It
takes a place among the running requests only while its generator runs. So a stream that waits
for a slow client keeps no other request from being served.

Of each stream, one number is remembered: that of the first value to send. A new value sets it.
A client that misses values sets it back. So nothing is sent twice in one turn, however often
the client asks for it. The end follows the values, once in each turn in which anything is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmqkit.core.calls.answers import CLOSED, LOST, Outbox
from zmqkit.core.calls.request import Ended, RequestWindow, RequestWindows, StreamRequest
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Send
from zmqkit.limits import BATCH_BYTES, ServiceLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed
from zmqkit.wire.rows import GrantRow, end_columns, item_columns

_Value = tuple[int, int, Answer]
"""The stream's sequence number, the number of the value, and the value."""


class Streams:
    """Runs and parks the streams among a service's work, and knows what is due of each."""

    def __init__(
        self,
        incarnation: int,
        windows: RequestWindows,
        work: Work,
        outbox: Outbox,
        limits: ServiceLimits,
    ) -> None:
        self._limits = limits
        self._incarnation = incarnation
        self._windows = windows
        self._work = work
        self._outbox = outbox
        # For each client, the streams with values to send, and the number of the first value.
        self.due: dict[int, dict[int, int]] = {}

    @property
    def is_full(self) -> bool:
        """Whether there are as many streams as the limits allow."""
        return len(self._work.streams) >= self._limits.streams_max

    # What generators yield

    def yielded(self, request: StreamRequest, value: Answer, now: float) -> None:
        """Keep a value, and have it leave with the next `take`."""
        if request.ticket in self._work.running and not request.cancelled:
            if not request.sent:
                request.deadline_at = float("inf")  # it has begun, so it expires no more
            self._send(request.client, request.sequence, request.sent)
            request.keep(value)
            if self._work.shown.taps:
                self._work.shown.value(request, value, now)

    def paused(self, request: StreamRequest) -> None:
        """Put a paused stream back in line, or park it until its client grants credit."""
        if self._work.running.pop(request.ticket, None) is not None:
            self._wait(request)

    def ended(self, request: StreamRequest, error: Answer | None, now: float) -> None:
        """Take the end of a generator: it returned, or it raised an error."""
        work = self._work
        if work.running.pop(request.ticket, None) is None:
            return  # closed meanwhile
        work.shown.stream_ended(request, error, now)
        window = self._windows.by_client[request.client]
        if request.cancelled or window.is_settled(request.sequence):
            work.drop(window, request, "cancelled" if request.cancelled else "unwanted")
            return
        work.release(window, request)
        work.count("delivered" if error is None else "failed")
        if work.meter is not None:
            part = work.meter.part(request.method)
            if error is None:
                part.more += 1
            else:
                part.failed += 1
        window.retain(request.sequence, Ended(request.sent, request.kept, error))
        self._send(request.client, request.sequence, request.sent)

    # What clients say

    def granted(self, window: RequestWindow, grants: Sequence[GrantRow]) -> None:
        """Drop taken values, let streams with room go on, and send missing values again."""
        for sequence, taken, _ in grants:
            request = window.held.get(sequence)
            if isinstance(request, StreamRequest) and taken > request.sent:
                raise Malformed("grant")
        for sequence, taken, missing in grants:
            request = window.held.get(sequence)
            if isinstance(request, StreamRequest):
                request.trim(taken)
                if self._work.parked.pop(request.ticket, None):
                    self._wait(request)
            elif request is None and not window.is_settled(sequence):
                answer = window.answers.get(sequence, LOST)
                if not isinstance(answer, Ended):
                    self._outbox.add(window.client, sequence, answer)
            if missing is not None:
                self.send_again(window, sequence, missing)

    def send_again(self, window: RequestWindow, sequence: int, number: int) -> None:
        """Have the values from `number` on leave once more, as far as they are kept."""
        request = window.held.get(sequence)
        if isinstance(request, StreamRequest) or isinstance(
            window.answers.get(sequence), Ended
        ):
            self._send(window.client, sequence, number)

    def progress(self, window: RequestWindow) -> list[list[int]]:
        """Return for each stream of the client: its number, and the values sent and taken."""
        return [
            [request.sequence, request.sent, request.taken]
            for request in window.held.values()
            if isinstance(request, StreamRequest)
        ]

    def abandoned(self, now: float) -> Iterator[tuple[RequestWindow, int]]:
        """Yield the streams of clients that were silent for `forget_client_s`."""
        for request in list(self._work.streams.values()):
            window = self._windows.by_client[request.client]
            if now - window.heard_at >= self._limits.forget_client_s:
                yield window, request.sequence

    # Packets out

    def take(self) -> list[Effect]:
        """Return what is due as packets: for each client the values, then the ends."""
        due, self.due = self.due, {}
        effects: list[Effect] = []
        for client, numbers in due.items():
            window = self._windows.by_client.get(client)
            if window is None:
                continue
            values: list[_Value] = []
            ends: dict[int, Ended] = {}
            for sequence, number in numbers.items():
                values += _values(window, sequence, number)
                answer = window.answers.get(sequence)
                if isinstance(answer, Ended):
                    ends[sequence] = answer
            effects += [self._items(window, group) for group in _groups(values)]
            if ends:
                counts = [end.count for end in ends.values()]
                errors = [end.row for end in ends.values()]
                effects.append(self._ends(window, list(ends), counts, errors))
        return effects

    def close(self) -> list[Effect]:
        """Tell the clients of all streams that have begun that no more values come."""
        effects = self.take()
        for request in self._work.streams.values():
            if request.begun:
                window = self._windows.by_client[request.client]
                ends = self._ends(window, [request.sequence], [request.sent], [CLOSED.row])
                effects.append(ends)
        return effects

    def check(self) -> None:
        """Assert that each stream is held, keeps what it must, and is parked only if full."""
        for ticket, request in self._work.streams.items():
            window = self._windows.by_client[request.client]
            assert window.held[request.sequence] is request
            request.check()
            assert ticket not in self._work.parked or not request.goes_on
        assert len(self._work.streams) <= self._limits.streams_max

    def _wait(self, request: StreamRequest) -> None:
        """Put a stream in line, to go on or to be closed; park it if its window is full."""
        if request.has_room or request.cancelled:
            self._work.resume_stream(request)
        else:
            self._work.parked[request.ticket] = request

    def _send(self, client: int, sequence: int, number: int) -> None:
        numbers = self.due.setdefault(client, {})
        numbers[sequence] = min(number, numbers.get(sequence, number))

    def _items(self, window: RequestWindow, values: list[_Value]) -> Send:
        rows = [value.row for _, _, value in values]
        columns = item_columns(
            [sequence for sequence, _, _ in values], [number for _, number, _ in values], rows
        )
        return self._packet(window, wire.ITEM, columns, rows, values[0][2].raw)

    def _ends(
        self,
        window: RequestWindow,
        sequences: list[int],
        counts: list[int],
        errors: list[bytes],
    ) -> Send:
        columns = end_columns(sequences, counts, errors)
        return self._packet(window, wire.END, columns, errors)

    def _packet(
        self,
        window: RequestWindow,
        kind: int,
        columns: bytes,
        rows: list[bytes],
        raw: Buffer | None = None,
    ) -> Send:
        frames = wire.pack(
            kind,
            self._incarnation,
            window.client,
            0,
            columns,
            b"".join(rows),
            raw,
            far=window.far,
        )
        return Send(window.peer, frames)


def _values(window: RequestWindow, sequence: int, number: int) -> list[_Value]:
    """Return the values of a stream from `number` on, as far as they are kept."""
    request, answer = window.held.get(sequence), window.answers.get(sequence)
    if isinstance(request, StreamRequest):
        first, kept = request.taken, list(request.kept)
    elif isinstance(answer, Ended):
        first, kept = answer.first, answer.values
    else:
        return []
    skipped = max(0, number - first)
    return [(sequence, first + at, value) for at, value in enumerate(kept[skipped:], skipped)]


def _groups(values: list[_Value]) -> Iterator[list[_Value]]:
    """Yield the values of each packet, in order: a batch, or one value with a raw body."""
    group: list[_Value] = []
    size = 0
    for each in values:
        raw, row = each[2].raw, each[2].row
        if group and (raw is not None or size + len(row) > BATCH_BYTES):
            yield group
            group, size = [], 0
        if raw is not None:
            yield [each]
        else:
            group.append(each)
            size += len(row)
    if group:
        yield group
