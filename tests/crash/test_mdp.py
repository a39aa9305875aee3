"""Clients and workers of RFC 7 and RFC 18, which know of pyzmq alone, and brokers that die."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Actor, Start, until
from tests.ports import quiet_endpoint

pytestmark = pytest.mark.slow

CYCLES = int(os.environ.get("ZMQKIT_CYCLES", "10")) // 2
SEED = 20261127
REPLIES = 10
RFCS = pytest.mark.parametrize("version", [1, 2], ids=["RFC 7", "RFC 18"])


def replied(client: Actor) -> None:
    """Wait until a client has had some replies more."""
    before = client.ask("stats")["replies"]
    until(lambda: client.ask("stats")["replies"] > before + REPLIES)


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "durable"])
@RFCS
def test_honest_peers_are_served_again_by_each_next_broker(
    start: Start, name: str, tmp_path: Path, version: int, durable: bool
) -> None:
    options = {
        "journal": str(tmp_path / "journals") if durable else None,
        "limits": {"rfc_heartbeat_s": 0.5, "rfc_lease_s": 2.0},
    }
    endpoint = quiet_endpoint()
    broker = start("broker", bind=endpoint, **options)
    worker, client = (
        start(role, endpoint=endpoint, version=version) for role in ("rfc_worker", "rfc_client")
    )
    chance = random.Random(SEED)
    for _ in range(CYCLES):
        time.sleep(chance.uniform(0.0, 0.3))
        broker.close()
        broker = start("broker", bind=endpoint, **options)
        replied(client)
    client.order("end")
    client.event("ended")
    counts = worker.ask("stats")
    assert counts["dials"] > CYCLES
    assert worker.alive()
    until(lambda: broker.ask("stats")["in_flight"] == 0)


@RFCS
def test_honest_clients_are_served_by_a_service_of_ours_behind_each_next_broker(
    start: Start, name: str, tmp_path: Path, version: int
) -> None:
    endpoint = quiet_endpoint()
    broker = start("broker", bind=endpoint)
    start("answering", log=str(tmp_path / "log"))
    client = start("rfc_client", endpoint=endpoint, version=version)
    for _ in range(CYCLES):
        replied(client)
        broker.close()
        broker = start("broker", bind=endpoint)
    replied(client)
    client.order("end")
    client.event("ended")


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "durable"])
@RFCS
def test_a_request_of_a_worker_that_hangs_goes_to_another_once_its_lease_is_over(
    start: Start, name: str, client: zmqkit.Client, tmp_path: Path, version: int, durable: bool
) -> None:
    """The worker that hangs says heartbeats on, so nothing but its lease shows it."""
    broker = start(
        "broker",
        journal=str(tmp_path / "journals") if durable else None,
        limits={"rfc_lease_s": 1.0},
    )
    peer = {"endpoint": broker.ready, "version": version}
    asking = start("rfc_client", **peer)
    hangs = start("rfc_worker", hangs=True, **peer)
    hangs.event("came")
    submitted = client.submit("mdp", b"tea") if durable else None
    worker = start("rfc_worker", **peer)
    hangs.event("gone")
    if submitted is not None:
        assert submitted.result(BOUND_S) == b"tea"
    assert client.call("mdp", b"cake") == b"cake"
    replied(asking)
    assert worker.ask("stats")["served"] > 10
