"""Virtual time: the events that are due, in order, and the random numbers of one seed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from random import Random

START_AT = 1000.0


class Timeline:
    """A clock that stands still while something happens, and a diary of what happened.

    The same seed makes the same diary. Compare diaries by their `digest`.
    """

    def __init__(self, seed: int, *, keep: bool = False) -> None:
        """Start the clock. `keep` keeps the lines of the diary beside their digest."""
        self.now = START_AT
        self.random = Random(seed)
        self.lines: list[str] = []
        self._keep = keep
        self._hash = blake2b(digest_size=16)
        self._numbers = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def digest(self) -> str:
        """A hash of everything that was noted so far."""
        return self._hash.hexdigest()

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Call `action` at a point in time, now at the earliest."""
        heappush(self._heap, (max(when, self.now), next(self._numbers), action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Call `action` after `delay_s`."""
        self.at(self.now + delay_s, action)

    def run_until(self, end_at: float) -> None:
        """Let everything happen that is due by `end_at`."""
        while self._heap and self._heap[0][0] <= end_at:
            self.now, _, action = heappop(self._heap)
            action()
        self.now = end_at

    def note(self, text: str) -> None:
        """Write a line into the diary."""
        line = f"{self.now - START_AT:.6f} {text}"
        self._hash.update(line.encode())
        if self._keep:
            self.lines.append(line)
