"""Services that answer through brokers, and clients that find such services.

A streamer stands in for a broker where a service dials, as it takes READY in the same way. A
plain service does where clients call: a record says that it is one of a broker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.streamer import Streamer
from zmqkit.model import Reach, Record, parse_url
from zmqkit.node import node as nodes
from zmqkit.node.node import Node
from zmqkit.roles.scheme import draw_incarnation

pytestmark = pytest.mark.usefixtures("node")


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def ours() -> Iterator[Node]:
    """The node of this process."""
    node = nodes.acquire()
    yield node
    nodes.release(node)


def record(node: Node, name: str, role: str, incarnation: int, endpoint: str) -> Record:
    """A role of this process, as others are told of it."""
    port = parse_url(endpoint).port
    control = node.open_control(Reach.LOCAL)
    return Record(name, role, incarnation, node.process, (), control, port)


def announced(node: Node, kit: Kit, endpoint: str) -> int:
    """Announce a broker that listens there; return its number."""
    incarnation = draw_incarnation()
    broker = record(node, f"{kit.name}-m", "majordomo", incarnation, endpoint)
    node.announce(broker, Reach.LOCAL)
    return incarnation


def ended(node: Node, incarnation: int) -> None:
    node.withdraw(incarnation)
    node.retract(incarnation)


def devices(service: Any) -> Any:
    return service.stats()["devices"]


def dialled(streamer: Streamer) -> Any:
    return streamer.stats()["dialled"]


# Whoever dials


def test_a_service_registers_at_the_url_of_a_broker(kit: Kit) -> None:
    broker = kit.streamer()
    service = kit.serving(double, via=broker.endpoint)
    until(lambda: dialled(broker) == 1 and devices(service) == 1)
    assert (service.name, service.via) == (kit.name, broker.endpoint)
    assert service.endpoint == broker.endpoint
    assert service.reach is Reach.LOCAL
    service.close()
    until(lambda: dialled(broker) == 0)


def test_a_service_registers_with_all_brokers_of_a_name(kit: Kit, ours: Node) -> None:
    first, second = kit.streamer(), kit.streamer()
    numbers = [announced(ours, kit, each.endpoint) for each in (first, second)]
    service = kit.serving(double, via=f"{kit.name}-m")
    until(lambda: devices(service) == 2)
    assert (dialled(first), dialled(second)) == (1, 1)
    assert service.endpoint == ""
    ended(ours, numbers[0])
    until(lambda: devices(service) == 1)
    for each in numbers:
        ended(ours, each)


def test_a_broker_that_comes_later_is_registered_with(kit: Kit, ours: Node) -> None:
    service = kit.serving(double, via=f"{kit.name}-m")
    broker = kit.streamer()
    assert devices(service) == 0
    number = announced(ours, kit, broker.endpoint)
    until(lambda: devices(service) == 1)
    ended(ours, number)
    until(lambda: devices(service) == 0)


def test_such_a_service_is_told_to_nobody(kit: Kit, ours: Node) -> None:
    broker = kit.streamer()
    service = kit.serving(double, via=broker.endpoint)
    until(lambda: devices(service) == 1)
    assert ours.ask(lambda: len(ours.core.offers)) == 1  # the streamer


@pytest.mark.slow
def test_that_no_broker_is_there_is_told_once_with_a_remedy(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    kit.serving(double, via=f"{kit.name}-m")
    missing = f"zmqkit run majordomo --name {kit.name}-m"
    until(lambda: missing in caplog.text)
    [line] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "device-missing" in line.getMessage()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"via": "m", "bind": "tcp://*:0"}, "a service that dials 'm' listens nowhere"),
        ({"via": "m", "advertise": "10.0.0.5"}, "a service that dials 'm' listens nowhere"),
        ({"via": "tcp://127.0.0.1:5555/orders"}, "has a name behind the port; leave it out"),
        ({"via": "tcp://127.0.0.1:0"}, "needs a host and a port"),
        ({"via": "tcp://10.0.0.5:5555", "insecure": False}, "reaches beyond this machine"),
        ({"via": "memory://m"}, "use tcp://host:port"),
        ({"via": "udp://m:1"}, "is not a URL zmqkit knows"),
    ],
)
def test_a_wrong_via_is_told_at_once(kit: Kit, options: dict[str, Any], words: str) -> None:
    with pytest.raises(zmqkit.ConfigError, match=words):
        kit.service(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"via": ""}, "at least one character"),
        ({"via": 5}, "not 5"),
        ({"via": "10.0.0.5:5555"}, "did you mean tcp://10.0.0.5:5555"),
        ({"via": "m", "name": "tcp://127.0.0.1:1"}, "is an address, and a service has a name"),
    ],
)
def test_a_via_that_is_no_name_is_told_at_once(
    kit: Kit, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(zmqkit.UsageError, match=words):
        kit.service(**options)


def test_a_broker_on_the_network_needs_a_word(kit: Kit) -> None:
    service = kit.service(via="tcp://10.0.0.5:5555")
    with pytest.raises(zmqkit.ConfigError, match=r"tcp://10\.0\.0\.5:5555.*insecure=True"):
        service.start()


# Whoever calls


def test_a_client_finds_and_calls_a_service_of_a_broker(kit: Kit, ours: Node) -> None:
    hidden = kit.serving(double, name="hidden")
    number = announced(ours, kit, hidden.endpoint)
    # This takes the place of the row that says that it is a service.
    service = record(ours, kit.name, "broker", hidden.incarnation, hidden.endpoint)
    ours.offer(service, Reach.LOCAL)
    client = kit.client()
    assert client.call("double", 21) == 42
    ours.retract(hidden.incarnation)
    until(lambda: client.ready(timeout_s=0) == 0)
    ours.offer(service, Reach.LOCAL)
    assert client.ready(timeout_s=BOUND_S) == 1
    ended(ours, number)


def test_a_client_calls_a_service_of_a_broker_by_url(kit: Kit, ours: Node) -> None:
    hidden = kit.serving(double, name="hidden")
    number = announced(ours, kit, hidden.endpoint)
    service = record(ours, kit.name, "broker", hidden.incarnation, hidden.endpoint)
    ours.offer(service, Reach.LOCAL)
    client = kit.client(f"{hidden.endpoint}/{kit.name}")
    assert client.call("double", 21) == 42
    ended(ours, number)
