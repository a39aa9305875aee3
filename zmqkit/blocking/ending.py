"""How a blocking role ends: what its close does, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zmqkit.core.effects import Effect


def _at_once(left_s: float) -> float:
    return 0.0


@dataclass(slots=True, frozen=True)
class Ending:
    """The steps of a close that differ between roles."""

    # Returns how much is left undone.
    left: Callable[[], int]
    # Closes the core.
    close: Callable[[], list[Effect]]
    # The first command of the core.
    leave: Callable[[float], list[Effect]] | None = None
    # Works or waits on, until the time it is given.
    drain: Callable[[float], object] | None = None
    # Takes the time that is left, and returns how long the link may still send.
    linger_s: Callable[[float], float] = _at_once
    # Is called after the core is closed, with how much was left.
    over: Callable[[int], object] | None = None
    # Returns the text that the log shows about what was left.
    says: Callable[[int], str] | None = None
