"""How many requests a broker holds, for all of its services together."""

from __future__ import annotations


class Room:
    """Counts the requests, and their bytes, that are held; says how many more there may be."""

    __slots__ = ("_bytes_max", "_count_max", "bytes", "count")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self.count = 0
        self.bytes = 0
        self._count_max = count_max
        self._bytes_max = bytes_max

    @property
    def free(self) -> int:
        """How many more requests may come now; none while they take too many bytes."""
        return max(0, self._count_max - self.count) if self.bytes < self._bytes_max else 0
