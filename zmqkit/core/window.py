"""The reply window: what a service remembers of one client so that a retry is safe.

For each id of a client exactly one of these is true:

    settled    the client said that it needs nothing more: dropped, never run again
    held       queued or running: a duplicate is ignored, a pong names it
    answered   the reply is retained: a duplicate is answered with it
    forgotten  it was answered, but the reply was evicted for space: a duplicate is told so
    new        none of these: accept it
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zmqkit.core.effects import Request
from zmqkit.model import PeerId

_OVERHEAD_BYTES = 64


@dataclass(slots=True)
class Answer:
    """A reply as it is retained: packet kind, encoded row, raw body; no row once evicted."""

    kind: int
    row: bytes
    raw: bytes | None = None
    evicted: bool = False

    @property
    def size(self) -> int:
        """Bytes charged for keeping it."""
        return _OVERHEAD_BYTES + len(self.row) + (len(self.raw) if self.raw else 0)


@dataclass(slots=True, eq=False)
class Budget:
    """The bytes that all windows of a service keep together."""

    bytes: int = 0


@dataclass(slots=True, eq=False)
class Window:
    """One client's ids. `below` and `open_below` with `open` say which are settled."""

    client: int
    peer: PeerId
    heard_at: float
    budget: Budget
    below: int = 0
    open_below: int = 0
    open: frozenset[int] = frozenset()
    held: dict[int, Request] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    bytes: int = 0

    def is_settled(self, sequence: int) -> bool:
        """Whether the client needs nothing more of this id."""
        return sequence < self.below or (
            sequence < self.open_below and sequence not in self.open
        )

    def settle_below(self, sequence: int) -> None:
        """Forget the answers to all ids below; the client has them or gave up."""
        if sequence <= self.below:
            return
        if sequence - self.below <= len(self.answers):
            for number in range(self.below, sequence):
                self._forget(number)
        else:
            for number in [n for n in self.answers if n < sequence]:
                self._forget(number)
        self.below = sequence

    def settle_except(self, open_below: int, still_open: frozenset[int]) -> None:
        """Forget the answers to all ids below `open_below` that are not still open."""
        if open_below < self.open_below:
            return
        self.open_below, self.open = open_below, still_open
        for number in [n for n in self.answers if n < open_below and n not in still_open]:
            self._forget(number)

    def retain(self, sequence: int, answer: Answer) -> None:
        """Keep the answer until the client settles the id."""
        self.answers[sequence] = answer
        self._charge(answer.size)

    def evict(self, bytes_min: int) -> int:
        """Give up the oldest answers until that many bytes are free; gives how many were lost."""
        count = 0
        for answer in self.answers.values():
            if bytes_min <= 0:
                break
            if not answer.evicted:
                freed = answer.size - _OVERHEAD_BYTES
                answer.row, answer.raw, answer.evicted = b"", None, True
                self._charge(-freed)
                bytes_min -= freed
                count += 1
        return count

    def _forget(self, sequence: int) -> None:
        answer = self.answers.pop(sequence, None)
        if answer is not None:
            self._charge(-answer.size)

    def _charge(self, size: int) -> None:
        self.bytes += size
        self.budget.bytes += size
