"""All streams of a service: which run, which wait for credit, and what is to be sent.

A stream that is not ended is in line, runs, or is parked until its caller grants credit. It
takes a place among the running only while its generator is run on, so one that waits for a slow
caller keeps nobody else from being served.

What is due of a stream is one number: that of the first value to send. New values set it, and a
caller that misses some sets it back; so nothing is sent twice in one turn, however often it is
asked for. The end follows the values, once per turn in which anything is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmqkit.core.calls.answers import CLOSED, LOST, Outbox
from zmqkit.core.calls.stream import Ended, StreamRequest
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.window import Answer, Window
from zmqkit.core.dispatch.windows import Windows
from zmqkit.core.effects import Effect, Send
from zmqkit.limits import BATCH_BYTES, ServiceLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed
from zmqkit.wire.streams import GrantRow, end_columns, item_columns

_Value = tuple[int, int, Answer]
"""A stream's sequence number, the value's number, the value."""


class Streams:
    """Runs and parks the streams among a service's work, and knows what is due of each.

    due: for each client the streams of which something is to be sent, and from which number on.
    """

    def __init__(
        self,
        incarnation: int,
        windows: Windows,
        work: Work,
        outbox: Outbox,
        limits: ServiceLimits,
    ) -> None:
        self._limits = limits
        self._incarnation = incarnation
        self._windows = windows
        self._work = work
        self._outbox = outbox
        self.due: dict[int, dict[int, int]] = {}

    @property
    def is_full(self) -> bool:
        """Whether there are as many as may be."""
        return len(self._work.streams) >= self._limits.streams_max

    # What generators give

    def yielded(self, request: StreamRequest, value: Answer) -> None:
        """Keep a value and have it leave with the next `take`."""
        if request.ticket in self._work.running and not request.cancelled:
            if not request.sent:
                request.deadline_at = float("inf")  # it has begun, so it expires no more
            self._send(request.client, request.sequence, request.sent)
            request.keep(value)

    def paused(self, request: StreamRequest) -> None:
        """Put a stream that stopped for the others in line again, or park it for credit."""
        if self._work.running.pop(request.ticket, None) is not None:
            self._wait(request)

    def ended(self, request: StreamRequest, error: Answer | None) -> None:
        """Take the end of a generator: its own, or what it raised."""
        work = self._work
        if work.running.pop(request.ticket, None) is None:
            return  # closed meanwhile
        window = self._windows.by_client[request.client]
        if request.cancelled or window.is_settled(request.sequence):
            work.drop(window, request, "cancelled" if request.cancelled else "unwanted")
            return
        work.release(window, request)
        work.count("delivered" if error is None else "failed")
        window.retain(request.sequence, Ended(request.sent, request.kept, error))
        self._send(request.client, request.sequence, request.sent)

    # What callers say

    def granted(self, window: Window, grants: Sequence[GrantRow]) -> None:
        """Let go of what was taken, go on where there is room, send again what is missed."""
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

    def send_again(self, window: Window, sequence: int, number: int) -> None:
        """Have the values from that number on leave once more, as far as they are kept."""
        request = window.held.get(sequence)
        if isinstance(request, StreamRequest) or isinstance(
            window.answers.get(sequence), Ended
        ):
            self._send(window.client, sequence, number)

    def progress(self, window: Window) -> list[list[int]]:
        """For each stream of the client: its number, how many were sent, how many taken."""
        return [
            [request.sequence, request.sent, request.taken]
            for request in window.held.values()
            if isinstance(request, StreamRequest)
        ]

    def abandoned(self, now: float) -> Iterator[tuple[Window, int]]:
        """The streams of clients that were silent for so long that nobody will read them."""
        for request in list(self._work.streams.values()):
            window = self._windows.by_client[request.client]
            if now - window.heard_at >= self._limits.forget_client_s:
                yield window, request.sequence

    # Packets out

    def take(self) -> list[Effect]:
        """What is due, in packets: for each client its values, and then the ends."""
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
            for columns, raw in _packets(values):
                effects.append(self._packet(window, wire.ITEM, columns, raw))
            if ends:
                counts = [end.count for end in ends.values()]
                errors = [end.row for end in ends.values()]
                columns = end_columns(list(ends), counts, errors)
                effects.append(self._packet(window, wire.END, columns))
        return effects

    def close(self) -> list[Effect]:
        """Tell the callers of all that have begun that nothing more comes."""
        effects = self.take()
        for request in self._work.streams.values():
            if request.begun:
                window = self._windows.by_client[request.client]
                columns = end_columns([request.sequence], [request.sent], [CLOSED.row])
                effects.append(self._packet(window, wire.END, columns))
        return effects

    def check(self) -> None:
        """Each is held, and parked only without room; each keeps what it must and no more."""
        for ticket, request in self._work.streams.items():
            window = self._windows.by_client[request.client]
            assert window.held[request.sequence] is request
            request.check()
            assert ticket not in self._work.parked or not request.goes_on
        assert len(self._work.streams) <= self._limits.streams_max

    def _wait(self, request: StreamRequest) -> None:
        """Stand in line to go on, or to be closed; without room, wait for credit."""
        if request.has_room or request.cancelled:
            self._work.queue.join(request.ticket, request.priority, request)
        else:
            self._work.parked[request.ticket] = request

    def _send(self, client: int, sequence: int, number: int) -> None:
        numbers = self.due.setdefault(client, {})
        numbers[sequence] = min(number, numbers.get(sequence, number))

    def _packet(
        self, window: Window, kind: int, columns: bytes, raw: Buffer | None = None
    ) -> Send:
        frames = wire.pack(
            kind, self._incarnation, window.client, 0, columns, raw, far=window.far
        )
        return Send(window.peer, frames)


def _values(window: Window, sequence: int, number: int) -> list[_Value]:
    """The values of a stream from that number on, as far as they are kept."""
    request, answer = window.held.get(sequence), window.answers.get(sequence)
    if isinstance(request, StreamRequest):
        first, kept = request.taken, list(request.kept)
    elif isinstance(answer, Ended):
        first, kept = answer.first, answer.values
    else:
        return []
    skipped = max(0, number - first)
    return [(sequence, first + at, value) for at, value in enumerate(kept[skipped:], skipped)]


def _packets(values: list[_Value]) -> Iterator[tuple[bytes, Buffer | None]]:
    """The values in packets, in order: as many as a batch holds, a raw one alone."""
    group: list[_Value] = []
    size = 0
    for each in values:
        raw, row = each[2].raw, each[2].row
        if group and (raw is not None or size + len(row) > BATCH_BYTES):
            yield _columns(group), None
            group, size = [], 0
        if raw is not None:
            yield _columns([each]), raw
        else:
            group.append(each)
            size += len(row)
    if group:
        yield _columns(group), None


def _columns(values: list[_Value]) -> bytes:
    return item_columns(
        [sequence for sequence, _, _ in values],
        [number for _, number, _ in values],
        [value.size for _, _, value in values],
        [value.row for _, _, value in values],
    )
