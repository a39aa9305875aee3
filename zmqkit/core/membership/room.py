"""How many processes to connect to at once, of many that have what is wanted."""

from __future__ import annotations

from collections import Counter
from math import inf

from zmqkit.core.membership.interests import Interests
from zmqkit.core.membership.neighbours import Neighbours
from zmqkit.limits import DEVICES_MAX, INSTANCES_MAX, PUBLISHERS_MAX, WORKERS_MAX
from zmqkit.model import MAJORDOMO, SERVER

_PROCESSES_MAX = {
    "service": INSTANCES_MAX,
    "publisher": PUBLISHERS_MAX,
    "worker": WORKERS_MAX,
    SERVER: WORKERS_MAX,
    MAJORDOMO: DEVICES_MAX,
}
"""How many processes with a name are used at once, by kind of role; others have no limit."""


class Room:
    """Which processes may be connected to, and whether those refused have another turn."""

    def __init__(
        self, neighbours: Neighbours, interests: Interests, connections_max: int
    ) -> None:
        self._neighbours = neighbours
        self._interests = interests
        self._connections_max = connections_max
        self._full: set[str] = set()  # keys of which enough processes are connected
        self._some_wait = self._is_made = False

    @property
    def is_due(self) -> bool:
        """Whether processes wait, and there may be room for them now."""
        return self._some_wait and self._is_made

    def takes(self, process: int, *, asked: bool) -> bool:
        """Return whether to connect to one more process; if not, it waits.

        asked: its answer is of use whatever roles it has.
        """
        takes = asked or self._is_lacked(process)
        takes = takes and self._neighbours.open_count() < self._connections_max
        self._some_wait = self._some_wait or not takes
        return takes

    def _is_lacked(self, process: int) -> bool:
        """Whether a role of the process is wanted under a key that has too few processes."""
        lacking = self._interests.keys_of(process).keys() - self._full
        if not lacking or any(_limit_of(key) == inf for key in lacking):
            return bool(lacking)
        up = (each.process for each in self._neighbours.values() if each.is_up)
        counts = Counter(key for each in up for key in self._interests.keys_of(each))
        self._full.update(key for key in lacking if counts[key] >= _limit_of(key))
        return not lacking <= self._full

    def make(self) -> None:
        """Note that there may be room: a process is not used any more or does not answer."""
        self._full.clear()
        self._is_made = True

    def opens(self) -> bool:
        """Return whether the processes that wait have their turn now.

        The caller then tries each of them. A process that is refused again waits on.
        """
        is_due = self.is_due
        if is_due:
            self._some_wait = self._is_made = False
        return is_due


def _limit_of(key: str) -> float:
    return _PROCESSES_MAX.get(key.partition("/")[0], inf)
