"""What all subscribers of a forwarder want together."""

from __future__ import annotations

EVERYTHING = b""


class Wanted:
    """The prefixes that somebody wants; beyond a number of them everything is wanted."""

    def __init__(self, prefixes_max: int) -> None:
        self.prefixes: set[bytes] = set()  # those that are subscribed to
        self._beyond: set[bytes] = set()  # those for which there was no room
        self._prefixes_max = prefixes_max

    def __len__(self) -> int:
        return len(self.prefixes) + len(self._beyond)

    def add(self, prefix: bytes) -> bytes:
        """Note that somebody wants a prefix; return what to subscribe to."""
        if len(self.prefixes) < self._prefixes_max:
            self.prefixes.add(prefix)
            return prefix
        self._beyond.add(prefix)
        return EVERYTHING

    def remove(self, prefix: bytes) -> bytes | None:
        """Note that nobody wants a prefix; return what to end, None for nothing."""
        is_last = prefix in self._beyond and len(self._beyond) == 1
        self._beyond.discard(prefix)
        if is_last and EVERYTHING not in self.prefixes:
            return EVERYTHING
        if prefix not in self.prefixes:
            return None
        self.prefixes.discard(prefix)
        return None if prefix == EVERYTHING and self._beyond else prefix

    def check(self) -> None:
        """Assert that the tables are not too large, and that nothing is in both."""
        assert len(self.prefixes) <= self._prefixes_max
        assert not self.prefixes & self._beyond
