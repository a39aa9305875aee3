"""A waiting line with ten priorities: 9 leaves first, first come first served within one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from zmqkit.limits import PRIORITY_MAX

Item = TypeVar("Item")


class Line(Generic[Item]):
    """Items by key and priority; joining, leaving early and being served are O(1).

    count: how many wait, the same as `len()`. An interrupt in the middle of a change may leave
    it too high, never too low, until the line is served to its end.
    """

    __slots__ = ("_rows", "count")

    def __init__(self) -> None:
        self._rows = [OrderedDict[object, Item]() for _ in range(PRIORITY_MAX + 1)]
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Item]:
        for row in reversed(self._rows):
            yield from row.values()

    def join(self, key: object, priority: int, item: Item) -> None:
        """Stand at the end of the priority's row; the key must not be in line."""
        self.count += 1
        self._rows[priority][key] = item

    def leave(self, key: object, priority: int) -> bool:
        """Step out of the line; false if the key was not in it."""
        if self._rows[priority].pop(key, None) is None:
            return False
        self.count -= 1
        return True

    def serve(self) -> Item | None:
        """Remove and give who is next; None when nobody waits."""
        if not self.count:
            return None
        for row in reversed(self._rows):
            if row:
                item = row.popitem(last=False)[1]
                self.count -= 1
                return item
        self.count = 0
        return None
