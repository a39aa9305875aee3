"""All reply windows of a service: so many clients, so many bytes, and none kept for ever."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import inf

from zmqkit.core.dispatch.unread import Budget
from zmqkit.core.dispatch.window import Ids, Window
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
        if window.peer != peer:
            window.peer = peer
            window.unread.clear()
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

    @property
    def is_full(self) -> bool:
        """Whether more is kept than may be."""
        budget, limits = self.budget, self._limits
        return (
            budget.bytes > limits.retained_bytes_max
            or budget.waiting > limits.waiting_bytes_max
        )

    def make_room(self) -> int:
        """Evict the oldest answers of whoever keeps most, down to nine tenths; how many.

        Those that wait to be sent have a limit of their own.
        """
        count = 0
        bytes_max = self._limits.retained_bytes_max
        while self.budget.bytes > bytes_max and self.budget.bytes > self.budget.waiting:
            window = max(self.by_client.values(), key=lambda w: w.bytes - w.waiting_bytes)
            count += window.evict(self.budget.bytes - bytes_max * 9 // 10)
        bytes_max = self._limits.waiting_bytes_max
        while self.budget.waiting > bytes_max:
            window = max(self.by_client.values(), key=lambda w: w.waiting_bytes)
            count += window.evict_waiting(self.budget.waiting - bytes_max * 9 // 10)
        return count

    def has_room(self, window: Window, size: int) -> bool:
        """Whether an answer of that size may be sent to the client, or is to wait."""
        unread, limits = window.unread.bytes, self._limits
        return (
            not unread
            or unread + size <= limits.client_unread_bytes
            or self.budget.unread + size <= limits.unread_bytes_max
        )

    def has_much_room(self, window: Window) -> bool:
        """Whether the client's requests, which had to wait for room, may run again.

        Room for one is not enough: all of them come in line again, and are taken from it when
        there is room no more.
        """
        unread, limits = window.unread.bytes, self._limits
        return not window.waiting and (
            unread <= limits.client_unread_bytes * 3 // 4
            or self.budget.unread <= limits.unread_bytes_max // 2
        )

    def silent(self, now: float) -> list[Window]:
        """The clients that have said nothing for so long that nobody will read answers."""
        until = now - self._limits.forget_client_s
        return [window for window in self.by_client.values() if window.heard_at <= until]

    def clear(self) -> None:
        """Forget everything."""
        self.by_client.clear()
        self.away.clear()
        self._forgotten.clear()
        self.remembered = 0
        self.budget.bytes = self.budget.waiting = self.budget.unread = 0
        self.sweep_at = inf

    def check(self) -> None:
        """An id is held or answered, never both, and every byte is accounted for.

        Of what is settled only that is kept which waits for the next `free`.
        """
        for window in self.by_client.values():
            assert window.held.keys().isdisjoint(window.answers)
            kept = [
                number
                for number in (*window.answers, *window.waiting)
                if not window.freed_below <= number < window.below
            ]
            assert not any(map(window.is_settled, kept))
            assert window.bytes == sum(a.size for a in window.answers.values())
            assert window.waiting_bytes == sum(window.waiting.values()) <= window.bytes
            window.unread.check()
        assert self.budget.waiting == sum(w.waiting_bytes for w in self.by_client.values())
        assert self.budget.unread == sum(w.unread.bytes for w in self.by_client.values())
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
        window.stop_waiting()
        window.unread.clear()
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
