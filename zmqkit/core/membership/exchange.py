"""What processes tell each other of other processes, where multicast does not reach.

A process that asks a static peer for others says where it may be asked itself. The static peer
keeps that as a `Registration`, and tells other askers of it as long as the process says
something now and then.

A process that a static peer tells of is a `Referral` here. It counts for nothing until it was
asked itself. A few are asked at a time. A referral is forgotten when no peer tells of it any
more.
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
        """Return the contact with the addresses that mean the same over such a connection.

        reach: how far the connection reaches. Loopback means something on this machine only.
        """
        addresses = tuple(each for each in self.addresses if each.reach >= reach)
        return Contact(self.process, self.revision, addresses)

    def row(self) -> list[object]:
        """Return the contact as it stands in a WELCOME."""
        return [self.process, self.revision, rows_of(self.addresses)]


def at_first_hand(known: KnownRoles, process: int) -> Contact:
    """Return where a process may be asked, as its announcements or the process itself say.

    What a third party says does not count. Nor does what the process says itself, if it was
    asked because a third party told of it: two processes that tell each other of it would vouch
    for one another. The contact's revision is made of the roles, for the process's own revision
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
    """Return addresses as they stand in a packet."""
    return [[host, port] for host, port in addresses]


def read_addresses(value: object) -> tuple[Address, ...]:
    """Return the addresses in a packet.

    Raises Malformed for a wrong shape, and for an address that does not mean the same host to
    everybody.
    """
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
    """Whether `host` is the address of one host, the same for everybody who reads it.

    A link-local address, as `fe80::1%eth0`, is not: only its own host can name its scope.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_link_local)


def read_others(value: object) -> list[Contact]:
    """Return the other processes in a WELCOME. Raises Malformed for wrong ones."""
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
    """One connection over which a process asked for others."""

    contact: Contact
    heard_at: float  # when the process last said anything


class Registrations:
    """The processes that asked for others, by connection: so none can speak for another."""

    def __init__(self, limits: MembershipLimits) -> None:
        self._limits = limits
        self.revision = 0  # changes whenever `others` returns something else
        self._by_peer: dict[PeerId, Registration] = {}  # silent for longest first

    def __len__(self) -> int:
        return len(self._by_peer)

    def __contains__(self, peer: object) -> bool:
        return peer in self._by_peer

    def admit(self, peer: PeerId, contact: Contact, now: float) -> bool:
        """Remember what a process says of itself; return false when there is no room for it."""
        before = self._by_peer.pop(peer, None)
        if before is None and len(self._by_peer) >= self._limits.processes_max:
            return False
        self._by_peer[peer] = Registration(contact, now)
        was = before.contact if before is not None and before.contact.addresses else None
        self.revision += was != (contact if contact.addresses else None)
        return True

    def heard(self, peer: PeerId, now: float) -> None:
        """Note that the process behind a connection said something, so it is still there."""
        registration = self._by_peer.pop(peer, None)
        if registration is not None:
            registration.heard_at = now
            self._by_peer[peer] = registration

    def others(self, reach: Reach) -> dict[int, Contact]:
        """Return each registered process that may be asked over connections of that reach."""
        found: dict[int, Contact] = {}
        for each in self._by_peer.values():
            contact = each.contact.seen_from(reach)
            if contact.addresses:
                found[contact.process] = contact
        return found

    def tick(self, now: float) -> None:
        """Forget the processes that are silent, unless it was this process that slept."""
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
        """Return when `tick` is due next."""
        for each in self._by_peer.values():
            return each.heard_at + self._limits.registered_s
        return inf

    def check(self) -> None:
        """Assert that there are not too many, and that the one silent for longest is first."""
        heard = [each.heard_at for each in self._by_peer.values()]
        assert len(heard) <= self._limits.processes_max and heard == sorted(heard)


@dataclass(slots=True, eq=False)
class Referral:
    """One process as others tell of it."""

    tellers: dict[int, Contact] = field(default_factory=dict)  # what each process tells of it
    changes: int = 0  # how often a teller said something new
    asking: int = 0  # `changes` when it was last asked
    asked: int = 0  # `changes` as of its last answer; -1 after nobody answered
    next_at: float = 0.0  # it is not asked before
    pause_s: float = HELLO_S  # until it is asked again, if nobody answers

    def addresses(self, reach: Reach) -> set[Address]:
        """Return where it may be asked by a process that reaches so far."""
        told = (address for each in self.tellers.values() for address in each.addresses)
        return {each for each in told if each.reach <= reach}


class Referrals:
    """The processes that static peers tell of; a few at a time are asked."""

    def __init__(self, us: int, refused: Counter[str], limits: MembershipLimits) -> None:
        """us: this process. refused: counts what was passed over, by the reason."""
        self._limits = limits
        self._us = us
        self._refused = refused
        self._by_process: dict[int, Referral] = {}
        self._asking: dict[int, None] = {}
        self._lost: dict[int, float] = {}  # until when the word of a teller that is away counts
        self._next_at = inf

    def __contains__(self, process: object) -> bool:
        return process in self._by_process

    def told(self, teller: int, reach: Reach, others: list[Contact], now: float) -> list[int]:
        """Take everything that one process tells of others.

        reach: how far its connection reaches. Loopback addresses count only from this machine.
        Returns the processes that nobody tells of any more.
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
        """Drop what a process told of others, but for those in `but`.

        Returns the processes that nobody tells of any more.
        """
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
        """Note that a teller is away: what it told counts until `until`, or its return."""
        if any(teller in referral.tellers for referral in self._by_process.values()):
            self._lost[teller] = until

    def addresses(self, process: int, reach: Reach) -> set[Address]:
        """Return where a process may be asked by one that reaches so far."""
        referral = self._by_process.get(process)
        return referral.addresses(reach) if referral is not None else set()

    def asks(self, process: int) -> bool:
        """Whether the process is being asked now."""
        return process in self._asking

    def pick(self, now: float, reach: Reach) -> list[int]:
        """Choose a few processes to ask from now on, and return them."""
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
        """Note that the process said itself which roles it has."""
        referral = self._by_process.get(process)
        if referral is not None:
            was_asked = self._asking.pop(process, False) is None
            referral.asked = referral.asking if was_asked else referral.changes
            referral.next_at, referral.pause_s = now + HELLO_S, HELLO_S

    def missed(self, process: int, now: float, *, kept: bool) -> None:
        """Note that nobody answers for the process, so that others have their turn.

        kept: membership tries it again anyway, so it is not to be asked from here.
        """
        referral = self._by_process.get(process)
        if referral is not None:
            self._asking.pop(process, None)
            referral.asked = -1
            referral.next_at = inf if kept else now + referral.pause_s
            referral.pause_s = min(2 * referral.pause_s, HELLO_S_MAX)

    def release(self, process: int) -> None:
        """Note that the process is not tried any more, so that it may be asked anew."""
        referral = self._by_process.get(process)
        if referral is not None:
            self._asking.pop(process, None)
            referral.next_at = 0.0

    def tick(self, now: float) -> list[int]:
        """Forget what tellers told that are away for too long.

        Returns the processes that nobody tells of any more.
        """
        over = [teller for teller, until in self._lost.items() if now >= until]
        ended: list[int] = []
        for teller in over:
            del self._lost[teller]
            ended += self._forget(teller)
        return ended

    def deadline(self, *, asks: bool) -> float:
        """Return when `tick` is due next, or with `asks` also when `pick` is."""
        return min(self._next_at if asks else inf, *self._lost.values(), inf)

    def check(self) -> None:
        """Assert that somebody tells of each process, and that no more than a few are asked."""
        assert all(referral.tellers for referral in self._by_process.values())
        assert self._asking.keys() <= self._by_process.keys()
        assert len(self._by_process) <= self._limits.processes_max
        assert len(self._asking) <= self._limits.asked_max
