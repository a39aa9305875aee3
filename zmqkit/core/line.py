"""A waiting line with ten priorities.

Items of priority 9 leave first. Within a priority, items leave in the order they came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from zmqkit.limits import PRIORITY_MAX

Item = TypeVar("Item")


class Line(Generic[Item]):
    """Items by key and priority; joining, leaving early and being served are O(1)."""

    __slots__ = ("_rows", "count")

    def __init__(self) -> None:
        self._rows = [OrderedDict[object, Item]() for _ in range(PRIORITY_MAX + 1)]
        # How many items wait. It equals `len()`, and is cheaper to read.
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Item]:
        for row in reversed(self._rows):
            yield from row.values()

    def join(self, key: object, priority: int, item: Item) -> None:
        """Put an item at the end of its priority's row; its key must not be in line yet."""
        self._rows[priority][key] = item
        self.count += 1

    def leave(self, key: object, priority: int) -> bool:
        """Take an item out of the line; return False if its key was not in line."""
        if self._rows[priority].pop(key, None) is None:
            return False
        self.count -= 1
        return True

    def serve(self) -> Item | None:
        """Remove the next item and return it; None when no item waits."""
        if not self.count:
            return None
        self.count -= 1
        # No generator: an interrupt that comes as it is freed would be lost.
        for row in reversed(self._rows):
            if row:
                return row.popitem(last=False)[1]
        raise AssertionError("items are counted and none is in line")
