"""What handlers say of their progress: the latest word of each leaves, at a bounded pace."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from zmqkit.core.calls.notices import Notices
from zmqkit.core.calls.request import Request, RequestWindows
from zmqkit.core.calls.work import Work
from zmqkit.core.effects import Effect
from zmqkit.limits import PROGRESS_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import pack_plain

_PAIR = b"\x92"


class Reports:
    """The words of requests that run: when each was sent last, and what waits to be sent."""

    def __init__(self, notices: Notices, windows: RequestWindows, work: Work) -> None:
        # By ticket: when a request may be told of next, and the word that waits until then.
        self.next_at: dict[int, float] = {}
        self._waiting: dict[int, tuple[Request, bytes]] = {}
        self._notices = notices
        self._windows = windows
        self._work = work

    def take(self, request: Request, value: bytes, now: float) -> list[Effect]:
        """Take the latest word of a request, encoded; it leaves now or soon."""
        if request.ticket not in self._work.running:
            return []
        if now < self.next_at.get(request.ticket, -inf):
            self._waiting[request.ticket] = request, value
            return []
        return self._send(request, value, now)

    def due(self, now: float) -> list[Effect]:
        """Send the words that have waited long enough."""
        effects: list[Effect] = []
        for ticket, (request, value) in list(self._waiting.items()):
            if now >= self.next_at[ticket]:
                del self._waiting[ticket]
                effects += self._send(request, value, now)
        return effects

    @property
    def due_at(self) -> float:
        """When `due` has something to do next."""
        if not self._waiting:
            return inf
        return min(self.next_at[ticket] for ticket in self._waiting)

    def ended(self, requests: Iterable[Request], now: float) -> list[Effect]:
        """Send the last words of requests that end now, and forget them."""
        effects: list[Effect] = []
        for request in requests:
            waiting = self._waiting.pop(request.ticket, None)
            if waiting is not None:
                effects += self._send(*waiting, now)
            self.next_at.pop(request.ticket, None)
        return effects

    def clear(self) -> None:
        """Forget all words."""
        self._waiting.clear()
        self.next_at.clear()

    def _send(self, request: Request, value: bytes, now: float) -> list[Effect]:
        self.next_at[request.ticket] = now + PROGRESS_S
        if request.cancelled:
            return []
        window = self._windows.by_client[request.client]
        meta = _PAIR + pack_plain(request.sequence) + value
        return [self._notices.packet(window, wire.PROGRESS, meta)]
