"""What the roles of this process look for, and which sightings that concerns."""

from __future__ import annotations

from zmqkit.core.effects import Effect, Tell
from zmqkit.core.membership.neighbour import Life, Neighbour
from zmqkit.core.membership.seed import Seeds
from zmqkit.core.membership.sighting import Sightings

EVERYBODY = "*/*"
"""The key of those who want to know about every role of every name."""


def key_of(role: str, name: str) -> str:
    """The key under which the instances of a name are wanted."""
    return f"{role}/{name}"


class Wants:
    """Keys, each wanted by one or more: a name, a URL, or everybody.

    changes: counts what was added.
    """

    def __init__(self, known: Sightings, seeds: Seeds) -> None:
        self._known = known
        self._seeds = seeds
        self._opens: dict[str, list[bool]] = {}
        self.changes = 0

    def __contains__(self, key: object) -> bool:
        return key in self._opens

    def __bool__(self) -> bool:
        return bool(self._opens)

    @property
    def beyond(self) -> bool:
        """Whether anything is wanted beyond this machine."""
        return any(open for opens in self._opens.values() for open in opens)

    def add(self, key: str, *, open: bool) -> None:
        """One more wants this, beyond this machine only if open."""
        self._opens.setdefault(key, []).append(open)
        self.changes += 1

    def remove(self, key: str, *, open: bool) -> bool:
        """One no longer does; whether that was the last who wanted it."""
        if key not in self._opens:
            return False
        self._opens[key].remove(open)
        if self._opens[key]:
            return False
        del self._opens[key]
        return True

    def pairs(self) -> list[tuple[str, bool]]:
        """Each key, with whether somebody who wants it looks beyond this machine, and not."""
        return [(key, open) for key, opens in self._opens.items() for open in sorted({*opens})]

    def keys(self, incarnation: int) -> list[str]:
        """The keys under which somebody wants this instance."""
        record = self._known.by_incarnation[incarnation].record
        urls = self._seeds.keys_of(record.process, incarnation)
        keys = (key_of(record.role, record.name), EVERYBODY, *urls)
        return [key for key in keys if key in self._opens]

    def opens(self, process: int) -> list[bool]:
        """For each who wants a role of the process, whether it reaches beyond this machine."""
        keys = {key: None for i in self._known.of(process) for key in self.keys(i)}
        return [open for key in keys for open in self._opens[key]]

    def found(self, neighbour: Neighbour) -> list[Effect]:
        """Tell of each role that answers, and that its readers do not know of, or not there."""
        effects: list[Effect] = []
        if neighbour.life is not Life.ALIVE:
            return effects
        for incarnation in self._known.of(neighbour.process):
            record = self._known.by_incarnation[incarnation].record
            endpoint = neighbour.endpoint(record.port)
            for key in self.keys(incarnation):
                if neighbour.told.get((incarnation, key)) != endpoint:
                    neighbour.told[incarnation, key] = endpoint
                    effects.append(Tell("found", key, incarnation, endpoint))
                    if neighbour.silent:
                        effects.append(Tell("silent", key, incarnation))
        return effects
