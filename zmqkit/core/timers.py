"""One shared wheel of deadlines: a dictionary a slot, a heap of slots, no timer per request."""

from __future__ import annotations

import math
from heapq import heappop, heappush

_SLOTS_PER_S = 64


class Wheel:
    """Keys with deadlines; due ones are given out no earlier and at most 1/64 s late.

    Adding and removing cost one dictionary operation each; memory follows what is present.
    """

    __slots__ = ("_heap", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, dict[int, None]] = {}
        self._heap: list[int] = []

    def add(self, key: int, at: float) -> dict[int, None]:
        """Remember `key` until `at`; gives its slot, out of which it may be popped before."""
        slot = int(at * _SLOTS_PER_S) + 1
        keys = self._slots.get(slot)
        if keys is None:
            keys = self._slots[slot] = {}
            heappush(self._heap, slot)
        keys[key] = None
        return keys

    def due(self, now: float) -> list[int]:
        """Remove and give the keys whose deadline has passed."""
        keys: list[int] = []
        while self._heap and self._heap[0] <= now * _SLOTS_PER_S:
            keys.extend(self._slots.pop(heappop(self._heap)))
        return keys

    def deadline(self) -> float:
        """When `due` has something to give next; infinity when nothing is kept."""
        while self._heap and not self._slots[self._heap[0]]:
            del self._slots[heappop(self._heap)]
        return self._heap[0] / _SLOTS_PER_S if self._heap else math.inf
