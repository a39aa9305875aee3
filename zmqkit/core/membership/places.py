"""What processes tell each other of where to ask: their own addresses, and those of others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from zmqkit.core.membership.sighting import ITS_LIST, PEER, Sightings
from zmqkit.model import Address, Reach
from zmqkit.options import PLACES_MAX, PROCESSES_MAX
from zmqkit.wire.encoding import Malformed


@dataclass(slots=True, frozen=True)
class Whereabouts:
    """A process, where it may be asked, and a number that changes whenever its roles do."""

    process: int
    revision: int
    addresses: tuple[Address, ...]

    def seen_from(self, reach: Reach) -> Whereabouts:
        """The same as it is seen over a connection of that reach: loopback is here alone."""
        addresses = tuple(each for each in self.addresses if each.reach >= reach)
        return Whereabouts(self.process, self.revision, addresses)

    def row(self) -> list[object]:
        """How it stands in a WELCOME."""
        return [self.process, self.revision, rows_of(self.addresses)]


def at_first_hand(known: Sightings, process: int) -> Whereabouts:
    """Where a process may be asked as its announcements or it itself say, and no third party.

    What it says itself does not count if it was asked because a third party told of it: two who
    tell each other would vouch for one another. Its revision is made of its roles, for its own
    is not known here.
    """
    addresses: set[Address] = set()
    revision = 0
    for incarnation in known.of(process):
        sighting = known.by_role[process, incarnation]
        passed_on = ITS_LIST if PEER in sighting.sources else ()
        for (source, _, _), record in sighting.claims.items():
            if source not in passed_on:
                hosts = filter(means_one_host, record.addresses)
                addresses.update(Address(host, record.control_port) for host in hosts)
        revision ^= incarnation >> 1
    return Whereabouts(process, revision, tuple(sorted(addresses)[:PLACES_MAX]))


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


def read_others(value: object) -> list[Whereabouts]:
    """The other processes in a WELCOME, else Malformed."""
    if type(value) is not list or len(value) > PROCESSES_MAX:
        raise Malformed("others")
    return list(map(_read_other, value))


def _read_other(row: object) -> Whereabouts:
    if type(row) is not list or [type(x) for x in row] != [int, int, list]:
        raise Malformed("others")
    process, revision, addresses = row
    if not 0 < process < 1 << 64:
        raise Malformed("others")
    return Whereabouts(process, revision, read_addresses(addresses))
