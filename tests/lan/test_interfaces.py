"""Roles follow the interfaces of their hosts, which come late, go, come back and change."""

from __future__ import annotations

import time

import pytest

from tests.lan.network import Lan
from tests.lan.stage import Stage

pytestmark = pytest.mark.slow

MOVED_S = 30.0
"""Three times as long as it takes to use a host at another address. Heartbeats need more."""


@pytest.mark.lan(hosts=3, options=["no-nic"])
def test_interfaces_may_come_after_the_roles(lan: Lan, stage: Stage) -> None:
    services = [stage.service(host, f"on-{host.number}") for host in lan.hosts[:2]]
    clients = [stage.client(host) for host in lan.hosts[1:]]
    for host in lan.hosts:
        lan.plug(host)
    stage.measured("first use after the interfaces", stage.used(clients, services))


@pytest.mark.lan(hosts=3)
def test_second_interface_may_come_late_and_go(lan: Lan, stage: Stage) -> None:
    left, both, right = lan.hosts
    lan.unplug(right)
    service = stage.service(both, "both")
    clients = [stage.client(left), stage.client(right)]
    stage.used(clients[:1], [service])
    for host in (both, right):
        lan.plug(host, "eth1", net=1)
    stage.measured("first use by the late interface", stage.used(clients, [service]))
    gone_at = time.monotonic()
    lan.unplug(both, "eth1")
    stage.left(clients[1:], [service], gone_at)
    stage.used(clients[:1], [service])


@pytest.mark.lan(hosts=3)
def test_interface_that_returns_with_its_address_hears_and_is_heard(
    lan: Lan, stage: Stage
) -> None:
    replaced, other, third = lan.hosts
    services = [stage.service(host, f"on-{host.number}") for host in (replaced, other)]
    clients = [stage.client(host) for host in (replaced, third)]
    stage.used(clients, services)
    lan.unplug(replaced)
    lan.plug(replaced)
    stage.measured("used again after a moment", stage.used(clients, services))
    stage.used(clients, [stage.service(replaced, "anew-there"), stage.service(other, "anew")])
    gone_at = time.monotonic()
    lan.unplug(replaced)
    stage.left(clients[1:], services[:1], gone_at)
    lan.plug(replaced)
    stage.measured("used again after seconds", stage.used(clients, services))
    anew = [stage.service(replaced, "again-there"), stage.service(other, "again")]
    stage.measured("new ones used after that", stage.used(clients, anew))


@pytest.mark.lan(hosts=3)
def test_host_that_changes_its_address_is_found_at_the_new_one(lan: Lan, stage: Stage) -> None:
    moved, other, third = lan.hosts
    for host in lan.hosts:
        host.ip("-6", "addr", "flush", "dev", "eth0")
    services = [stage.service(host, f"on-{host.number}") for host in (moved, other)]
    clients = [stage.client(host) for host in (moved, third)]
    stage.used(clients, services)
    moved_at = time.monotonic()
    lan.readdress(moved, 77)
    label = services[0].label
    stage.until(
        lambda: "10.97.0.77" in clients[1].addresses().get(label, ""), "the move is noticed"
    )
    stage.used(clients, services)
    moved_s = time.monotonic() - moved_at
    stage.measured("used at the new address", moved_s)
    assert moved_s < MOVED_S
