"""One shared wheel of deadlines: a heap of time slots, and a list of keys for each slot."""

from __future__ import annotations

import math
from heapq import heappop, heappush

_SLOTS_PER_S = 64


class Wheel:
    """Keys with deadlines; `due` returns a key no earlier, and at most 1/64 s late.

    A key cannot be removed early. The caller ignores a key that means nothing any more.
    """

    __slots__ = ("_heap", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}
        self._heap: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def add(self, key: int, at: float) -> None:
        """Keep `key` until its deadline `at`."""
        slot = int(at * _SLOTS_PER_S) + 1
        keys = self._slots.get(slot)
        if keys is None:
            keys = self._slots[slot] = []
            heappush(self._heap, slot)
        keys.append(key)

    def due(self, now: float) -> list[int]:
        """Remove and return the keys whose deadlines have passed."""
        keys: list[int] = []
        while self._heap and self._heap[0] <= now * _SLOTS_PER_S:
            keys.extend(self._slots.pop(heappop(self._heap)))
        return keys

    def deadline(self) -> float:
        """Return when `due` next has keys to return; infinity when no key is kept."""
        return self._heap[0] / _SLOTS_PER_S if self._heap else math.inf
