"""Waiting lines with ten priorities: items of priority 9 leave first.

Within a priority, items leave a `Line` in the order they came. In a `FairLine` the clients of a
priority take turns, and the items of each client leave in the order they came. So a client with
one request waits behind one request of each other client, however many they sent before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

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


class Waiting(Protocol):
    """What may stand in a fair line."""

    @property
    def ticket(self) -> int:
        """Its number, which nothing else in the line has."""

    @property
    def client(self) -> int:
        """Whose it is."""

    @property
    def priority(self) -> int:
        """From 0 to 9."""


Fair = TypeVar("Fair", bound=Waiting)


class FairLine(Generic[Fair]):
    """Items whose clients take turns; joining, leaving early and being served are O(1)."""

    __slots__ = ("_rows", "count")

    def __init__(self) -> None:
        self._rows = [
            OrderedDict[int, OrderedDict[int, Fair]]() for _ in range(PRIORITY_MAX + 1)
        ]
        # How many items wait.
        self.count = 0

    def __iter__(self) -> Iterator[Fair]:
        for row in reversed(self._rows):
            for theirs in row.values():
                yield from theirs.values()

    def join(self, item: Fair) -> None:
        """Put an item behind those of its client; it must not be in line yet."""
        row = self._rows[item.priority]
        theirs = row.get(item.client)
        if theirs is None:
            theirs = row[item.client] = OrderedDict()
        theirs[item.ticket] = item
        self.count += 1

    def leave(self, item: Fair) -> bool:
        """Take an item out of the line; return False if it was not in line."""
        row = self._rows[item.priority]
        theirs = row.get(item.client)
        if theirs is None or theirs.pop(item.ticket, None) is None:
            return False
        if not theirs:
            del row[item.client]
        self.count -= 1
        return True

    def serve(self) -> Fair | None:
        """Remove the next item and return it; None when no item waits."""
        if not self.count:
            return None
        self.count -= 1
        for row in reversed(self._rows):
            if row:
                client = next(iter(row))
                theirs = row[client]
                item = theirs.popitem(last=False)[1]
                if theirs:
                    row.move_to_end(client)
                else:
                    del row[client]
                return item
        raise AssertionError("items are counted and none is in line")
