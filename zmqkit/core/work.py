"""The requests that a service holds: each waits in line or runs until it is done or dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from zmqkit.core.answers import CANCELLED, Outbox, refuse
from zmqkit.core.effects import Abort, Effect, Handle, Request
from zmqkit.core.line import Line
from zmqkit.core.outcome import EXPIRED, LEAVING
from zmqkit.core.window import Window
from zmqkit.core.windows import Windows


class Work:
    """The line of requests, those that run, and how many of either were given up.

    running: by ticket, a number that each accepted request is given. held_count: how many are
    in line or run.
    """

    def __init__(self, windows: Windows, outbox: Outbox, counts: Counter[str]) -> None:
        self.queue: Line[Request] = Line()
        self.running: dict[int, Request] = {}
        self.ticket = 0
        self.held_count = 0
        self.dropped: Counter[str] = Counter()
        self._windows = windows
        self._outbox = outbox
        self._counts = counts

    def dispatch(self, now: float, concurrency: int) -> list[Effect]:
        """Start what concurrency allows; what expired in line is told so and not run."""
        requests: list[Request] = []
        expired = False
        while self.queue.count and len(self.running) < concurrency:
            request = self.queue.serve()
            assert request is not None
            window = self._windows.by_client[request.client]
            settled = window.is_settled(request.sequence)
            if settled and not request.oneway:
                self.drop(window, request, "unwanted")
            elif now >= request.deadline_at:
                self.release(window, request)
                self._counts["expired"] += 1
                if not settled:
                    refusal = refuse(EXPIRED)
                    window.retain(request.sequence, refusal)
                    self._outbox.add(request.client, request.sequence, refusal)
                    expired = True
            else:
                self.running[request.ticket] = request
                requests.append(request)
        effects = self._outbox.take() if expired else []
        if requests:
            effects.append(Handle(requests))
        return effects

    def abort(self, window: Window, sequences: Iterable[int]) -> list[Effect]:
        """Nobody waits for these any more: drop what waits in line, tell what runs."""
        aborted: list[Request] = []
        for sequence in sequences:
            request = window.held.get(sequence)
            if request is None or request.cancelled:
                continue
            request.cancelled = True
            if request.ticket in self.running:
                aborted.append(request)
            else:
                self.queue.leave(request.ticket, request.priority)
                self.drop(window, request, "cancelled")
        return [Abort(aborted)] if aborted else []

    def release(self, window: Window, request: Request) -> None:
        """Hold a request no longer."""
        del window.held[request.sequence]
        self.held_count -= 1

    def drop(self, window: Window, request: Request, reason: str) -> None:
        """Hold a request no longer for which nobody waits; a late copy of it does not run."""
        self.release(window, request)
        self.dropped[reason] += 1
        if not window.is_settled(request.sequence):
            window.retain(request.sequence, CANCELLED)

    def close(self) -> list[Effect]:
        """Drop every request; those that never ran may run elsewhere."""
        for window in self._windows:
            self.dropped["closed"] += len(window.held)
            for sequence, request in window.held.items():
                if request.ticket not in self.running:
                    self._outbox.add(window.client, sequence, refuse(LEAVING))
        effects = self._outbox.take()
        running = list(self.running.values())
        for request in running:
            request.cancelled = True
        self.running.clear()
        self.queue = Line()
        self.held_count = 0
        return [*effects, Abort(running)] if running else effects

    def check(self, concurrency: int) -> None:
        """The counters balance, and what is held waits or runs."""
        counts = self._counts
        ended = counts["delivered"] + counts["failed"] + counts["expired"]
        ended += sum(self.dropped.values())
        held = sum(len(w.held) for w in self._windows)
        assert held == self.held_count
        assert self.ticket == ended + held, "stats do not balance"
        assert len(self.running) + len(self.queue) == held
        assert len(self.running) <= concurrency
