"""The reply windows: what a service remembers of each client so that a retry is safe.

For each id of a client, the first row that applies says what the service does:

    settled    the client needs nothing more of it: a copy is dropped and never runs
    held       the request waits or runs: a copy is ignored, and a pong names the id
    answered   the reply or the refusal is retained: a copy is answered with it
    forgotten  it may have been answered, but the answer was evicted: the client is told so
    new        none of these: the request is accepted

A window knows a held request by its id alone; the service decides what the request is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Generic, NamedTuple, TypeVar

from zmqkit.core.dispatch.unread import Budget, Unread
from zmqkit.limits import ServiceLimits
from zmqkit.model import PeerId
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.rows import CHARGE_BYTES

IsGone = Callable[[int], bool]


def _is_here(process: int) -> bool:
    """Return false: of whoever has no control connection, nobody knows better."""
    return False


class Answer:
    """A reply or a refusal, encoded, as it is sent and retained."""

    __slots__ = ("kind", "raw", "row", "size")

    def __init__(self, kind: int, row: bytes, raw: Buffer | None = None) -> None:
        # The kind of packet that carries it.
        self.kind = kind
        self.row = row
        self.raw = raw
        # The bytes that it counts for against the limits.
        self.size = CHARGE_BYTES + len(row)
        if raw is not None:
            self.size += len(raw)


class Ids(NamedTuple):
    """What a window knows of ids that are neither held nor answered.

    The fields are those of `Window`; `open` has only numbers from `below` on.
    """

    below: int
    open_below: int
    open: frozenset[int]
    forgotten_below: int

    @property
    def weight(self) -> int:
        """How much of `forgotten_max` it takes: 1, and 1 more for each open id."""
        return 1 + len(self.open)


H = TypeVar("H")
"""What a service holds for an id until it is answered."""


@dataclass(slots=True, eq=False)
class Window(Generic[H]):
    """What a service knows of one client's ids."""

    client: int
    peer: PeerId
    heard_at: float
    budget: Budget
    # The client is on another machine, and asked for compressed packets.
    far: bool = False
    # The number of the client's process, 0 if it did not say.
    process: int = 0
    # The client said that it closes, and only duplicates of what it sent may still come.
    left: bool = False
    # Every id below this number is settled.
    below: int = 0
    # `free` has freed the answers to all ids below this number.
    freed_below: int = 0
    # Every id below this number is settled, except for those in `open`.
    open_below: int = 0
    open: frozenset[int] = frozenset()
    # An id below this number that no other field names may have been answered.
    forgotten_below: int = 0
    # The requests that wait or run, by id.
    held: dict[int, H] = field(default_factory=dict)
    # The retained answers by id, and the sum of their sizes.
    answers: dict[int, Answer] = field(default_factory=dict)
    bytes: int = 0
    # The ids whose answers are not sent yet, with the bytes of each answer, and their sum. An
    # answer that was evicted while it waited counts for 0 bytes.
    waiting: dict[int, int] = field(default_factory=dict)
    waiting_bytes: int = 0
    # The answers that were sent and may not have been read.
    unread: Unread = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing sent."""
        self.unread = Unread(self.budget)

    @property
    def seen_below(self) -> int:
        """The lowest number from which on no id was settled or forgotten."""
        return max(self.below, self.open_below, self.forgotten_below)

    @property
    def ids(self) -> Ids:
        """What is still remembered of the window when its client is forgotten."""
        still_open = frozenset(n for n in self.open if n >= self.below)
        return Ids(self.below, self.open_below, still_open, self.forgotten_below)

    def recall(self, ids: Ids) -> None:
        """Restore what was remembered when the client was forgotten."""
        self.below, self.open_below, self.open, self.forgotten_below = ids
        self.freed_below = self.below

    def is_settled(self, sequence: int) -> bool:
        """Whether the client needs nothing more of this id."""
        return sequence < self.below or (
            sequence < self.open_below and sequence not in self.open
        )

    def settled_among(self, numbers: Iterable[int]) -> list[int]:
        """Return the numbers that are settled, as `is_settled` says."""
        below, open_below, still_open = self.below, self.open_below, self.open
        return [n for n in numbers if n < below or (n < open_below and n not in still_open)]

    def free(self) -> None:
        """Drop the answers to all ids below `below`; the client has them or gave up."""
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
        """Settle all ids below `open_below` that are not in `still_open`; drop their answers.

        A settled id stays settled: a ping that comes late, or twice, opens none again.
        """
        if open_below < self.open_below:
            return
        still_open = still_open.difference(self.settled_among(still_open))
        self.open_below, self.open = open_below, still_open
        for number in [n for n in self.answers if n < open_below and n not in still_open]:
            self._forget(number)
        self._let_go([*self.unread.sent, *self.waiting])

    def retain(self, sequence: int, answer: Answer) -> None:
        """Keep the answer until the client settles the id, or until the answer is evicted."""
        self.answers[sequence] = answer
        self.bytes += answer.size
        self.budget.bytes += answer.size

    def wait(self, sequence: int) -> None:
        """Have an answer wait until others are read. It may be evicted while it waits."""
        if sequence not in self.waiting:
            answer = self.answers.get(sequence)
            self.waiting[sequence] = size = 0 if answer is None else answer.size
            self.waiting_bytes += size
            self.budget.waiting += size

    def wait_no_more(self, sequence: int) -> None:
        """Take an answer out of those that wait: it is sent, or nobody wants it."""
        size = self.waiting.pop(sequence)
        self.waiting_bytes -= size
        self.budget.waiting -= size

    def stop_waiting(self) -> None:
        """Let no answer wait any more; such an answer is sent only if the client asks again."""
        for sequence in list(self.waiting):
            self.wait_no_more(sequence)

    def evict(self, bytes_min: int) -> int:
        """Evict the oldest answers that were sent, until `bytes_min` bytes are free.

        Returns how many answers were evicted.
        """
        return self._give_up([n for n in self.answers if not self.waiting.get(n)], bytes_min)

    def evict_waiting(self, bytes_min: int) -> int:
        """Evict the oldest answers that wait to be sent; the client is told that they are lost.

        Returns how many answers were evicted.
        """
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
        """Stop counting as unread, or as waiting, those of these ids that are settled."""
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
    """The windows of all clients; the client that was silent for longest is first.

    When a client is forgotten, its `Ids` are kept: which ids it had settled, and below which
    number the others may have been answered. So when it returns late, a call that may have run
    does not run again, while a call that it had open elsewhere may still come here.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits
        self.budget = Budget()
        # When `sweep` next has to look for silent clients.
        self.sweep_at = inf
        self.by_client: OrderedDict[int, Window[H]] = OrderedDict()
        # Where the clients forgotten last can be told that the service ends.
        self.away: OrderedDict[int, PeerId] = OrderedDict()
        # The sum of the weights in `_forgotten`.
        self.remembered = 0
        self._forgotten: OrderedDict[int, Ids] = OrderedDict()
        # Whether a process that used this one is gone, by its number.
        self._is_gone: IsGone = _is_here

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn how to tell that a client's process is gone. process: our own."""
        self._is_gone = is_gone

    def __len__(self) -> int:
        return len(self.by_client)

    def __iter__(self) -> Iterator[Window[H]]:
        return iter(self.by_client.values())

    def hear(self, client: int, peer: PeerId, now: float) -> Window[H] | None:
        """Return the window of a client that sent a packet.

        None when there are too many clients, and each of them has requests held here.
        """
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

    def leave(self, client: int) -> None:
        """Note that a client closes; what is remembered of it stays, for duplicates."""
        window = self.by_client.get(client)
        if window is not None:
            window.left = True

    def present(self) -> list[int]:
        """Return the clients that were heard lately and are still there; any thread may ask.

        The others said that they close, or their process is gone.
        """
        return [
            client
            for client, each in list(self.by_client.items())
            if not each.left and not (each.process and self._is_gone(each.process))
        ]

    def forgotten_below(self, client: int) -> int:
        """Return below which number a forgotten client's ids may have been answered."""
        ids = self._forgotten.get(client)
        return 0 if ids is None else ids.forgotten_below

    def sweep(self, now: float) -> None:
        """Forget the clients that were silent for `forget_client_s` and have nothing held."""
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
        """Whether more bytes are retained, or wait to be sent, than the limits allow."""
        budget, limits = self.budget, self._limits
        return (
            budget.bytes > limits.retained_bytes_max
            or budget.waiting > limits.waiting_bytes_max
        )

    def make_room(self) -> int:
        """Evict answers down to nine tenths of the limits; return how many.

        The client that keeps the most bytes loses its oldest answers first. Answers that wait
        to be sent have a limit of their own.
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
        """Whether an answer of `size` bytes may be sent to the client now; else it waits."""
        unread, limits = window.unread.bytes, self._limits
        return (
            not unread
            or unread + size <= limits.client_unread_bytes
            or self.budget.unread + size <= limits.unread_bytes_max
        )

    def has_much_room(self, window: Window[H]) -> bool:
        """Whether the client's requests, which waited for room, may run again.

        Room for one answer is not enough: all requests of the client go back in line at once,
        and would have to leave it again as soon as there is no room.
        """
        unread, limits = window.unread.bytes, self._limits
        return not window.waiting and (
            unread <= limits.client_unread_bytes * 3 // 4
            or self.budget.unread <= limits.unread_bytes_max // 2
        )

    def silent(self, now: float) -> list[Window[H]]:
        """Return the clients that were silent for `forget_client_s`: they read no answers."""
        until = now - self._limits.forget_client_s
        return [window for window in self.by_client.values() if window.heard_at <= until]

    def clear(self) -> None:
        """Forget every client."""
        self.by_client.clear()
        self.away.clear()
        self._forgotten.clear()
        self.remembered = 0
        self.budget.bytes = self.budget.waiting = self.budget.unread = 0
        self.sweep_at = inf

    def check(self) -> None:
        """Assert that no id is both held and answered, and that the bytes add up.

        An answer to a settled id is kept only until the next `free`.
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
        """Open a window, in place of the longest silent client without requests if need be.

        Returns None if there is no such client.
        """
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
            self.away.pop(client, None)  # what may have run is not known any more
