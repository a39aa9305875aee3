"""Services of brokers, which nobody announces: they come and go, and are found."""

from __future__ import annotations

from random import Random

import pytest

from zmqkit.core.calls.service import ServiceCore
from zmqkit.limits import PING_S
from zmqkit.simulation.calls import ClientRole, ServiceRole
from zmqkit.simulation.feed import Reception
from zmqkit.simulation.network import Weather
from zmqkit.simulation.oracle import METHODS
from zmqkit.simulation.process import Process
from zmqkit.simulation.streams import STREAMS
from zmqkit.simulation.world import Plan, World, about

SOON_S = 0.2


@pytest.fixture
def world() -> World:
    """A world with a client of orders."""
    world = World(1)
    client(world)
    return world


def client(world: World) -> ClientRole:
    return world.client(world.start("user"), "orders")


def broker(world: World, host: str) -> Process:
    """Start a process that announces a broker without services."""
    process = world.start(host)
    record = world.record(process, "m", "majordomo")
    control = process.control
    control.driver.command(lambda now: control.core.offer(record, now, process.reach))
    world.feed.announce(record)
    return process


def serve(world: World, process: Process, name: str = "orders") -> ServiceRole:
    """Have a broker offer a service, which answers calls itself here."""
    record = world.record(process, name, "broker")
    core = ServiceCore(record.incarnation, METHODS, 2, STREAMS)
    core.about.update(about(record))
    role = ServiceRole(process, record, core, world.oracle)
    role.start()
    return role


def ready(world: World) -> int:
    [role] = world.processes["user"].of(ClientRole)
    return role.core.ready_count


def called(world: World) -> None:
    [role] = world.processes["user"].of(ClientRole)
    made = world.call(role, "add")
    world.run(1.0)
    assert made.error is None


def test_a_service_of_a_broker_is_found_and_called(world: World) -> None:
    serve(world, broker(world, "b"))
    world.run(SOON_S)
    assert ready(world) == 1
    called(world)


def test_a_service_that_comes_later_is_found_at_once(world: World) -> None:
    process = broker(world, "b")
    serve(world, process, "stock")
    world.run(60.0)
    assert ready(world) == 0
    serve(world, process)
    world.run(SOON_S)
    assert ready(world) == 1


def test_a_service_whose_coming_was_not_told_is_found_with_the_next_pong(world: World) -> None:
    process = broker(world, "b")
    world.run(10.0)
    process.control.core.offers.callers.clear()
    serve(world, process)
    world.run(PING_S + SOON_S)
    assert ready(world) == 1


def test_a_service_that_leaves_its_broker_is_used_no_more(world: World) -> None:
    process = broker(world, "b")
    role = serve(world, process)
    serve(world, process)
    world.run(1.0)
    assert ready(world) == 2
    world.leave(role)
    world.run(1.0)
    assert ready(world) == 1
    called(world)


def test_all_brokers_are_asked(world: World) -> None:
    for number in range(5):
        serve(world, broker(world, f"b{number}"))
    world.run(1.0)
    assert ready(world) == 5


def test_a_broker_that_restarts_is_asked_again() -> None:
    world = World(1, Plan(ports_stay=True))
    client(world)
    serve(world, broker(world, "b"))
    world.run(1.0)
    world.crash("b")
    world.run(0.5)
    assert ready(world) == 0
    serve(world, broker(world, "b"))
    world.run(1.0)
    assert ready(world) == 1
    called(world)


def test_a_broker_is_found_through_a_static_peer() -> None:
    world = World(1, Plan(reception=Reception(deaf=1.0), ports_stay=True))
    world.start("shared")
    client(world)
    process = broker(world, "b")
    for each in (process, world.processes["user"]):
        world.seed(each, world.url_of("shared"))
    world.run(2.0)
    serve(world, process)
    world.run(2.0)
    assert ready(world) == 1


def test_a_broker_that_only_others_use_is_not_watched(world: World) -> None:
    other = world.start("other")
    process = broker(world, "b")
    serve(world, process)
    world.run(5.0)
    assert not other.control.core.neighbours
    world.hang_up(world.processes["user"].of(ClientRole)[0])
    world.run(1.0)
    assert not world.processes["user"].control.core.neighbours


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lan", [False, True])
def test_whatever_happens_all_services_are_found_once_all_is_well(
    seed: int, *, lan: bool
) -> None:
    reception = Reception(late_s=(0.001, 2.0), deaf=0.2)
    world = World(seed, Plan(Weather(loss=0.05), reception, lan=lan, ports_stay=seed % 2 == 0))
    client(world)
    chance = Random(seed)
    for _ in range(40):
        _something_happens(world, chance)
        world.run(chance.uniform(0.0, 3.0))
    for each in chance.sample(sorted(world.processes), 2):
        world.network.cut(world.processes[each].host, world.processes["user"].host)
    world.run(5.0)
    world.heal()
    world.run(8.0)
    services = [
        role
        for process in world.processes.values()
        for role in process.of(ServiceRole)
        if role.record.name == "orders"
    ]
    assert ready(world) == min(len(services), 16)
    if services:
        called(world)
    for process in world.processes.values():
        process.control.core.check()


def _something_happens(world: World, chance: Random) -> None:
    """A broker or a service of one comes, goes, dies, or is cut off for a while."""
    brokers = sorted(world.processes.keys() - {"user"})
    happens = chance.randrange(6)
    if len(brokers) < 2 or (happens == 0 and len(brokers) < 4):
        host = next(n for n in ("a", "b", "c", "d") if n not in brokers)
        serve(world, broker(world, host), chance.choice(["orders", "stock"]))
        return
    process = world.processes[chance.choice(brokers)]
    roles = process.of(ServiceRole)
    if happens == 1:
        world.crash(process.host.name)
    elif happens == 2 and roles:
        world.leave(chance.choice(roles))
    elif happens == 3:
        world.pause(process.host.name, silent=chance.random() < 0.5)
        world.run(chance.uniform(0.0, 4.0))
        world.resume(process.host.name)
    elif happens == 4:
        world.network.cut(process.host, world.processes["user"].host)
        world.run(chance.uniform(0.0, 4.0))
        world.network.heal_all()
    else:
        serve(world, process, chance.choice(["orders", "stock"]))
