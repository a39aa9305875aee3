"""One shared wheel of deadlines: a list a slot, a heap of slots, no timer per request."""

from __future__ import annotations

import math
from heapq import heappop, heappush

_SLOTS_PER_S = 64


class Wheel:
    """Keys with deadlines; due ones are given out no earlier and at most 1/64 s late.

    A key is not taken back: whoever gets one that means nothing any more lets it pass.
    """

    __slots__ = ("_heap", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}
        self._heap: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def add(self, key: int, at: float) -> None:
        """Remember `key` until `at`."""
        slot = int(at * _SLOTS_PER_S) + 1
        keys = self._slots.get(slot)
        if keys is None:
            keys = self._slots[slot] = []
            heappush(self._heap, slot)
        keys.append(key)

    def due(self, now: float) -> list[int]:
        """Remove and give the keys whose deadline has passed."""
        keys: list[int] = []
        while self._heap and self._heap[0] <= now * _SLOTS_PER_S:
            keys.extend(self._slots.pop(heappop(self._heap)))
        return keys

    def deadline(self) -> float:
        """When `due` has something to give next; infinity when nothing is kept."""
        return self._heap[0] / _SLOTS_PER_S if self._heap else math.inf
