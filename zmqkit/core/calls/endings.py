"""What becomes of requests whose handlers have answered: each is counted, and its answer kept.

A request leaves the service's hands here. Its answer goes to the outbox, and stays in the
client's window until the client says that the id is settled.
"""

from __future__ import annotations

from collections import Counter

from zmqkit.core.calls.answers import DONE, Outbox, in_doubt
from zmqkit.core.calls.origins import Origins
from zmqkit.core.calls.request import Request, RequestWindows
from zmqkit.core.calls.work import Work
from zmqkit.core.dispatch.window import Answer
from zmqkit.wire import packet as wire

Result = tuple[Request, Answer]
"""A request that its handler has finished, and the answer."""


class Endings:
    """Ends requests that were answered: as delivered, failed or dropped."""

    def __init__(
        self,
        windows: RequestWindows,
        work: Work,
        outbox: Outbox,
        origins: Origins,
        counts: Counter[str],
    ) -> None:
        self._windows = windows
        self._work = work
        self._outbox = outbox
        self._origins = origins
        self._counts = counts

    def take(self, results: list[Result], now: float) -> None:
        """Take the handlers' answers; those that their clients wait for join the outbox."""
        work, windows, outbox = self._work, self._windows.by_client, self._outbox
        running = work.running
        delivered, meter = 0, work.meter
        # Those that came at one time and end now are recorded together.
        method, since, alike = "", 0.0, 0
        for request, answer in results:
            sequence = request.sequence
            if running.pop(request.ticket, None) is None:
                work.overdue.pop(request.ticket, None)
                continue  # it was answered as too late, or this was closed meanwhile
            window = windows[request.client]
            settled = sequence < window.below or (
                sequence < window.open_below and window.is_settled(sequence)
            )
            if request.origin is not None:
                self._origins.answered(request, answer)
            if request.cancelled:
                work.drop(window, request, "cancelled")
            elif settled and not request.oneway:
                work.drop(window, request, "unwanted")
            else:
                del window.held[sequence]
                work.held_count -= 1
                work.held_bytes -= request.size
                if answer.kind != wire.REPLY:
                    if request.forgotten:
                        answer = in_doubt(answer)
                    self._counts["failed"] += 1
                    if meter is not None:
                        meter.part(request.method).failed += 1
                else:
                    delivered += 1
                    if meter is not None:
                        if request.arrived_at != since or request.method != method:
                            if alike:
                                meter.took(method, now - since, alike)
                            method, since, alike = request.method, request.arrived_at, 0
                        alike += 1
                    if request.oneway:
                        answer = DONE  # nobody wants its value
                if not settled:
                    window.retain(sequence, answer)
                    outbox.add(request.client, sequence, answer)
        self._counts["delivered"] += delivered
        if meter is not None and alike:
            meter.took(method, now - since, alike)
