"""Which addresses this host has, and which of those heard lead to a host as near."""

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
    """One address of this host, with its network and the index of its interface."""

    address: IPv4Interface | IPv6Interface
    index: int

    @property
    def text(self) -> str:
        """The address alone."""
        return str(self.address.ip)

    @property
    def of_a_link(self) -> bool:
        """Whether the address is one of IPv6 that holds on its own link alone."""
        return self.address.version == 6 and self.address.ip.is_link_local

    @property
    def interface(self) -> str | int:
        """The interface as zeroconf wants it named: by IPv4 address or by index."""
        return self.text if self.address.version == 4 else self.index


def here(reach: Reach) -> list[Here]:
    """This host's addresses of that reach that can be used now, those of a link alone last."""
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
    """Whether the address can be bound. One of IPv6 is first tried for duplicates, for a second
    or two after its interface came up."""
    if place.address.version == 4:
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((place.text, 0, 0, place.index if place.of_a_link else 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def best(ours: Iterable[Here], version: int) -> str:
    """The address by which programs elsewhere name this host; for version 4, one of IPv4.

    Loopback where there is none: an address of a link means nothing elsewhere.
    """
    ours = list(ours)
    found = reachable((each.text for each in ours), Reach.PLAIN, ours)
    fit = (each for each in found if version == 6 or ip_address(each).version == version)
    return next(fit, LOOPBACK)


def reachable(addresses: Iterable[str], reach: Reach, ours: Iterable[Here]) -> tuple[str, ...]:
    """Those addresses of that reach that lead to a host, best first.

    Those of our own networks come first, IPv4 before IPv6, then link-local ones, then the rest.
    A link-local address of IPv6 leads nowhere unless it says of which link, and that is ours.
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
