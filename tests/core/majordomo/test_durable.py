"""The broker with journals: what is on disk when, and what happens once."""

from __future__ import annotations

import gc
from weakref import ref

import pytest

from tests.core.majordomo.town import Node, Town
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.effects import Append, News, Tell
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.errors import JournalError, PeerLost
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.submission import COLLECT, STATE

FULL = JournalError("no space left on device", may_retry=True)


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def broker(town: Town) -> Node:
    return town.durable_broker()


def in_flight(broker: Node) -> int:
    assert isinstance(broker.core, BrokerCore)
    return broker.core.in_flight


def test_a_call_reaches_a_service_and_returns(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price", "tea", 2)
    [request] = service.handed
    assert (request.method, request.args) == ("price", ["tea", 2])
    town.answer(service, 4.2)
    assert town.values(client) == [4.2]
    assert in_flight(broker) == 0


def test_a_reply_leaves_once_it_is_on_disk(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    town.writes = False
    town.answer(service, 4.2)
    assert town.values(client) == []
    town.write(broker)
    town.settle()
    assert town.values(client) == [4.2]


def test_an_error_ends_a_request_at_once(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    town.finish(service, service.handed.popleft(), refuse(RAISED, "no tea"))
    town.call(client, "cost")
    assert town.values(client) == ["RemoteError", "NoMethod"]
    assert not service.handed


def test_a_submission_is_answered_once_it_is_on_disk(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.writes = False
    town.submit(client, "buy", "order-17", "tea")
    assert town.values(client) == []
    town.writes = True
    town.settle()
    assert town.values(client) == ["order-17"]
    [request] = service.handed
    assert (request.method, request.args) == ("buy", ["tea"])


def test_a_submission_that_comes_again_runs_once(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.submit(client, "buy", "order-17", "tea")
    town.answer(service, "bought")
    town.submit(client, "buy", "order-17", "tea")
    assert town.values(client) == ["order-17"] * 3
    assert not service.handed


def test_anybody_collects_by_the_id_before_and_after_the_end(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client, other = town.client(broker, "orders"), town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.collect(other, "order-17")
    assert town.values(other) == []
    town.answer(service, "bought")
    town.collect(other, "order-17")
    assert town.values(other) == ["bought", "bought"]


def test_an_unknown_id_cannot_be_collected(town: Town, broker: Node) -> None:
    town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.collect(client, "nothing")
    assert town.values(client) == ["UnknownRequest"]


def test_a_submitted_error_is_collected_too(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.finish(service, service.handed.popleft(), refuse(RAISED, "no tea"))
    town.collect(client, "order-17")
    assert town.values(client) == ["order-17", "RemoteError"]


def test_a_submission_outlives_its_client(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.kill(client)
    town.wait(120.0)
    town.answer(service, "bought")
    other = town.client(broker, "orders")
    town.collect(other, "order-17")
    assert town.values(other) == ["bought"]


def test_whoever_gives_up_waiting_cancels_a_call_and_no_submission(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.call(client, "buy", "called")
    town.submit(client, "buy", "order-17", "submitted")
    town.collect(client, "order-17")
    for number in (1, 3):
        town.perform(client, client.core.cancel(number, town.now))  # type: ignore[union-attr]  # a client's
        town.settle()
    assert [request.args for request in service.aborted] == [["called"]]
    assert town.values(client) == ["order-17", "CallCancelled", "CallCancelled"]
    assert in_flight(broker) == 0
    assert broker.backs["orders"].core.in_flight == 1


def test_an_idempotent_request_moves_when_its_worker_dies(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    assert first.handed
    second = town.service(broker, "orders", {"price": True})
    town.kill(first)
    town.wait(40.0)
    town.answer(second, "moved")
    assert town.values(client) == ["moved"]


def test_another_request_of_a_dead_worker_is_dead_and_may_be_requeued(
    town: Town, broker: Node
) -> None:
    first = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.collect(client, "order-17")
    second = town.service(broker, "orders", {"buy": False})
    town.kill(first)
    town.wait(40.0)
    assert not second.handed
    assert town.values(client)[0] == "order-17"
    assert client.outcomes[1][2].may_have_run  # type: ignore[attr-defined]  # PeerLost
    core = broker.backs["orders"].core
    [dead] = [task for task in core.ledger.tasks.values() if task.is_over]
    assert isinstance(broker.core, BrokerCore)
    requeued = core.requeue(dead, town.now)
    town.perform(broker, broker.core.follow("orders", requeued, town.now))
    town.settle()
    town.answer(second, "bought")
    town.collect(client, "order-17")
    assert town.values(client)[2] == "bought"


def test_a_broker_that_closes_writes_what_is_left(town: Town, broker: Node) -> None:
    town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.writes = False
    town.submit(client, "price", "order-17")
    town.submit(client, "price", "order-18")
    assert isinstance(broker.core, BrokerCore)
    effects = broker.core.close()
    [append] = [each for each in effects if isinstance(each, Append)]
    assert append.queue == "orders"
    assert [task.own_id for task in append.changes] == ["order-18"]


def test_a_packet_without_a_header_changes_nothing(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    [peer] = [peer for peer, (node, _) in broker.peers.items() if node is service]
    header = bytes(wire.pack(wire.PONG, 1, 1, 0, b"")[0])
    assert isinstance(broker.core, BrokerCore)
    town.perform(broker, broker.core.receive(peer, [header[:2]], town.now))
    client = town.client(broker, "orders")
    town.call(client, "price")
    town.answer(service, 4.2)
    assert town.values(client) == [4.2]


def test_a_service_keeps_the_names_of_what_may_run_twice_without_workers(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"price": True, "buy": False})
    back = broker.backs["orders"]
    town.kill(service)
    town.wait(8.0)
    back.hear(Tell(News.GONE, "orders", service.core.incarnation), town.now)
    assert not back.core.ready_count
    assert back.news() == {COLLECT, STATE, "price"}


def test_what_a_worker_did_before_a_full_disk_took_it_is_acknowledged_later(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.writes = False
    town.submit(client, "price", "order-17")
    town.answer(service)
    town.write(broker, FULL)
    town.settle()
    assert town.values(client) == []
    town.writes = True
    town.wait(5.0)
    assert town.values(client) == ["order-17"]


def test_what_a_full_disk_refused_may_have_run_if_a_worker_had_it(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.writes = False
    town.call(client, "price")
    assert service.handed
    town.write(broker, FULL)
    town.settle()
    [(_, _, error)] = client.outcomes
    assert isinstance(error, PeerLost) and error.may_have_run


def test_what_was_under_way_to_a_disk_that_fails_may_run_yet(town: Town, broker: Node) -> None:
    """The append may be in the file all the same, where the next process finds it."""
    town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.writes = False
    town.submit(client, "buy", "order-17")
    town.write(broker, JournalError("input/output error"))
    town.settle()
    [(_, _, error)] = client.outcomes
    assert isinstance(error, PeerLost) and error.may_have_run


def test_a_call_is_given_back_once_the_disk_has_it_no_longer(town: Town, broker: Node) -> None:
    """Else its client would give it to another broker, and the next process do it too."""
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.kill(service)
    town.wait(8.0)
    town.call(client, "buy", attempts=1)
    town.writes = False
    assert isinstance(broker.core, BrokerCore)
    town.perform(broker, broker.core.leave(town.now))
    town.settle()
    assert town.values(client) == []
    town.writes = True
    town.settle()
    assert town.values(client) == ["Busy"]


def test_a_collection_waits_for_a_broker_that_is_full_when_another_knows_no_such_id() -> None:
    town = Town(BrokerLimits(client_requests_max=1))
    first, second = town.durable_broker(77), town.durable_broker(78)
    town.service(first, "orders", {"buy": False})
    service = town.service(second, "orders", {"buy": False})
    writer, reader = town.client(second, "orders"), town.client(second, "orders")
    town.submit(writer, "buy", "order-17")
    town.collect(reader, "order-17")  # takes all the room that the second has for this client
    town.meet(reader, first, "orders")
    town.collect(reader, "order-17")
    assert town.values(reader) == []
    town.answer(service, "bought")
    assert town.values(reader) == ["bought", "bought"]


def test_an_id_is_not_unknown_while_a_broker_is_too_full_to_say() -> None:
    town = Town(BrokerLimits(requests_max=1))
    full, other = town.durable_broker(77), town.durable_broker(78)
    for broker in (full, other):
        town.service(broker, "orders", {"buy": False})
    writer, reader = town.client(full, "orders"), town.client(full, "orders")
    town.submit(writer, "buy", "order-17")
    town.collect(writer, "order-17")
    town.meet(reader, other, "orders")
    town.collect(reader, "order-17")
    assert town.values(reader) == ["Busy"]


def test_what_runs_once_stays_with_its_worker_when_the_broker_closes(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"buy": False, "price": True}, concurrency=2)
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.submit(client, "price", "order-18", "tea")
    assert isinstance(broker.core, BrokerCore)
    effects = broker.core.close()
    [append] = [each for each in effects if isinstance(each, Append)]
    [[(_, kept)]] = append.leases.values()
    assert (append.queue, kept.own_id) == ("orders", "order-17")
    town.perform(broker, [each for each in effects if not isinstance(each, Append)])
    town.settle()
    assert [each.cancelled for each in service.handed] == [False, True]


def test_a_full_disk_refuses_requests_and_keeps_replies(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.collect(client, "order-17")
    town.writes = False
    town.submit(client, "buy", "order-18", "cake")
    town.answer(service, "bought")
    town.write(broker, FULL)
    town.settle()
    assert town.values(client) == ["order-17", "Busy"]
    town.writes = True
    town.wait(5.0)
    assert town.values(client) == ["order-17", "Busy", "bought"]


def test_what_no_worker_has_is_given_back_when_the_broker_leaves(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.kill(service)
    town.wait(8.0)
    town.call(client, "buy", "called", attempts=1)
    town.submit(client, "buy", "order-17", "submitted")
    town.collect(client, "order-17")
    assert isinstance(broker.core, BrokerCore)
    town.perform(broker, broker.core.leave(town.now))
    town.settle()
    assert in_flight(broker) == 0
    assert broker.backs["orders"].core.in_flight == 1


def test_a_service_that_keeps_replies_is_there_without_workers(
    town: Town, broker: Node
) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.answer(service, "bought")
    town.kill(service)
    town.wait(60.0)
    other = town.client(broker, "orders")
    town.collect(other, "order-17")
    assert town.values(other) == ["bought"]
    town.submit(other, "buy", "order-18", "cake")
    assert town.values(other) == ["bought", "order-18"]


def test_a_service_that_keeps_nothing_is_told_of_no_longer(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.call(client, "buy", "tea")
    town.answer(service, "bought")
    town.kill(service)
    town.wait(60.0)
    assert not broker.offers
    town.service(broker, "orders", {"buy": False})
    assert broker.offers


def test_a_stream_is_asked_for_as_a_value(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    call = town.stream(client, "price")
    town.answer(service, 4.2)
    assert [value for _, value in call.values] == [4.2] and call.over


def test_a_journal_that_cannot_be_had_is_told_and_tried_again(town: Town) -> None:
    broken = True

    def make_back(name: str, front: FrontCore) -> DurableBack:
        if broken:
            raise JournalError("orders.journal is no journal")
        back = DurableBack(name, 77, lambda: 1.0, town.limits, front)
        back.core.recover([], 0, 1, town.now)
        return back

    core = BrokerCore("majordomo", town.draw(), town.draw, make_back=make_back)
    broker = town.add(core)
    town.service(broker, "orders", {"buy": False})
    assert [(note.event, note.fields["name"]) for note in broker.notes] == [
        ("journal-failed", "orders")
    ]
    assert not broker.offers
    broken = False
    town.wait(10.0)
    assert broker.offers and not core.failed


def test_calls_leave_room_for_replies_that_are_to_be_collected(town: Town) -> None:
    town.limits = BrokerLimits(outcomes_max=8, calls_kept_max=3)
    broker = town.durable_broker()
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.answer(service, "bought")
    for number in range(20):
        town.call(client, "buy", number)
        town.answer(service, number)
    ledger = broker.backs["orders"].core.ledger
    assert len(ledger.settled.over) == 4
    town.collect(client, "order-17")
    assert town.values(client) == ["order-17", *range(20), "bought"]


def test_calls_that_are_forgotten_hide_nothing_that_is_kept(town: Town) -> None:
    town.limits = BrokerLimits(outcomes_s=10.0)
    broker = town.durable_broker()
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    for number in range(3):
        town.call(client, "buy", number)
        town.answer(service, number)
    town.wait(20.0)
    assert not broker.backs["orders"].core.ledger.tasks
    town.kill(service)
    town.submit(client, "buy", "order-17", "tea")
    town.wait(60.0)
    assert broker.offers


def test_nothing_is_left_of_a_reply_that_is_too_large_to_be_kept(town: Town) -> None:
    town.limits = BrokerLimits(outcomes_bytes_max=1000)
    broker = town.durable_broker()
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.call(client, "buy")
    [task] = map(ref, broker.backs["orders"].core.ledger.tasks.values())
    town.answer(service, "x" * 1001)
    assert town.values(client) == ["x" * 1001]
    client.outcomes.clear()
    gc.collect()
    assert task() is None


def test_a_reply_of_which_nothing_is_written_waits_for_no_disk(town: Town) -> None:
    town.limits = BrokerLimits(outcomes_bytes_max=1)
    broker = town.durable_broker()
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.writes = False
    town.call(client, "price")
    town.answer(service, "too long to be kept")
    town.write(broker, FULL)
    town.settle()
    assert town.values(client) == ["too long to be kept"]


def test_a_request_that_never_left_goes_to_another_worker(town: Town, broker: Node) -> None:
    first = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.kill(first)
    town.submit(client, "buy", "order-17", "tea")
    town.wait(30.0)
    second = town.service(broker, "orders", {"buy": False})
    town.answer(second, "bought")
    town.collect(client, "order-17")
    assert town.values(client) == ["order-17", "bought"]
