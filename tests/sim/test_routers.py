"""Worlds with routers, full of faults: what holds of calls holds whatever way they take."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.origins import Origins
from zmqkit.core.calls.request import RequestWindow
from zmqkit.core.majordomo.memory_back import CallsCore, MemoryBack
from zmqkit.errors import PeerLost
from zmqkit.model import MAJORDOMO
from zmqkit.simulation.calls import RegisteredRole
from zmqkit.simulation.oracle import METHODS, Broken, Called
from zmqkit.simulation.routers import RouterRole, RouterUsers
from zmqkit.simulation.simulation import replay, run
from zmqkit.simulation.streams import STREAMS
from zmqkit.simulation.world import Plan, World
from zmqkit.wire.rows import Head, Origin

SEEDS = int(os.environ.get("ZMQKIT_SEEDS", "12"))
BREAKING = 60


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_invariant_holds_with_routers(seed: int) -> None:
    result = run(seed, only="routers")
    assert not result.broken, f"seed {seed}: {result.broken}\n{replay(seed, only='routers')}"
    assert result.runs and result.ends["delivered"]


@pytest.mark.slow
def test_a_router_that_calls_everything_idempotent_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CallsCore, "idempotent", frozenset({"add", "slow", "boom"}))
    broken = (run(seed, only="routers").broken for seed in range(BREAKING))
    assert any("what may not repeat runs once" in text for text in broken)


class Stage:
    """Two routers of one name, and a client that finds it."""

    def __init__(self) -> None:
        self.world = World(1, Plan(ports_stay=True), keep=True)
        self.users = RouterUsers(self.world, 1, [], self.world.crash, share=0.0)
        for host in "rs":
            self.users.routers[host] = ["orders"]
            self.users.start(self.world.start(host))
        self.client = self.world.client(self.world.start("user"), "orders")

    def router(self, host: str) -> RouterRole:
        [role] = self.world.processes[host].of(RouterRole)
        return role

    def back(self, host: str) -> MemoryBack:
        back = self.router(host).relays["orders"].back
        assert isinstance(back, MemoryBack)
        return back

    def dial(self, host: str) -> RegisteredRole:
        """Start a service that only the routers know."""
        core = DiallingCore(0xD1A1, METHODS, 2, STREAMS, device=MAJORDOMO, name="orders")
        role = RegisteredRole(self.world.start(host), "edge", core, self.world.oracle)
        role.start()
        self.world.run(2.0)
        return role

    def calls(self, method: str, count: int) -> list[Called]:
        return [self.world.call(self.client, method) for _ in range(count)]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_router_finds_services_and_neither_itself_nor_another_router(stage: Stage) -> None:
    services = [stage.world.serve(stage.world.start(host), "orders") for host in "ab"]
    stage.world.run(5.0)
    for host in "rs":
        found = {each.incarnation for each in stage.back(host).core.instances}
        assert found == {role.core.incarnation for role in services}
    assert stage.client.core.ready_count == 2  # it turned to the routers


def test_a_router_is_found_once_somebody_serves_its_name(stage: Stage) -> None:
    stage.world.run(5.0)
    assert stage.client.core.ready_count == 0
    stage.dial("d")
    assert stage.client.core.ready_count == 2


def test_a_router_whose_services_are_gone_is_found_no_longer(stage: Stage) -> None:
    stage.dial("d")
    stage.world.crash("d")
    stage.world.run(60.0)
    assert stage.client.core.ready_count == 0


def test_calls_move_to_another_router_and_run_once(stage: Stage) -> None:
    stage.dial("d")
    made = stage.calls("slow-price", 20)
    stage.world.run(0.3)
    stage.world.crash("r")
    stage.world.run(10.0)
    assert all(each.error is None and len(each.runs) == 1 for each in made)


def test_a_copy_that_a_service_runs_again_is_noticed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meet(
        self: Origins,
        window: RequestWindow,
        heads: Sequence[Head],
        origins: Sequence[Origin] | None,
        now: float,
    ) -> None:
        for client, below, _ in origins or ():
            self._hear(client, below, now)

    monkeypatch.setattr(Origins, "meet", meet)
    stage.dial("d")
    stage.calls("slow-price", 20)
    stage.world.run(0.3)
    stage.world.crash("r")
    with pytest.raises(Broken, match="a service runs an id once"):
        stage.world.run(10.0)


def test_what_must_not_run_twice_may_have_run_when_its_router_is_gone(stage: Stage) -> None:
    stage.dial("d")
    made = stage.calls("slow", 20)
    stage.world.run(0.3)
    stage.world.crash("r")
    stage.world.run(10.0)
    lost = [each.error for each in made if each.error is not None]
    assert lost and all(isinstance(e, PeerLost) and e.may_have_run for e in lost)
    assert all(len(each.runs) <= 1 for each in made)


def test_no_call_fails_when_a_router_leaves(stage: Stage) -> None:
    stage.dial("d")
    made = stage.calls("add", 50)
    stage.world.run(0.01)
    stage.world.leave(stage.router("r"))
    made += stage.calls("add", 50)
    stage.world.run(5.0)
    assert all(each.error is None for each in made)


def test_a_service_that_dials_for_a_name_that_is_not_passed_on_is_told_of(stage: Stage) -> None:
    core = DiallingCore(0xD1A1, METHODS, 2, STREAMS, device=MAJORDOMO, name="stock")
    RegisteredRole(stage.world.start("d"), "edge", core, stage.world.oracle).start()
    lines = stage.world.timeline.lines
    stage.world.run(5.0)
    assert core.stats()["devices"] == 0 and any("name-unrouted" in line for line in lines)
