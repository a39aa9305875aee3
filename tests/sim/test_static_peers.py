"""Processes that share one static peer, where multicast does not pass."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.simulation.calls import ClientRole
from zmqkit.simulation.feed import Reception
from zmqkit.simulation.world import Plan, World


def quiet(*, lan: bool = False) -> World:
    """A world without multicast."""
    return World(1, Plan(reception=Reception(deaf=1.0), ports_stay=True, lan=lan))


def client(world: World) -> ClientRole:
    """A client of one of those processes, after a second."""
    role = world.client(world.processes["user"], "orders")
    world.run(1.0)
    return role


def sharing(world: World, *hosts: str) -> None:
    """Processes that know nothing but the address of the first."""
    world.start("shared")
    for host in hosts:
        world.seed(world.start(host), world.url_of("shared"))


@pytest.mark.parametrize("lan", [False, True])
def test_those_who_share_one_static_peer_find_each_other(*, lan: bool) -> None:
    world = quiet(lan=lan)
    sharing(world, "a", "b", "user")
    for host in ("a", "b"):
        world.serve(world.processes[host], "orders")
    role = client(world)
    assert role.core.ready_count == 2


def test_a_latecomer_is_found_through_a_static_peer() -> None:
    world = quiet()
    sharing(world, "a", "user")
    role = client(world)
    world.run(60.0)
    world.serve(world.processes["a"], "orders")
    world.run(1.5)
    assert role.core.ready_count == 1
    late = world.start("late")
    world.seed(late, world.url_of("shared"))
    world.serve(late, "orders")
    world.run(1.5)
    assert role.core.ready_count == 2


def test_who_died_is_forgotten_by_those_who_share_a_static_peer() -> None:
    world = quiet()
    sharing(world, "a", "user")
    world.serve(world.processes["a"], "orders")
    role = client(world)
    world.crash("a")
    world.run(20.0)
    assert not role.process.control.core.roles
    assert len(role.process.control.core.neighbours) == 1


def test_those_who_found_each_other_need_their_static_peer_no_more() -> None:
    world = quiet()
    sharing(world, "a", "user")
    world.serve(world.processes["a"], "orders")
    role = client(world)
    world.crash("shared")
    world.run(30.0)
    called = world.call(role, "add")
    world.run(1.0)
    assert called.error is None and called.settled_at < inf
    world.network.cut(world.processes["a"].host, role.process.host)
    world.run(30.0)
    assert role.core.ready_count == 0
    world.heal()
    world.run(5.0)
    assert role.core.ready_count == 1


def test_a_static_peer_that_restarts_is_joined_anew() -> None:
    world = quiet()
    sharing(world, "a", "user")
    role = client(world)
    world.crash("shared")
    world.run(30.0)
    world.serve(world.processes["a"], "orders")
    world.start("shared")
    world.run(5.0)
    assert role.core.ready_count == 1


def test_a_static_peer_that_was_stopped_forgets_nobody() -> None:
    world = quiet()
    sharing(world, "a", "user")
    world.serve(world.processes["a"], "orders")
    role = client(world)
    world.pause("shared", silent=True)
    world.run(30.0)
    world.resume("shared")
    for _ in range(50):
        world.run(0.1)
        assert role.core.ready_count == 1 and role.process.control.core.roles


def test_who_a_static_peer_hears_by_multicast_is_found_through_it() -> None:
    world = World(1, Plan(ports_stay=True))
    world.start("shared")
    world.serve(world.start("a"), "orders")
    world.run(1.0)
    world.feed.reception = Reception(deaf=1.0)
    user = world.start("user")
    world.seed(user, world.url_of("shared"))
    role = client(world)
    assert role.core.ready_count == 1


def test_static_peers_of_each_other_come_to_rest() -> None:
    world = World(1, Plan(reception=Reception(deaf=1.0), ports_stay=True), keep=True)
    for name in ("shared", "other"):
        world.start(name)
    for name, other in (("shared", "other"), ("other", "shared")):
        world.seed(world.processes[name], world.url_of(other))
    for name, peer in (("a", "shared"), ("b", "other")):
        world.seed(world.start(name), world.url_of(peer))
        world.serve(world.processes[name], "stock")
    for name in ("shared", "other"):
        world.client(world.processes[name], "orders")
    world.run(200.0)
    begun = len(world.timeline.lines)
    world.run(100.0)
    said = [line for line in world.timeline.lines[begun:] if "> HELLO" in line]
    assert len(said) <= 4 * 3  # four connections to static peers, once a minute each
