"""All reply windows of a service: so many clients, so many bytes, and none kept for ever."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import inf

from zmqkit.core.dispatch.window import Budget, Ids, Window
from zmqkit.limits import ServiceLimits
from zmqkit.model import PeerId


class Windows:
    """The windows by client, the one that was silent for longest first.

    A client that is forgotten leaves behind what it said of its ids, and below which number
    those that it had not settled may have been answered. So a call of a client that returns
    late does not run again, and one that it had open elsewhere may still come here.
    away: where those who were forgotten last can be told of the service's end. remembered: how
    much there is of the forgotten.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits
        self.budget = Budget()
        self.sweep_at = inf
        self.by_client: OrderedDict[int, Window] = OrderedDict()
        self.away: OrderedDict[int, PeerId] = OrderedDict()
        self.remembered = 0
        self._forgotten: OrderedDict[int, Ids] = OrderedDict()

    def __len__(self) -> int:
        return len(self.by_client)

    def __iter__(self) -> Iterator[Window]:
        return iter(self.by_client.values())

    def hear(self, client: int, peer: PeerId, now: float) -> Window | None:
        """The window of a client that spoke; None when there are too many that have work."""
        window = self.by_client.get(client)
        if window is None:
            window = self._open(client, peer, now)
            if window is None:
                return None
        else:
            self.by_client.move_to_end(client)
        window.peer = peer
        window.heard_at = now
        return window

    def forgotten_below(self, client: int) -> int:
        """Below which number the ids of a client that was forgotten may have been answered."""
        ids = self._forgotten.get(client)
        return 0 if ids is None else ids.forgotten_below

    def sweep(self, now: float) -> None:
        """Forget clients that were silent for a minute and have nothing running here."""
        if now < self.sweep_at:
            return
        for window in list(self.by_client.values()):
            if now - window.heard_at < self._limits.forget_client_s:
                break
            if not window.held:
                self._forget(window)
        self.sweep_at = now + self._limits.forget_client_s / 4 if self.by_client else inf

    def make_room(self) -> int:
        """Evict the oldest answers of whoever keeps most, down to nine tenths; how many."""
        count = 0
        bytes_max = self._limits.retained_bytes_max
        while self.budget.bytes > bytes_max:
            window = max(self.by_client.values(), key=lambda w: w.bytes)
            count += window.evict(self.budget.bytes - bytes_max * 9 // 10)
        return count

    def clear(self) -> None:
        """Forget everything."""
        self.by_client.clear()
        self.away.clear()
        self._forgotten.clear()
        self.remembered = 0
        self.budget.bytes = 0
        self.sweep_at = inf

    def check(self) -> None:
        """An id is held or answered, never both, and every byte is accounted for.

        Of what is settled only that is kept which waits for the next `free`.
        """
        for window in self.by_client.values():
            assert window.held.keys().isdisjoint(window.answers)
            kept = [n for n in window.answers if not window.freed_below <= n < window.below]
            assert not any(map(window.is_settled, kept))
            assert window.bytes == sum(a.size for a in window.answers.values())
        assert self.budget.bytes == sum(w.bytes for w in self.by_client.values())
        assert len(self.by_client) <= self._limits.clients_max
        assert self.remembered <= self._limits.forgotten_max
        assert self.remembered == sum(ids.weight for ids in self._forgotten.values())
        assert len(self.away) <= self._limits.clients_max
        assert self.away.keys().isdisjoint(self.by_client)

    def _open(self, client: int, peer: PeerId, now: float) -> Window | None:
        """A new window, in place of the stalest if need be."""
        stalest: Window | None = None
        if len(self.by_client) >= self._limits.clients_max:
            stalest = next((w for w in self.by_client.values() if not w.held), None)
            if stalest is None:
                return None
        window = Window(client, peer, now, self.budget)
        ids = self._forgotten.pop(client, None)
        if ids is not None:
            self.remembered -= ids.weight
            window.recall(ids)
        self.away.pop(client, None)
        if stalest is not None:
            self._forget(stalest)
        self.by_client[client] = window
        self.sweep_at = min(self.sweep_at, now + self._limits.forget_client_s)
        return window

    def _forget(self, window: Window) -> None:
        window.evict(window.bytes)
        self.away[window.client] = window.peer
        if len(self.away) > self._limits.clients_max:
            self.away.popitem(last=False)
        del self.by_client[window.client]
        if not window.seen_below:
            return
        ids = self._forgotten[window.client] = window.ids
        self.remembered += ids.weight
        while self.remembered > self._limits.forgotten_max:
            client, oldest = self._forgotten.popitem(last=False)
            self.remembered -= oldest.weight
            self.away.pop(client, None)  # nobody knows any more what may have run
