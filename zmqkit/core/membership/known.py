"""What was heard of roles, and from whom: hints, until their process answers itself.

Anybody may announce anything, so no record replaces what another source said. A role is known
by its process and its incarnation. Each record of a role is known by its source, its label and
its port. All addresses are asked.

Several processes may be said to have the same role. The process that answers and lists the role
is its owner; from then on the others count for nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from zmqkit.limits import MembershipLimits
from zmqkit.model import Address, Reach, Record, kind_of

HELLO, STATIC, PEER = "hello", "static", "peer"
ITS_OWN_WORD = (HELLO, STATIC)
"""Sources that count only while the process answers; discovery's records outlive that."""
ITS_LIST = (HELLO, STATIC, PEER)
"""Sources of what a process said itself. PEER: it was asked because a static peer told of it.
What was said that way outlives its answers, as discovery's records do."""


def near_first(addresses: Iterable[Address]) -> list[Address]:
    """Return the addresses in order, the nearest first."""
    return sorted(addresses, key=lambda each: (each.reach, each))


RoleId = tuple[int, int]
"""A role object: its process and its incarnation."""
Claim = tuple[str, str, int]
"""Who says something of a role: the source and, for discovery's, the label and control port."""


@dataclass(slots=True)
class KnownRole:
    """One role object as its sources describe it."""

    claims: dict[Claim, Record]  # what each source says, the oldest first
    since: float  # when it became known
    heard_at: float  # when discovery last spoke of it

    @property
    def own(self) -> Record | None:
        """What its process says itself; None if it says nothing."""
        for source in ITS_LIST:
            if (own := self.claims.get((source, "", 0))) is not None:
                return own
        return None

    @property
    def record(self) -> Record:
        """What its process says itself, else the oldest claim."""
        return self.own or next(iter(self.claims.values()))

    @property
    def records(self) -> list[Record]:
        """What its process says itself, else all claims."""
        own = self.own
        return [*self.claims.values()] if own is None else [own]

    @property
    def sources(self) -> set[str]:
        """The sources that say anything of it."""
        return {source for source, _, _ in self.claims}

    def addresses(self) -> list[Address]:
        """Return where its process may be asked, the nearest address first."""
        return near_first(
            {Address(h, r.control_port) for r in self.claims.values() for h in r.addresses}
        )

    def claim(self, record: Record, source: str, claims_max: int) -> bool:
        """Keep what a source says, and return whether it is new.

        If discovery made too many claims already, this one replaces the oldest of them.
        """
        claim = _claim(record, source)
        is_new = self.claims.get(claim) != record
        hearsay = [each for each in self.claims if each[0] not in ITS_LIST]
        if claim not in self.claims and claim[1] and len(hearsay) >= claims_max:
            del self.claims[hearsay[0]]
        self.claims[claim] = record
        return is_new


def _claim(record: Record, source: str) -> Claim:
    own = source in ITS_LIST
    return (source, "" if own else record.label, 0 if own else record.control_port)


class KnownRoles:
    """Every role that is known of, by process and incarnation."""

    def __init__(self, limits: MembershipLimits) -> None:
        self._limits = limits
        self.changes = 0  # counts what was new or was forgotten
        self.by_role: dict[RoleId, KnownRole] = {}
        # By incarnation, the process that said that this role is its own.
        self.owners: dict[int, int] = {}
        # Incarnations that have just lost their owner: other processes that are said to have
        # them count again.
        self.freed: set[int] = set()
        self._by_process: dict[int, dict[int, None]] = {}
        self._by_incarnation: dict[int, dict[int, None]] = {}

    def processes(self) -> list[int]:
        """Return all processes that have a role."""
        return list(self._by_process)

    def of(self, process: int) -> list[int]:
        """Return the incarnations of a process's roles, none when nothing is known of it."""
        return list(self._by_process.get(process, ()))

    def has_role(self, process: int, role: str) -> bool:
        """Whether a process is said to have a role used as this one, and no other owns that."""
        return any(
            kind_of(each.role) == role
            for incarnation in self.of(process)
            if self.counts(process, incarnation)
            for each in self.by_role[process, incarnation].records
        )

    def rivals(self, process: int, incarnation: int) -> list[int]:
        """Return the other processes said to have the same role, the longest known first."""
        return [each for each in self._by_incarnation.get(incarnation, ()) if each != process]

    def counts(self, process: int, incarnation: int) -> bool:
        """Whether a role may be this process's: no other process said that it is its own."""
        return self.owners.get(incarnation, process) == process

    def is_settled(self, process: int, incarnation: int) -> bool:
        """Whether a role is this process's: it says so, or no other is said to have it."""
        owner = self.owners.get(incarnation)
        return owner == process or (owner is None and not self.rivals(process, incarnation))

    def learn(self, record: Record, source: str, now: float) -> str:
        """Keep what a source says; return "", or the reason why it was refused."""
        role = process, incarnation = record.process, record.incarnation
        if source in ITS_OWN_WORD and not self.counts(process, incarnation):
            return "conflict"
        entry = self.by_role.get(role)
        if entry is None:
            if len(self.by_role) >= self._limits.known_max:
                return "records-full"
            entry = self.by_role[role] = KnownRole({}, now, now)
            self._by_process.setdefault(process, {})[incarnation] = None
            self._by_incarnation.setdefault(incarnation, {})[process] = None
        self.changes += entry.claim(record, source, self._limits.claims_max)
        if source in ITS_OWN_WORD:
            self.owners[incarnation] = process
        if source not in ITS_LIST:
            entry.heard_at = now
        return ""

    def has_heard(self, record: Record, source: str) -> bool:
        """Whether what a source says is kept."""
        entry = self.by_role.get((record.process, record.incarnation))
        return entry is not None and entry.claims.get(_claim(record, source)) == record

    def surplus(self, record: Record) -> int:
        """Return the rival to forget, so that the record's process has room; 0 for none."""
        rivals = self.rivals(record.process, record.incarnation)
        if len(rivals) < self._limits.rivals_max:
            return 0
        owner = self.owners.get(record.incarnation)
        return next(each for each in rivals if each != owner)

    def is_listed(self, record: Record) -> bool:
        """Whether the process itself said what the record says of the role."""
        entry = self.by_role.get((record.process, record.incarnation))
        own = None if entry is None else entry.claims.get((HELLO, "", 0))
        return own is not None and replace(own, addresses=record.addresses) == record

    def unlearn(self, role: RoleId, *sources: str, label: str = "") -> bool:
        """Drop what these sources said of a role, or only what they said under one label.

        Returns false, and drops nothing, if no other claim would be left: then use `erase`.
        """
        claims = self.by_role[role].claims
        over = [each for each in claims if each[0] in sources and label in ("", each[1])]
        if len(over) == len(claims):
            return False
        for claim in over:
            self.changes += 1
            del claims[claim]
        self._disown(role)
        return True

    def erase(self, role: RoleId) -> None:
        """Forget a role of a process."""
        self.changes += 1
        del self.by_role[role]
        process, incarnation = role
        _remove(self._by_process, process, incarnation)
        _remove(self._by_incarnation, incarnation, process)
        self._disown(role)

    def _disown(self, role: RoleId) -> None:
        """Take the role from its owner, if that process says no more that it has the role."""
        process, incarnation = role
        entry = self.by_role.get(role)
        if self.owners.get(incarnation) == process and (
            entry is None or entry.sources.isdisjoint(ITS_OWN_WORD)
        ):
            del self.owners[incarnation]
            if self.rivals(process, incarnation):
                self.freed.add(incarnation)

    def forget_word(self, process: int) -> None:
        """Forget what a process that does not answer said itself; roles without claims go."""
        for incarnation in self.of(process):
            if not self.unlearn((process, incarnation), *ITS_OWN_WORD):
                self.erase((process, incarnation))

    def addresses(self, process: int, reach: Reach) -> list[Address]:
        """Return where a process may be asked within that reach, the nearest address first."""
        addresses = {
            address
            for incarnation in self.of(process)
            for address in self.by_role[process, incarnation].addresses()
        }
        return near_first(each for each in addresses if each.reach <= reach)

    def unlisted(self, process: int, listed: Container[int]) -> list[int]:
        """Return the roles of a process that are not among those listed."""
        return [i for i in self.of(process) if i not in listed]

    def check(self) -> None:
        """Assert that the tables agree and that each role has a claim."""
        assert all(entry.claims for entry in self.by_role.values())
        roles = [(p, i) for p, incarnations in self._by_process.items() for i in incarnations]
        assert self.by_role.keys() == {*roles} and len(roles) == len(self.by_role)
        roles = [(p, i) for i, processes in self._by_incarnation.items() for p in processes]
        assert self.by_role.keys() == {*roles} and len(roles) == len(self.by_role)
        assert all(map(len, self._by_process.values()))
        most = self._limits.rivals_max + 1
        assert all(0 < len(each) <= most for each in self._by_incarnation.values())
        for (process, incarnation), entry in self.by_role.items():
            own = any(source in ITS_OWN_WORD for source, _, _ in entry.claims)
            assert own == (self.owners.get(incarnation) == process)
            for each in entry.claims.values():
                assert each.process == process and each.incarnation == incarnation


def _remove(table: dict[int, dict[int, None]], key: int, value: int) -> None:
    del table[key][value]
    if not table[key]:
        del table[key]
