"""The addresses of this host, and which addresses of other hosts can be reached from it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

import ifaddr

from zmqkit.model import LOOPBACK, Reach, reach_of
from zmqkit.wire.announcement import ADDRESSES_MAX


@dataclass(slots=True, frozen=True)
class Here:
    """One address of this host, with its network and its interface."""

    address: IPv4Interface | IPv6Interface
    index: int  # of the interface

    @property
    def text(self) -> str:
        """The address as text, without its network."""
        return str(self.address.ip)

    @property
    def of_a_link(self) -> bool:
        """Whether this is an IPv6 address that is valid on its own link only."""
        return self.address.version == 6 and self.address.ip.is_link_local

    @property
    def interface(self) -> str | int:
        """The interface as zeroconf wants it named: by IPv4 address or by index."""
        return self.text if self.address.version == 4 else self.index


def here(reach: Reach) -> list[Here]:
    """Return the addresses of this host in that reach that can be used now, link-local last."""
    if reach is Reach.LOCAL:
        return [Here(ip_interface(f"{LOOPBACK}/8"), 1)]
    found = [
        Here(ip_interface(f"{text}/{each.network_prefix}"), adapter.index or 0)
        for adapter in ifaddr.get_adapters()
        for each in adapter.ips
        for text in [each.ip if isinstance(each.ip, str) else each.ip[0]]
        if reach_of(text) is reach
    ]
    return sorted(
        filter(_settled, found), key=lambda each: (each.of_a_link, each.index, each.text)
    )


def _settled(place: Here) -> bool:
    """Whether the address can be bound.

    The system checks an IPv6 address for duplicates first, for a second or two after its
    interface came up.
    """
    if place.address.version == 4:
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((place.text, 0, 0, place.index if place.of_a_link else 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def best(ours: Iterable[Here], version: int) -> str:
    """Return the address by which programs on other machines can name this host.

    version: 4 for an IPv4 address, 6 for an address of either kind. A link-local IPv6 address
    does not count: it means nothing on other machines. Returns loopback when none is left.
    """
    ours = list(ours)
    found = reachable((each.text for each in ours), Reach.PLAIN, ours)
    fit = (each for each in found if version == 6 or ip_address(each).version == version)
    return next(fit, LOOPBACK)


def reachable(addresses: Iterable[str], reach: Reach, ours: Iterable[Here]) -> tuple[str, ...]:
    """Return the addresses in that reach that can be reached from this host, best first.

    Addresses in the networks of this host come first, then link-local ones, then the rest; in
    each group IPv4 comes before IPv6. A link-local IPv6 address counts only if it names its
    link, and this host is on that link.
    """
    ours = list(ours)
    networks = [each.address.network for each in ours]
    links = {str(each.index) for each in ours}
    ranked = []
    for text in dict.fromkeys(addresses):
        address = ip_address(text)
        of_a_link = isinstance(address, IPv6Address) and address.is_link_local
        lost = of_a_link and text.partition("%")[2] not in links
        if lost or reach_of(text) is not reach:
            continue
        rank = 1 if of_a_link else 0 if any(address in each for each in networks) else 2
        ranked.append((rank, address.version, text))
    return tuple(text for _, _, text in sorted(ranked)[:ADDRESSES_MAX])
