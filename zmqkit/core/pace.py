"""When what nobody waits for gathers: once it comes closely, again and again.

Theory of operation. A message that leaves alone costs several microseconds, most of them for
handing it to the link. So once FOLLOW_STREAK of them have come within FOLLOW_S of each other,
not counting what sending took, the next ones gather. What gathers is due when it is full, or
HOLD_S after the first of it; then whoever comes next sends it, or the driver's thread does if
nobody comes. Should fewer have gathered than come within FOLLOW_S of each other, the next one
leaves alone again.
"""

from __future__ import annotations

from math import inf

from zmqkit.limits import FOLLOW_S, FOLLOW_STREAK, HOLD_S


class Pace:
    """How closely the commands of one role follow each other.

    due_at: when what gathers is to leave, infinity while nothing gathers.
    """

    __slots__ = ("_last_at", "_streak", "due_at")

    def __init__(self) -> None:
        self.due_at = inf
        self._last_at = -inf
        self._streak = 0

    def gathers(self, now: float) -> bool:
        """One more comes; whether it is to wait for others."""
        if self.due_at < inf:
            return True
        follows = now - self._last_at < FOLLOW_S
        self._last_at = now
        self._streak = self._streak + 1 if follows else 0
        if self._streak < FOLLOW_STREAK:
            return False
        self.due_at = now + HOLD_S
        return True

    def sent(self, now: float) -> None:
        """Something was sent until now, which took its time: that is not the commands' own."""
        self._last_at = max(self._last_at, now)

    def fill(self) -> None:
        """What gathers is full, and due."""
        self.due_at = -inf

    def left(self, count: int, now: float) -> None:
        """So many that gathered are leaving, or nothing; that takes the sender a moment."""
        if self.due_at == inf:
            return
        age_s = now - (self.due_at - HOLD_S)
        follows = self.due_at == -inf or count * FOLLOW_S >= age_s
        self._streak = FOLLOW_STREAK if follows else 0
        self._last_at = now + HOLD_S if follows else -inf
        self.due_at = inf
