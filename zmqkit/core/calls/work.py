"""The requests that a service holds: each waits in line or runs until it is done or dropped.

A stream may also be parked: it waits for its client's credit, and then goes back in line.

A request may also be stalled: its client has answers that wait to be sent, and the request must
not add to them. When there is room for many answers, all stalled requests of the client go back
in line together.

A request may take too long, where there is a limit. Then it is answered, and not held any more;
but its handler keeps its place until it returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import inf

from zmqkit.core.calls.answers import CANCELLED, Outbox, late_answer, refuse
from zmqkit.core.calls.outcome import BUSY, EXPIRED, RECALLED
from zmqkit.core.calls.request import Request, RequestWindow, RequestWindows, StreamRequest
from zmqkit.core.calls.shown import Shown
from zmqkit.core.effects import Abort, Advance, Effect, Handle, Note
from zmqkit.core.line import FairLine
from zmqkit.core.meter import Meter
from zmqkit.core.tasks.lease import about
from zmqkit.limits import ServiceLimits
from zmqkit.wire.rows import Arguments, Head


class Work:
    """The requests that wait, run, are parked or are stalled, and how many were dropped."""

    def __init__(
        self,
        windows: RequestWindows,
        outbox: Outbox,
        counts: Counter[str],
        limits: ServiceLimits,
    ) -> None:
        self.queue: FairLine[Request] = FairLine()
        # By ticket: the requests given to the driver, which runs them.
        self.running: dict[int, Request] = {}
        # How long a handler may take, and by ticket: the requests that took longer.
        self.time_limit_s = inf
        self.overdue: dict[int, Request] = {}
        # By ticket: all held requests for streams, and those of them that wait for credit.
        self.streams: dict[int, StreamRequest] = {}
        self.parked: dict[int, StreamRequest] = {}
        # By ticket: the streams that are to go on without a place, where they need none.
        self.placeless: dict[int, StreamRequest] | None = None
        # By client, then by ticket: the requests that wait until the client has read answers.
        self.stalled: dict[int, dict[int, Request]] = {}
        # The ticket of the last accepted request, which is also how many were accepted.
        self.ticket = 0
        # How many requests are held, and how many bytes of them came.
        self.held_count = 0
        self.held_bytes = 0
        self.dropped: Counter[str] = Counter()
        # How long requests take, by method; None where nobody is to know.
        self.meter: Meter | None = Meter()
        # Is told of a request with an origin that is held no longer.
        self.let_go: Callable[[Request], None] = _nobody
        # What those see of it that tap the service.
        self.shown = Shown()
        self._windows = windows
        self._outbox = outbox
        self._counts = counts
        self._limits = limits

    def accept(
        self,
        window: RequestWindow,
        head: Head,
        arguments: Arguments,
        size: int,
        limits: tuple[int, int] | None,
        now: float,
    ) -> None:
        """Accept a request of `size` bytes and put it in line.

        limits: the window that the client grants to a stream, in values and in bytes; None if
        the request is for one value.
        """
        sequence, left_ms, method, priority = head
        headers, args, kwargs = arguments
        self.ticket = ticket = self.ticket + 1
        fields = (
            ticket, window.client, sequence, method, args, kwargs, headers, priority,
            now + left_ms / 1000, False, size, now,
        )  # fmt: skip
        if limits is None:
            request = Request(*fields)
        else:
            items, items_bytes = limits
            request = self.streams[ticket] = StreamRequest(
                *fields,
                items_max=min(items, self._limits.stream_items_max),
                bytes_max=min(items_bytes, self._limits.stream_bytes_max),
            )
        window.held[sequence] = request
        self.held_count += 1
        self.held_bytes += size
        self.queue.join(request)

    def dispatch(self, now: float, concurrency: int) -> list[Effect]:
        """Start as many requests as concurrency allows; refuse those that expired in line."""
        requests: list[Request] = []
        streams: list[StreamRequest] = []
        expired = False
        while self.queue.count and self.places_taken < concurrency:
            request = self.queue.serve()
            if request is None:
                break
            window = self._windows.by_client[request.client]
            settled = window.is_settled(request.sequence)
            if isinstance(request, StreamRequest) and request.begun:
                request.cancelled = request.cancelled or settled
                streams.append(request)
            elif settled and not request.oneway:
                self.shown.unbegun(request, CANCELLED, now)
                self.drop(window, request, "unwanted")
                continue
            elif now >= request.deadline_at:
                expired = self._expire(window, request, now, settled=settled) or expired
                continue
            elif window.waiting or request.client in self.stalled:
                self._stall(request)
                continue
            elif isinstance(request, StreamRequest):
                request.begun = True
                streams.append(request)
            else:
                requests.append(request)
            self.running[request.ticket] = request
            request.begun_at = now
        effects = self._outbox.take() if expired else []
        if requests:
            effects.append(Handle(requests))
        if streams:
            effects.append(Advance(streams))
        return effects

    def resume_stream(self, request: StreamRequest) -> None:
        """Have a stream that has begun go on, or be closed, when its turn comes.

        It waits in line for a place, unless it runs elsewhere and needs none here.
        """
        if self.placeless is None:
            self.queue.join(request)
        else:
            self.placeless[request.ticket] = request

    def take_up(self, now: float) -> list[Effect]:
        """Go on with the streams that need no place."""
        streams = list((self.placeless or {}).values())
        for request in streams:
            window = self._windows.by_client[request.client]
            request.cancelled = request.cancelled or window.is_settled(request.sequence)
            self.running[request.ticket] = request
            request.begun_at = now
        if not streams:
            return []
        self.placeless = {}
        return [Advance(streams)]

    def expire(self, now: float) -> list[Effect]:
        """Refuse what waits in line and has not begun, and whose time is over."""
        late = [each for each in self.queue if now >= each.deadline_at]
        for request in late:
            if not self.has_begun(request):
                window = self._windows.by_client[request.client]
                settled = window.is_settled(request.sequence)
                self.queue.leave(request)
                self._expire(window, request, now, settled=settled)
        return self._outbox.take() if late else []

    def _expire(
        self, window: RequestWindow, request: Request, now: float, *, settled: bool
    ) -> bool:
        """Refuse a request whose time is over; return whether its client is to be told."""
        self.release(window, request)
        self.count("expired")
        refusal = refuse(EXPIRED, may_have_run=request.forgotten)
        self.shown.unbegun(request, refusal, now)
        if not settled:
            window.retain(request.sequence, refusal)
            self._outbox.add(request.client, request.sequence, refusal)
        return not settled

    def overrun(self, now: float) -> list[Effect]:
        """Answer the requests whose handlers took too long; the handlers keep their places."""
        late: list[Request] = []
        told: list[Effect] = []
        for request in list(self.running.values()):
            if now < request.begun_at + self.time_limit_s:
                break
            window = self._windows.by_client[request.client]
            del self.running[request.ticket]
            self.overdue[request.ticket] = request
            told.append(self._late_note(request))
            answer = late_answer(self.time_limit_s)
            self.shown.late(request, answer, now)
            if request.cancelled:
                self.drop(window, request, "cancelled")
            elif window.is_settled(request.sequence):
                self.drop(window, request, "unwanted")
            else:
                self.release(window, request)
                self.count("failed")
                if self.meter is not None:
                    self.meter.part(request.method).failed += 1
                window.retain(request.sequence, answer)
                self._outbox.add(request.client, request.sequence, answer)
            request.cancelled = request.overdue = True
            late.append(request)
        return [*self._outbox.take(), Abort(late), *told] if late else []

    def _late_note(self, request: Request) -> Note:
        task = about(request)
        fields = {"id": request.id if task is None else task.id, "limit_s": self.time_limit_s}
        return Note("handler-overdue", fields)

    @property
    def overrun_at(self) -> float:
        """When a handler will have taken too long next."""
        if self.time_limit_s == inf or not self.running:
            return inf
        return next(iter(self.running.values())).begun_at + self.time_limit_s

    @property
    def places_taken(self) -> int:
        """How many handlers have begun and not returned."""
        return len(self.running) + len(self.overdue)

    def _leave(self, request: Request) -> None:
        """Take a request out of the line, or out of the stalled requests."""
        if not self.queue.leave(request):
            stalled = self.stalled[request.client]
            del stalled[request.ticket]
            if not stalled:
                del self.stalled[request.client]

    def _stall(self, request: Request) -> None:
        self.stalled.setdefault(request.client, {})[request.ticket] = request

    def postpone(self, requests: list[Request]) -> list[Request]:
        """Stall the requests whose clients have answers that wait; return the others.

        requests: given to the driver and not begun by a handler.
        """
        kept: list[Request] = []
        for request in requests:
            window = self._windows.by_client.get(request.client)
            if window is None or not window.waiting or request.ticket not in self.running:
                kept.append(request)
            else:
                del self.running[request.ticket]
                self._stall(request)
        return kept

    def resume(self) -> None:
        """Put stalled requests back in line if their clients have read enough answers."""
        for client in list(self.stalled):
            if self._windows.has_much_room(self._windows.by_client[client]):
                self.rejoin(client)

    def rejoin(self, client: int) -> None:
        """Put the stalled requests of a client back in line."""
        for request in self.stalled.pop(client, {}).values():
            self.queue.join(request)

    def count(self, what: str) -> None:
        """Count a released request under `what`."""
        self._counts[what] += 1

    def abort(
        self,
        window: RequestWindow,
        sequences: Iterable[int],
        now: float,
        *,
        is_asked: bool = True,
    ) -> list[Effect]:
        """Cancel requests: drop those that wait, and tell the handlers of those that run."""
        aborted: list[Request] = []
        for sequence in sequences:
            request = window.held.get(sequence)
            if request is None or request.cancelled:
                continue
            request.cancelled = True
            if request.ticket in self.running:
                aborted.append(request)
            elif isinstance(request, StreamRequest) and request.begun:
                # When its turn comes, its generator is closed, and the stream ends.
                if self.parked.pop(request.ticket, None):
                    self.resume_stream(request)
            else:
                self._leave(request)
                self.shown.unbegun(request, CANCELLED, now)
                self.drop(window, request, "cancelled")
        return [Abort(aborted, is_asked)] if aborted else []

    def give_back(self, window: RequestWindow, sequences: Iterable[int]) -> None:
        """Refuse requests that have not begun, for their client knows an idle instance."""
        for sequence in sequences:
            request = window.held.get(sequence)
            if request is None or self.has_begun(request):
                continue
            self._refuse(window, request, RECALLED)

    def empty_line(self, now: float) -> set[int]:
        """Refuse what waits in line and has not begun; return whose requests these were."""
        refused = [request for request in self.queue if not self.has_begun(request)]
        for request in refused:
            self.shown.unbegun(request, refuse(BUSY), now)
            self._refuse(self._windows.by_client[request.client], request, BUSY)
        return {request.client for request in refused}

    def _refuse(self, window: RequestWindow, request: Request, code: str) -> None:
        self._leave(request)
        self.release(window, request)
        self.dropped["recalled"] += 1
        if not window.is_settled(request.sequence):
            refusal = refuse(code, may_have_run=request.forgotten)
            window.retain(request.sequence, refusal)
            self._outbox.add(window.client, request.sequence, refusal)

    def release(self, window: RequestWindow, request: Request) -> None:
        """Stop holding a request."""
        del window.held[request.sequence]
        self.held_count -= 1
        self.held_bytes -= request.size
        self.streams.pop(request.ticket, None)
        if request.origin is not None:
            self.let_go(request)

    def move(
        self, request: Request, before: RequestWindow, window: RequestWindow, sequence: int
    ) -> None:
        """Hold a request for another client, under a number of that one."""
        waits = not self.has_begun(request)
        if waits:
            self._leave(request)
        del before.held[request.sequence]
        request.client, request.sequence = window.client, sequence
        window.held[sequence] = request
        if waits:
            self.queue.join(request)

    def drop(self, window: RequestWindow, request: Request, reason: str) -> None:
        """Stop holding a request that nobody waits for; a late copy of it does not run."""
        self.release(window, request)
        self.dropped[reason] += 1
        if not window.is_settled(request.sequence):
            window.retain(request.sequence, CANCELLED)

    @property
    def waiting_count(self) -> int:
        """How many requests wait in line, to go on, or are stalled."""
        stalled = sum(map(len, self.stalled.values()))
        return self.queue.count + len(self.placeless or ()) + stalled

    def held(self) -> Iterator[Request]:
        """Yield all held requests, client by client."""
        for window in self._windows:
            yield from window.held.values()

    @property
    def waits(self) -> bool:
        """Whether a request waits in line to begin; streams that have begun wait there, too."""
        return any(not self.has_begun(request) for request in self.queue)

    def has_begun(self, request: Request) -> bool:
        """Return whether a held request runs, or has run in part."""
        begun = isinstance(request, StreamRequest) and request.begun
        return begun or request.ticket in self.running

    def close(self) -> list[Effect]:
        """Drop every request; return an Abort for those that have begun."""
        stopped = [request for request in self.held() if self.has_begun(request)]
        self.dropped["closed"] += self.held_count
        for request in stopped:
            request.cancelled = True
        self.running.clear()
        self.streams.clear()
        self.parked.clear()
        self.stalled.clear()
        if self.placeless is not None:
            self.placeless = {}
        self.queue = FairLine()
        self.held_count = self.held_bytes = 0
        return [Abort(stopped)] if stopped else []

    def check(self, concurrency: int) -> None:
        """Assert that the counters balance, and that each request waits, runs or is parked."""
        counts = self._counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        held = sum(len(w.held) for w in self._windows)
        assert held == self.held_count
        assert self.held_bytes == sum(request.size for request in self.held())
        assert self.ticket == ended + held, "stats do not balance"
        waiting = self.waiting_count
        assert len(self.running) + waiting + len(self.parked) == held
        assert self.places_taken <= concurrency
        assert self.overdue.keys().isdisjoint({request.ticket for request in self.held()})
        assert self.parked.keys() <= self.streams.keys()
        assert self.parked.keys().isdisjoint(self.running)
        assert all(self.stalled.values()), "a client of whom nothing is stalled"
        assert self.stalled.keys() <= self._windows.by_client.keys()


def _nobody(request: Request) -> None:
    """Stands for whoever is told of requests with origins."""
