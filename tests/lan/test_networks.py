"""Roles find each other on networks that lack something, and on several at once."""

from __future__ import annotations

import time

import pytest

from tests.lan.network import Lan
from tests.lan.stage import Stage

pytestmark = pytest.mark.slow


@pytest.mark.lan(hosts=3, options=["no-ipv4"])
def test_lan_without_ipv4_is_used_by_addresses_of_the_link(lan: Lan, stage: Stage) -> None:
    services = [stage.service(host, f"on-{host.number}") for host in lan.hosts[:2]]
    clients = [stage.client(host) for host in lan.hosts[1:]]
    stage.measured("first use", stage.used(clients, services))
    addresses = clients[1].addresses()
    for service in services:
        assert addresses[service.label].startswith("tcp://[fe80::")
        assert "%" in addresses[service.label]


@pytest.mark.lan(hosts=3)
def test_address_of_another_lan_is_no_obstacle(lan: Lan, stage: Stage) -> None:
    left, both, right = lan.hosts
    for host in (both, right):
        lan.plug(host, "eth1", net=1)
    lan.unplug(right, "eth0")
    services = [stage.service(host, f"on-{host.number}") for host in lan.hosts]
    clients = [stage.client(host) for host in (left, right)]
    stage.measured("first use, left", stage.used([clients[0]], services[:2]))
    stage.measured("first use, right", stage.used([clients[1]], services[1:]))
    assert set(clients[0].addresses()) == {service.label for service in services[:2]}
    assert set(clients[1].addresses()) == {service.label for service in services[1:]}


@pytest.mark.lan(hosts=3)
def test_no_default_route_is_needed(lan: Lan, stage: Stage) -> None:
    assert not [host for host in lan.hosts if host.ip("route", "show", "default")]
    services = [stage.service(host, f"on-{host.number}") for host in lan.hosts]
    clients = [stage.client(host) for host in lan.hosts]
    stage.measured("first use", stage.used(clients, services))


@pytest.mark.lan(hosts=1, options=["no-nic"])
def test_machine_without_a_network_has_itself(lan: Lan, stage: Stage) -> None:
    [host] = lan.hosts
    services = [stage.service(host, f"number-{number}") for number in (1, 2)]
    stage.measured("first use", stage.used([stage.client(host)], services))


@pytest.mark.lan(hosts=3)
def test_one_static_peer_is_enough_where_multicast_is_blocked(lan: Lan, stage: Stage) -> None:
    one, two, three = lan.hosts
    lan.block_multicast()
    seed = stage.service(one, "seed", ZMQKIT_PORTS="5600-5603")
    peers = {"ZMQKIT_PEERS": f"{one.address}:5601"}
    services = [seed, stage.service(two, "other", **peers)]
    uninformed = stage.client(three)
    clients = [stage.client(three, **peers)]
    stage.measured("first use", stage.used(clients, services))
    # What a peer told of stays known while that peer cannot be reached.
    cut_at = time.monotonic()
    lan.cut(one, silent=True)
    stage.left(clients, [seed], cut_at)
    stage.used(clients, [services[1]])
    lan.heal()
    stage.measured("used again after the heal", stage.used(clients, services))
    stage.until(lambda: uninformed.calls, "a call without peers ends")
    assert {call.error for call in uninformed.calls} == {"NoService"}
