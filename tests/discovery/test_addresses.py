"""Which addresses serve in which scope, and in which order."""

from __future__ import annotations

from ipaddress import ip_interface

import ifaddr
import pytest

from zmqkit.discovery.addresses import Here, best, here, reachable
from zmqkit.model import Reach
from zmqkit.wire.announcement import ADDRESSES_MAX

OURS = [Here(ip_interface("10.77.0.1/24"), 2), Here(ip_interface("fd00::1/64"), 2)]


def test_this_machine_is_one_loopback_address() -> None:
    assert [each.text for each in here(Reach.LOCAL)] == ["127.0.0.1"]


def test_interfaces_are_named_by_address_or_by_index() -> None:
    assert [each.interface for each in OURS] == ["10.77.0.1", 2]


def adapter(index: int, *addresses: str) -> ifaddr.Adapter:
    """An interface with these addresses."""
    ips = [
        ifaddr.IP((each, 0, index) if ":" in each else each, 24, f"eth{index}")
        for each in addresses
    ]
    return ifaddr.Adapter(f"eth{index}", f"eth{index}", ips, index=index)


def test_lan_is_every_address_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither of the two of IPv6 is this machine's, as if they were not settled yet.
    adapters = [
        adapter(3, "10.78.0.1", "fe80::1"),
        adapter(2, "10.77.0.1", "2001:db8::1"),
        adapter(1, "127.0.0.1"),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    assert [(each.text, each.index) for each in here(Reach.PLAIN)] == [
        ("10.77.0.1", 2),
        ("10.78.0.1", 3),
    ]


def test_machine_without_a_network_has_no_address_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: [adapter(1, "127.0.0.1", "::1")])
    assert here(Reach.PLAIN) == []


def test_loopback_scope_keeps_loopback_alone() -> None:
    assert reachable(["10.77.0.2", "127.0.0.1", "::1"], Reach.LOCAL, []) == ("127.0.0.1", "::1")


def test_lan_scope_keeps_all_but_loopback() -> None:
    assert reachable(["127.0.0.1", "127.9.9.9", "::1", "10.77.0.2"], Reach.PLAIN, OURS) == (
        "10.77.0.2",
    )


def test_own_networks_come_first_and_unknown_ones_last() -> None:
    heard = ["192.0.2.1", "2001:db8::2", "fe80::2%2", "fd00::2", "10.77.0.2"]
    assert reachable(heard, Reach.PLAIN, OURS) == (
        "10.77.0.2",
        "fd00::2",
        "fe80::2%2",
        "192.0.2.1",
        "2001:db8::2",
    )


def test_link_local_address_needs_its_link_and_that_must_be_ours() -> None:
    assert reachable(["fe80::2", "fe80::2%2", "fe80::2%3"], Reach.PLAIN, OURS) == ("fe80::2%2",)
    assert reachable(["169.254.1.1"], Reach.PLAIN, OURS) == ("169.254.1.1",)


def test_order_does_not_depend_on_that_of_arrival() -> None:
    heard = ["10.77.0.3", "10.77.0.2", "192.0.2.1"]
    assert reachable(heard, Reach.PLAIN, OURS) == reachable(heard[::-1], Reach.PLAIN, OURS)


@pytest.mark.parametrize(
    ("ours", "version", "shown"),
    [
        (OURS, 6, "10.77.0.1"),
        (OURS[1:], 6, "fd00::1"),
        (OURS[1:], 4, "127.0.0.1"),
        ([Here(ip_interface("fe80::1/64"), 2)], 6, "127.0.0.1"),
        ([], 4, "127.0.0.1"),
    ],
)
def test_this_host_is_named_by_what_leads_to_it(
    ours: list[Here], version: int, shown: str
) -> None:
    assert best(ours, version) == shown


def test_addresses_are_bounded() -> None:
    many = [f"10.77.0.{n}" for n in range(2, 200)]
    assert len(reachable(many, Reach.PLAIN, OURS)) == ADDRESSES_MAX
