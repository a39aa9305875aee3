"""How many leases a worker takes, and how it shares them among its pushers.

A worker takes as many tasks as it can run at once. It takes further ones ahead only while its
tasks are short: then a round trip for each would leave it idle, and what waits here for some
milliseconds keeps no other worker idle for long. All pushers that have tasks here, or would
like to, get the same share. A pusher does not know of the others, so it may send too many. The
worker refuses those, and tells the pusher when it has room again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from zmqkit.core.calls.request import Request, RequestWindows
from zmqkit.limits import CREDIT, PREFETCH_S, PREFETCH_TASK_S

_WEIGHT = 0.2
"""How much the latest tasks count in the average."""


class Share:
    """The places of one worker."""

    def __init__(self, concurrency: int, windows: RequestWindows) -> None:
        """concurrency: how many tasks run at once. windows: of the pushers."""
        self.places = concurrency
        # The pushers that are to be told how many leases they may have.
        self.news: dict[int, None] = {}
        self._concurrency = concurrency
        self._windows = windows
        self._wanting: dict[int, None] = {}
        self._took_s = inf
        self._handled_at = -inf

    def of(self, client: int) -> int:
        """Return how many leases a pusher may have here."""
        sharing = {client, *self._wanting, *(w.client for w in self._windows if w.held)}
        return max(1, self.places // len(sharing))

    def refused(self, client: int) -> None:
        """Note that a lease of this pusher found no place."""
        self._wanting[client] = None

    def handled(self, requests: Iterable[Request], held_count: int, now: float) -> None:
        """Learn from tasks that ended now how long they take; offer their places.

        held_count: how many tasks are still here.
        """
        begun = [request.begun_at for request in requests]
        if not begun:
            return
        # Many may have run one after the other since they were begun together, or beside each
        # other. So their mean is right or too long; what their number tells may be shorter.
        mean_s = now - sum(begun) / len(begun)
        since_s = now - max(self._handled_at, min(begun))
        took_s = min(mean_s, since_s * self._concurrency / len(begun))
        self._handled_at = now
        if self._took_s == inf:
            self._took_s = took_s
        self._took_s += (took_s - self._took_s) * _WEIGHT
        ahead = self._ahead()
        places = self._concurrency + ahead
        # What is taken ahead may vary; a little more or less is not worth a word.
        if places >= 2 * self.places or (4 * places <= self.places) or not ahead:
            if places != self.places:
                self.news.update((window.client, None) for window in self._windows)
            self.places = places
        if self._wanting and held_count < self.places:
            self.news.update(self._wanting)
            self._wanting.clear()

    def hand_back_at(self, begun_at: float, running: int, *, waits: bool) -> float:
        """Return when to give back what waits, unless another task begins before.

        begun_at: when the last task did. running: how many do. waits: whether any does. Tasks
        that run for so long are no short ones, so nothing is taken ahead behind them.
        """
        if running < self._concurrency or not (waits or self.places > self._concurrency):
            return inf
        return begun_at + PREFETCH_TASK_S

    def handed_back(self) -> None:
        """Take no tasks ahead until there were short ones again."""
        self._took_s = max(self._took_s, 2 * PREFETCH_TASK_S)
        if self.places != self._concurrency:
            self.news.update((window.client, None) for window in self._windows)
        self.places = self._concurrency

    def told(self) -> list[tuple[int, int]]:
        """Return the pushers that are to be told now, each with the leases that it may have."""
        news, self.news = self.news, {}
        windows = self._windows.by_client
        return [
            (client, max(self.of(client), min(len(windows[client].held) + 1, self.places)))
            for client in news
            if client in windows
        ]

    def _ahead(self) -> int:
        """Return how many tasks to take ahead."""
        if self._took_s > PREFETCH_TASK_S:
            return 0
        return min(CREDIT, int(PREFETCH_S / max(self._took_s, 1e-6)))
