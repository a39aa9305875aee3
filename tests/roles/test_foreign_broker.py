"""Clients and services of ours at a broker that speaks RFC 7 or RFC 18 alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import zmqkit
from tests.ports import quiet_endpoint
from tests.roles.kit import Kit, until
from tests.roles.rfc_broker import DISCONNECT, HEARTBEAT, READY, REQUEST, RfcBroker
from zmqkit.device.majordomo import Majordomo

pytestmark = pytest.mark.usefixtures("node")

PROTOCOLS = {"mdp1": 1, "mdp2": 2}
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
Start = Callable[..., RfcBroker]


@pytest.fixture
def rfc(fakes: object) -> Iterator[Start]:
    """Starts brokers that know nothing of zmqkit."""
    made: list[RfcBroker] = []

    def start(protocol: str = "mdp1", **options: str) -> RfcBroker:
        made.append(RfcBroker(PROTOCOLS[protocol], **options))
        return made[-1]

    yield start
    for each in made:
        if not each.stopped:
            each.close()


@pytest.fixture
def ours(fakes: object) -> Iterator[Majordomo]:
    """A broker of ours, which is asked as if it were another one."""
    broker = Majordomo("m")
    broker.start()
    yield broker
    broker.close()


def reverse(*frames: bytes) -> list[bytes]:
    """What the service does with a request."""
    return list(frames[::-1])


def registered(service: Any) -> bool:
    return bool(service.stats()["devices"])


def serving(kit: Kit, endpoint: str, protocol: str, handler: Callable[..., object]) -> Any:
    """A service of the kit's name that is registered there, with this handler."""
    service = kit.service(via=endpoint, protocol=protocol)
    service.handler(handler, name="mdp")
    kit.serve(service)
    until(lambda: registered(service))
    return service


def client_of(kit: Kit, endpoint: str, protocol: str) -> Any:
    """A client of that service which is connected to the broker."""
    return kit.client(f"{endpoint}/{kit.name}", protocol=protocol)


# At a broker of ours


@each_protocol
def test_both_roles_work_at_a_broker_of_ours(kit: Kit, ours: Majordomo, protocol: str) -> None:
    serving(kit, ours.endpoint, protocol, reverse)
    client = client_of(kit, ours.endpoint, protocol)
    assert client.call("mdp", b"one") == b"one"
    assert client.call("mdp", b"one", "zwei") == [b"zwei", b"one"]
    assert client.call("mdp", b"x" * 100_000) == b"x" * 100_000
    assert client.stats()["malformed"] == {}


def test_parts_of_a_reply_pass_through_a_broker_of_ours(kit: Kit, ours: Majordomo) -> None:
    def count(*frames: bytes) -> Iterator[bytes]:
        for number in range(5):
            yield b"%d" % number

    serving(kit, ours.endpoint, "mdp2", count)
    client = client_of(kit, ours.endpoint, "mdp2")
    numbers = [b"%d" % number for number in range(5)]
    values = kit.values(client.stream("mdp", b"?"))
    assert [value for value in values if value] == numbers
    parts = client.call("mdp", b"?")
    assert [value for value in parts if value] == numbers


@each_protocol
def test_a_client_of_ours_calls_a_service_that_speaks_mdp(
    kit: Kit, ours: Majordomo, protocol: str
) -> None:
    serving(kit, ours.endpoint, protocol, reverse)
    client = kit.client(f"{ours.endpoint}/{kit.name}")
    assert client.call("mdp", b"a", b"b") == [b"b", b"a"]


# At a broker that knows nothing of zmqkit


@each_protocol
def test_both_roles_work_at_a_broker_of_an_rfc(kit: Kit, rfc: Start, protocol: str) -> None:
    broker = rfc(protocol)
    service = serving(kit, broker.endpoint, protocol, reverse)
    client = client_of(kit, broker.endpoint, protocol)
    for number in range(20):
        assert client.call("mdp", b"%d" % number, "x") == [b"x", b"%d" % number]
    assert (service.via, service.endpoint) == (broker.endpoint, broker.endpoint)
    assert len(broker.came(READY)) == 1
    service.close()
    until(lambda: broker.came(DISCONNECT))


@pytest.mark.slow
@each_protocol
def test_heartbeats_leave_while_a_handler_runs(kit: Kit, rfc: Start, protocol: str) -> None:
    broker, gate = rfc(protocol), kit.gate()
    serving(kit, broker.endpoint, protocol, gate.hold)
    client = client_of(kit, broker.endpoint, protocol)
    reply = kit.start(client.call, "mdp", b"x")
    gate.came()
    before = len(broker.came(HEARTBEAT))
    until(lambda: len(broker.came(HEARTBEAT)) > before)
    gate.open()
    assert reply.result() == b"x"
    assert len(broker.came(READY)) == 1


@each_protocol
def test_calls_at_once_wait_in_line(kit: Kit, rfc: Start, protocol: str) -> None:
    broker, gate = rfc(protocol), kit.gate()
    serving(kit, broker.endpoint, protocol, gate.hold)
    client = client_of(kit, broker.endpoint, protocol)
    calls = [kit.start(client.call, "mdp", b"%d" % number) for number in range(5)]
    gate.came()
    until(lambda: client.stats()["in_flight"] == 5)
    assert len(broker.came(REQUEST)) == 1
    gate.open()
    assert [call.result() for call in calls] == [b"%d" % number for number in range(5)]


@each_protocol
def test_a_late_reply_is_never_that_of_the_next_call(
    kit: Kit, rfc: Start, protocol: str
) -> None:
    broker = rfc(protocol)
    serving(kit, broker.endpoint, protocol, reverse)
    client = client_of(kit, broker.endpoint, protocol)
    broker.hold()
    with pytest.raises(zmqkit.CallTimeout) as raised:
        client.options(timeout_s=0.1).call("mdp", b"late")
    assert raised.value.may_have_run
    second = kit.start(client.call, "mdp", b"second")
    until(lambda: len(broker.came(REQUEST)) == 2)
    broker.release()
    assert second.result() == b"second"
    first, again = broker.came(REQUEST)
    assert first != again


@each_protocol
def test_a_service_registers_anew_after_a_disconnect(
    kit: Kit, rfc: Start, protocol: str
) -> None:
    broker = rfc(protocol)
    serving(kit, broker.endpoint, protocol, reverse)
    client = client_of(kit, broker.endpoint, protocol)
    broker.disconnect()
    assert client.call("mdp", b"x") == b"x"
    first, second = broker.came(READY)
    assert first != second


@each_protocol
def test_both_roles_return_to_a_broker_that_restarts(
    kit: Kit, rfc: Start, protocol: str
) -> None:
    broker = rfc(protocol, endpoint=quiet_endpoint())
    serving(kit, broker.endpoint, protocol, reverse)
    client = client_of(kit, broker.endpoint, protocol)
    assert client.call("mdp", b"1") == b"1"
    broker.hold()
    call = kit.start(client.call, "mdp", b"2")
    until(lambda: len(broker.came(REQUEST)) == 2)
    broker.close()
    again = rfc(protocol, endpoint=broker.endpoint)
    assert call.result() == b"2"
    assert len(again.came(READY)) == len(again.came(REQUEST)) == 1


@each_protocol
def test_garbage_does_no_harm(kit: Kit, rfc: Start, protocol: str) -> None:
    broker = rfc(protocol)
    service = serving(kit, broker.endpoint, protocol, reverse)
    client = client_of(kit, broker.endpoint, protocol)
    assert client.call("mdp", b"1") == b"1"
    garbage = [
        (b"",),
        (b"x",),
        (b"", b""),
        (b"", b"MDPC01"),
        (b"MDPW02", b"\xff"),
        (b"x",) * 2000,
    ]
    for identity in (*broker.came(REQUEST), *broker.came(READY)):
        for frames in garbage:
            broker.say(identity, *frames)
    until(lambda: sum(client.stats()["malformed"].values()) == len(garbage))
    until(lambda: len(broker.came(READY)) == 2)
    assert service.stats()["registrations"]["malformed"] == 1
    assert client.call("mdp", b"2") == b"2"


@each_protocol
def test_a_handler_that_raises_is_to_the_broker_like_a_worker_that_is_gone(
    kit: Kit, rfc: Start, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(frame: bytes) -> bytes:
        if frame == b"bad":
            raise ValueError("no such thing")
        return frame

    broker = rfc(protocol)
    service = serving(kit, broker.endpoint, protocol, fail)
    client = client_of(kit, broker.endpoint, protocol)
    call = kit.start(client.options(timeout_s=0.5).call, "mdp", b"bad")
    until(lambda: len(broker.came(READY)) == 2)
    with pytest.raises(zmqkit.CallTimeout):
        call.result()
    assert client.call("mdp", b"good") == b"good"
    assert service.stats()["unanswered"] == {"raised": 1}
    assert "handler 'mdp' raised ValueError" in caplog.text


def test_parts_are_values_of_a_stream(kit: Kit, rfc: Start) -> None:
    def count(frame: bytes) -> Iterator[bytes]:
        yield from (b"%d" % number for number in range(int(frame)))

    broker = rfc("mdp2")
    serving(kit, broker.endpoint, "mdp2", count)
    client = client_of(kit, broker.endpoint, "mdp2")
    values = kit.values(client.stream("mdp", b"2500"))
    assert [value for value in values if value] == [b"%d" % n for n in range(2500)]


@each_protocol
def test_one_way_messages_reach_the_handler(kit: Kit, rfc: Start, protocol: str) -> None:
    broker, gate = rfc(protocol), kit.gate()
    serving(kit, broker.endpoint, protocol, gate.hold)
    client = client_of(kit, broker.endpoint, protocol)
    client.notify("mdp", b"x")
    gate.came()
    gate.open()
    until(lambda: client.stats()["delivered"] == 1)


@each_protocol
def test_a_broker_that_is_not_there_is_no_service(kit: Kit, protocol: str) -> None:
    client = kit.client("tcp://127.0.0.1:1/echo", count=0, protocol=protocol, wait_s=0.1)
    assert client.ready(timeout_s=0) == 0
    with pytest.raises(zmqkit.NoService, match="no broker answered there") as raised:
        client.call("mdp", b"x")
    assert not raised.value.may_have_run


def test_a_broker_without_the_service_times_out(kit: Kit, rfc: Start) -> None:
    client = client_of(kit, rfc().endpoint, "mdp1")
    with pytest.raises(zmqkit.CallTimeout):
        client.options(timeout_s=0.1).call("mdp", b"x")


# Mistakes


def test_what_cannot_travel_is_told_at_once(kit: Kit, rfc: Start) -> None:
    client = client_of(kit, rfc().endpoint, "mdp1")
    with pytest.raises(zmqkit.UsageError, match="frames: bytes or text"):
        client.call("mdp", 7)
    with pytest.raises(zmqkit.UsageError, match="frames: bytes or text"):
        client.call("mdp", b"x", key=b"y")
    with pytest.raises(zmqkit.UsageError, match="headers cannot travel"):
        client.options(headers={"a": 1}).call("mdp", b"x")
    with pytest.raises(zmqkit.NoMethod, match=r"call\('mdp'"):
        client.call("price", b"x")
    with pytest.raises(zmqkit.NoMethod, match="nobody keeps requests"):
        client.submit("mdp", b"x")


@pytest.mark.parametrize(("name", "protocol", "words"), [
    ("tcp://127.0.0.1:5555/echo", "mdp3", "use 'mdp1' for a broker that speaks RFC 7"),
    ("tcp://127.0.0.1:5555/echo", 1, "protocol is 1; use 'mdp1'"),
    ("tcp://127.0.0.1:5555", "mdp1", "use tcp://host:port/service"),
    ("echo", "mdp1", "such brokers announce nothing"),
    ("memory://echo", "mdp1", "such brokers announce nothing"),
])  # fmt: skip
def test_a_wrong_option_of_a_client_is_told_at_once(
    kit: Kit, name: str, protocol: object, words: str
) -> None:
    with pytest.raises(zmqkit.ConfigError, match=words):
        kit.client(name, count=0, protocol=protocol)


@pytest.mark.parametrize(("options", "words"), [
    ({"via": "tcp://127.0.0.1:5555", "protocol": "mdp3"}, "use 'mdp1' for a broker"),
    ({"protocol": "mdp1"}, "add via='tcp://host:port'"),
    ({"via": "majordomo", "protocol": "mdp1"}, "add via='tcp://host:port'"),
    ({"via": "memory://m", "protocol": "mdp1"}, "use tcp://host:port"),
    ({"via": "tcp://127.0.0.1:5555/echo", "protocol": "mdp1"}, "has a name behind the port"),
])  # fmt: skip
def test_a_wrong_option_of_a_service_is_told_at_once(
    kit: Kit, options: dict[str, object], words: str
) -> None:
    with pytest.raises(zmqkit.ConfigError, match=words):
        kit.service(**options)


def test_a_service_without_the_handler_does_not_start(kit: Kit, rfc: Start) -> None:
    service = kit.service(via=rfc().endpoint, protocol="mdp1")
    service.handler(reverse)
    with pytest.raises(zmqkit.ConfigError, match='name="mdp"'):
        service.start()
