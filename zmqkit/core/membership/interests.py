"""What the roles of this process look for, and which known roles that concerns."""

from __future__ import annotations

from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbour import Life, Neighbour
from zmqkit.core.membership.seed import Seeds
from zmqkit.model import Reach

EVERYBODY = "*/*"
"""The key of those who want to know about every role of every name."""


def key_of(role: str, name: str) -> str:
    """The key under which the instances of a name are wanted."""
    return f"{role}/{name}"


class Interests:
    """Keys, each wanted by one or more: a name, a URL, or everybody.

    changes: counts what was added.
    """

    def __init__(self, known: KnownRoles, seeds: Seeds) -> None:
        self._known = known
        self._seeds = seeds
        self._reaches: dict[str, list[Reach]] = {}
        self.changes = 0

    def __contains__(self, key: object) -> bool:
        return key in self._reaches

    def __bool__(self) -> bool:
        return bool(self._reaches)

    @property
    def reach(self) -> Reach:
        """How far whoever wants anything reaches."""
        return max((max(each) for each in self._reaches.values()), default=Reach.LOCAL)

    def add(self, key: str, reach: Reach) -> None:
        """One more who reaches so far wants this."""
        self._reaches.setdefault(key, []).append(reach)
        self.changes += 1

    def remove(self, key: str, reach: Reach) -> bool:
        """One no longer does; whether that was the last who wanted it."""
        if key not in self._reaches:
            return False
        self._reaches[key].remove(reach)
        if self._reaches[key]:
            return False
        del self._reaches[key]
        return True

    def pairs(self) -> list[tuple[str, Reach]]:
        """Each key with each reach of those who want it."""
        return [(key, each) for key, all in self._reaches.items() for each in sorted({*all})]

    def keys(self, process: int, incarnation: int) -> list[str]:
        """The keys under which somebody wants this role of a process."""
        if not self._known.counts(process, incarnation):
            return []
        records = self._known.by_role[process, incarnation].records
        names = dict.fromkeys(key_of(each.role, each.name) for each in records)
        urls = self._seeds.keys_of(process, incarnation)
        return [key for key in (*names, EVERYBODY, *urls) if key in self._reaches]

    def reaches(self, process: int) -> list[Reach]:
        """For each who wants a role of the process, how far it reaches."""
        return [reach for key in self.keys_of(process) for reach in self._reaches[key]]

    def keys_of(self, process: int) -> dict[str, None]:
        """The keys under which somebody wants a role of the process."""
        return {key: None for i in self._known.of(process) for key in self.keys(process, i)}

    def found(self, neighbour: Neighbour) -> list[Effect]:
        """Tell of each role that answers, and that its readers do not know of, or not there."""
        effects: list[Effect] = []
        if neighbour.life is not Life.ALIVE:
            return effects
        process = neighbour.process
        for incarnation in self._known.of(process):
            if not self._known.is_settled(process, incarnation):
                continue
            record = self._known.by_role[process, incarnation].record
            endpoint = neighbour.endpoint(record.port)
            for key in self.keys(process, incarnation):
                if neighbour.told.get((incarnation, key)) != endpoint:
                    neighbour.told[incarnation, key] = endpoint
                    effects.append(Tell(News.FOUND, key, incarnation, endpoint))
                    if neighbour.silent:
                        effects.append(Tell(News.SILENT, key, incarnation))
        return effects
