"""The reply window: what a service remembers of one client so that a retry is safe.

For each id of a client the first of these that is true says what becomes of it:

    settled    the client said that it needs nothing more: dropped, never run again
    held       queued or running: a duplicate is ignored, a pong names it
    answered   the reply, or the refusal, is retained: a duplicate is answered with it
    forgotten  it may have been answered, but that was given up for space: told so
    new        none of these: accept it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from zmqkit.core.dispatch.request import Request
from zmqkit.core.dispatch.unread import Budget, Unread
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


@dataclass(slots=True, eq=False)
class Window:
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
    held: dict[int, Request] = field(default_factory=dict)
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
