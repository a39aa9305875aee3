"""How many processes to be connected to at once, of many that have what is wanted."""

from __future__ import annotations

from zmqkit.core.membership.interests import Interests
from zmqkit.core.membership.neighbours import Neighbours


class Room:
    """Who may be connected to, and whether those who were refused have another turn."""

    def __init__(
        self, neighbours: Neighbours, interests: Interests, connections_max: int
    ) -> None:
        self._neighbours = neighbours
        self._interests = interests
        self._connections_max = connections_max
        self._some_wait = self._is_made = False

    @property
    def is_due(self) -> bool:
        """Whether some wait and there may be room for them now."""
        return self._some_wait and self._is_made

    def takes(self, process: int, *, asked: bool) -> bool:
        """Whether to connect to one more process; if not, it waits.

        asked: that it answers is of use, whatever roles it has.
        """
        wanted = asked or self._interests.has_room(process, self._neighbours.values())
        room = wanted and self._neighbours.open_count() < self._connections_max
        self._some_wait = self._some_wait or not room
        return room

    def make(self) -> None:
        """Somebody is not used any more, or does not answer: others may have a turn."""
        self._interests.recount()
        self._is_made = True

    def opens(self) -> bool:
        """Whether those who wait have their turn now; whoever is refused again waits on."""
        is_due = self.is_due
        if is_due:
            self._some_wait = self._is_made = False
        return is_due
