"""The reply windows: what a receiver remembers of each of its clients so that a retry is safe.

For each id of a client the first of these that is true says what becomes of it:

    settled    the client said that it needs nothing more: dropped, never run again
    held       queued or running: a duplicate is ignored, a pong names it
    answered   the reply, or the refusal, is retained: a duplicate is answered with it
    forgotten  it may have been answered, but that was given up for space: told so
    new        none of these: accept it

What is held is the receiver's own: a window knows it by its id alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Generic, NamedTuple, TypeVar

from zmqkit.core.dispatch.unread import Budget, Unread
from zmqkit.limits import ServiceLimits
from zmqkit.model import PeerId
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.rows import CHARGE_BYTES


class Answer:
    """A reply as it is retained: packet kind, encoded row, raw body, bytes charged for it."""

    __slots__ = ("kind", "raw", "row", "size")

    def __init__(self, kind: int, row: bytes, raw: Buffer | None = None) -> None:
        self.kind = kind
        self.row = row
        self.raw = raw
        self.size = CHARGE_BYTES + len(row)
        if raw is not None:
            self.size += len(raw)


class Ids(NamedTuple):
    """What a window knows of ids beside those held or answered; see its fields.

    `open` has numbers from `below` on alone.
    """

    below: int
    open_below: int
    open: frozenset[int]
    forgotten_below: int

    @property
    def weight(self) -> int:
        """How much there is to remember: one, and one for each open id."""
        return 1 + len(self.open)


H = TypeVar("H")
"""What a receiver holds of an id until it is answered."""


@dataclass(slots=True, eq=False)
class Window(Generic[H]):
    """One client's ids. `below` and `open_below` with `open` say which are settled.

    far: the client is on another machine, and asked for compressed packets. freed_below: up to
    where `free` came. forgotten_below: of ids below it nothing is known but what stands in the
    other fields. waiting: the answered ids whose answers are not sent yet, and their bytes.
    """

    client: int
    peer: PeerId
    heard_at: float
    budget: Budget
    far: bool = False
    below: int = 0
    freed_below: int = 0
    open_below: int = 0
    open: frozenset[int] = frozenset()
    forgotten_below: int = 0
    held: dict[int, H] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    bytes: int = 0
    waiting: dict[int, int] = field(default_factory=dict)
    waiting_bytes: int = 0
    unread: Unread = field(init=False)

    def __post_init__(self) -> None:
        """Nothing was sent yet."""
        self.unread = Unread(self.budget)

    @property
    def seen_below(self) -> int:
        """Ids at or above it were never answered, settled or forgotten."""
        return max(self.below, self.open_below, self.forgotten_below)

    @property
    def ids(self) -> Ids:
        """What remains of a window whose client is forgotten."""
        still_open = frozenset(n for n in self.open if n >= self.below)
        return Ids(self.below, self.open_below, still_open, self.forgotten_below)

    def recall(self, ids: Ids) -> None:
        """Know again what was known before the client was forgotten."""
        self.below, self.open_below, self.open, self.forgotten_below = ids
        self.freed_below = self.below

    def is_settled(self, sequence: int) -> bool:
        """Whether the client needs nothing more of this id."""
        return sequence < self.below or (
            sequence < self.open_below and sequence not in self.open
        )

    def settled_among(self, numbers: Iterable[int]) -> list[int]:
        """Those of these numbers that `is_settled` is true of."""
        below, open_below, still_open = self.below, self.open_below, self.open
        return [n for n in numbers if n < below or (n < open_below and n not in still_open)]

    def free(self) -> None:
        """Forget the answers to all ids below `below`; the client has them or gave up."""
        if self.below - self.freed_below <= len(self.answers):
            numbers: Iterable[int] = range(self.freed_below, self.below)
        else:
            numbers = [number for number in self.answers if number < self.below]
        freed, pop = 0, self.answers.pop
        for number in numbers:
            answer = pop(number, None)
            if answer is not None:
                freed += answer.size
        self.bytes -= freed
        self.budget.bytes -= freed
        self.freed_below = self.below
        if self.unread.sent or self.waiting:
            if type(numbers) is range and len(numbers) < len(self.unread.sent):
                self._let_go(numbers)
            else:
                self._let_go([*self.unread.sent, *self.waiting])

    def settle_except(self, open_below: int, still_open: frozenset[int]) -> None:
        """Forget the answers to all ids below `open_below` that are not still open.

        What is settled stays so: a ping that comes late, or twice, opens nothing again.
        """
        if open_below < self.open_below:
            return
        still_open = still_open.difference(self.settled_among(still_open))
        self.open_below, self.open = open_below, still_open
        for number in [n for n in self.answers if n < open_below and n not in still_open]:
            self._forget(number)
        self._let_go([*self.unread.sent, *self.waiting])

    def retain(self, sequence: int, answer: Answer) -> None:
        """Keep the answer until the client settles the id."""
        self.answers[sequence] = answer
        self.bytes += answer.size
        self.budget.bytes += answer.size

    def wait(self, sequence: int) -> None:
        """Have an answer wait until others are read; it is lost if it is given up meanwhile."""
        if sequence not in self.waiting:
            answer = self.answers.get(sequence)
            self.waiting[sequence] = size = 0 if answer is None else answer.size
            self.waiting_bytes += size
            self.budget.waiting += size

    def wait_no_more(self, sequence: int) -> None:
        """An answer is sent, or not wanted."""
        size = self.waiting.pop(sequence)
        self.waiting_bytes -= size
        self.budget.waiting -= size

    def stop_waiting(self) -> None:
        """Send nothing that waits, unless it is asked for once more."""
        for sequence in list(self.waiting):
            self.wait_no_more(sequence)

    def evict(self, bytes_min: int) -> int:
        """Give up the oldest answers that were sent until that many bytes are free, or none
        are left; gives how many were."""
        return self._give_up([n for n in self.answers if not self.waiting.get(n)], bytes_min)

    def evict_waiting(self, bytes_min: int) -> int:
        """The same for those that wait to be sent: their clients are told instead."""
        count = self._give_up(list(self.waiting), bytes_min)
        for sequence in [n for n in self.waiting if n not in self.answers]:
            size, self.waiting[sequence] = self.waiting[sequence], 0
            self.waiting_bytes -= size
            self.budget.waiting -= size
        return count

    def _give_up(self, numbers: list[int], bytes_min: int) -> int:
        freed = count = 0
        for number in numbers:
            if freed >= bytes_min:
                break
            answer = self.answers.get(number)
            if answer is not None:
                freed += answer.size
                count += 1
                self.forgotten_below = max(self.forgotten_below, number + 1)
                self._forget(number)
        return count

    def _let_go(self, numbers: Iterable[int]) -> None:
        """Count none of these that is settled, and have none of it wait."""
        for number in self.settled_among(numbers):
            if number in self.unread.sent:
                self.unread.settle(number)
            if number in self.waiting:
                self.wait_no_more(number)

    def _forget(self, sequence: int) -> None:
        answer = self.answers.pop(sequence, None)
        if answer is not None:
            self.bytes -= answer.size
            self.budget.bytes -= answer.size


class Windows(Generic[H]):
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
        self.by_client: OrderedDict[int, Window[H]] = OrderedDict()
        self.away: OrderedDict[int, PeerId] = OrderedDict()
        self.remembered = 0
        self._forgotten: OrderedDict[int, Ids] = OrderedDict()

    def __len__(self) -> int:
        return len(self.by_client)

    def __iter__(self) -> Iterator[Window[H]]:
        return iter(self.by_client.values())

    def hear(self, client: int, peer: PeerId, now: float) -> Window[H] | None:
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

    def has_room(self, window: Window[H], size: int) -> bool:
        """Whether an answer of that size may be sent to the client, or is to wait."""
        unread, limits = window.unread.bytes, self._limits
        return (
            not unread
            or unread + size <= limits.client_unread_bytes
            or self.budget.unread + size <= limits.unread_bytes_max
        )

    def has_much_room(self, window: Window[H]) -> bool:
        """Whether the client's requests, which had to wait for room, may run again.

        Room for one is not enough: all of them come in line again, and are taken from it when
        there is room no more.
        """
        unread, limits = window.unread.bytes, self._limits
        return not window.waiting and (
            unread <= limits.client_unread_bytes * 3 // 4
            or self.budget.unread <= limits.unread_bytes_max // 2
        )

    def silent(self, now: float) -> list[Window[H]]:
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

    def _open(self, client: int, peer: PeerId, now: float) -> Window[H] | None:
        """A new window, in place of the stalest if need be."""
        stalest: Window[H] | None = None
        if len(self.by_client) >= self._limits.clients_max:
            stalest = next((w for w in self.by_client.values() if not w.held), None)
            if stalest is None:
                return None
        window: Window[H] = Window(client, peer, now, self.budget)
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

    def _forget(self, window: Window[H]) -> None:
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
