"""What the roles of this process look for, and which known roles that concerns.

A broker has services that nobody announces: they stand in the directory of its process alone.
So whoever wants a service by name is interested in the process of each broker, whatever it is
called, and asks it; and so is whoever has found a broker's process at the URL of a service. The
same goes for routers, which stand for brokers in all of this.
"""

from __future__ import annotations

from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.neighbour import Life, Neighbour
from zmqkit.core.membership.seed import Seeds
from zmqkit.model import DEVICES, MAJORDOMO, SERVER, Reach, kind_of, kinds_of

EVERYBODY = "*/*"
"""The key under which every role of every name is wanted."""


BROKERS = f"{MAJORDOMO}/*"
"""Stands for all processes of brokers, while any service is wanted."""


def key_of(role: str, name: str) -> str:
    """Return the key under which the instances of a name are wanted."""
    return f"{kind_of(role)}/{name}"


def url_key(role: str, url: str) -> str:
    """Return the key under which the role of that kind at a URL is wanted."""
    return f"{kind_of(role)} {url}"


_SERVICES = (key_of("service", ""), key_of(SERVER, ""))


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
        wanted = self._reaches
        if not wanted:
            return []
        records = self._known.by_role[process, incarnation].records
        names = {f"{k}/{each.name}": None for each in records for k in kinds_of(each.role)}
        urls = self._seeds.keys_of(process, incarnation)
        return [key for key in (*names, EVERYBODY, *urls) if key in wanted]

    def reaches(self, process: int) -> list[Reach]:
        """Return the reach of each want of a role that the process has, or may get."""
        keys = {**self._keys(process), **dict.fromkeys(self._watching(process))}
        return [reach for key in keys for reach in self._reaches[key]]

    def keys_of(self, process: int) -> dict[str, None]:
        """Return the keys under which the process is wanted, for any of its roles or as one."""
        keys = self._keys(process)
        return {**keys, BROKERS: None} if self._watching(process) else keys

    def _keys(self, process: int) -> dict[str, None]:
        return {key: None for i in self._known.of(process) for key in self.keys(process, i)}

    def _watching(self, process: int) -> list[str]:
        """Return the keys of services that the process, if it is a broker's, may get."""
        if not self._known.has_role(process, MAJORDOMO):
            return []
        urls = self._seeds.urls(process, "service") | self._seeds.urls(process, SERVER)
        return [k for k in self._reaches if k.startswith(_SERVICES) or k in urls]

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
            endpoint, is_device = neighbour.endpoint(record.port), record.role in DEVICES
            for key in self.keys(process, incarnation):
                if neighbour.told.get((incarnation, key)) != endpoint:
                    neighbour.told[incarnation, key] = endpoint
                    effects.append(
                        Tell(News.FOUND, key, incarnation, endpoint, is_device=is_device)
                    )
                    if neighbour.silent:
                        effects.append(Tell(News.SILENT, key, incarnation))
        return effects
