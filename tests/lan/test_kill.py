"""What a client and a subscriber keep of the processes that were killed around them."""

from __future__ import annotations

import os

import pytest

from tests.lan.network import Lan
from tests.lan.stage import Actor, Stage

pytestmark = pytest.mark.slow

KILLED = 4


def descriptors(actor: Actor) -> int:
    return len(os.listdir(f"/proc/{actor.process.pid}/fd"))


@pytest.mark.lan(hosts=1)
def test_descriptors_do_not_grow_with_the_number_of_the_killed(lan: Lan, stage: Stage) -> None:
    [host] = lan.hosts
    # An address that is usable later has a client open more descriptors then.
    stage.until(lambda: len(host.addresses()) == 2, "the host has its IPv6 address, too")
    client = stage.client(host)

    def outlive(tag: str) -> None:
        service = stage.service(host, tag)
        stage.used([client], [service])
        service.kill()
        stage.until(lambda: not client.instances[-1][1], f"{tag} is forgotten")

    outlive("first")
    before = descriptors(client)
    for number in range(KILLED):
        outlive(f"killed-{number}")
    stage.until(lambda: descriptors(client) < before + KILLED, "no more than one is left")
