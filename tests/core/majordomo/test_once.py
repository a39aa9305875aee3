"""What must not run twice, at a broker with journals that is killed."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from zmqkit.core.tasks.task import State, Task
from zmqkit.limits import LEASE_S

METHODS = {"buy": False, "price": True}


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def broker(town: Town) -> Node:
    return town.durable_broker()


def only(broker: Node) -> Task:
    [task] = broker.backs["orders"].core.ledger.tasks.values()
    return task


def collected(town: Town, broker: Node, id: str) -> list[object]:
    other = town.client(broker, "orders")
    town.collect(other, id)
    return town.values(other)


def test_it_leaves_once_the_journal_says_who_has_it(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", METHODS, concurrency=2)
    client = town.client(broker, "orders")
    town.writes = False
    town.call(client, "buy")
    town.call(client, "price")
    assert [each.method for each in service.handed] == ["price"]
    town.writes = True
    town.settle()
    assert [each.method for each in service.handed] == ["price", "buy"]


def test_its_worker_goes_on_with_it(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", METHODS)
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    broker = town.restart(broker, service)
    town.wait(2 * LEASE_S)
    town.answer(service, "bought")
    assert collected(town, broker, "order-17") == ["bought"]
    assert not service.handed and only(broker).attempt == 1


def test_what_had_not_left_runs_after_the_restart(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", METHODS)
    client = town.client(broker, "orders")
    town.writes = False
    town.submit(client, "buy", "order-17", "tea")
    town.write(broker)  # the request, and who is to have it, which is not told yet
    assert not service.handed
    town.writes = True
    broker = town.restart(broker, service)
    town.wait(1.0)
    town.answer(service, "bought")
    assert collected(town, broker, "order-17") == ["bought"]


def test_its_worker_keeps_the_reply_until_that_is_on_disk(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", METHODS)
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.writes = False
    town.answer(service, "bought")
    town.wait(2.0)  # the broker pings the service, and says what it has read
    assert only(broker).state is State.DONE
    town.writes = True
    broker = town.restart(broker, service)
    town.wait(1.0)
    assert collected(town, broker, "order-17") == ["bought"]
    assert not service.handed


def test_it_is_dead_if_its_worker_dies_with_the_broker(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", METHODS)
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.kill(service)
    broker = town.restart(broker)
    other = town.service(broker, "orders", METHODS)
    town.wait(LEASE_S + 1.0)
    assert not other.handed
    assert only(broker).state is State.DEAD
    assert collected(town, broker, "order-17") == ["PeerLost"]


def test_what_may_run_twice_is_given_to_another_at_once(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", METHODS)
    client = town.client(broker, "orders")
    town.submit(client, "price", "order-17", "tea")
    town.kill(service)
    broker = town.restart(broker)
    other = town.service(broker, "orders", METHODS)
    town.answer(other, 4.2)
    assert collected(town, broker, "order-17") == [4.2]
