"""The service's side of request-reply: runs each id at most once, and answers duplicates alike.

A request is accepted, waits in line by priority, runs when concurrency allows it, and ends
once: delivered, failed, expired or dropped.

The service retains each answer in the client's window until the client says that the id is
settled. So a request that comes again is answered and does not run again. A refusal is retained
likewise: an id that was refused once is never accepted, for its call may have moved on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from zmqkit.core.calls.admission import Admission, Methods, Share
from zmqkit.core.calls.answers import Outbox
from zmqkit.core.calls.endings import Endings, Result
from zmqkit.core.calls.notices import Notices
from zmqkit.core.calls.origins import Origins
from zmqkit.core.calls.reports import Reports
from zmqkit.core.calls.request import Request, RequestWindow, RequestWindows, StreamRequest
from zmqkit.core.calls.service_figures import ServiceFigures
from zmqkit.core.calls.service_streams import Streams
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Handle, Note
from zmqkit.limits import ServiceLimits
from zmqkit.model import Frames, PeerId
from zmqkit.types import ServiceStats
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import (
    ReadArguments,
    arguments_of,
    read_grants,
    read_requests,
    read_streams,
)  # fmt: skip
from zmqkit.wire.statistics import Figures

_NONE: Mapping[str, bool] = {}
_LIMITS = ServiceLimits()


class ServiceCore:
    """Runs requests to one service object, from any number of clients."""

    def __init__(
        self,
        incarnation: int,
        methods: Mapping[str, bool] | Methods,
        concurrency: int,
        streams: Mapping[str, bool] = _NONE,
        *,
        limits: ServiceLimits = _LIMITS,
        shares: Callable[[int, RequestWindows], Share] | None = None,
        read: ReadArguments = arguments_of,
    ) -> None:
        """Begin without clients.

        methods: by name, whether the method is idempotent; it returns one value. Or all that
        is offered. streams: the same for methods that return a stream of values. Both may grow.
        concurrency: how many requests may run at a time.
        shares: makes what shares the places among clients; None if each has `limits.credit`.
        read: reads the arguments of requests; whoever passes requests on leaves them bytes.
        """
        self.incarnation = incarnation
        self._offered = methods if isinstance(methods, Methods) else Methods(methods, streams)
        self.methods = self._offered.plain
        self.concurrency = concurrency
        self._limits = limits
        self._read = read
        self.counts: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._windows = RequestWindows(limits)
        self._outbox = Outbox(incarnation, self._windows, limits.counted_bytes_min)
        self._work = Work(self._windows, self._outbox, self.counts, limits)
        self._streams = Streams(incarnation, self._windows, self._work, self._outbox, limits)
        self._origins = Origins(self._windows, self._work, self._outbox, self._offered, limits)
        self._endings = Endings(
            self._windows, self._work, self._outbox, self._origins, self.counts
        )
        self._share = shares(concurrency, self._windows) if shares is not None else None
        self._notices = Notices(
            incarnation, self._windows, self._work, self._offered, limits, self._share
        )
        # What each WELCOME also says.
        self.about = self._notices.about
        self._admission = Admission(
            self._offered, self._work, self._streams, self._outbox, self.counts, limits,
            self._share,
        )  # fmt: skip
        self._reports = Reports(self._notices, self._windows, self._work)
        self._figures = ServiceFigures(self.counts, self._windows, self._work)
        self.shown = self._work.shown
        self.shown.is_read = read is arguments_of
        self.tap, self.at_home = self.shown.tap, self._windows.at_home
        # Windows with answers to settled ids, which `_release` drops.
        self._stale: list[RequestWindow] = []
        self._closed = False
        self._is_full_up = False  # the last request was accepted that may be
        self._receivers: dict[int, Callable[[RequestWindow, Packet, float], list[Effect]]] = {
            wire.REQUEST: self._request, wire.NOTIFY: self._request, wire.PING: self._ping,
            wire.CANCEL: self._cancel, wire.RECALL: self._recall, wire.HELLO: self._hello,
            wire.STREAM: self._stream, wire.GRANT: self._grant,
        }  # fmt: skip

    # Commands and answers to effects

    def handled(self, results: list[Result], now: float) -> list[Effect]:
        """Take the handlers' answers, which leave with the next `flush`; run more requests."""
        work = self._work
        if self.shown.taps:
            self.shown.results(results, now)
        told: list[Effect] = []
        if self._reports.next_at:
            told = self._reports.ended((request for request, _ in results), now)
        self._endings.take(results, now)
        if self._share is not None:
            taken = work.held_count + len(work.overdue)
            self._share.handled((request for request, _ in results), taken, now)
        return told + work.dispatch(now, self.concurrency) if work.queue.count else told

    def report(self, request: Request, value: bytes, now: float) -> list[Effect]:
        """Take what a handler says of its progress, encoded; see `Reports`."""
        return self._reports.take(request, value, now)

    def postpone(self, requests: list[Request]) -> list[Request]:
        """Take back requests whose clients do not read answers; return the others.

        requests: given to the driver and not begun by a handler.
        """
        return self._work.postpone(requests) if self._outbox.waiting else requests

    def running(self) -> list[Request]:
        """Return the requests given to handlers and neither answered nor taken back."""
        return list(self._work.running.values())

    def yielded(self, request: StreamRequest, value: Answer, now: float) -> list[Effect]:
        """Take a stream's next value, which leaves with the next `flush`."""
        self._streams.yielded(request, value, now)
        return []

    def paused(self, request: StreamRequest, now: float) -> list[Effect]:
        """Take back a stream whose generator has to stop, or that gives way to others."""
        self._streams.paused(request)
        return self._work.dispatch(now, self.concurrency)

    def ended(self, request: StreamRequest, error: Answer | None, now: float) -> list[Effect]:
        """Take the end of a stream: its generator returned, or raised an error."""
        self._streams.ended(request, error, now)
        self._make_room()
        return self._work.dispatch(now, self.concurrency)

    def tell(self, client: int, kind: int, meta: bytes) -> list[Effect]:
        """Return a packet to a client, if it is known."""
        window = self._windows.by_client.get(client)
        return [self._notices.packet(window, kind, meta)] if window is not None else []

    def leave(self) -> list[Effect]:
        """Say BYE to each client: accepted requests are finished, no new ones are accepted.

        What shares its places gives back those that have not begun.
        """
        self._admission.leaving = True
        effects = self._notices.byes()
        if self._share is None:
            return effects
        for window in self._windows:
            self._work.give_back(window, list(window.held))
        return effects + self._outbox.take()

    def close(self) -> list[Effect]:
        """Drop every request that is not answered.

        The last packet to each client says which ids were taken. The others did not run here,
        so they may run at another instance.
        """
        self._closed = True
        effects = self._outbox.go_on(everything=True)
        effects += self._streams.close()
        effects += self._notices.farewells()
        effects += self._work.close()
        self._windows.clear()
        self._origins.clients.clear()
        self._reports.clear()
        self._stale.clear()
        return effects

    def stats(self) -> ServiceStats:
        """Return counters; accepted = delivered + failed + expired + dropped + in flight."""
        retained = self._windows.budget.bytes + self._origins.clients.budget.bytes
        return self._figures.stats(retained, self.malformed)

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the service and one of each method; any thread may ask."""
        return self._figures.rows(self.stats(), now)

    @property
    def in_flight(self) -> int:
        """How many accepted requests are not answered."""
        return self._work.held_count

    @property
    def overdue(self) -> int:
        """How many handlers go on though they took too long; nobody waits for them."""
        return len(self._work.overdue)

    def limit_time(self, limit_s: float) -> None:
        """Have a handler take so long at most; then its request is answered with an error."""
        self._work.time_limit_s = limit_s

    def limit_requests(self, count: int, now: float) -> list[Effect]:
        """Accept so many requests that have not ended by now, and then say BYE."""
        limit = self._work.ticket - self._work.held_count + count
        self._admission.ticket_max = max(limit, self._work.ticket)
        return []

    @property
    def is_spent(self) -> bool:
        """Whether all requests that `limit_requests` allows have come and ended."""
        return self._is_full_up and not self._work.held_count

    @property
    def owes(self) -> bool:
        """Whether an answer is retained that its client may still need."""
        return self._windows.budget.bytes > 0

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a client. Never raises for what it sent."""
        if self._closed:
            return []
        try:
            packet = wire.unpack(frames, may_mix=True)
            receiver = self._receivers.get(packet.kind)
            if receiver is None or not packet.source:
                return self._notices.hear(packet)
            if packet.kind != wire.HELLO and packet.target != self.incarnation:
                # Meant for an earlier owner of this address: say who is here, run nothing.
                self.counts["refused"] += 1
                return [self._notices.welcome(packet.source, peer)]
            window = self._windows.hear(packet.source, peer, now)
            if window is None:
                self.counts["refused"] += 1
                return [Note("clients-full", {"clients": len(self._windows)})]
            if packet.settled > window.below:
                window.below = packet.settled
                self._stale.append(window)
            return receiver(window, packet, now)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Count the packet. Answers are retained, and the client asks for what it misses."""
        self.counts["unsent"] += 1
        return []

    def tick(self, now: float) -> list[Effect]:
        """Answer what takes too long; forget clients that were silent for long."""
        late = self._reports.due(now)
        if now >= self._work.overrun_at:
            late += self._work.overrun(now)
        if now >= self._admission.hand_back_at() and self._admission.hand_back(now):
            late += self._notices.credits() + self._outbox.take()
        self._origins.clients.sweep(now)
        if now < self._windows.sweep_at:
            return late
        effects = [
            effect
            for window, sequence in self._streams.abandoned(now)
            for effect in self._work.abort(window, [sequence], now)
        ]
        for window in self._windows.silent(now):
            window.stop_waiting()
            self._work.rejoin(window.client)
        self._windows.sweep(now)
        return late + effects + self._work.dispatch(now, self.concurrency)

    def flush(self, now: float) -> list[Effect]:
        """Return the answers of this turn as packets; if there are none, the streams' packets.

        If there is nothing to send at all, drop the answers to settled ids.
        """
        if self._work.ticket >= self._admission.ticket_max and not self._is_full_up:
            self._is_full_up = self._admission.leaving = True
            return [*map(self._notices.bye, self._windows)]
        if self._share is not None and self._share.news:
            return self._notices.credits() + self._outbox.take()
        if self._outbox:
            effects = self._outbox.take()
            if (
                self._windows.budget.bytes > self._limits.retained_bytes_max
                or self._outbox.waiting
            ):
                self._make_room()
            if effects:
                return effects
        if self._streams.due:
            return self._streams.take()
        return self._release()

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        sweep_at = min(self._windows.sweep_at, self._origins.clients.sweep_at)
        due_at = min(self._work.overrun_at, self._reports.due_at)
        return min(sweep_at, due_at, self._admission.hand_back_at())

    def check(self) -> None:
        """Assert that the counters balance, and that no id is both held and answered."""
        self._work.check(self.concurrency)
        self._streams.check()
        self._windows.check()
        self._origins.check()

    # Packets in

    def _hello(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        fields = packet.meta
        window.far = type(fields) is dict and fields.get("lz4") is True
        window.process = wire.process_of(fields)
        welcome = self._notices.welcome(window.client, window.peer)
        return [welcome, self._notices.bye(window)] if self._admission.leaving else [welcome]

    def _request(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        """Accept each new id, and answer or ignore the others. Run requests at once if allowed.

        Almost every request passes here, so this is written out for speed.
        """
        effects = self._release() if self._outbox.waiting or self._work.stalled else []
        oneway = packet.kind == wire.NOTIFY
        work, admission = self._work, self._admission
        at_once: list[Request] = []
        heads, rows = read_requests(packet)
        self._origins.meet(window, heads, rows.origins, now)
        sizes, arguments, seen_below = rows.sizes, self._read(rows), window.seen_below
        held, answered, client = window.held, window.answers, window.client
        takes = admission.takes(window, len(heads), packet.size)
        room = self.concurrency - len(work.running) - len(work.overdue)
        if (
            work.queue.count
            or window.waiting
            or client in work.stalled
            or (len(heads) > 1 and len({head[3] for head in heads}) > 1)
        ):
            room = 0  # they wait in line, for one might overtake another
        for head, size, values in zip(heads, sizes, arguments, strict=True):
            sequence, left_ms, method, priority = head
            is_new = (
                sequence >= seen_below and sequence not in held and sequence not in answered
            )
            if (
                values is None or not (is_new and takes and method in self.methods)
            ) and admission.turned_away(window, head, size, values, now):
                continue
            assert values is not None
            headers, args, kwargs = values
            work.ticket = ticket = work.ticket + 1
            request = held[sequence] = Request(
                ticket, client, sequence, method, args, kwargs, headers, priority,
                now + left_ms / 1000, oneway, size, now,
            )  # fmt: skip
            if not is_new:
                request.forgotten = sequence < window.forgotten_below
            work.held_count += 1
            work.held_bytes += size
            if room > 0 and left_ms > 0:
                room -= 1
                work.running[ticket] = request
                request.begun_at = now
                at_once.append(request)
            else:
                work.queue.join(request)
        self._origins.note(window, heads, rows.origins)
        if self._outbox:
            effects += self._outbox.take()
            self._make_room()  # for refusals
        if at_once:
            effects.append(Handle(at_once))
        if not work.queue.count:
            return effects
        return effects + work.dispatch(now, self.concurrency)

    def _stream(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        """Accept each new id. A method that returns one value is run as a plain request."""
        heads, windows, rows = read_streams(packet)
        self._origins.meet(window, heads, rows.origins, now)
        requests = zip(heads, windows, rows.sizes, self._read(rows), strict=True)
        for head, granted, size, values in requests:
            if not self._admission.turned_away(window, head, size, values, now, streams=True):
                assert values is not None
                limits = None if self._offered.has_one_value(head[2]) else granted
                self._work.accept(window, head, values, size, limits, now)
        self._origins.note(window, heads, rows.origins)
        effects = self._outbox.take() if self._outbox else []
        self._make_room()
        return effects + self._work.dispatch(now, self.concurrency)

    def _grant(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        self._streams.granted(window, read_grants(packet))
        effects = self._outbox.take() + self._streams.take()
        return effects + self._work.dispatch(now, self.concurrency)

    def _make_room(self) -> None:
        if self._windows.is_full:
            self.counts["evicted"] += self._windows.make_room()

    def _ping(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        ping = wire.read_ping(packet, self._limits.open_ids_max)
        window.settle_except(ping.next, ping.open)
        if ping.read is not None:
            window.unread.read(ping.read)
        effects = [*self._go_on(), *self._streams.take()]
        # Nobody waits for a one-way message, so the end of its sender's time cancels nothing.
        held = window.held
        unwanted = [n for n in window.settled_among(held) if not held[n].oneway]
        progress = self._streams.progress(window) if self._work.streams else []
        pong = self._notices.pong(window, ping.token, progress)
        window.unread.pong(ping.token)
        # What the pong does not name was answered before it, and what it counts was sent.
        return [
            *effects,
            pong,
            *self._give_up(window, unwanted, now, is_asked=False),
        ]

    def _release(self) -> list[Effect]:
        """Drop answers to settled ids, and send answers that waited for room."""
        for window in self._stale:
            window.free()
        self._stale.clear()
        return self._go_on() if self._outbox.waiting or self._work.stalled else []

    def _go_on(self) -> list[Effect]:
        """Send waiting answers as far as there is room; put stalled requests back in line."""
        effects = self._outbox.go_on()
        self._work.resume()
        return effects

    def _cancel(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        """Cancel the named requests, if any. Like each packet, it may settle ids."""
        sequences = wire.sequences_of(packet.meta, self._limits.credit)
        return [*self._release(), *self._give_up(window, sequences, now)]

    def _recall(self, window: RequestWindow, packet: Packet, now: float) -> list[Effect]:
        """Give back requests that have not begun; refused once, they never run here."""
        sequences = wire.sequences_of(packet.meta, self._limits.credit)
        self._work.give_back(window, sequences)
        return self._outbox.take()

    def _give_up(
        self, window: RequestWindow, sequences: list[int], now: float, *, is_asked: bool = True
    ) -> list[Effect]:
        effects = self._work.abort(window, sequences, now, is_asked=is_asked)
        return effects + self._work.dispatch(now, self.concurrency)
