"""The broker in memory: requests of zmqkit's own clients for zmqkit's own services."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.effects import News, Tell
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.wire.rows import request_row


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def broker(town: Town) -> Node:
    return town.broker()


def test_a_call_reaches_a_service_that_registered(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price", "tea")
    [request] = service.handed
    assert (request.method, request.args) == ("price", ["tea"])
    town.answer(service, 4.2)
    assert town.values(client) == [4.2]


def test_a_service_is_told_of_once_it_has_a_worker(town: Town, broker: Node) -> None:
    assert not broker.offers
    town.service(broker, "orders", {"price": True})
    town.service(broker, "stock", {"count": True})
    assert broker.offers.keys() == {"orders", "stock"}


def test_an_error_arrives_as_it_was_raised(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    town.finish(service, service.handed.popleft(), refuse(RAISED, "no tea"))
    town.call(client, "cost")
    assert town.values(client) == ["RemoteError", "NoMethod"]


def test_the_least_busy_worker_gets_the_next_request(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"price": True})
    second = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    for _ in range(4):
        town.call(client, "price")
    core = broker.core
    assert isinstance(core, BrokerCore)
    assert [len(node.handed) for node in (first, second)] == [1, 1]
    assert core.in_flight == 4


def test_an_idempotent_request_moves_when_its_worker_dies(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    assert first.handed
    second = town.service(broker, "orders", {"price": True})
    town.kill(first)
    town.wait(30.0)
    town.answer(second, "moved")
    assert town.values(client) == ["moved"]


def test_another_request_of_a_dead_worker_may_have_run(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.call(client, "buy")
    assert first.handed
    second = town.service(broker, "orders", {"buy": False})
    town.kill(first)
    town.wait(30.0)
    assert not second.handed
    [(_, _, error)] = client.outcomes
    assert type(error).__name__ == "PeerLost" and error.may_have_run


def test_a_call_moves_to_another_broker_though_the_first_had_no_worker_left(town: Town) -> None:
    """With its last worker a broker forgot, and told all clients, which methods may repeat."""
    first, second = town.broker(), town.broker()
    service = town.service(first, "orders", {"price": True})
    client = town.client(first, "orders")
    town.kill(service)
    town.wait(8.0)
    town.call(client, "price", timeout_s=1000.0)
    assert isinstance(first.core, BrokerCore)
    assert first.core.in_flight == 1
    other = town.service(second, "orders", {"price": True})
    town.meet(client, second, "orders")
    gone = first.offers["orders"]
    town.kill(first)
    town.perform(client, client.core.hear(Tell(News.GONE, "orders", gone), town.now))  # type: ignore[union-attr]  # a client's
    town.settle()
    town.answer(other, "moved")
    assert town.values(client) == ["moved"]


def test_a_request_waits_for_a_worker_and_goes_to_the_first(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.kill(first)
    town.wait(8.0)
    town.call(client, "price")
    second = town.service(broker, "orders", {"price": True})
    town.answer(second, "late")
    assert town.values(client) == ["late"]


def test_a_request_that_nobody_serves_expires(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.kill(first)
    town.wait(20.0)
    town.call(client, "price", timeout_s=5.0)
    town.wait(6.0)
    assert town.values(client) == ["CallTimeout"]
    assert isinstance(broker.core, BrokerCore)
    assert broker.core.in_flight == 0


def test_a_service_without_workers_and_requests_ends(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    town.kill(service)
    town.wait(60.0)
    assert not broker.offers
    again = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    town.answer(again)
    assert town.values(client) == ["done"]


def test_a_request_that_a_worker_gave_back_keeps_no_place_there(town: Town) -> None:
    """It waits for another worker, and as long as it did, others waited behind it."""
    town.limits = BrokerLimits(worker_credit_max=2)
    broker = town.broker()
    service = town.service(broker, "orders", {"price": True}, concurrency=2)
    service.core.concurrency = 1  # type: ignore[union-attr]  # a service's
    client = town.client(broker, "orders")
    for number in range(2):
        town.call(client, "price", number, timeout_s=1000.0)
    other = town.service(broker, "orders", {"price": True})
    town.wait(2.5)
    assert [request.args for request in other.handed] == [[1]]
    town.kill(other)
    town.wait(20.0)
    town.answer(service)
    service.core.concurrency = 2  # type: ignore[union-attr]  # a service's
    for number in range(2, 4):
        town.call(client, "price", number, timeout_s=1000.0)
    assert [request.args for request in service.handed] == [[2], [3]]


def test_clients_take_turns(town: Town) -> None:
    town.limits = BrokerLimits(worker_credit_max=1)
    broker = town.broker()
    service = town.service(broker, "orders", {"price": True})
    greedy, modest = town.client(broker, "orders"), town.client(broker, "orders")
    for number in range(5):
        town.call(greedy, "price", number)
    town.call(modest, "price", "modest")
    served = [town.answer(service).args[0] for _ in range(6)]
    assert served.index("modest") <= 2


def test_higher_priority_leaves_first(town: Town) -> None:
    town.limits = BrokerLimits(worker_credit_max=1)
    broker = town.broker()
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    for priority in (1, 3, 9):
        town.call(client, "price", priority, priority=priority)
    assert [town.answer(service).args[0] for _ in range(3)] == [1, 9, 3]


def test_what_does_not_fit_is_refused(town: Town) -> None:
    town.limits = BrokerLimits(worker_credit_max=1, requests_max=2)
    broker = town.broker()
    town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    for _ in range(3):
        town.call(client, "price", attempts=1)
    assert town.values(client) == ["Busy"]


def test_what_does_not_fit_of_one_packet_is_refused(town: Town) -> None:
    town.limits = BrokerLimits(worker_credit_max=1, requests_max=2)
    broker = town.broker()
    for name in ("stock", "orders"):
        town.service(broker, name, {"price": True})
    town.call(town.client(broker, "stock"), "price")
    client = town.client(broker, "orders")
    row = request_row("price", None, (), {})
    for waiter in ("first", "second"):
        client.core.submit("price", row, None, CallOptions(attempts=1), waiter, town.now)  # type: ignore[union-attr]  # a client's
    town.settle()
    assert town.values(client) == ["Busy"]


def test_the_room_is_for_all_services_together(town: Town) -> None:
    town.limits = BrokerLimits(worker_credit_max=1, requests_max=2)
    broker = town.broker()
    for name in ("orders", "stock", "weather"):
        town.service(broker, name, {"price": True})
        client = town.client(broker, name)
        town.call(client, "price", attempts=1)
    assert town.values(client) == ["Busy"]


def test_a_cancelled_request_is_cancelled_at_its_worker(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    core = client.core
    town.perform(client, core.cancel(1, town.now))  # type: ignore[union-attr]  # a client's
    town.settle()
    assert [request.cancelled for request in service.aborted] == [True]
    assert isinstance(broker.core, BrokerCore)
    town.answer(service)
    assert broker.core.in_flight == 0


def test_a_stream_passes_value_by_value(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {}, {"tail": False})
    client = town.client(broker, "orders")
    call = town.stream(client, "tail", 3)
    [request] = service.streams
    town.item(service, request, "a")
    town.item(service, request, "b")
    assert [value for _, value in call.values] == ["a", "b"] and not call.over
    town.end(service, request)
    assert call.over and call.error is None


def test_a_stream_goes_no_further_than_its_client_granted(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {}, {"tail": False})
    client = town.client(broker, "orders")
    call = town.stream(client, "tail")
    window = call.window[0]
    sent = 0
    for _ in range(10 * window):
        if not service.streams:
            break
        request = service.streams[0]
        if not request.goes_on:
            service.streams.popleft()
            town.perform(service, service.core.paused(request, town.now))  # type: ignore[union-attr]  # a service's
            town.settle()
            continue
        town.item(service, request, sent)
        sent += 1
    assert call.have == window
    assert sent <= 4 * window
    taken = 0
    for _ in range(20 * window):
        if call.values:
            assert client.core.take(call) == taken  # type: ignore[union-attr]  # a client's
            taken += 1
            town.settle()
        elif service.streams and service.streams[0].goes_on:
            town.item(service, service.streams[0], sent)
            sent += 1
    assert taken > 4 * window


def test_a_stream_goes_on_while_its_worker_has_no_room_for_requests(town: Town) -> None:
    """To go on it waited in line for a place, and the only one was its own."""
    town.limits = BrokerLimits(worker_credit_max=1)
    broker = town.broker()
    service = town.service(broker, "orders", {}, {"tail": False})
    client = town.client(broker, "orders")
    call = town.stream(client, "tail")
    [request] = service.streams
    taken = 0
    for number in range(call.window[0] + 1):
        if not request.goes_on:
            town.perform(service, service.core.paused(request, town.now))  # type: ignore[union-attr]  # a service's
            town.settle()
        town.item(service, request, number)
    assert len(call.values) == call.window[0]
    while call.values:
        assert client.core.take(call) == taken  # type: ignore[union-attr]  # a client's
        taken += 1
        town.settle()
    assert taken == call.window[0] + 1


def test_a_stream_that_is_given_up_ends_though_no_worker_is_left(
    town: Town, broker: Node
) -> None:
    """To be closed it waited in line for a place, of which there were none."""
    service = town.service(broker, "orders", {}, {"tail": False})
    client = town.client(broker, "orders")
    call = town.stream(client, "tail")
    [request] = service.streams
    while len(call.values) < call.window[0] and request.goes_on:
        town.item(service, request, len(call.values))
    for number in range(10):
        town.item(service, request, call.window[0] + number)
    town.kill(service)
    town.wait(30.0)
    town.perform(client, client.core.cancel(call.sequence, town.now))  # type: ignore[union-attr]  # a client's
    town.settle()
    assert isinstance(broker.core, BrokerCore)
    assert broker.core.in_flight == 0


def test_a_stream_of_a_plain_method_has_one_value(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    call = town.stream(client, "price")
    town.answer(service, 4.2)
    assert [value for _, value in call.values] == [4.2] and call.over


def test_a_stream_that_is_given_up_ends_at_its_worker(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {}, {"tail": False})
    client = town.client(broker, "orders")
    call = town.stream(client, "tail")
    town.item(service, service.streams[0], "a")
    town.perform(client, client.core.cancel(call.sequence, town.now))  # type: ignore[union-attr]  # a client's
    town.settle()
    assert service.aborted
    town.end(service, service.streams[0])
    assert isinstance(broker.core, BrokerCore)
    assert broker.core.in_flight == 0


def test_a_broker_that_leaves_gives_back_what_no_worker_has(town: Town) -> None:
    town.limits = BrokerLimits(worker_credit_max=1)
    first, second = town.broker(), town.broker()
    service = town.service(first, "orders", {"buy": False})
    client = town.client(first, "orders")
    town.call(client, "buy", 1)
    town.call(client, "buy", 2)
    other = town.service(second, "orders", {"buy": False})
    town.meet(client, second, "orders")
    assert isinstance(first.core, BrokerCore)
    town.perform(first, first.core.leave(town.now))
    town.settle()
    assert [request.args for request in other.handed] == [[2]]
    town.answer(other, "other")
    town.answer(service, "first")
    assert sorted(map(str, town.values(client))) == ["first", "other"]


def test_rows_of_two_clients_do_not_run_as_each_others(town: Town, broker: Node) -> None:
    """A row of two values beside an empty one would shift the others, if decoded in one go."""
    service = town.service(broker, "orders", {"price": True}, concurrency=9)
    client = town.client(broker, "orders")
    row = request_row("price", None, ("one",), {})
    core = client.core
    from zmqkit.core.calls.call import CallOptions

    core.submit("price", row + row, None, CallOptions(), "double", town.now)  # type: ignore[union-attr]  # a client's
    core.submit("price", row, None, CallOptions(), "single", town.now)  # type: ignore[union-attr]  # a client's
    town.settle()
    assert [request.args for request in service.handed] == [["one"]]
    assert town.values(client) == ["BadArguments"]


def test_a_one_way_message_passes(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"note": True})
    client = town.client(broker, "orders")
    from zmqkit.core.calls.call import CallOptions

    row = request_row("note", None, ("x",), {})
    core = client.core
    core.submit("note", row, None, CallOptions(), None, town.now, oneway=True)  # type: ignore[union-attr]  # a client's
    town.settle()
    town.answer(service, "nobody reads this")
    assert isinstance(broker.core, BrokerCore)
    assert broker.core.in_flight == 0
    assert client.core.stats()["in_flight"] == 0


def test_garbage_is_counted_and_answers_nothing(town: Town, broker: Node) -> None:
    core = broker.core
    assert isinstance(core, BrokerCore)
    ours, head = b"\x00\x5a", b"\x00\x5a\x01\x01"
    for frames in ((), (b"",), (ours,), (b"x" * 40,), (head + b"\xff" * 40,)):
        assert core.receive(b"\x00peer", frames, town.now) == []
    assert sum(core.malformed.values()) == 2
    assert sum(core.foreign.malformed.values()) == 3


def test_a_call_that_no_worker_took_says_so() -> None:
    town = Town()
    broker = town.broker()
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.kill(service)
    town.wait(8.0)
    town.call(client, "price", timeout_s=1.0)
    town.wait(1.2)
    [(_, _, error)] = client.outcomes
    assert "has no service for it; start one: a router finds it by itself" in str(error)
    town.service(broker, "orders", {"price": True})
    town.call(client, "price", timeout_s=1.0)
    town.wait(1.2)
    assert "has no service" not in str(client.outcomes[-1][2])
