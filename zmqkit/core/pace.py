"""When messages that nobody waits for gather: once they follow each other closely.

Theory of operation. A message that leaves alone costs several microseconds, most of them for
handing it to the link. So once FOLLOW_STREAK messages have come within FOLLOW_S of each other,
the next messages gather. The time that sending takes does not count.

Gathered messages are due when they fill a packet, or HOLD_S after the first of them came. The
next caller then sends them. If no caller comes, the driver's thread sends them. If fewer have
gathered than would come within FOLLOW_S of each other, the next message leaves alone again.
"""

from __future__ import annotations

from math import inf

from zmqkit.limits import FOLLOW_S, FOLLOW_STREAK, HOLD_S


class Pace:
    """How closely the messages of one role follow each other."""

    __slots__ = ("_last_at", "_streak", "due_at", "follow_s", "hold_s")

    def __init__(self, follow_s: float = FOLLOW_S, hold_s: float = HOLD_S) -> None:
        """Messages within `follow_s` of each other gather, for `hold_s` at most."""
        self.follow_s = follow_s
        self.hold_s = hold_s
        # When the gathered messages are to leave; infinity while no message gathers.
        self.due_at = inf
        self._last_at = -inf
        self._streak = 0

    def gathers(self, now: float) -> bool:
        """Take note of a new message; return whether it is to wait for others."""
        if self.due_at < inf:
            return True
        follows = now - self._last_at < self.follow_s
        self._last_at = now
        self._streak = self._streak + 1 if follows else 0
        if self._streak < FOLLOW_STREAK:
            return False
        self.due_at = now + self.hold_s
        return True

    def sent(self, now: float) -> None:
        """Take note that a send ended now; its time does not count as a pause of the caller."""
        self._last_at = max(self._last_at, now)

    def fill(self) -> None:
        """Make the gathered messages due at once, for they fill a packet."""
        self.due_at = -inf

    def left(self, count: int, now: float) -> None:
        """Take note that `count` gathered messages leave now; does nothing if none gather.

        Sending them takes the caller a moment, which does not count as a pause either.
        """
        if self.due_at == inf:
            return
        age_s = now - (self.due_at - self.hold_s)
        follows = self.due_at == -inf or count * self.follow_s >= age_s
        self._streak = FOLLOW_STREAK if follows else 0
        self._last_at = now + self.hold_s if follows else -inf
        self.due_at = inf
