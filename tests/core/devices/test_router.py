"""The router: calls of clients reach the services that it finds, and the answers come back."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from tests.packets import hello
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.request import Request
from zmqkit.core.devices.router import RouterCore
from zmqkit.core.effects import News, Send, Tell
from zmqkit.core.membership.directory import directory_of
from zmqkit.core.membership.interests import key_of
from zmqkit.device_limits import RouterLimits
from zmqkit.limits import ROLES_MAX
from zmqkit.model import ROUTED, ROUTER, SERVER
from zmqkit.wire import packet as wire

OPTIONS = CallOptions(timeout_s=60.0, wait_s=60.0)


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def router(town: Town) -> Node:
    return town.router("orders", "stock")


def core_of(node: Node) -> RouterCore:
    assert isinstance(node.core, RouterCore)
    return node.core


def client_of(node: Node) -> ClientCore:
    assert isinstance(node.core, ClientCore)
    return node.core


def tell(town: Town, router: Node, service: Node, news: News) -> None:
    """Membership tells a router of a service of orders."""
    assert not isinstance(service.core, RouterCore)
    key = key_of(SERVER, "orders")
    said = Tell(news, key, service.core.incarnation, service.address)
    town.perform(router, core_of(router).hear(said, town.now))
    town.settle()


def test_a_call_reaches_a_service_that_was_found_with_the_id_of_its_client(
    town: Town, router: Node
) -> None:
    service = town.found("orders", {"price": True}, router)
    client = town.client(router, "orders")
    town.call(client, "price", "tea", priority=7)
    [request] = service.handed
    number = client_of(client).incarnation
    assert (request.method, request.args, request.priority) == ("price", ["tea"], 7)
    assert request.id == f"{number:016x}{1:016x}"
    town.answer(service, 4.2)
    assert town.values(client) == [4.2]


def test_calls_of_many_clients_share_a_packet(town: Town, router: Node) -> None:
    service = town.found("orders", {"price": True}, router)
    clients = [town.client(router, "orders") for _ in range(3)]
    [to_service] = [peer for peer, (node, _) in router.peers.items() if node is service]
    packets: list[int] = []
    for client in clients:
        core = client_of(client)
        core.submit("price", b"\x93\xc0\x90\x80", None, OPTIONS, client, town.now)
        for effect in core.flush(town.now):
            assert isinstance(effect, Send)
            _, peer = client.peers[effect.peer]
            town.perform(router, core_of(router).receive(peer, effect.frames, town.now))
    while effects := core_of(router).flush(town.now):
        sends = [e for e in effects if isinstance(e, Send) and e.peer == to_service]
        packets += [len(wire.unpack(e.frames, may_mix=True).meta[0]) for e in sends]  # type: ignore[index]  # columns
        town.perform(router, effects)
    town.settle()
    assert packets == [3] and len(service.handed) == 1  # one runs at a time


def test_each_name_has_services_of_its_own(town: Town, router: Node) -> None:
    orders = town.found("orders", {"price": True}, router)
    stock = town.found("stock", {"count": True}, router)
    client = town.client(router, "stock")
    town.call(client, "count")
    assert len(stock.handed) == 1 and not orders.handed


def test_a_service_that_cannot_be_dialled_dials(town: Town, router: Node) -> None:
    service = town.service(router, "orders", {"price": True})
    client = town.client(router, "orders")
    town.call(client, "price", "tea")
    town.answer(service, 1)
    assert town.values(client) == [1]


def test_a_service_of_a_name_that_is_not_passed_on_is_told_what_to_do(
    town: Town, router: Node
) -> None:
    service = town.service(router, "weather", {"price": True})
    [refused] = service.notes
    assert refused.event == "device-refused"
    assert refused.fields["text"] == (
        "router 'edge' passes on 'orders', 'stock', and not 'weather'; add that to its "
        "backend.names, or take a name that it passes on"
    )
    [note] = router.notes
    assert note.event == "name-unrouted"
    assert note.fields == {"name": "weather", "router": "edge", "names": "orders, stock"}


def test_the_least_busy_service_gets_the_next_call(town: Town, router: Node) -> None:
    services = [town.found("orders", {"price": True}, router) for _ in range(2)]
    client = town.client(router, "orders")
    for _ in range(6):
        town.call(client, "price")
    loads = [each.core.stats()["in_flight"] for each in services]
    assert loads == [3, 3]


def test_a_name_is_told_of_while_somebody_serves_it(town: Town, router: Node) -> None:
    assert not router.offers
    service = town.found("orders", {"price": True}, router)
    assert router.offers.keys() == {"orders"}
    tell(town, router, service, News.GONE)
    town.wait(RouterLimits().idle_s + 1)
    assert not router.offers
    town.found("orders", {"price": True}, router)
    assert router.offers.keys() == {"orders"}


def test_a_welcome_lists_the_names_that_are_served(town: Town, router: Node) -> None:
    core = core_of(router)
    core.about["roles"] = [["edge", ROUTER, core.relays.incarnation, 5555]]
    town.found("orders", {"price": True}, router)
    [welcome] = core.receive(b"asker", hello(9), town.now)
    assert isinstance(welcome, Send)
    fields = wire.fields_of(wire.unpack(welcome.frames))
    row = ["orders", ROUTED, router.offers["orders"], 5555]
    assert fields["roles"] == [["edge", ROUTER, core.relays.incarnation, 5555], row]


def test_a_welcome_lists_as_many_names_as_others_read(town: Town) -> None:
    names = [f"service-{number}" for number in range(ROLES_MAX + 1)]
    core = core_of(town.router(*names))
    core.about["process"], core.about["control"] = core.relays.incarnation, 5554
    core.about["roles"] = [["edge", ROUTER, core.relays.incarnation, 5555]]
    core.relays._offered.update(names)
    [welcome] = core.receive(b"asker", hello(9), town.now)
    assert isinstance(welcome, Send)
    fields = wire.fields_of(wire.unpack(welcome.frames))
    assert len(directory_of(fields).roles) == ROLES_MAX


def test_a_method_is_idempotent_if_every_service_says_so(town: Town, router: Node) -> None:
    town.found("orders", {"price": True, "cost": True}, router)
    client = town.client(router, "orders")
    [seen] = client_of(client).instances
    assert seen.idempotent == {"price", "cost"}
    town.found("orders", {"price": True, "cost": False}, router)
    assert seen.idempotent == {"price"}


def test_a_call_moves_to_another_service_only_if_it_may_run_twice(
    town: Town, router: Node
) -> None:
    first = town.found("orders", {"price": True, "buy": False}, router)
    client = town.client(router, "orders")
    town.call(client, "price")
    town.call(client, "buy")
    second = town.found("orders", {"price": True, "buy": False}, router)
    town.kill(first)
    tell(town, router, first, News.LOST)
    tell(town, router, first, News.GONE)
    assert [each.method for each in second.handed] == ["price"]
    [(_, _, error)] = client.outcomes
    assert error.may_have_run  # type: ignore[attr-defined]  # an error of a peer


def test_a_cancelled_call_is_cancelled_at_its_service(town: Town, router: Node) -> None:
    service = town.found("orders", {"price": True}, router)
    client = town.client(router, "orders")
    town.call(client, "price")
    town.perform(client, client_of(client).cancel(1, town.now))
    town.settle()
    assert [each.method for each in service.aborted] == ["price"]


def test_a_stream_passes_as_far_as_its_reader_grants(town: Town, router: Node) -> None:
    service = town.found("orders", {}, router, streams={"count": True})
    client = town.client(router, "orders")
    call = town.stream(client, "count")
    request = service.streams.popleft()
    for number in range(3):
        town.item(service, request, number)
    town.end(service, request)
    assert [client_of(client).take(call) for _ in range(3)] == [0, 1, 2] and call.over


def test_a_call_waits_until_somebody_serves(town: Town, router: Node) -> None:
    service = town.found("orders", {"price": True}, router)
    client = town.client(router, "orders")
    town.kill(service)
    tell(town, router, service, News.LOST)
    town.call(client, "price")
    other = town.found("orders", {"price": True}, router)
    assert len(other.handed) == 1


def test_what_waits_goes_back_when_the_router_leaves_and_the_rest_ends(town: Town) -> None:
    router = town.router("orders", limits=RouterLimits(service_credit_max=1))
    spare = town.router("orders", limits=RouterLimits(service_credit_max=1))
    service = town.found("orders", {"buy": False}, router, spare)
    client = town.client(router, "orders")
    for _ in range(2):
        town.call(client, "buy")
    town.meet(client, spare, "orders")
    town.perform(router, core_of(router).leave(town.now))
    town.settle()
    requests: list[Request] = [town.answer(service) for _ in range(2)]
    assert len({each.client for each in requests}) == 2  # each came through one of them
    assert town.values(client) == ["done", "done"] and core_of(router).in_flight == 0


def test_requests_are_kept_by_a_broker_behind_a_router(town: Town, router: Node) -> None:
    broker = town.durable_broker()
    service = town.service(broker, "orders", {"price": True})
    found = Tell(News.FOUND, key_of(SERVER, "orders"), broker.offers["orders"], broker.address)
    town.perform(router, core_of(router).hear(found, town.now))
    town.settle()
    client = town.client(router, "orders")
    town.submit(client, "price", "order-17", "tea")
    town.answer(service, 4.2)
    town.collect(client, "order-17")
    town.collect(client, "order-18")
    assert town.values(client) == ["order-17", 4.2, "UnknownRequest"]


def test_a_full_router_refuses(town: Town) -> None:
    router = town.router("orders", limits=RouterLimits(requests_max=1))
    town.found("orders", {"price": True}, router)
    client = town.client(router, "orders")
    for _ in range(2):
        town.call(client, "price")
    assert town.values(client) == ["Busy"]


def test_nothing_happens_in_a_closed_router(town: Town, router: Node) -> None:
    service = town.found("orders", {"price": True}, router)
    core = core_of(router)
    town.perform(router, core.close())
    assert not router.offers and core.receive(b"p", hello(9), town.now) == []
    tell(town, router, service, News.FOUND)
    assert core.stats()["services"] == {}
