"""The service's side of request-reply: runs each id at most once, answers duplicates alike.

A request is accepted, waits in line by priority, runs within the bound of concurrency, and ends
once: delivered, failed, expired or dropped. Its answer is retained in the client's window until
the client says that it is settled, so a request that comes again is answered, not run again. So
is a refusal: an id that was refused once is never accepted, for its call may have moved on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from zmqkit.core.answers import CANCELLED, TAKEN, packets, refuse
from zmqkit.core.effects import Abort, Effect, Handle, Note, Request, Send
from zmqkit.core.line import Line
from zmqkit.core.outcome import BUSY, EXPIRED, FORGOTTEN, LEAVING, NO_METHOD
from zmqkit.core.pending import PENDING_CALLS_MAX
from zmqkit.core.window import Answer, Window
from zmqkit.core.windows import Windows
from zmqkit.model import Frames, PeerId
from zmqkit.options import CREDIT, REQUESTS_MAX, RETAINED_BYTES_MAX, WAITING_CALLS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet

_COUNTS = ("accepted", "delivered", "failed", "expired", "duplicates", "refused", "evicted")

_NAMES_MAX = 20

Result = tuple[Request, Answer]
"""A request that its handler is done with, and what to answer."""


class ServiceCore:
    """Requests to one service object, from any number of clients."""

    def __init__(self, incarnation: int, methods: Mapping[str, bool], concurrency: int) -> None:
        """`methods` maps a name to whether it is idempotent, and may grow later."""
        self.incarnation = incarnation
        self.methods = methods
        self.concurrency = concurrency
        self.about: dict[str, object] = {}
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._windows = Windows()
        self._queue: Line[Request] = Line()
        self._running: dict[int, Request] = {}
        self._ticket = 0
        self._held_count = 0
        self._leaving = False
        self._closed = False
        self._receivers: dict[int, Callable[[Window, Packet, float], list[Effect]]] = {
            wire.REQUEST: self._request,
            wire.NOTIFY: self._request,
            wire.PING: self._ping,
            wire.CANCEL: self._cancel,
            wire.HELLO: self._hello,
        }

    # Commands and answers to effects

    def handled(self, results: list[Result], now: float) -> list[Effect]:
        """Take the handlers' answers: one packet to each client, then the next requests."""
        groups: dict[int, list[tuple[int, Answer]]] = {}
        running, counts = self._running, self.counts
        for request, answer in results:
            sequence = request.sequence
            if running.pop(request.ticket, None) is None:
                continue  # closed meanwhile
            window = self._windows.by_client[request.client]
            settled = sequence < window.below or (
                sequence < window.open_below and window.is_settled(sequence)
            )
            if request.cancelled:
                self._drop(window, request, "cancelled")
            elif settled and not request.oneway:
                self._drop(window, request, "unwanted")
            else:
                del window.held[sequence]
                self._held_count -= 1
                counts["delivered" if answer.kind == wire.REPLY else "failed"] += 1
                if not settled:
                    window.retain(sequence, TAKEN if request.oneway else answer)
                if not request.oneway:
                    answers = groups.get(request.client)
                    if answers is None:
                        answers = groups[request.client] = []
                    answers.append((sequence, answer))
        effects: list[Effect] = []
        for client, answers in groups.items():
            effects += self._answer(self._windows.by_client[client], answers)
        if self._windows.budget.bytes > RETAINED_BYTES_MAX:
            counts["evicted"] += self._windows.make_room()
        return effects + self._dispatch(now) if self._queue.count else effects

    def leave(self) -> list[Effect]:
        """Say BYE to each client: no new requests from here on, the old ones are finished."""
        self._leaving = True
        return [self._bye(window) for window in self._windows]

    def close(self) -> list[Effect]:
        """Drop every request that is not answered; those that never ran may run elsewhere."""
        self._closed = True
        effects: list[Effect] = []
        for window in self._windows:
            queued = [s for s, r in window.held.items() if r.ticket not in self._running]
            self.dropped["closed"] += len(window.held)
            effects += self._answer(window, [(s, refuse(LEAVING)) for s in queued])
        running = list(self._running.values())
        for request in running:
            request.cancelled = True
        self._running.clear()
        self._queue = Line()
        self._windows.clear()
        self._held_count = 0
        return [*effects, Abort(running)] if running else effects

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        return {
            **{name: self.counts[name] for name in _COUNTS},
            "dropped": {k: v for k, v in self.dropped.items() if v},
            "in_flight": self._held_count,
            "waiting": len(self._queue),
            "clients": len(self._windows),
            "retained_bytes": self._windows.budget.bytes,
            "malformed": dict(self.malformed),
        }

    @property
    def in_flight(self) -> int:
        """How many accepted requests are not answered."""
        return self._held_count

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a client. Never raises for what it sent."""
        if self._closed:
            return []
        try:
            if len(frames) != 1:
                raise Malformed("frames")
            packet = wire.unpack(frames[0])
            receiver = self._receivers.get(packet.kind)
            if receiver is None or not packet.source:
                raise Malformed("unexpected")
            if packet.kind != wire.HELLO and packet.target != self.incarnation:
                # Meant for an earlier owner of this address: say who is here, run nothing.
                self.counts["refused"] += 1
                return [self._welcome(packet.source, peer)]
            window = self._windows.hear(packet.source, peer, now)
            if window is None:
                self.counts["refused"] += 1
                return [Note("clients-full", {"clients": len(self._windows)})]
            window.settle_below(packet.settled)
            return receiver(window, packet, now)
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Nothing to do: answers are retained, and the client asks for what it misses."""
        self.counts["unsent"] += 1
        return []

    def tick(self, now: float) -> list[Effect]:
        """Forget clients that were silent for long."""
        self._windows.sweep(now)
        return []

    def flush(self, now: float) -> list[Effect]:
        """Nothing to do: answers leave as they come."""
        return []

    def deadline(self) -> float:
        """When `tick` is due next."""
        return self._windows.sweep_at

    def check(self) -> None:
        """The counters balance, and an id is held, answered or settled, never two of them."""
        counts = self.counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        held = sum(len(w.held) for w in self._windows)
        assert held == self._held_count
        assert counts["accepted"] == ended + held, "stats do not balance"
        assert len(self._running) + len(self._queue) == held
        assert len(self._running) <= self.concurrency
        self._windows.check()

    # Packets in

    def _hello(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        welcome = self._welcome(window.client, window.peer)
        return [welcome, self._bye(window)] if self._leaving else [welcome]

    def _request(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        """Accept each new id; answer or ignore the others. Those that may run now do."""
        oneway = packet.kind == wire.NOTIFY
        answers: list[tuple[int, Answer]] = []
        at_once: list[Request] = []
        rows, seen_below = wire.request_rows(packet), window.seen_below
        room = self._room(rows)
        takes = not self._leaving and self._takes(window, len(rows))
        for row in rows:
            sequence = row[0]
            if (
                sequence in window.held or sequence in window.answers or sequence < seen_below
            ) and (known := self._known(window, row, oneway=oneway)) is not None:
                self.counts["duplicates"] += 1
                answers += known
            elif not (takes and row[2] in self.methods) and (
                refusal := self._refusal(window, row[2])
            ):
                self.counts["refused"] += 1
                window.retain(sequence, refusal)
                answers.append((sequence, refusal))
            else:
                request = self._accept(window, row, now, oneway=oneway)
                if room > 0 and now < request.deadline_at:
                    room -= 1
                    self._running[request.ticket] = request
                    at_once.append(request)
                else:
                    self._queue.join(request.ticket, request.priority, request)
                if oneway:
                    answers.append((sequence, TAKEN))
        effects: list[Effect] = [*self._answer(window, answers)] if answers else []
        if self._windows.budget.bytes > RETAINED_BYTES_MAX:
            self.counts["evicted"] += self._windows.make_room()
        if at_once:
            effects.append(Handle(at_once))
        return effects + self._dispatch(now) if self._queue.count else effects

    def _room(self, rows: list[wire.RequestRow]) -> int:
        """How many new requests need not wait in line: none that might overtake another."""
        in_order = not self._queue.count and len({row[3] for row in rows}) == 1
        return self.concurrency - len(self._running) if in_order else 0

    def _takes(self, window: Window, count: int) -> bool:
        """Whether so many more requests are within the limits."""
        return (
            len(window.held) + count <= CREDIT + WAITING_CALLS_MAX
            and self._held_count + count <= REQUESTS_MAX
        )

    def _known(
        self, window: Window, row: wire.RequestRow, *, oneway: bool
    ) -> list[tuple[int, Answer]] | None:
        """What to answer to an id that was here before; None for one that is to run after all.

        That is one that never was here, and one that is forgotten and may run twice.
        """
        sequence, method = row[0], row[2]
        if window.is_settled(sequence):
            return []
        if sequence in window.held:
            return [(sequence, TAKEN)] if oneway else []
        if sequence in window.answers:
            return [(sequence, window.answers[sequence])]
        if sequence < window.forgotten_below and not self.methods.get(method, False):
            return [(sequence, refuse(FORGOTTEN))]
        return None

    def _refusal(self, window: Window, method: str) -> Answer | None:
        """Why a new request is not accepted, as an answer; None when it is."""
        if self._leaving:
            return refuse(LEAVING)
        if not self._takes(window, 1):
            return refuse(BUSY)
        if method not in self.methods:
            return refuse(NO_METHOD, f"no method {method!r}; {self._method_names()}")
        return None

    def _method_names(self) -> str:
        names = sorted(self.methods)
        more = f", … ({len(names)} in all)" if len(names) > _NAMES_MAX else ""
        return f"there are {', '.join(names[:_NAMES_MAX])}{more}"

    def _accept(
        self, window: Window, row: wire.RequestRow, now: float, *, oneway: bool
    ) -> Request:
        """Count one new request and hold it; it is to run or to wait in line."""
        sequence, left_ms, method, priority, headers, args, kwargs = row
        self._ticket += 1
        request = Request(
            self._ticket, window.client, sequence, method, args, kwargs, headers, priority,
            now + left_ms / 1000, oneway,
        )  # fmt: skip
        self.counts["accepted"] += 1
        self._held_count += 1
        window.held[sequence] = request
        return request

    def _ping(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        meta = packet.meta
        if type(meta) is not list or len(meta) != 3 or {type(meta[0]), type(meta[1])} != {int}:
            raise Malformed("ping")
        still_open = wire.sequences_of(meta[2], PENDING_CALLS_MAX)
        window.settle_except(meta[1], frozenset(still_open))
        # One-way messages are not named: their acknowledgement may have got lost, so they come
        # again and are acknowledged again.
        held = [sequence for sequence, r in window.held.items() if not r.oneway]
        pong = self._packet(window, wire.PONG, encode([meta[0], CREDIT, held]))
        return [pong, *self._abort(window, [s for s in held if window.is_settled(s)])]

    def _cancel(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        return self._abort(window, wire.sequences_of(packet.meta, CREDIT))

    def _abort(self, window: Window, sequences: Iterable[int]) -> list[Effect]:
        """Nobody waits for these any more: drop what waits in line, tell what runs."""
        aborted: list[Request] = []
        for sequence in sequences:
            request = window.held.get(sequence)
            if request is None or request.cancelled:
                continue
            request.cancelled = True
            if request.ticket in self._running:
                aborted.append(request)
            else:
                self._queue.leave(request.ticket, request.priority)
                self._drop(window, request, "cancelled")
        return [Abort(aborted)] if aborted else []

    # Running

    def _dispatch(self, now: float) -> list[Effect]:
        """Start what concurrency allows; what expired in line is told so and not run."""
        requests: list[Request] = []
        expired: dict[int, list[tuple[int, Answer]]] = {}
        while self._queue.count and len(self._running) < self.concurrency:
            request = self._queue.serve()
            assert request is not None
            window = self._windows.by_client[request.client]
            settled = window.is_settled(request.sequence)
            if settled and not request.oneway:
                self._drop(window, request, "unwanted")
            elif now >= request.deadline_at:
                self._release(window, request)
                self.counts["expired"] += 1
                if not settled:
                    refusal = refuse(EXPIRED)
                    window.retain(request.sequence, refusal)
                    expired.setdefault(request.client, []).append((request.sequence, refusal))
            else:
                self._running[request.ticket] = request
                requests.append(request)
        effects: list[Effect] = []
        for client, answers in expired.items():
            effects += self._answer(self._windows.by_client[client], answers)
        if requests:
            effects.append(Handle(requests))
        return effects

    def _release(self, window: Window, request: Request) -> None:
        del window.held[request.sequence]
        self._held_count -= 1

    def _drop(self, window: Window, request: Request, reason: str) -> None:
        self._release(window, request)
        self.dropped[reason] += 1
        if not window.is_settled(request.sequence):
            window.retain(request.sequence, CANCELLED)

    # Packets out

    def _packet(self, window: Window, kind: int, meta: bytes, raw: bytes | None = None) -> Send:
        frame = wire.pack(kind, self.incarnation, window.client, 0, meta, raw)
        return Send(window.peer, (frame,))

    def _welcome(self, client: int, peer: PeerId) -> Send:
        names = [name for name, idempotent in self.methods.items() if idempotent]
        fields = {"credit": CREDIT, "idempotent": names, **self.about}
        frame = wire.pack(wire.WELCOME, self.incarnation, client, 0, encode(fields))
        return Send(peer, (frame,))

    def _bye(self, window: Window) -> Send:
        return self._packet(window, wire.BYE, encode(None))

    def _answer(self, window: Window, answers: list[tuple[int, Answer]]) -> list[Send]:
        """The answers as packets."""
        return [self._packet(window, *parts) for parts in packets(answers)]
