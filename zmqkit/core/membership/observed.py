"""A role of this process of which tools may learn what it counts, and what passes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zmqkit.core.tap import Taps
from zmqkit.model import Reach
from zmqkit.wire.statistics import Figures


@dataclass(slots=True, eq=False)
class Observed:
    """One role whose statistics are told."""

    role: str
    name: str
    incarnation: int
    # How far those may be who are told: on this machine, unless it is open and wants more.
    reach: Reach
    # Returns the rows: first that of the role, then those of its parts. It never waits.
    look: Callable[[float], list[Figures]]
    # Has the role be tapped by these, on any thread, without waiting; None if it cannot be.
    tap: Callable[[Taps], object] | None = None
    # Tells the role when somebody looks, on any thread, without waiting; None if it counts all
    # it has to tell at all times.
    looked: Callable[[float], object] | None = None
    # Whether it has parts that others know by names of their own, such as a broker's services.
    has_parts: bool = False

    def rows(self, now: float) -> list[Figures]:
        """Return the rows, each of which says of which role it is."""
        rows = self.look(now)
        for row in rows:
            row.role, row.name, row.incarnation = self.role, self.name, self.incarnation
        return rows
