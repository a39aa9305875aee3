"""Whether a subscriber hears the publishers that it found, or a forwarder in their place.

Once a forwarder has been in place for TURN_S, the subscriber leaves its publishers, so that
each sends to the forwarder alone. Both ways are open until then, so turning loses nothing. It
keeps where they are, and returns to them at once when no forwarder serves it any more.
"""

from __future__ import annotations

from math import inf

from zmqkit.limits import TURN_S


class Turning:
    """Which way a subscriber hears its publishers, and where those are that it left."""

    def __init__(self) -> None:
        # Whether publishers are left for a forwarder.
        self.uses_forwarder = False
        # When to look again.
        self.due_at = inf
        # Where the publishers are that were left, or were found since, by incarnation.
        self.left: dict[int, str] = {}

    def look(
        self, now: float, *, serves: bool, in_place: bool, lacks: bool, hears: bool
    ) -> bool:
        """Return whether to turn now, one way or the other.

        serves: a forwarder is there, and has what is wanted of it. in_place: it has all
        subscriptions. lacks: publishers are asked for something, or the forwarder where its
        topics end. hears: publishers have answered, so messages may be under way from them;
        else it can turn at once.
        """
        if self.uses_forwarder:
            self.uses_forwarder = serves
            return not serves
        if not in_place:
            self.due_at = inf
            return False
        if lacks or self.due_at == inf:
            self.due_at = now + TURN_S * (hears or lacks)
        if now < self.due_at:
            return False
        self.uses_forwarder, self.due_at = True, inf
        return True
