"""What a router or broker tells of the services behind it."""

from __future__ import annotations

import pytest

from tests.core.majordomo.town import Node, Town
from zmqkit.core.devices.router import RouterCore
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.wire.statistics import Figures


def rows(device: Node, town: Town) -> dict[str, Figures]:
    """The rows by service; that of the device has no name."""
    assert isinstance(device.core, RouterCore | BrokerCore)
    return {each.of: each for each in device.core.statistics(town.now)}


def test_a_service_takes_as_long_as_its_requests_are_here() -> None:
    town = Town()
    router = town.router("orders", "stock")
    service = town.found("orders", {"price": True, "buy": False}, router)
    client = town.client(router, "orders")
    for method in ("price", "buy"):
        town.call(client, method)
    town.now += 2.0
    told = rows(router, town)
    for row in (told["orders"], told[""]):
        assert (row.running + row.waiting, row.oldest_ms) == (2, 2000)
    town.answer(service)
    town.answer(service)
    told = rows(router, town)
    assert (told["orders"].part, told["orders"].delivered, told["stock"].delivered) == (
        "service", 2, 0,
    )  # fmt: skip
    took = told["orders"].took
    assert took is not None and took.count == 2 and took.sum_s == pytest.approx(4.0)
    assert told["orders"].peers == {"client": 1, "worker": 1}
    assert len(set(told["orders"].known_as)) == 2
    assert (told[""].accepted, told[""].delivered) == (2, 2)


def test_a_broker_with_a_journal_tells_the_same() -> None:
    town = Town()
    broker = town.durable_broker()
    service = town.service(broker, "orders", {"price": True})
    client = town.client(broker, "orders")
    town.call(client, "price")
    town.now += 0.5
    town.answer(service)
    orders = rows(broker, town)["orders"]
    assert orders.took is not None and orders.took.count == orders.delivered == 1
