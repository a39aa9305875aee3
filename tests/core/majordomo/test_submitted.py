"""Requests that are submitted: what their ids stand for, and what is said of their states."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from zmqkit.wire.submission import STATE


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.fixture
def broker(town: Town) -> Node:
    return town.durable_broker()


@pytest.mark.parametrize(
    ("method", "args"),
    [("sell", ("tea",)), ("buy", ("milk",)), ("buy", ()), ("buy", (b"x" * 5000,))],
)
@pytest.mark.parametrize("is_dead", [False, True])
def test_an_id_is_not_taken_for_another_request(
    town: Town, broker: Node, method: str, args: tuple[object, ...], is_dead: bool
) -> None:
    service = town.service(broker, "orders", {"buy": False, "sell": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    if is_dead:
        town.kill(service)
        town.wait(120.0)
        client = town.client(broker, "orders")
    town.submit(client, method, "order-17", *args)
    assert town.values(client)[-1] == "BadArguments"
    assert "'order-17' is there with another method" in str(client.outcomes[-1][2])
    town.submit(client, "buy", "order-17", "tea")
    assert town.values(client)[-1] == "order-17"


def test_what_is_submitted_again_is_the_same_in_another_order(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", {"tea": 1, "milk": 2})
    town.submit(client, "buy", "order-17", {"milk": 2, "tea": 1})
    assert town.values(client) == ["order-17"] * 2 and len(service.handed) == 1


def test_what_has_ended_is_not_compared_with_what_comes_again(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17", "tea")
    town.answer(service, "bought")
    town.submit(client, "buy", "order-17", "milk")
    assert town.values(client) == ["order-17"] * 2 and not service.handed


def test_anybody_asks_for_the_state_of_a_submission(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    for id in ("order-17", "order-18"):
        town.submit(client, "buy", id)
    town.ask(client, STATE, None, "order-17", id="order-17")
    town.answer(service)
    for id in ("order-17", "nothing"):
        town.ask(client, STATE, None, id, id=id)
    assert town.values(client)[2:] == ["leased", "done", "UnknownRequest"]


def test_that_a_submission_is_done_is_told_once_it_is_on_disk(town: Town, broker: Node) -> None:
    service = town.service(broker, "orders", {"buy": False})
    client = town.client(broker, "orders")
    town.submit(client, "buy", "order-17")
    town.writes = False
    town.answer(service)
    town.ask(client, STATE, None, "order-17", id="order-17")
    assert town.values(client)[1:] == []
    town.writes = True
    town.settle()
    assert town.values(client)[1:] == ["done"]
