"""Records that somebody forges on this machine: a client finds its service all the same."""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import replace

import pytest

from tests.discovery.kit import Peer, Stranger, info, peers, run
from zmqkit.asyncio import Service
from zmqkit.model import LOOPBACK, Record

DEAD = 1
"""A port where nobody answers."""


def forgeries(honest: Record) -> dict[str, Record]:
    """What a forger may announce of a role, each in a way of its own."""
    other = f"{honest.name}other"
    process = random.getrandbits(63) | 1
    return {
        "another name and process": replace(honest, name=other, process=process),
        "another name": replace(honest, name=other),
        "another process": replace(honest, process=process),
        "the same": honest,
    }


async def hears_service(peer: Peer) -> Record:
    """The record of the one service that the peer hears of."""
    await peer.until(lambda: bool(peer.records))
    [record] = peer.records.values()
    return record


async def call(name: str) -> str:
    """What another process prints that calls the service, whose name is all that it has."""
    command = [sys.executable, "-P", "-m", "zmqkit", "call", name, "answer"]
    pipe = asyncio.subprocess.PIPE
    client = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    said, errors = await client.communicate()
    return (said + errors).decode().strip()


@pytest.mark.slow
@pytest.mark.parametrize("which", [*forgeries(Record("", "service", 1, 1, (), 1, 1))])
def test_client_finds_its_service_though_a_record_is_forged(mine: str, which: str) -> None:
    def answer() -> int:
        return 42

    async def scene() -> None:
        async with peers(mine, 1) as (peer,), Stranger() as forger, Service(mine) as service:
            service.handler(answer)
            serving = asyncio.create_task(service.serve())
            honest = await hears_service(peer)
            peer.told.clear()
            forged = replace(forgeries(honest)[which], control_port=DEAD)
            await forger.announce(info(forged, parsed_addresses=[LOOPBACK]))
            await peer.until(lambda: ("heard mdns:loopback", forged) in peer.told)
            assert await call(mine) == "42"
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    run(scene())
