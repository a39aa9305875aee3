"""How much was handed to ZeroMQ for one client and may not have been read yet.

ZeroMQ keeps what a client does not read, and does not tell how much that is. So the service
counts each large answer from when it is sent until one of these happens:

- the client settles the answer's id;
- the client names, in a ping, the last pong that it read. It reads in order, so it has read
  every answer that was sent before that pong.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_PONGS_MAX = 64
"""How many pongs that the client has not named are remembered; later ones are not."""


@dataclass(slots=True, eq=False)
class Budget:
    """How many bytes the windows of all clients of a service keep together."""

    # Of the answers that are retained.
    bytes: int = 0
    # Of those retained answers that wait to be sent.
    waiting: int = 0
    # Of the sent answers that may not have been read, so that ZeroMQ may still keep them.
    unread: int = 0


@dataclass(slots=True, eq=False)
class Unread:
    """The answers that were sent to one client and may not have been read."""

    budget: Budget
    # The sum of the bytes in `sent`.
    bytes: int = 0
    # By sequence number: the bytes sent, and the place in the order of sending.
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)
    # How many answers were sent so far; the last one's place in that order.
    _count: int = 0
    # The token of each pong, and how many answers were sent before it.
    _pongs: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, sequence: int, size: int) -> None:
        """Count an answer that is sent, for the first time or again."""
        before, _ = self.sent.pop(sequence, (0, 0))
        self._count += 1
        self.sent[sequence] = (before + size, self._count)
        self.bytes += size
        self.budget.unread += size

    def settle(self, sequence: int) -> None:
        """Stop counting an answer, for the client needs nothing more of this id."""
        size, _ = self.sent.pop(sequence)
        self.bytes -= size
        self.budget.unread -= size

    def pong(self, token: int) -> None:
        """Remember that a pong is sent after all the answers so far."""
        if self.sent and len(self._pongs) < _PONGS_MAX:
            self._pongs.append((token, self._count))

    def read(self, token: int) -> None:
        """Stop counting what was sent before the pong `token`, which the client has read."""
        until = 0
        while self._pongs and self._pongs[0][0] <= token:
            _, until = self._pongs.popleft()
        for sequence, (_, number) in list(self.sent.items()):
            if number > until:
                break
            self.settle(sequence)

    def clear(self) -> None:
        """Count nothing any more: the connection is gone, and what ZeroMQ kept for it."""
        self.budget.unread -= self.bytes
        self.bytes = 0
        self.sent.clear()
        self._pongs.clear()

    def check(self) -> None:
        """Assert that the bytes add up, and that the oldest answer is first."""
        assert self.bytes == sum(size for size, _ in self.sent.values())
        numbers = [number for _, number in self.sent.values()]
        assert numbers == sorted(numbers)
