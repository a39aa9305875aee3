"""The roles of other spaces that discovery told of: for explanations, and nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator

from zmqkit.model import Record, kinds_of, space_shown

_Key = tuple[int, int, str]


class Elsewhere:
    """Roles of spaces other than this process's, by process, incarnation and source."""

    def __init__(self, space: str, count_max: int) -> None:
        """space: that of this process. count_max: how many roles are remembered."""
        self.space = space
        self.changes = 0  # counts what was new or was forgotten
        self._count_max = count_max
        self._records: dict[_Key, Record] = {}  # the one heard first is first
        self._since: dict[_Key, float] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def heard(self) -> Iterator[tuple[Record, str, float]]:
        """Return what was heard of roles, each with its source and since when."""
        for key, record in self._records.items():
            yield record, key[2], self._since[key]

    def takes(self, record: Record, source: str, now: float) -> bool:
        """Return whether a record is of another space; if so, remember it.

        Where there is no room, the oldest one is forgotten.
        """
        if record.space == self.space:
            return False
        key = _key(record, source)
        if self._records.get(key) != record:
            self.changes += 1
        self._records[key] = record
        self._since.setdefault(key, now)
        if len(self._records) > self._count_max:
            self._forget(next(iter(self._records)))
        return True

    def drops(self, record: Record, source: str) -> bool:
        """Return whether a record that ended is of another space; if so, forget it."""
        if record.space == self.space:
            return False
        key = _key(record, source)
        if key in self._records:
            self._forget(key)
        return True

    def _forget(self, key: _Key) -> None:
        self.changes += 1
        del self._records[key], self._since[key]

    def explain(self, kind: str, name: str) -> str:
        """Return that a role of this kind and name is in another space; nothing if none is."""
        there = {e.space for e in self if e.name == name and kind in kinds_of(e.role)}
        if not there:
            return ""
        found, ours = min(there), space_shown(self.space)
        return f"one is in {space_shown(found)}, and this is {ours}: {how_to_enter(found)}"


def how_to_enter(space: str) -> str:
    """Return how a program gets into a space."""
    if not space:
        return "leave ZMQKIT_SPACE unset, or use space=''"
    return f"set ZMQKIT_SPACE={space}, or use space={space!r}"


def refusal(place: str, theirs: str, ours: str) -> str:
    """Return why a process at an address is not used: it is in another space than this one."""
    return (
        f"the process at {place} is in {space_shown(theirs)}, and this is {space_shown(ours)}: "
        f"{how_to_enter(theirs)}"
    )


def _key(record: Record, source: str) -> _Key:
    return record.process, record.incarnation, source
