"""Roles live through cut cables, partitions, losses, restarts and pauses of their hosts."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.lan.network import Lan
from tests.lan.stage import Actor, Stage

pytestmark = [pytest.mark.slow, pytest.mark.lan(hosts=3)]

CUT_S = 5.0
"""Long enough for everybody to have given up and to wait before the next try."""


@pytest.fixture
def services(lan: Lan, stage: Stage) -> list[Actor]:
    """One on each of the first two hosts."""
    return [stage.service(host, f"on-{host.number}") for host in lan.hosts[:2]]


@pytest.fixture
def clients(lan: Lan, stage: Stage, services: list[Actor]) -> list[Actor]:
    """One on the third host, which has no service; it uses both that there are."""
    clients = [stage.client(lan.hosts[2])]
    stage.measured("first use", stage.used(clients, services))
    return clients


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "carrier lost"])
def test_host_behind_a_cut_cable_is_left_and_used_again(
    lan: Lan, stage: Stage, services: list[Actor], clients: list[Actor], silent: bool
) -> None:
    far, near = services
    cut_at = time.monotonic()
    lan.cut(lan.hosts[0], silent=silent)
    stage.measured("left after the cut", stage.left(clients, [far], cut_at))
    stage.measured("longest call since the cut", stage.longest(clients, cut_at))
    assert not [call.error for call in clients[0].calls if call.error]
    newcomer = stage.service(lan.hosts[0], "newcomer")
    time.sleep(CUT_S)
    stage.used(clients, [near])
    lan.heal()
    healed_at = time.monotonic()
    stage.measured("used again after the heal", stage.used(clients, [far], healed_at))
    stage.measured("registered in the cut, used", stage.used(clients, [newcomer], healed_at))


def test_both_sides_of_a_partition_go_on_and_find_each_other_after_it(
    lan: Lan, stage: Stage, services: list[Actor], clients: list[Actor]
) -> None:
    one, two, three = lan.hosts
    clients = [*clients, stage.client(one)]
    stage.used(clients, services)
    parted_at = time.monotonic()
    lan.partition([one], [two, three])
    stage.left([clients[0]], [services[0]], parted_at)
    stage.left([clients[1]], [services[1]], parted_at)
    # The same name on both sides, unheard on the other.
    anew = [stage.service(one, "anew-on-1"), stage.service(three, "anew-on-3")]
    stage.used([clients[1]], [services[0], anew[0]])
    stage.used([clients[0]], [services[1], anew[1]])
    lan.heal()
    healed_at = time.monotonic()
    stage.measured("used again after the heal", stage.used(clients, services, healed_at))
    stage.measured("registered apart, used", stage.used(clients, anew, healed_at))


def test_one_frame_in_five_may_be_lost(lan: Lan, stage: Stage) -> None:
    lossy, other, third = lan.hosts
    lan.slow(lossy, loss=0.2)
    services = [stage.service(lossy, "lossy"), stage.service(other, "other")]
    clients = [stage.client(third), stage.client(lossy)]
    stage.measured("first use", stage.used(clients, services))
    late = stage.service(lossy, "late")
    stage.measured("use of a late one", stage.used(clients, [late]))
    stage.measured("longest call", stage.longest(clients, clients[0].calls[0].began_at))


def test_peer_that_was_killed_is_replaced_by_one_of_its_name(
    lan: Lan, stage: Stage, services: list[Actor], clients: list[Actor]
) -> None:
    killed_at = time.monotonic()
    services[0].kill()
    successor = stage.service(lan.hosts[0], "successor")
    stage.measured("left after the kill", stage.left(clients, [services[0]], killed_at))
    stage.measured("use of the successor", stage.used(clients, [successor, services[1]]))


def test_paused_process_is_avoided_and_used_again(
    lan: Lan, stage: Stage, services: list[Actor], clients: list[Actor]
) -> None:
    paused, other = services
    paused_at = time.monotonic()
    os.kill(paused.process.pid, signal.SIGSTOP)
    stage.measured("left after the pause", stage.left(clients, [paused], paused_at))
    stage.used(clients, [other])
    os.kill(paused.process.pid, signal.SIGCONT)
    stage.measured("used again after the pause", stage.used(clients, [paused]))
    stage.measured("longest call", stage.longest(clients, paused_at))
