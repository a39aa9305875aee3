"""Streams under faults, each as a scenario with a name."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.errors import PeerLost
from zmqkit.limits import FORGET_CLIENT_S
from zmqkit.simulation.calls import ClientRole, ServiceRole
from zmqkit.simulation.network import Weather
from zmqkit.simulation.oracle import Called
from zmqkit.simulation.streams import Reader, length
from zmqkit.simulation.world import Plan, World


def start(seed: int = 1, **weather: float) -> tuple[World, ServiceRole, ClientRole]:
    """A service, and a client that has found it; the weather turns bad when it has."""
    world = World(seed, Plan(ports_stay=True, window=(8, 2000)))
    service = world.serve(world.start("a"), "orders")
    client = world.client(world.start("user"), "orders")
    world.run(1.0)
    world.network.weather = Weather(**weather)  # type: ignore[arg-type]  # its own options
    return world, service, client


def stream(world: World, role: ClientRole, method: str = "count", **options: float) -> Called:
    """A stream of many values, that is read to its end."""
    while length(world.oracle.next_token) < 40:
        world.call(role, "add")
    called = world.stream(role, method, **options)  # type: ignore[arg-type]  # its own options
    assert called.reader is not None
    called.reader._stops_at = inf
    return called


def reader(called: Called) -> Reader:
    """Whoever reads the stream."""
    assert called.reader is not None
    return called.reader


def some_way(world: World, called: Called) -> None:
    """Let the stream come to its middle."""
    while len(reader(called).values) < 10:
        world.run(0.002)
    assert not reader(called).call.over


@pytest.mark.parametrize("seed", range(5))
def test_what_gets_lost_is_sent_again(seed: int) -> None:
    world, _, role = start(seed, loss=0.2)
    called = stream(world, role, timeout_s=60.0)
    world.run(90.0)
    assert len(reader(called).values) == length(called.token) and called.error is None


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_that_breaks_leaves_no_gap(seed: int) -> None:
    world, _, role = start(seed)
    called = stream(world, role, timeout_s=60.0)
    some_way(world, called)
    for connection in list(world.network.connections):
        world.network.break_(connection)
    world.run(30.0)
    assert len(reader(called).values) == length(called.token) and called.error is None
    assert len(called.runs) == 1


@pytest.mark.parametrize("method", ["count", "tell"])
def test_an_instance_that_dies_ends_what_has_begun(method: str) -> None:
    world, _, role = start()
    world.serve(world.start("b"), "orders")
    world.run(1.0)
    called = stream(world, role, method)
    some_way(world, called)
    name = next(
        name
        for name, process in world.processes.items()
        if any(service.record.incarnation in called.runs for service in process.of(ServiceRole))
    )
    world.crash(name)
    world.run(10.0)
    assert isinstance(called.error, PeerLost) and called.error.may_have_run
    assert len(called.runs) == 1


def test_a_service_that_closes_ends_what_it_did_not_finish() -> None:
    world, service, role = start()
    called = stream(world, role)
    reader(called)._lazy = 3.0
    some_way(world, called)
    world.leave(service)
    world.run(90.0)
    assert isinstance(called.error, PeerLost) and called.error.may_have_run


def test_a_caller_that_was_away_for_long_is_told() -> None:
    world, service, role = start()
    called = stream(world, role, timeout_s=1000.0)
    some_way(world, called)
    world.pause("user", silent=True)
    world.run(1.5 * FORGET_CLIENT_S)
    assert service.core.stats()["streams"] == 0
    world.resume("user")
    world.run(30.0)
    assert isinstance(called.error, PeerLost) and called.error.may_have_run


def test_one_that_waits_for_credit_keeps_nobody_waiting() -> None:
    world, service, role = start()
    service.core.concurrency = 1
    streams = [stream(world, role, timeout_s=1000.0) for _ in range(5)]
    for called in streams:
        reader(called)._lazy = 1000.0
    world.run(1.0)
    called = world.call(role, "add", timeout_s=0.5)
    world.run(1.0)
    assert called.error is None and called.settled_at < inf
