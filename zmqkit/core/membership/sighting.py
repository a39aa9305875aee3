"""What was heard of roles, and from whom: hints, until their process answers itself."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from zmqkit.model import Record, is_loopback
from zmqkit.options import RECORDS_MAX

HELLO, STATIC, PEER = "hello", "static", "peer"
ITS_OWN_WORD = (HELLO, STATIC)
"""Sources that count only while the process answers; discovery's records outlive it."""
ITS_LIST = (HELLO, STATIC, PEER)
"""What it said itself: on our own account, or when a static peer told of it, which outlives it
as discovery's records do."""

Place = tuple[str, int]
"""Where a process may be asked: host and control port."""


def near_first(places: Iterable[Place]) -> list[Place]:
    """The places in order, those on this machine first."""
    return sorted(places, key=lambda place: (not is_loopback(place[0]), place))


@dataclass(slots=True)
class Sighting:
    """One role object as its sources describe it.

    since: when it became known. heard_at: when discovery last spoke of it.
    """

    sources: dict[str, Record]
    since: float
    heard_at: float

    @property
    def record(self) -> Record:
        """What its process says itself, else what anyone says."""
        own = (self.sources[each] for each in ITS_LIST if each in self.sources)
        return next(own, None) or next(iter(self.sources.values()))

    def places(self) -> list[Place]:
        """Where its process may be asked, this machine first."""
        places = {(h, r.control_port) for r in self.sources.values() for h in r.addresses}
        return near_first(places)


class Sightings:
    """Every role that is known of, by incarnation and by process.

    changes: counts what was new, or was forgotten.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.by_incarnation: dict[int, Sighting] = {}
        self._by_process: dict[int, dict[int, None]] = {}

    def processes(self) -> list[int]:
        """All that have a role."""
        return list(self._by_process)

    def of(self, process: int) -> list[int]:
        """The incarnations of a process's roles, none when nothing is known of it."""
        return list(self._by_process.get(process, ()))

    def learn(self, record: Record, source: str, now: float) -> str:
        """Keep what a source says; gives why not, or nothing."""
        sighting = self.by_incarnation.get(record.incarnation)
        if sighting is None:
            if len(self.by_incarnation) >= RECORDS_MAX:
                return "records-full"
            sighting = self.by_incarnation[record.incarnation] = Sighting({}, now, now)
            self._by_process.setdefault(record.process, {})[record.incarnation] = None
        elif sighting.record.process != record.process:
            return "conflict"
        self.changes += sighting.sources.get(source) != record
        sighting.sources[source] = record
        if source not in ITS_LIST:
            sighting.heard_at = now
        return ""

    def is_hearsay(self, record: Record) -> bool:
        """Whether the role was said to be another process's, by others than that itself."""
        sighting = self.by_incarnation.get(record.incarnation)
        if sighting is None or sighting.record.process == record.process:
            return False
        return sighting.sources.keys().isdisjoint(ITS_OWN_WORD)

    def is_listed(self, record: Record) -> bool:
        """Whether the process has said itself what the record says of the role."""
        sighting = self.by_incarnation.get(record.incarnation)
        own = None if sighting is None else sighting.sources.get(HELLO)
        return own is not None and replace(own, addresses=record.addresses) == record

    def unlearn(self, incarnation: int, *sources: str) -> bool:
        """Drop what these sources said; whether anybody else still says something."""
        sighting = self.by_incarnation[incarnation]
        if sighting.sources.keys() <= set(sources):
            return False
        for source in sources:
            self.changes += sighting.sources.pop(source, None) is not None
        return True

    def erase(self, incarnation: int) -> int:
        """Forget a role; gives its process."""
        self.changes += 1
        process = self.by_incarnation.pop(incarnation).record.process
        del self._by_process[process][incarnation]
        if not self._by_process[process]:
            del self._by_process[process]
        return process

    def forget_word(self, process: int) -> None:
        """A process that does not answer vouches for nothing: only discovery's word is left."""
        for incarnation in self.of(process):
            if not self.unlearn(incarnation, *ITS_OWN_WORD):
                self.erase(incarnation)

    def places(self, process: int, *, beyond: bool) -> list[Place]:
        """Where a process may be asked, this machine first; elsewhere only if beyond."""
        places = {
            (host, record.control_port)
            for incarnation in self.of(process)
            for record in self.by_incarnation[incarnation].sources.values()
            for host in record.addresses
        }
        return near_first(p for p in places if beyond or is_loopback(p[0]))

    def unlisted(self, process: int, listed: Container[int]) -> list[int]:
        """The roles of a process that are not among those listed."""
        return [i for i in self.of(process) if i not in listed]

    def check(self) -> None:
        """Both ways to look agree, and somebody says each thing."""
        assert all(sighting.sources for sighting in self.by_incarnation.values())
        assert all(self._by_process.values())
        assert sum(map(len, self._by_process.values())) == len(self.by_incarnation)
        for process, incarnations in self._by_process.items():
            assert all(self.by_incarnation[i].record.process == process for i in incarnations)
