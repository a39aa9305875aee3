"""The service's side of request-reply: runs each id at most once, answers duplicates alike.

A request is accepted, waits in line by priority, runs within the bound of concurrency, and ends
once: delivered, failed, expired or dropped. Its answer is retained in the client's window until
the client says that it is settled, so a request that comes again is answered, not run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import inf

from zmqkit.core.effects import Abort, Effect, Handle, Note, Request, Send
from zmqkit.core.line import Line
from zmqkit.core.outcome import BUSY, EXPIRED, FORGOTTEN, LEAVING, NO_METHOD
from zmqkit.core.window import Answer, Budget, Window
from zmqkit.model import Frames, PeerId
from zmqkit.options import (
    CLIENTS_MAX,
    CREDIT,
    FORGET_CLIENT_S,
    REQUESTS_MAX,
    RETAINED_BYTES_MAX,
    WAITING_CALLS_MAX,
)
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import Packet

_TEXTS = {
    BUSY: "the service has as many requests as it takes; try again later",
    LEAVING: "the service is stopping",
    EXPIRED: "the deadline passed before the request ran",
    FORGOTTEN: "it ran, but its reply was given up for space",
}

_TAKEN = Answer(wire.REPLY, b"\xc0")
"""Acknowledges a one-way message: None, as msgpack."""

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
        self._windows: dict[int, Window] = {}
        self._budget = Budget()
        self._queue: Line[Request] = Line()
        self._running: dict[int, Request] = {}
        self._ticket = 0
        self._held_count = 0
        self._sweep_at = inf
        self._leaving = False
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
        groups: dict[tuple[int, int], list[tuple[int, Answer]]] = {}
        for request, answer in results:
            if self._running.pop(request.ticket, None) is None:
                continue  # closed meanwhile
            window = self._windows[request.client]
            settled = window.is_settled(request.sequence)
            if request.cancelled:
                self._drop(window, request, "cancelled")
            elif settled and not request.oneway:
                self._drop(window, request, "unwanted")
            else:
                del window.held[request.sequence]
                self._held_count -= 1
                self.counts["delivered" if answer.kind == wire.REPLY else "failed"] += 1
                if not settled:
                    window.retain(request.sequence, _TAKEN if request.oneway else answer)
                if not request.oneway:
                    key = (request.client, answer.kind)
                    groups.setdefault(key, []).append((request.sequence, answer))
        effects = [
            send
            for (client, kind), answers in groups.items()
            for send in self._answer(self._windows[client], kind, answers)
        ]
        self._make_room()
        return effects + self._dispatch(now)

    def leave(self) -> list[Effect]:
        """Say BYE to each client: no new requests from here on, the old ones are finished."""
        self._leaving = True
        return [self._packet(w, wire.BYE, encode(None)) for w in self._windows.values()]

    def close(self) -> list[Effect]:
        """Drop every request that is not answered."""
        requests = [r for w in self._windows.values() for r in w.held.values()]
        self.dropped["closed"] += len(requests)
        self._held_count = 0
        running = list(self._running.values())
        for request in running:
            request.cancelled = True
        self._running.clear()
        self._queue = Line()
        self._windows.clear()
        self._budget.bytes = 0
        self._sweep_at = inf
        return [Abort(running)] if running else []

    def stats(self) -> dict[str, object]:
        """Counters; accepted = delivered + failed + expired + dropped + in flight, always."""
        names = (
            "accepted",
            "delivered",
            "failed",
            "expired",
            "duplicates",
            "refused",
            "evicted",
        )
        return {
            **{name: self.counts[name] for name in names},
            "dropped": {k: v for k, v in self.dropped.items() if v},
            "in_flight": self._held_count,
            "waiting": len(self._queue),
            "clients": len(self._windows),
            "retained_bytes": self._budget.bytes,
            "malformed": dict(self.malformed),
        }

    @property
    def in_flight(self) -> int:
        """How many accepted requests are not answered."""
        return self._held_count

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a client. Never raises for what it sent."""
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
            window = self._window(packet.source, peer, now)
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
        """Forget clients that were silent for a minute and have nothing running here."""
        if now >= self._sweep_at:
            self._sweep_at = now + FORGET_CLIENT_S / 4 if self._windows else inf
            for window in [
                w
                for w in self._windows.values()
                if now - w.heard_at > FORGET_CLIENT_S and not w.held
            ]:
                window.settle_below(1 << 64)
                del self._windows[window.client]
        return []

    def flush(self, now: float) -> list[Effect]:
        """Nothing to do: answers leave as they come."""
        return []

    def deadline(self) -> float:
        """When `tick` is due next."""
        return self._sweep_at

    def check(self) -> None:
        """The counters balance, and an id is held, answered or settled, never two of them."""
        counts = self.counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        held = sum(len(w.held) for w in self._windows.values())
        assert held == self._held_count
        assert counts["accepted"] == ended + held, "stats do not balance"
        assert len(self._running) + len(self._queue) == held
        assert len(self._running) <= self.concurrency
        for window in self._windows.values():
            assert window.held.keys().isdisjoint(window.answers)
            assert window.bytes == sum(a.size for a in window.answers.values())
        assert self._budget.bytes == sum(w.bytes for w in self._windows.values())

    # Packets in

    def _window(self, client: int, peer: PeerId, now: float) -> Window | None:
        window = self._windows.get(client)
        if window is None:
            if len(self._windows) >= CLIENTS_MAX:
                return None
            window = self._windows[client] = Window(client, peer, now, self._budget)
            self._sweep_at = min(self._sweep_at, now + FORGET_CLIENT_S)
        window.peer = peer
        window.heard_at = now
        return window

    def _hello(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        return [self._welcome(window.client, window.peer)]

    def _request(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        effects: list[Effect] = []
        oneway = packet.kind == wire.NOTIFY
        taken: list[int] = []
        for row in wire.request_rows(packet):
            sequence = row[0]
            if window.is_settled(sequence):
                self.counts["duplicates"] += 1
            elif sequence in window.held:
                self.counts["duplicates"] += 1
                if oneway:
                    taken.append(sequence)
            elif sequence in window.answers:
                self.counts["duplicates"] += 1
                effects += self._answer_again(window, sequence)
            else:
                self._accept(window, row, oneway, now, effects)
                taken.append(sequence)
        if oneway:
            answers = [(s, _TAKEN) for s in taken if s in window.held]
            effects += self._answer(window, wire.REPLY, answers)
        return effects + self._dispatch(now)

    def _accept(
        self,
        window: Window,
        row: wire.RequestRow,
        oneway: bool,
        now: float,
        effects: list[Effect],
    ) -> None:
        """Put one new request in line, or refuse it with the reason."""
        sequence, left_ms, method, priority, headers, args, kwargs = row
        if self._leaving:
            effects += self._refuse(window, sequence, LEAVING)
        elif len(window.held) >= CREDIT + WAITING_CALLS_MAX or self._held_count >= REQUESTS_MAX:
            effects += self._refuse(window, sequence, BUSY)
        elif method not in self.methods:
            text = f"no method {method!r}; there are {', '.join(sorted(self.methods)[:20])}"
            effects += self._refuse(window, sequence, NO_METHOD, text)
        else:
            self._ticket += 1
            request = Request(
                self._ticket, window.client, sequence, method, args, kwargs, headers, priority,
                now + left_ms / 1000, oneway,
            )  # fmt: skip
            self.counts["accepted"] += 1
            self._held_count += 1
            window.held[sequence] = request
            self._queue.join(request.ticket, priority, request)

    def _ping(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        meta = packet.meta
        if type(meta) is not list or len(meta) != 3 or {type(meta[0]), type(meta[1])} != {int}:
            raise Malformed("ping")
        still_open = wire.sequences_of(meta[2], 2 * (CREDIT + WAITING_CALLS_MAX))
        window.settle_except(meta[1], frozenset(still_open))
        # One-way messages are not named: their acknowledgement may have got lost, so they come
        # again and are acknowledged again.
        held = [sequence for sequence, r in window.held.items() if not r.oneway]
        pong = encode([meta[0], CREDIT, held])
        return [self._packet(window, wire.PONG, pong)]

    def _cancel(self, window: Window, packet: Packet, now: float) -> list[Effect]:
        aborted: list[Request] = []
        for sequence in wire.sequences_of(packet.meta, CREDIT):
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
        effects: list[Effect] = []
        requests: list[Request] = []
        while len(self._queue) and len(self._running) < self.concurrency:
            request = self._queue.serve()
            assert request is not None
            window = self._windows[request.client]
            if window.is_settled(request.sequence) and not request.oneway:
                self._drop(window, request, "unwanted")
            elif now >= request.deadline_at:
                del window.held[request.sequence]
                self._held_count -= 1
                self.counts["expired"] += 1
                effects += self._refuse(window, request.sequence, EXPIRED)
            else:
                self._running[request.ticket] = request
                requests.append(request)
        if requests:
            effects.append(Handle(requests))
        return effects

    def _drop(self, window: Window, request: Request, reason: str) -> None:
        del window.held[request.sequence]
        self._held_count -= 1
        self.dropped[reason] += 1

    def _make_room(self) -> None:
        """Evict the oldest answers of the client that keeps most, down to nine tenths."""
        while self._budget.bytes > RETAINED_BYTES_MAX:
            window = max(self._windows.values(), key=lambda w: w.bytes)
            lost = window.evict(self._budget.bytes - RETAINED_BYTES_MAX * 9 // 10)
            if not lost:
                break
            self.counts["evicted"] += lost

    # Packets out

    def _packet(self, window: Window, kind: int, meta: bytes, raw: bytes | None = None) -> Send:
        frame = wire.pack(kind, self.incarnation, window.client, 0, meta, raw)
        return Send(window.peer, (frame,))

    def _welcome(self, client: int, peer: PeerId) -> Send:
        names = [name for name, idempotent in self.methods.items() if idempotent]
        fields = {"credit": CREDIT, "idempotent": names, **self.about}
        frame = wire.pack(wire.WELCOME, self.incarnation, client, 0, encode(fields))
        return Send(peer, (frame,))

    def _answer(
        self, window: Window, kind: int, answers: list[tuple[int, Answer]]
    ) -> list[Send]:
        """The answers as packets: a raw body alone, the others together."""
        sends: list[Send] = []
        plain = [pair for pair in answers if pair[1].raw is None]
        if plain:
            meta = wire.reply_columns([s for s, _ in plain], [a.row for _, a in plain])
            sends.append(self._packet(window, kind, meta))
        for sequence, answer in answers:
            if answer.raw is not None:
                meta = wire.reply_columns([sequence], [answer.row])
                sends.append(self._packet(window, kind, meta, answer.raw))
        return sends

    def _answer_again(self, window: Window, sequence: int) -> list[Send]:
        answer = window.answers[sequence]
        if answer.evicted:
            return self._refuse(window, sequence, FORGOTTEN, may_have_run=True)
        return self._answer(window, answer.kind, [(sequence, answer)])

    def _refuse(
        self,
        window: Window,
        sequence: int,
        code: str,
        text: str = "",
        *,
        may_have_run: bool = False,
    ) -> list[Send]:
        if code != EXPIRED:
            self.counts["refused"] += 1
        row = encode([code, "", text or _TEXTS[code], "", may_have_run])
        return self._answer(window, wire.ERROR, [(sequence, Answer(wire.ERROR, row))])
