"""What was handed to ZeroMQ for one client, until it is known that the client has read it.

ZeroMQ keeps what a client does not read, and tells nobody how much that is. So an answer of
some size counts from when it is sent until the client settles its id, or names in a ping the
last pong that it read: what was sent before that pong was read before it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_PONGS_MAX = 64
"""Pongs that a client has not named yet. Beyond that the oldest will do."""


@dataclass(slots=True, eq=False)
class Budget:
    """The bytes of all windows of a service together.

    bytes: of answers that are retained. waiting: of those among them that wait to be sent.
    unread: of what ZeroMQ may have.
    """

    bytes: int = 0
    waiting: int = 0
    unread: int = 0


@dataclass(slots=True, eq=False)
class Unread:
    """By sequence number the bytes that were sent, and when in the order of sending."""

    budget: Budget
    bytes: int = 0
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)
    _count: int = 0
    _pongs: deque[tuple[int, int]] = field(default_factory=deque)

    def add(self, sequence: int, size: int) -> None:
        """An answer was sent, for the first time or again."""
        before, _ = self.sent.pop(sequence, (0, 0))
        self._count += 1
        self.sent[sequence] = (before + size, self._count)
        self.bytes += size
        self.budget.unread += size

    def settle(self, sequence: int) -> None:
        """The client needs nothing more of this id."""
        size, _ = self.sent.pop(sequence)
        self.bytes -= size
        self.budget.unread -= size

    def pong(self, token: int) -> None:
        """A pong is sent, behind all that was sent before."""
        if self.sent and len(self._pongs) < _PONGS_MAX:
            self._pongs.append((token, self._count))

    def read(self, token: int) -> None:
        """The client has read that pong, and so what was sent before it."""
        until = 0
        while self._pongs and self._pongs[0][0] <= token:
            _, until = self._pongs.popleft()
        for sequence, (_, number) in list(self.sent.items()):
            if number > until:
                break
            self.settle(sequence)

    def clear(self) -> None:
        """Its connection is gone, and what ZeroMQ had for it."""
        self.budget.unread -= self.bytes
        self.bytes = 0
        self.sent.clear()
        self._pongs.clear()

    def check(self) -> None:
        """The bytes add up, and the oldest is first."""
        assert self.bytes == sum(size for size, _ in self.sent.values())
        numbers = [number for _, number in self.sent.values()]
        assert numbers == sorted(numbers)
