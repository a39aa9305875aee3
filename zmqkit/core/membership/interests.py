"""What the roles of this process look for, and which known roles that concerns."""

from __future__ import annotations

from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbour import Life, Neighbour
from zmqkit.core.membership.seed import Seeds
from zmqkit.model import Reach, kind_of

EVERYBODY = "*/*"
"""The key under which every role of every name is wanted."""


def key_of(role: str, name: str) -> str:
    """Return the key under which the instances of a name are wanted."""
    return f"{kind_of(role)}/{name}"


class Interests:
    """The keys that roles of this process want: names, URLs, or EVERYBODY."""

    def __init__(self, known: KnownRoles, seeds: Seeds) -> None:
        self._known = known
        self._seeds = seeds
        self._reaches: dict[str, list[Reach]] = {}  # for each key, the reach of each want
        self.changes = 0  # how often a want was added

    def __contains__(self, key: object) -> bool:
        return key in self._reaches

    def __bool__(self) -> bool:
        return bool(self._reaches)

    @property
    def reach(self) -> Reach:
        """The furthest reach of all wants; LOCAL when there is none."""
        return max((max(each) for each in self._reaches.values()), default=Reach.LOCAL)

    def add(self, key: str, reach: Reach) -> None:
        """Add a want of a key, within that reach."""
        self._reaches.setdefault(key, []).append(reach)
        self.changes += 1

    def remove(self, key: str, reach: Reach) -> bool:
        """Remove a want of a key; return whether it was the last one."""
        if key not in self._reaches:
            return False
        self._reaches[key].remove(reach)
        if self._reaches[key]:
            return False
        del self._reaches[key]
        return True

    def pairs(self) -> list[tuple[str, Reach]]:
        """Return each key with each reach within which it is wanted."""
        return [(key, each) for key, all in self._reaches.items() for each in sorted({*all})]

    def keys(self, process: int, incarnation: int) -> list[str]:
        """Return the keys under which this role of a process is wanted."""
        if not self._known.counts(process, incarnation):
            return []
        records = self._known.by_role[process, incarnation].records
        names = dict.fromkeys(key_of(each.role, each.name) for each in records)
        urls = self._seeds.keys_of(process, incarnation)
        return [key for key in (*names, EVERYBODY, *urls) if key in self._reaches]

    def reaches(self, process: int) -> list[Reach]:
        """Return the reach of each want of a role of the process."""
        return [reach for key in self.keys_of(process) for reach in self._reaches[key]]

    def keys_of(self, process: int) -> dict[str, None]:
        """Return the keys under which any role of the process is wanted."""
        return {key: None for i in self._known.of(process) for key in self.keys(process, i)}

    def found(self, neighbour: Neighbour) -> list[Effect]:
        """Tell those who want the neighbour's roles where to find them.

        A role that was told of before is told again only if its endpoint changed. Nothing is
        told unless the neighbour answers, nor of a role that may be another process's.
        """
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
