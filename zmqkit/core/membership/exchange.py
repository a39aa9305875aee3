"""What processes tell each other of others, where multicast does not reach.

Whoever asks a static peer for others says where it may be asked itself. That is a
`Registration` there, of which others who ask are told, as long as it says something. Whom a
static peer tells of is a `Referral`: it is asked itself before anything of it counts, a few at
a time, and forgotten when nobody tells of it any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from math import inf

from zmqkit.core.membership.known import ITS_LIST, PEER, KnownRoles
from zmqkit.limits import (
    HELLO_S,
    HELLO_S_MAX,
    PING_S,
    PLACES_MAX,
    PROCESSES_MAX,
    MembershipLimits,
)
from zmqkit.model import Address, PeerId, Reach
from zmqkit.wire.encoding import Malformed


@dataclass(slots=True, frozen=True)
class Contact:
    """A process, where it may be asked, and a number that changes whenever its roles do."""

    process: int
    revision: int
    addresses: tuple[Address, ...]

    def seen_from(self, reach: Reach) -> Contact:
        """The same as it is seen over a connection of that reach: loopback is here alone."""
        addresses = tuple(each for each in self.addresses if each.reach >= reach)
        return Contact(self.process, self.revision, addresses)

    def row(self) -> list[object]:
        """How it stands in a WELCOME."""
        return [self.process, self.revision, rows_of(self.addresses)]


def at_first_hand(known: KnownRoles, process: int) -> Contact:
    """Where a process may be asked as its announcements or it itself say, and no third party.

    What it says itself does not count if it was asked because a third party told of it: two who
    tell each other would vouch for one another. Its revision is made of its roles, for its own
    is not known here.
    """
    addresses: set[Address] = set()
    revision = 0
    for incarnation in known.of(process):
        entry = known.by_role[process, incarnation]
        passed_on = ITS_LIST if PEER in entry.sources else ()
        for (source, _, _), record in entry.claims.items():
            if source not in passed_on:
                hosts = filter(means_one_host, record.addresses)
                addresses.update(Address(host, record.control_port) for host in hosts)
        revision ^= incarnation >> 1
    return Contact(process, revision, tuple(sorted(addresses)[:PLACES_MAX]))


def rows_of(addresses: Iterable[Address]) -> list[list[object]]:
    """Addresses as they travel."""
    return [[host, port] for host, port in addresses]


def read_addresses(value: object) -> tuple[Address, ...]:
    """Addresses as they arrive, else Malformed: those that mean the same to everybody."""
    if type(value) is not list or len(value) > PLACES_MAX:
        raise Malformed("places")
    return tuple(map(_read_address, value))


def _read_address(row: object) -> Address:
    if type(row) is not list or [type(x) for x in row] != [str, int]:
        raise Malformed("places")
    host, port = row
    if not (means_one_host(host) and 0 < port < 1 << 16):
        raise Malformed("places")
    return Address(host, port)


def means_one_host(host: str) -> bool:
    """Whether it is the address of one host, the same for all who read it.

    That of a link, `fe80::1%eth0`, has a scope that only its own host can name.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_link_local)


def read_others(value: object) -> list[Contact]:
    """The other processes in a WELCOME, else Malformed."""
    if type(value) is not list or len(value) > PROCESSES_MAX:
        raise Malformed("others")
    return list(map(_read_other, value))


def _read_other(row: object) -> Contact:
    if type(row) is not list or [type(x) for x in row] != [int, int, list]:
        raise Malformed("others")
    process, revision, addresses = row
    if not 0 < process < 1 << 64:
        raise Malformed("others")
    return Contact(process, revision, read_addresses(addresses))


@dataclass(slots=True, eq=False)
class Registration:
    """One connection over which a process asked. heard_at: when it last said anything."""

    contact: Contact
    heard_at: float


class Registrations:
    """Those who asked, by connection, so that nobody can speak for another.

    revision: changes whenever the answer to who is there does.
    """

    def __init__(self, limits: MembershipLimits) -> None:
        self._limits = limits
        self.revision = 0
        self._by_peer: dict[PeerId, Registration] = {}  # the one silent for longest first

    def __len__(self) -> int:
        return len(self._by_peer)

    def __contains__(self, peer: object) -> bool:
        return peer in self._by_peer

    def admit(self, peer: PeerId, contact: Contact, now: float) -> bool:
        """Remember what a process tells of itself; false when there is no room for it."""
        before = self._by_peer.pop(peer, None)
        if before is None and len(self._by_peer) >= self._limits.processes_max:
            return False
        self._by_peer[peer] = Registration(contact, now)
        was = before.contact if before is not None and before.contact.addresses else None
        self.revision += was != (contact if contact.addresses else None)
        return True

    def heard(self, peer: PeerId, now: float) -> None:
        """The process said something: it is still there."""
        registration = self._by_peer.pop(peer, None)
        if registration is not None:
            registration.heard_at = now
            self._by_peer[peer] = registration

    def others(self, reach: Reach) -> dict[int, Contact]:
        """Each process that may be asked."""
        found: dict[int, Contact] = {}
        for each in self._by_peer.values():
            contact = each.contact.seen_from(reach)
            if contact.addresses:
                found[contact.process] = contact
        return found

    def tick(self, now: float) -> None:
        """Forget those who are silent, unless it was this process that slept."""
        slept = now - self.deadline() > PING_S
        for peer, each in list(self._by_peer.items()):
            if slept:
                each.heard_at = now
            elif now < each.heard_at + self._limits.registered_s:
                break
            else:
                del self._by_peer[peer]
                self.revision += bool(each.contact.addresses)

    def deadline(self) -> float:
        """When `tick` is due next."""
        for each in self._by_peer.values():
            return each.heard_at + self._limits.registered_s
        return inf

    def check(self) -> None:
        """No more than there is room for, the one silent for longest first."""
        heard = [each.heard_at for each in self._by_peer.values()]
        assert len(heard) <= self._limits.processes_max and heard == sorted(heard)


@dataclass(slots=True, eq=False)
class Referral:
    """One process as others tell of it.

    tellers: what each says. changes: counts what was new in that. asking, asked: the changes
    when it was last asked, and when it last answered. next_at: not to be asked before.
    """

    tellers: dict[int, Contact] = field(default_factory=dict)
    changes: int = 0
    asking: int = 0
    asked: int = 0
    next_at: float = 0.0
    pause_s: float = HELLO_S

    def addresses(self, reach: Reach) -> set[Address]:
        """Where it may be asked by those who reach so far."""
        told = (address for each in self.tellers.values() for address in each.addresses)
        return {each for each in told if each.reach <= reach}


class Referrals:
    """All that static peers tell of, by process; a few at a time are asked."""

    def __init__(self, us: int, refused: Counter[str], limits: MembershipLimits) -> None:
        """refused: counts what was passed over, by the reason."""
        self._limits = limits
        self._us = us
        self._refused = refused
        self._by_process: dict[int, Referral] = {}
        self._asking: dict[int, None] = {}
        self._lost: dict[int, float] = {}
        self._next_at = inf

    def __contains__(self, process: object) -> bool:
        return process in self._by_process

    def told(self, teller: int, reach: Reach, others: list[Contact], now: float) -> list[int]:
        """Take all that one process tells; gives those of whom nobody tells any more.

        reach: of its connection. Of this machine it can know only if it is here as well.
        """
        self._lost.pop(teller, None)
        seen = [each.seen_from(reach) for each in others]
        if seen != others:
            self._refused["elsewhere"] += 1
        told = {each.process: each for each in seen if each.process != self._us}
        for process, contact in told.items():
            referral = self._by_process.get(process)
            if referral is None:
                if len(self._by_process) >= self._limits.processes_max:
                    self._refused["processes-full"] += 1
                    continue
                referral = self._by_process[process] = Referral()
            if referral.tellers.get(teller) != contact:
                referral.tellers[teller] = contact
                referral.changes += 1
                referral.next_at, referral.pause_s = now, HELLO_S
        return self._forget(teller, but=told)

    def _forget(self, teller: int, but: Iterable[int] = ()) -> list[int]:
        """Drop what a process told of all but these; gives those of whom nobody tells now."""
        ended = []
        for process in self._by_process.keys() - set(but):
            referral = self._by_process[process]
            referral.tellers.pop(teller, None)
            if not referral.tellers:
                ended.append(process)
        for process in ended:
            del self._by_process[process]
            self._asking.pop(process, None)
        return sorted(ended)

    def lost(self, teller: int, until: float) -> None:
        """Whoever told is not there: what it said counts until then, or until it is back."""
        if any(teller in referral.tellers for referral in self._by_process.values()):
            self._lost[teller] = until

    def addresses(self, process: int, reach: Reach) -> set[Address]:
        """Where a process may be asked by those who reach so far."""
        referral = self._by_process.get(process)
        return referral.addresses(reach) if referral is not None else set()

    def asks(self, process: int) -> bool:
        """Whether the process is to be asked now."""
        return process in self._asking

    def pick(self, now: float, reach: Reach) -> list[int]:
        """The processes to ask from now on, a few at a time."""
        picked = []
        self._next_at = inf
        for process, referral in self._by_process.items():
            if referral.changes == referral.asked or process in self._asking:
                continue
            if not referral.addresses(reach):
                continue
            if now < referral.next_at:
                self._next_at = min(self._next_at, referral.next_at)
            elif len(self._asking) < self._limits.asked_max:
                self._asking[process] = None
                referral.asking = referral.changes
                picked.append(process)
        return picked

    def answered(self, process: int, now: float) -> None:
        """The process said itself which roles it has."""
        referral = self._by_process.get(process)
        if referral is not None:
            was_asked = self._asking.pop(process, False) is None
            referral.asked = referral.asking if was_asked else referral.changes
            referral.next_at, referral.pause_s = now + HELLO_S, HELLO_S

    def missed(self, process: int, now: float, *, kept: bool) -> None:
        """Nobody answers for the process: others have their turn, and it later.

        kept: it is tried again anyway, for what was heard of it.
        """
        referral = self._by_process.get(process)
        if referral is not None:
            self._asking.pop(process, None)
            referral.asked = -1
            referral.next_at = inf if kept else now + referral.pause_s
            referral.pause_s = min(2 * referral.pause_s, HELLO_S_MAX)

    def release(self, process: int) -> None:
        """The process is not tried any more; it may be asked anew."""
        referral = self._by_process.get(process)
        if referral is not None:
            self._asking.pop(process, None)
            referral.next_at = 0.0

    def tick(self, now: float) -> list[int]:
        """Forget what those told who are away for long; gives whom nobody tells of now."""
        over = [teller for teller, until in self._lost.items() if now >= until]
        ended: list[int] = []
        for teller in over:
            del self._lost[teller]
            ended += self._forget(teller)
        return ended

    def deadline(self, *, asks: bool) -> float:
        """When `tick` is due next, or `pick` if anybody is asked."""
        return min(self._next_at if asks else inf, *self._lost.values(), inf)

    def check(self) -> None:
        """Somebody tells of each, and a few at most are asked."""
        assert all(referral.tellers for referral in self._by_process.values())
        assert self._asking.keys() <= self._by_process.keys()
        assert len(self._by_process) <= self._limits.processes_max
        assert len(self._asking) <= self._limits.asked_max
