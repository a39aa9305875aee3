"""Brokers in a world that is simulated: many seeds, and what is promised, as scenarios."""

from __future__ import annotations

import os
from math import inf

import pytest

from zmqkit.errors import PeerError, PeerLost
from zmqkit.limits import CREDIT
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.simulation.broker_users import BrokerUsers
from zmqkit.simulation.brokers import BrokerRole
from zmqkit.simulation.calls import ClientRole, RegisteredRole
from zmqkit.simulation.oracle import Called
from zmqkit.simulation.process import Process
from zmqkit.simulation.simulation import replay, run
from zmqkit.simulation.world import Plan, World

SEEDS = int(os.environ.get("ZMQKIT_SEEDS", "25"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_invariant_holds_of_services_behind_brokers(seed: int) -> None:
    result = run(seed, only="brokers")
    assert not result.broken, f"seed {seed}: {result.broken}\n{replay(seed, only='brokers')}"
    assert result.ends["delivered"]


class Stage:
    """A broker, a service that registered with it, and a client, on a host each."""

    def __init__(self, seed: int = 1, *, concurrency: int = 1, **limits: int) -> None:
        self.world = World(seed, Plan(concurrency=concurrency, ports_stay=True))
        self.users = BrokerUsers(self.world, seed, ["a"], self.world.crash, share=0.0)
        self.users.limits = BrokerLimits(**limits)  # type: ignore[arg-type]  # all are int
        self.users.shared = 0.0
        self.oracle = self.world.oracle
        self.oracle.hanging_s = (inf,)
        self.broker = self.broker_at("broker")
        self.service = self.service_at("service")
        self.client = self.client_at("user")
        self.world.run(3.0)

    def at(self, host: str) -> Process:
        return self.world.processes.get(host) or self.world.start(host)

    def broker_at(self, host: str) -> BrokerRole:
        return self.users.broker(self.at(host), "main")

    def service_at(self, host: str) -> RegisteredRole:
        return self.users.service(self.at(host), "orders", "main")

    def client_at(self, host: str) -> ClientRole:
        return self.world.client(self.at(host), "orders")

    def call(self, method: str = "add", run_s: float = 1.0, **options: float) -> Called:
        called = self.world.call(self.client, method, **options)  # type: ignore[arg-type]  # a call's
        self.world.run(run_s)
        return called

    def hang(self, method: str = "add", **options: float) -> Called:
        """Call a handler that hangs."""
        self.oracle.hanging = 1.0
        called = self.call(method, **options)
        self.oracle.hanging = 0.0
        return called


def is_done(called: Called) -> bool:
    return called.settled_at < inf and called.error is None


def test_a_call_and_a_stream_pass_through_a_broker() -> None:
    stage = Stage()
    called, stream = stage.call(), stage.world.stream(stage.client, "count", timeout_s=30.0)
    assert stream.reader is not None
    stream.reader._stops_at = inf
    stage.world.run(30.0)
    assert is_done(called) and called.runs == [stage.service.core.incarnation]
    assert is_done(stream)
    assert stage.broker.core.in_flight == 0


def test_a_client_with_one_request_waits_for_one_request_of_each_other() -> None:
    stage = Stage(worker_credit_max=1)
    others = [stage.client_at(f"user {n}") for n in range(3)]
    modest = stage.client_at("modest")
    stage.world.run(3.0)
    held = stage.hang()
    waiting = [stage.world.call(other, "add") for other in others for _ in range(20)]
    stage.world.run(0.5)
    last = stage.world.call(modest, "add")
    stage.world.run(0.5)
    assert not any(called.runs for called in (*waiting, last))
    stage.service.free()
    while not last.runs:
        stage.world.run(0.0005)
    before = [called for called in waiting if called.ran_at <= last.ran_at and called.runs]
    assert len(before) == len({called.role for called in before}) <= len(others)
    stage.world.run(3.0)
    assert all(map(is_done, (held, *waiting, last)))


def test_calls_go_on_through_another_broker_when_one_is_killed() -> None:
    stage = Stage()
    other = stage.broker_at("other")
    stage.world.run(3.0)
    assert other.relays["orders"].back.ready_count == 1
    hanging = stage.hang("slow-price", timeout_s=30.0)
    [name] = [
        role.process.host.name
        for role in (stage.broker, other)
        if role.core.in_flight
    ]  # fmt: skip
    stage.world.crash(name)
    stage.service.free()
    stage.world.run(10.0)
    assert is_done(hanging) and len(hanging.runs) == 1  # its service knew it again
    assert is_done(stage.call())


def test_what_may_not_run_twice_ends_with_the_broker_that_had_it() -> None:
    stage = Stage()
    stage.broker_at("other")
    stage.world.run(3.0)
    called = stage.hang(timeout_s=30.0)
    [name] = [r.process.host.name for r in stage.users.all_brokers() if r.core.in_flight]
    stage.world.crash(name)
    stage.world.run(10.0)
    assert len(called.runs) == 1
    assert isinstance(called.error, PeerLost) and called.error.may_have_run


def test_a_broker_that_starts_again_has_its_services_within_seconds() -> None:
    stage = Stage()
    stage.world.crash("broker")
    stage.world.run(0.5)
    called = stage.call(run_s=0.5, timeout_s=30.0, wait_s=30.0)
    stage.broker_at("broker")
    stage.world.run(8.0)
    assert is_done(called)


def test_a_broker_that_leaves_finishes_what_is_at_workers_and_gives_back_the_rest() -> None:
    stage = Stage(worker_credit_max=1)
    at_work, waiting = stage.hang(run_s=0.2, timeout_s=30.0), stage.call(timeout_s=30.0)
    assert at_work.runs and not waiting.runs
    other = stage.broker_at("other")
    stage.world.run(3.0)
    stage.world.leave(stage.broker)
    stage.world.run(0.3)
    stage.service.free()
    stage.world.run(5.0)
    assert is_done(at_work) and is_done(waiting)
    assert stage.broker.closed and other.relays["orders"].front.stats()["delivered"]


def test_a_request_of_a_killed_service_moves_or_may_have_run() -> None:
    stage = Stage()
    repeats = stage.hang("slow-price", timeout_s=60.0)
    stage.world.crash("service")
    stage.service = stage.service_at("another")
    stage.world.run(20.0)
    assert is_done(repeats) and len(repeats.runs) == 2
    runs_once = stage.hang(timeout_s=60.0)
    stage.world.crash("another")
    stage.service_at("third")
    stage.world.run(20.0)
    assert isinstance(runs_once.error, PeerLost) and runs_once.error.may_have_run


def test_a_request_that_nobody_serves_ends_in_time_and_the_service_after_it() -> None:
    stage = Stage(service_idle_s=5)
    stage.world.crash("service")
    called = stage.call(run_s=4.0, timeout_s=3.0)
    assert isinstance(called.error, PeerError)
    stage.world.run(20.0)
    assert not stage.broker.relays and not stage.client.core.instances


def test_a_service_of_a_cut_broker_is_used_again_when_the_cut_heals() -> None:
    stage = Stage()
    broker, service = stage.broker.process.host, stage.service.process.host
    stage.world.network.cut(broker, service)
    called = stage.call("price", run_s=10.0, timeout_s=60.0)
    assert not called.runs
    stage.world.network.heal(broker, service)
    stage.world.run(5.0)
    assert is_done(called)


def test_a_stopped_service_gets_no_further_requests_while_another_is_there() -> None:
    stage = Stage()
    other = stage.service_at("another")
    stage.world.run(3.0)
    stage.world.pause("service", silent=False)
    stage.world.run(8.0)
    calls = [stage.call("price") for _ in range(10)]
    assert all(map(is_done, calls))
    assert {n for called in calls for n in called.runs} == {other.core.incarnation}


def test_the_room_of_a_broker_is_for_all_and_what_does_not_fit_is_refused() -> None:
    stage = Stage(requests_max=5, worker_credit_max=1)
    stage.hang(timeout_s=30.0)
    calls = [stage.world.call(stage.client, "add", attempts=1) for _ in range(20)]
    stage.world.run(1.0)
    assert stage.broker.core.in_flight == 5
    assert sum(called.error is not None for called in calls) == 16
    stage.service.free()
    stage.world.run(3.0)
    assert stage.broker.core.in_flight == 0


def test_a_client_has_no_more_requests_than_its_credit() -> None:
    stage = Stage(client_requests_max=3)
    stage.hang(timeout_s=30.0)
    calls = [stage.world.call(stage.client, "add", timeout_s=30.0) for _ in range(20)]
    stage.world.run(1.0)
    assert stage.broker.core.in_flight <= 3 < CREDIT
    stage.service.free()
    stage.world.run(3.0)
    assert all(map(is_done, calls))
