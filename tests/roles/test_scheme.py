"""Where services listen and clients look: names, URLs, ports, and what is refused."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from typing import Any

import pytest

import zmqkit
from tests.ports import quiet_endpoint, quiet_server
from tests.roles.fakes import FakeService
from tests.roles.kit import Kit, until
from zmqkit.discovery import addresses
from zmqkit.discovery.addresses import Here
from zmqkit.model import parse_url
from zmqkit.roles.scheme import Binding

SHORT_S = 0.1


def double(value: int) -> int:
    return 2 * value


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_name_leads_to_the_service(kit: Kit) -> None:
    service = kit.serving(double)
    client = kit.client()
    assert client.call("double", 1) == 2
    [row] = client.instances()
    assert row["label"] == f"{kit.name}-{service.incarnation >> 32:08x}"
    assert row["address"] == service.endpoint
    assert row["state"] == "up"


def test_names_need_not_be_ascii(kit: Kit) -> None:
    name = f"{kit.name} größe.ü"
    kit.serving(double, name=name)
    assert kit.client(name).call("double", 1) == 2


def test_service_listens_on_this_machine_alone(kit: Kit) -> None:
    service = kit.service()
    assert service.endpoint == ""
    service.start()
    assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", service.endpoint)


@pytest.mark.parametrize("bind", ["tcp://*:0", "tcp://[::]:0", "tcp://0.0.0.0:0"])
@pytest.mark.parametrize(
    ("advertise", "interfaces", "host"),
    [
        (None, ["10.77.0.1/24"], "10.77.0.1"),
        (None, [], "127.0.0.1"),
        ("2001:db8::5", ["10.77.0.1/24"], "[2001:db8::5]"),
    ],
)
def test_endpoint_of_all_interfaces_can_be_used_by_others(
    monkeypatch: pytest.MonkeyPatch,
    bind: str,
    advertise: str | None,
    interfaces: list[str],
    host: str,
) -> None:
    ours = [Here(ip_interface(each), 2) for each in interfaces]
    monkeypatch.setattr(addresses, "here", lambda scope: ours)
    place = Binding("service", "orders", bind, advertise, insecure=True)
    link = place.open()  # it is not announced, so nobody is told of it
    try:
        port = parse_url(place.endpoint).port
        assert port and place.endpoint == f"tcp://{host}:{port}"
    finally:
        link.close(0)
        place.release()


@pytest.mark.parametrize("suffix", ["", "/NAME"])
def test_url_leads_to_the_service(kit: Kit, suffix: str) -> None:
    service = kit.serving(double)
    client = kit.client(service.endpoint + suffix.replace("NAME", kit.name))
    assert client.call("double", 1) == 2


def test_two_clients_of_one_url_do_not_disturb_each_other(kit: Kit) -> None:
    service = kit.serving(double)
    first, second = (kit.client(service.endpoint) for _ in range(2))
    assert [first.call("double", 1), second.call("double", 2)] == [2, 4]
    first.close()
    assert second.call("double", 3) == 6


def test_url_of_nobody_finds_no_service(kit: Kit) -> None:
    client = kit.client("tcp://127.0.0.1:1", count=0)
    with pytest.raises(zmqkit.NoService, match=r"127.0.0.1:1"):
        client.options(wait_s=SHORT_S).call("double", 1)


def test_nobody_of_a_name_is_told_where_was_searched(kit: Kit) -> None:
    client = kit.client(count=0)

    def is_explained() -> bool:
        with pytest.raises(zmqkit.NoService) as raised:
            client.options(wait_s=SHORT_S).call("double", 1)
        return "the network was not searched; `zmqkit doctor" in str(raised.value)

    until(is_explained)


def test_wrong_name_behind_a_port_is_explained(kit: Kit) -> None:
    service = kit.serving(double)
    client = kit.client(f"{service.endpoint}/other", count=0)

    def is_explained() -> bool:
        with pytest.raises(zmqkit.NoService) as raised:
            client.options(wait_s=SHORT_S).call("double", 1)
        return f"service 'other'; it has: {kit.name}" in str(raised.value)

    until(is_explained)  # once the process behind the port has answered


def test_url_of_several_services_asks_for_the_name(
    kit: Kit, fakes: Callable[[str], FakeService]
) -> None:
    fake = fakes("first")
    fake.welcome["roles"] = [fake.row(), fake.row(name="second", incarnation=99)]
    fake.start()
    client = kit.client(fake.url, count=0)

    def is_explained() -> bool:
        with pytest.raises(zmqkit.NoService) as raised:
            client.options(wait_s=SHORT_S).call("double", 1)
        return "first, second; name one behind the port" in str(raised.value)

    until(is_explained)  # once the process behind the port has answered
    fake.on_request = fake.answer
    assert kit.client(f"{fake.url}/first").call("double", 1) == 1


def test_memory_url_leads_to_a_service_of_this_process(kit: Kit) -> None:
    url = f"memory://{kit.name}"
    service = kit.serving(double, bind=url)
    assert service.endpoint == url
    client = kit.client(url)
    assert client.call("double", 1) == 2
    client.notify("double", 1)
    with pytest.raises(zmqkit.NoMethod):
        client.call("treble", 1)


def test_memory_client_may_come_first_and_outlive_its_service(kit: Kit) -> None:
    url = f"memory://{kit.name}"
    client = kit.client(url, count=0)
    call = kit.start(client.call, "double", 1)
    first = kit.serving(double, bind=url)
    assert call.result() == 2
    first.close()
    kit.serving(double, bind=url)
    assert client.call("double", 2) == 4


def test_memory_and_asyncio_and_blocking_mix(blocking: Kit, aio: Kit) -> None:
    url = f"memory://{blocking.name}"
    blocking.serving(double, bind=url)
    assert aio.client(url).call("double", 1) == 2
    other = f"memory://{aio.name}"
    aio.serving(double, bind=other)
    assert blocking.client(other).call("double", 2) == 4


def test_memory_url_of_nobody_finds_no_service(kit: Kit) -> None:
    client = kit.client(f"memory://{kit.name}", count=0)
    with pytest.raises(zmqkit.NoService):
        client.options(wait_s=SHORT_S).call("double", 1)


def test_a_memory_name_may_have_several_instances(kit: Kit) -> None:
    url = f"memory://{kit.name}"
    first = kit.serving(double, bind=url)
    kit.serving(double, bind=url)
    client = kit.client(url, count=2)
    assert len(client.instances()) == 2
    first.close()
    assert client.call("double", 2) == 4
    assert len(client.instances()) == 1


def test_a_memory_name_has_roles_of_several_kinds(kit: Kit) -> None:
    url = f"memory://{kit.name}"
    kit.serving(double, bind=url)
    with zmqkit.Publisher("other", bind=url), zmqkit.Subscriber(url) as subscriber:
        subscriber.publishers()
        assert kit.client(url).call("double", 2) == 4


def test_blocking_and_asyncio_roles_talk_to_each_other(blocking: Kit, aio: Kit) -> None:
    blocking.serving(double)
    aio.serving(double)
    assert aio.client(blocking.name).call("double", 1) == 2
    assert blocking.client(aio.name).call("double", 2) == 4


def test_service_takes_the_port_it_was_given(kit: Kit) -> None:
    endpoint = quiet_endpoint()
    kit.serving(double, bind=endpoint).close()
    service = kit.serving(double, bind=endpoint)
    assert service.endpoint == endpoint
    assert kit.client(service.endpoint).call("double", 1) == 2


def test_taken_port_is_an_error_that_names_it_and_start_may_be_tried_again(kit: Kit) -> None:
    with quiet_server() as server:
        port = server.getsockname()[1]
        service = kit.service(bind=f"tcp://127.0.0.1:{port}")
        service.handler(double)
        with pytest.raises(zmqkit.AddressTaken, match=f"127.0.0.1:{port}.*another port"):
            service.start()
        assert service.endpoint == ""
    kit.serve(service)
    assert kit.client().call("double", 1) == 2


def test_ports_are_taken_from_the_range_in_the_environment(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_PORTS", "20000-29999")
    service = kit.serving(double)
    assert 20000 <= int(service.endpoint.rpartition(":")[2]) <= 29999
    assert kit.client().call("double", 1) == 2


def test_range_without_a_free_port_is_an_error_that_names_it(
    kit: Kit, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQKIT_PORTS", f"{taken}-{taken}")
    with pytest.raises(
        zmqkit.ConfigError, match=f"ZMQKIT_PORTS={taken}-{taken} has no free port"
    ):
        kit.service().start()


def test_peers_in_the_environment_are_asked_for_names(
    kit: Kit, fakes: Callable[[str], FakeService], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fakes(kit.name).start()
    fake.on_request = fake.answer
    monkeypatch.setenv("ZMQKIT_PEERS", f"127.0.0.1:1, 127.0.0.1:{fake.port}")
    assert kit.client().call("add", 1, 2) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZMQKIT_PORTS", "5600"), ("ZMQKIT_PORTS", "5700-5600"), ("ZMQKIT_PORTS", "0-70000"),
        ("ZMQKIT_PEERS", "nowhere"), ("ZMQKIT_PEERS", "h:p"), ("ZMQKIT_INSECURE", "yes"),
    ],
)  # fmt: skip
def test_environment_that_makes_no_sense_is_an_error_that_names_the_variable(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(zmqkit.ConfigError, match=name):
        kit.service().start()


BEYOND = ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://192.0.2.1:5555", "tcp://[::]:0"]


@pytest.mark.parametrize("bind", BEYOND)
@pytest.mark.parametrize("insecure", [None, False])
def test_bind_beyond_this_machine_is_refused_with_the_remedy(
    kit: Kit, bind: str, insecure: bool | None
) -> None:
    with pytest.raises(zmqkit.ConfigError, match="insecure=True"):
        kit.service(bind=bind, insecure=insecure).start()


@pytest.mark.parametrize("insecure", [None, False])
def test_url_beyond_this_machine_is_refused_with_the_remedy(
    kit: Kit, insecure: bool | None
) -> None:
    with pytest.raises(zmqkit.ConfigError, match="insecure=True"):
        kit.client("tcp://192.0.2.1:5555", insecure=insecure, count=1)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.1", "[::1]"])
def test_this_machine_has_several_names(kit: Kit, host: str) -> None:
    service = kit.service(bind=f"tcp://{host}:0")
    service.handler(double)
    kit.serve(service)
    assert kit.client(service.endpoint).call("double", 1) == 2


@pytest.mark.parametrize(
    "url",
    [
        "tcp://", "tcp://host", "tcp://host:", "tcp://host:port", "tcp://127.0.0.1:70000",
        "tcp://127.0.0.1:-1", "udp://127.0.0.1:5", "http://x", "tcp://:5", "memory://",
        "memory://a/b", "://", "tcp://127.0.0.1:0", "tcp://*:5",
    ],
)  # fmt: skip
def test_bad_url_is_an_error_that_names_it(kit: Kit, url: str) -> None:
    with pytest.raises(zmqkit.UsageError, match=re.escape(url)):
        kit.client(url, count=0)


@pytest.mark.parametrize(
    "bind", ["5555", "127.0.0.1:5555", "tcp://127.0.0.1:5/name", "", 5555, b"tcp://*:5555"]
)
def test_bad_bind_is_an_error_that_names_it(kit: Kit, bind: Any) -> None:
    with pytest.raises(zmqkit.ConfigError, match=re.escape(repr(bind))):
        kit.service(bind=bind)


@pytest.mark.parametrize("bind", ["localhost:5555", "*:5555", "[::1]:0"])
def test_bind_without_its_scheme_is_told_which(kit: Kit, bind: str) -> None:
    with pytest.raises(zmqkit.ConfigError, match=re.escape(f"did you mean tcp://{bind}?")):
        kit.service(bind=bind)


@pytest.mark.parametrize("insecure", ["no", "0", 1, ""])
def test_only_true_opens_a_role_to_the_network(kit: Kit, insecure: Any) -> None:
    for make in (kit.service_class, kit.client_class):
        with pytest.raises(zmqkit.UsageError, match="insecure is"):
            kit._kept(make, kit.name, insecure=insecure)


@pytest.mark.parametrize("address", ["%%%", "shop.example", 5, "10.0.0.5:70", "", "0.0.0.0"])
def test_only_an_address_is_announced(kit: Kit, address: Any) -> None:
    with pytest.raises(zmqkit.ConfigError, match=re.escape(f"advertise={address!r}")):
        kit.service(advertise=address)


@pytest.mark.parametrize("address", ["10.0.0.5", "2001:db8::5", "fe80::5%eth0", None])
def test_an_address_may_be_announced(kit: Kit, address: str | None) -> None:
    kit.service(advertise=address)


@pytest.mark.parametrize(
    "name", ["", None, 5, "a/b", "x" * 55, "ü" * 28, "tab\t", "nul\0", "\ud800"]
)
def test_bad_name_is_an_error_that_names_it(kit: Kit, name: Any) -> None:
    for make in (kit.service_class, kit.client_class):
        with pytest.raises(zmqkit.UsageError, match="name"):
            kit._kept(make, name)
