"""Many calls, of which a window is under way, and their values in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")

COUNT = 250


def double(value: int) -> int:
    if value == 7:
        raise ValueError("7 is not doubled")
    return 2 * value


def holding(kit: Kit, gate: Any) -> Any:
    """A handler that holds all but 0."""

    def hold(value: int) -> Any:
        return gate.hold(value) if value else value

    async def hold_on_loop(value: int) -> Any:
        return await gate.hold(value) if value else value

    hold_on_loop.__name__ = "hold"
    return hold_on_loop if isinstance(kit, AsyncKit) else hold


def test_values_come_in_the_order_of_the_items(kit: Kit) -> None:
    kit.serving(double, concurrency=4)
    client = kit.client()
    values = kit.values(client.map("double", range(10, COUNT)))
    assert values == [2 * n for n in range(10, COUNT)]
    assert kit.values(client.map("double", [])) == []
    assert client.stats()["accepted"] == COUNT - 10


def test_items_are_read_as_there_is_room(kit: Kit) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10, 40):
            read.append(number)
            yield number

    kit.serving(double)
    results = kit.client().map("double", numbers(), window=4)
    assert read == []
    for taken in range(1, 31):
        assert kit.values(results, 1) == [2 * (9 + taken)]
        assert len(read) - taken <= 4
    assert kit.values(results, 1) == [] and len(read) == 30


def test_a_window_is_under_way_and_no_more(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold, concurrency=10)
    client = kit.client()
    results = kit.start(kit.values, client.map("hold", range(9), window=3))
    gate.came(3)
    assert client.stats()["accepted"] == 3
    gate.open()
    assert results.result() == list(range(9))
    gate.came(6)


def test_an_error_is_raised_at_its_item_and_ends_the_map(kit: Kit) -> None:
    kit.serving(double)
    client = kit.client()
    results = client.map("double", range(5, 20), window=10)
    assert kit.values(results, 2) == [10, 12]
    with pytest.raises(zmqkit.RemoteError, match="7 is not doubled"):
        kit.values(results, 1)
    assert kit.values(results) == []
    until(lambda: client.stats()["in_flight"] == 0)


def test_errors_are_returned_in_their_place_if_told(kit: Kit) -> None:
    kit.serving(double)
    client = kit.client()
    items = [6, 7, object(), 8]
    before, failed, unsent, after = kit.values(client.map("double", items, return_errors=True))
    assert (before, after) == (12, 16)
    assert isinstance(failed, zmqkit.RemoteError) and isinstance(unsent, zmqkit.UsageError)
    assert client.stats()["accepted"] == 3


def test_an_item_that_cannot_travel_is_an_error_at_its_place(kit: Kit) -> None:
    kit.serving(double)
    results = kit.client().map("double", [1, object()])
    assert kit.values(results, 1) == [2]
    with pytest.raises(zmqkit.UsageError, match="cannot travel"):
        kit.values(results, 1)


def test_what_reading_the_items_raises_ends_the_map(kit: Kit) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    kit.serving(double)
    client = kit.client()
    results = client.map("double", items())
    with pytest.raises(LookupError, match="no more"):
        kit.values(results, 1)
    assert kit.values(results, 1) == []


def test_leaving_early_cancels_what_is_under_way(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(holding(kit, gate), concurrency=5)
    client = kit.client()
    results = client.map("hold", range(9), window=5)
    assert kit.values(results, 1) == [0]
    gate.came(4)
    kit.shut(results)
    until(lambda: all(request.cancelled for request in gate.requests))
    assert client.stats()["in_flight"] == 0 and client.stats()["dropped"] == {"cancelled": 4}
    kit.shut(results)
    assert kit.values(results) == []


def test_a_map_that_is_forgotten_cancels_what_is_under_way(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(holding(kit, gate), concurrency=5)
    client = kit.client()
    results = client.map("hold", range(9), window=5)
    assert kit.values(results, 1) == [0]
    gate.came(4)
    del results
    until(lambda: client.stats()["dropped"] == {"cancelled": 4})


def test_a_map_that_is_closed_elsewhere_ends_its_loop(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold, concurrency=5)
    client = kit.client()
    results = client.map("hold", range(9), window=5)
    reading = kit.start(kit.values, results)
    gate.came(5)
    kit.shut(results)
    assert reading.result() == []
    assert client.stats()["dropped"] == {"cancelled": 5}


def test_a_client_that_closes_ends_the_map(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold)
    client = kit.client()
    results = kit.start(kit.values, client.map("hold", range(5)))
    gate.came()
    client.close(0)
    with pytest.raises(zmqkit.CallCancelled):
        results.result()
    with pytest.raises(zmqkit.UsageError, match="closed"):
        kit.values(client.map("hold", [1]))


def test_a_map_works_where_the_client_does_other_things_too(kit: Kit) -> None:
    kit.serving(double, concurrency=3)
    client = kit.client()
    calls = [kit.start(client.call, "double", number) for number in range(10, 15)]
    assert kit.values(client.map("double", range(100, 200), window=20)) == [
        2 * number for number in range(100, 200)
    ]
    assert [call.result() for call in calls] == [20, 22, 24, 26, 28]


def test_two_threads_map_at_once(blocking: Kit) -> None:
    blocking.serving(double, concurrency=3)
    client = blocking.client()
    maps = [
        blocking.start(list, client.map("double", range(k, k + 300), window=30))
        for k in (1000, 2000, 3000)
    ]
    for each, k in zip(maps, (1000, 2000, 3000), strict=True):
        assert each.result() == [2 * number for number in range(k, k + 300)]


@pytest.mark.parametrize("window", [0, -1, 10_001, 2.5, True, None])
def test_a_wrong_window_is_an_error(kit: Kit, window: object) -> None:
    with pytest.raises(zmqkit.UsageError, match="use a whole number from 1 to 10000"):
        kit.client(count=0).map("double", [1], window=window)


def test_what_cannot_be_iterated_over_is_an_error(kit: Kit) -> None:
    with pytest.raises(zmqkit.UsageError, match="items is 5; use a list"):
        kit.client(count=0).map("double", 5)


def test_a_task_that_is_cancelled_cancels_what_is_under_way(aio: AsyncKit) -> None:
    gate = aio.gate()
    aio.serving(gate.hold)
    client = aio.client()

    async def read() -> list[Any]:
        return [each async for each in client.inner.map("hold", range(5))]

    reading = aio.submit(read())
    gate.came(5)
    reading.cancel()
    with pytest.raises(CancelledError):
        reading.result(BOUND_S)
    until(lambda: client.stats()["dropped"] == {"cancelled": 5})


@pytest.mark.slow
def test_20_000_items_are_never_too_many(kit: Kit) -> None:
    seen = threading.Semaphore(0)

    def add(value: int) -> int:
        seen.release()
        return value + 1

    for _ in range(2):
        kit.serving(add)
    client = kit.client(count=2, timeout_s=3 * BOUND_S)
    results = client.map("add", range(20_000), window=10_000)
    values = kit.values(results, 10_000) + kit.values(results)
    assert values == list(range(1, 20_001))
    assert client.stats()["delivered"] == 20_000
