"""The forwarders of a name: a subscriber uses one of them, and the others stand by."""

from __future__ import annotations


class Standby:
    """The forwarders that are known, next ones first, and the one in use."""

    def __init__(self, known_max: int) -> None:
        self.used = 0  # the incarnation of the forwarder in use; 0 for none
        self.known: dict[int, str] = {}  # where each is
        self._silent: set[int] = set()
        self._known_max = known_max

    @property
    def serves(self) -> bool:
        """Whether the process of the forwarder in use answers, as far as is known."""
        return bool(self.used) and self.used not in self._silent

    def found(self, incarnation: int, endpoint: str) -> bool:
        """Note where a forwarder is; return whether it is the one to use now."""
        if incarnation not in self.known and len(self.known) >= self._known_max:
            return False
        self.known[incarnation] = endpoint
        self._silent.discard(incarnation)
        if not self.used or self.used in self._silent:
            self.used = incarnation
        return self.used == incarnation

    def other(self, incarnation: int) -> int:
        """Return the forwarder to use once this one fails or answers again; 0 for none new."""
        if incarnation != self.used:
            return 0 if self.serves or incarnation not in self._silent else incarnation
        others = [i for i in self.known if i != incarnation and i not in self._silent]
        return others[0] if others else 0

    def fail(self, incarnation: int) -> int:
        """Take the next forwarder if this one is in use; return it, or 0 for none.

        The one that failed is last in line.
        """
        other = self.other(incarnation) if incarnation == self.used else 0
        if other:
            self.used = other
            self.known[incarnation] = self.known.pop(incarnation)
        return other

    def hush(self, incarnation: int, *, silent: bool) -> int:
        """Note that the process of a forwarder fell silent, or answers again.

        Returns the forwarder to use in its place, or 0.
        """
        if silent and incarnation in self.known:
            self._silent.add(incarnation)
            return self.fail(incarnation)
        other = self.other(incarnation) if incarnation != self.used else 0
        self._silent.discard(incarnation)
        self.used = other or self.used
        return other

    def lose(self, incarnation: int) -> int:
        """Note that a forwarder is out of reach; return the one to use in its place, or 0."""
        other = self.fail(incarnation)
        self.known.pop(incarnation, None)
        self._silent.discard(incarnation)
        if incarnation == self.used:
            self.used = 0
        return other

    def check(self) -> None:
        """Assert that the tables agree."""
        assert not self.used or self.used in self.known
        assert self._silent <= self.known.keys()
        assert len(self.known) <= self._known_max
