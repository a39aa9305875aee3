"""What simulation found, and what users are promised, each as a scenario with a name."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.errors import Busy, CallTimeout, PeerError, PeerLost
from zmqkit.limits import EVASIVE_S, FORGET_CLIENT_S
from zmqkit.simulation.calls import ClientRole, ServiceRole
from zmqkit.simulation.feed import Reception
from zmqkit.simulation.network import Weather
from zmqkit.simulation.oracle import Called
from zmqkit.simulation.world import Plan, World

NO_DISCOVERY = Reception(deaf=1.0)


@pytest.fixture
def world() -> World:
    return World(1, Plan(ports_stay=True))


def services(world: World, *hosts: str) -> list[ServiceRole]:
    """A process with a service on each host."""
    return [world.serve(world.start(host), "orders") for host in hosts]


def client(world: World, host: str = "user") -> ClientRole:
    """A process with a client that has found everybody."""
    role = world.client(world.processes.get(host) or world.start(host), "orders")
    world.run(1.0)
    return role


def failures(calls: list[Called]) -> list[str]:
    """How calls ended that have no value; each has ended."""
    assert all(called.settled_at < inf for called in calls)
    return [type(called.error).__name__ for called in calls if called.error is not None]


def succeeded(*calls: Called) -> bool:
    """Whether each call has ended with its value."""
    return failures(list(calls)) == []


# Found by seeds


@pytest.mark.parametrize("seed", range(5))
def test_a_late_copy_of_a_cancelled_call_does_not_run(seed: int) -> None:
    """Seed 319: a cancelled request left nothing behind, so its copy was new."""
    world = World(seed, Plan(weather=Weather(duplicate=1.0)))
    services(world, "a", "b")
    role = client(world)
    world.pause("b", silent=True)
    for _ in range(2):
        world.call(role, "add", timeout_s=30.0)  # one of them stays open, at b
    for _ in range(20):
        called = world.call(role, "add")
        world.run(0.005)
        world.cancel(called)
    world.run(5.0)
    assert world.oracle.runs <= 21


def test_a_refusal_does_not_hide_that_an_earlier_instance_may_run_it(world: World) -> None:
    """Seeds 113, 128, 324, 428: the one that refused spoke for the one before as well."""
    [one] = services(world, "a")
    role = client(world)
    world.pause("a", silent=False)
    called = world.call(role, "price", timeout_s=20.0, attempts=2)
    world.run(1.0)
    [other] = services(world, "b")
    world.run(0.1)
    other.core.leave()  # its goodbye is lost
    world.run(8.0)
    assert isinstance(called.error, Busy) and called.error.may_have_run
    world.resume("a")
    world.run(1.0)
    assert called.runs == [one.record.incarnation]


@pytest.mark.parametrize("seed", range(10))
def test_an_instance_that_leaves_takes_no_call_along(seed: int) -> None:
    """Its last answers are read though it is gone, and what came too late runs elsewhere."""
    weather = Weather(delay_s=(0.05, 0.5), lingers=1.0)
    world = World(seed, Plan(weather=weather, concurrency=20))
    one, _ = services(world, "a", "b")
    role = client(world)
    world.run(5.0)
    calls = []
    for _ in range(40):
        calls.append(world.call(role, "add", timeout_s=30.0))
        world.run(0.03)
        if len(calls) == 20:
            world.leave(one)
    world.run(20.0)
    assert succeeded(*calls) and world.oracle.runs == 40


def test_a_role_that_nobody_used_may_vanish(world: World) -> None:
    """Found by almost every seed: its only source was gone before it was erased."""
    [role] = services(world, "a")
    other = world.start("user")
    world.run(1.0)
    assert (role.record.process, role.record.incarnation) in other.control.core.roles
    world.leave(role)
    world.run(2.0)
    assert not other.control.core.roles


def test_a_peer_given_by_hand_is_asked_until_it_serves() -> None:
    """Seeds 52, 62, 171: an address was asked once, and never after an empty answer."""
    world = World(1, Plan(reception=NO_DISCOVERY))
    late, user = world.start("a"), world.start("user")
    [url] = world.control_urls(but=user)
    world.seed(user, url)
    role = client(world)
    world.serve(late, "orders")
    called = world.call(role, "add", timeout_s=10.0, wait_s=10.0)
    world.run(10.0)
    assert succeeded(called)


@pytest.mark.parametrize("pause_s", [0.0, 2.0, 20.0])
def test_a_client_by_url_follows_a_service_that_is_made_anew(pause_s: float) -> None:
    """Seeds 276, 280, 313, 578: the URL meant the first service for ever."""
    world = World(1, Plan(reception=NO_DISCOVERY, ports_stay=True))
    [first] = services(world, "a")
    world.serve(first.process, "stock")
    user = world.start("user")
    [url] = world.control_urls(but=user)
    world.client(user, f"{url}/stock")
    role = world.client(user, f"{url}/orders")
    world.run(1.0)
    world.leave(first)
    world.run(pause_s)
    world.serve(first.process, "orders")
    called = world.call(role, "add", timeout_s=10.0, wait_s=10.0)
    world.run(10.0)
    assert succeeded(called)


def test_a_service_that_leaves_while_it_is_all_that_a_url_means(world: World) -> None:
    """Seeds 112, 113: its process was kept though nobody wanted it any more."""
    [role] = services(world, "a")
    user = world.start("user")
    [url] = world.control_urls(but=user)
    caller = world.client(user, f"{url}/orders")
    world.run(0.5)
    world.leave(role)
    world.run(0.2)
    assert not user.control.core.neighbours
    world.serve(role.process, "orders")
    called = world.call(caller, "add", timeout_s=10.0, wait_s=10.0)
    world.run(10.0)
    assert succeeded(called)


# Found by reading


def test_a_role_is_found_though_an_older_directory_is_under_way() -> None:
    """The last role of a process was erased by a directory older than its announcement."""
    world = World(1, Plan(weather=Weather(delay_s=(0.2, 0.2)), ports_stay=True))
    [first] = services(world, "a")
    role = client(world)
    world.run(2.0)
    world.leave(first)
    world.run(0.35)
    world.serve(first.process, "orders")
    world.run(1.0)
    called = world.call(role, "add")
    world.run(5.0)
    assert succeeded(called) and role.core.ready_count == 1


# Promised


def test_calls_fail_over_when_their_instance_is_killed(world: World) -> None:
    services(world, "a", "b")
    role = client(world)
    calls = [world.call(role, "slow-price") for _ in range(20)]
    world.run(0.05)
    world.crash("a")
    world.run(5.0)
    assert succeeded(*calls)
    assert any(len(called.runs) == 2 for called in calls)


def test_calls_that_may_not_repeat_say_so_when_their_instance_is_killed(world: World) -> None:
    services(world, "a", "b")
    role = client(world)
    calls = [world.call(role, "slow") for _ in range(20)]
    world.run(0.05)
    world.crash("a")
    world.run(5.0)
    lost = [called.error for called in calls if called.error is not None]
    assert lost and all(isinstance(error, PeerLost) for error in lost)
    assert all(isinstance(error, PeerError) and error.may_have_run for error in lost)


def test_a_killed_instance_is_not_chosen_within_half_a_second(world: World) -> None:
    services(world, "a", "b")
    role = client(world)
    assert role.core.ready_count == 2
    world.crash("a")
    world.run(0.5)
    assert role.core.ready_count == 1


def test_a_process_that_holds_the_interpreter_is_passed_over(world: World) -> None:
    services(world, "a", "b")
    role = client(world)
    world.pause("a", silent=True)
    stuck = [world.call(role, "add", timeout_s=5.0) for _ in range(10)]
    world.run(EVASIVE_S + 1.5)
    assert role.core.ready_count == 1
    calls = [world.call(role, "add") for _ in range(10)]
    world.run(3.0)
    assert succeeded(*calls)
    assert set(failures(stuck)) == {"CallTimeout"} and len(failures(stuck)) == 5


def test_a_stopped_service_loses_nothing_uncounted(world: World) -> None:
    [role] = services(world, "a")
    user = client(world)
    world.pause("a", silent=False)
    calls = [world.call(user, "price", timeout_s=30.0) for _ in range(200)]
    world.run(10.0)
    world.resume("a")
    world.run(30.0)
    assert len(calls) == 200 and succeeded(*calls)
    assert role.core.in_flight == user.core.in_flight == 0


def test_a_stopped_client_ends_its_calls_when_it_runs_on(world: World) -> None:
    services(world, "a")
    user = client(world)
    calls = [world.call(user, "slow", timeout_s=5.0) for _ in range(50)]
    world.run(0.01)
    world.pause("user", silent=False)
    world.run(10.0)
    world.resume("user")
    world.run(1.0)
    world.oracle.judge_all()
    assert set(failures(calls)) <= {"CallTimeout", "PeerLost"}


def test_a_rolling_restart_fails_no_call(world: World) -> None:
    roles = services(world, "a", "b")
    user = client(world)
    calls: list[Called] = []
    for old in roles:
        for _ in range(20):
            calls.append(world.call(user, "slow", attempts=2))
            world.run(0.05)
        world.leave(old)
        world.serve(old.process, "orders")
        world.run(1.0)
    world.run(5.0)
    assert succeeded(*calls)


def test_a_cut_cable_heals(world: World) -> None:
    [role] = services(world, "a")
    user = client(world)
    world.network.cut(role.process.host, user.process.host)
    called = world.call(user, "add")
    world.run(8.0)
    assert isinstance(called.error, PeerLost | CallTimeout)
    world.heal()
    world.run(7.0)
    again = world.call(user, "add")
    world.run(1.0)
    assert succeeded(again)


@pytest.mark.parametrize(
    ("cut_s", "heal_s"), [(5.0, 2.0), (10.0, 2.0), (30.0, 5.0), (600.0, 5.0)]
)
@pytest.mark.parametrize("phase_s", [0.0, 0.7, 1.9])
def test_what_was_cut_off_is_used_again_soon(
    world: World, cut_s: float, phase_s: float, heal_s: float
) -> None:
    """The longer it was away, the less often it was tried."""
    [role] = services(world, "a")
    user = client(world)
    world.network.cut(role.process.host, user.process.host)
    world.run(cut_s + phase_s)
    assert user.core.ready_count == 0
    world.network.heal(role.process.host, user.process.host)
    world.run(heal_s)
    assert user.core.ready_count == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("moved", ["a", "user"])
def test_a_host_that_changes_its_address_is_used_at_the_new_one(seed: int, moved: str) -> None:
    world = World(seed, Plan(lan=True))
    services(world, "a")
    role = client(world)
    calls = [world.call(role, "add"), world.call(role, "price")]
    world.readdress(moved)
    moved_at = world.timeline.now
    calls += [world.call(role, "add"), world.call(role, "price")]
    world.run(1.5)
    calls += [world.call(role, "add"), world.call(role, "price")]
    world.run(3.0)
    assert succeeded(*calls)
    assert max(called.settled_at for called in calls[:4]) < moved_at + 1.5
    [instance] = role.core.instances
    assert world.processes["a"].host.address in instance.endpoint


def test_a_client_by_url_follows_a_process_that_restarts() -> None:
    world = World(1, Plan(reception=NO_DISCOVERY, ports_stay=True))
    services(world, "a")
    user = world.start("user")
    [url] = world.control_urls(but=user)
    role = world.client(user, f"{url}/orders")
    world.run(1.0)
    world.crash("a")
    world.run(3.0)
    services(world, "a")
    world.run(10.0)
    called = world.call(role, "add")
    world.run(5.0)
    assert succeeded(called)


def test_an_idempotent_call_outlives_a_cut_of_a_minute_and_more(world: World) -> None:
    [role] = services(world, "a")
    user = client(world)
    called = world.call(user, "price", timeout_s=200.0)
    world.run(0.001)
    world.network.cut(role.process.host, user.process.host)
    world.run(FORGET_CLIENT_S * 1.5)
    assert role.core.stats()["clients"] == 0
    world.heal()
    world.run(10.0)
    assert succeeded(called)


def test_data_that_gets_lost_is_asked_for_again(world: World) -> None:
    [role] = services(world, "a")
    user = client(world)
    called = world.call(user, "slow")
    world.run(0.01)
    for connection in world.network.connections:
        if connection.dialer.watch is None:
            world.network.break_(connection)
    world.run(4.0)
    assert succeeded(called) and called.runs == [role.record.incarnation]


def test_a_full_link_keeps_calls_until_there_is_room() -> None:
    world = World(1, Plan(weather=Weather(room=1, delay_s=(0.01, 0.02))))
    services(world, "a")
    user = client(world)
    calls, begun = [], world.timeline.now
    for _ in range(30):
        calls.append(world.call(user, "add"))
        world.run(0.001)
    world.run(4.0)
    assert succeeded(*calls)
    # What was refused leaves with the next look; what is taken for lost, with the one after.
    assert max(called.settled_at for called in calls) < begun + 1.5


def test_an_idle_world_keeps_nothing(world: World) -> None:
    [role] = services(world, "a")
    user = client(world)
    for _ in range(10):
        world.call(user, "blob")
    world.run(FORGET_CLIENT_S * 1.5)
    stats = role.core.stats()
    assert (stats["retained_bytes"], stats["clients"], stats["delivered"]) == (0, 0, 10)
