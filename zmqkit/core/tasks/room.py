"""How the room of a streamer's ledger is shared among its pushers."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from zmqkit.core.calls.request import Request, RequestWindows
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.limits import PusherLimits


class Room:
    """Shares the room of a ledger among the pushers of a streamer."""

    def __init__(
        self, ledger: Ledger, limits: PusherLimits, places: int, windows: RequestWindows
    ) -> None:
        self.places = 2 * places  # the ledger itself says when it is full
        self.news: dict[int, None] = {}
        self._ledger = ledger
        self._most = limits.tasks_max
        self._windows = windows
        self._wanting: dict[int, None] = {}
        # No room is offered before this time.
        self._full_until = -inf

    def of(self, client: int) -> int:
        """Return how many tasks a pusher may have here."""
        window = self._windows.by_client.get(client)
        held = len(window.held) if window is not None else 0
        return max(1, held + self._free // max(1, len(self._windows)))

    def refused(self, client: int, until: float = -inf) -> None:
        """Note that a task of this pusher found no place. until: nor will another by then."""
        self._wanting[client] = None
        self._full_until = max(self._full_until, until)

    @property
    def due_at(self) -> float:
        """When `offer` is due, if somebody waits for that time."""
        return self._full_until if self._wanting and self._full_until > -inf else inf

    def handled(self, requests: Iterable[Request], held_count: int, now: float) -> None:
        """Offer the room of tasks that have ended."""
        self.offer(now)

    def hand_back_at(self, begun_at: float, running: int, *, waits: bool) -> float:
        """Return inf: a task may wait here as long as it has to."""
        return inf

    def handed_back(self) -> None:
        """Change nothing; nothing is given back here."""

    def offer(self, now: float) -> None:
        """Offer room to the pushers that had too many tasks."""
        if now < self._full_until:
            return
        self._full_until = -inf
        if self._wanting and self._free >= self._most // 8:
            self.news.update(self._wanting)
            self._wanting.clear()

    def told(self) -> list[tuple[int, int]]:
        """Return the pushers that are to be told now, each with the tasks that it may have."""
        news, self.news = self.news, {}
        return [
            (client, self.of(client)) for client in news if client in self._windows.by_client
        ]

    @property
    def _free(self) -> int:
        return max(0, self._most - self._ledger.open_count)
