"""Streams where blocking and asyncio roles differ: loops, pools, threads and tasks."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from tests.roles.watched import ENOUGH, FOREVER, Watched, count
from zmqkit.limits import STREAM_ITEMS

pytestmark = pytest.mark.usefixtures("node")


def test_an_early_end_of_the_block_closes_it(blocking: Kit) -> None:
    watched = Watched()
    blocking.serving(watched.watched)
    with blocking.client().stream("watched") as values:
        assert next(values) == 0
    assert watched.closed.wait(BOUND_S)


def test_leaving_the_loop_closes_it(blocking: Kit) -> None:
    watched = Watched()
    blocking.serving(watched.watched)
    for value in blocking.client().stream("watched"):
        if value == 3:
            break
    assert watched.closed.wait(BOUND_S)


def test_a_pool_runs_generators_too(blocking: Kit) -> None:
    watched = Watched()
    service = blocking.service(concurrency=3)
    service.handler(watched.watched)
    service.handler(count)
    blocking.serve(service)
    client = blocking.client()
    streams = [client.stream("count", ENOUGH) for _ in range(4)]
    readers = [blocking.start(blocking.values, stream) for stream in streams]
    assert all(reader.result() == list(range(ENOUGH)) for reader in readers)
    stream = client.stream("watched")
    blocking.values(stream, 1)
    blocking.shut(stream)
    assert watched.closed.wait(BOUND_S)


def test_one_stream_is_read_by_one_thread(blocking: Kit) -> None:
    gate = blocking.gate()

    def held() -> Iterator[object]:
        yield gate.hold(1)

    blocking.serving(held)
    stream = blocking.client().stream("held")
    reader = blocking.start(blocking.values, stream)
    gate.came()
    until(lambda: stream._call.listener is not None)
    with pytest.raises(zmqkit.UsageError, match="read it in one alone"):
        next(stream)
    gate.open()
    assert reader.result() == [1]


@pytest.mark.slow
def test_one_dropped_while_the_lock_is_held_is_closed_later(blocking: Kit) -> None:
    watched = Watched()
    blocking.serving(watched.watched)
    client = blocking.client()
    stream = client.stream("watched")
    assert blocking.values(stream, 1) == [0]
    with client._driver.lock:
        del stream
    assert watched.closed.wait(BOUND_S)


def test_an_async_generator_streams_and_is_closed(aio: AsyncKit) -> None:
    watched = Watched()
    aio.serving(watched.waits)
    client = aio.client()
    assert aio.values(client.stream("waits", ENOUGH)) == list(range(ENOUGH))
    watched.closed.clear()
    stream = client.stream("waits")
    assert aio.values(stream, 3) == [0, 1, 2]
    until(lambda: watched.given == STREAM_ITEMS)
    aio.shut(stream)
    assert watched.closed.wait(BOUND_S)


def test_an_async_generator_that_waits_is_cancelled(aio: AsyncKit) -> None:
    gate = aio.gate()

    async def held() -> AsyncIterator[object]:
        yield 1
        yield await gate.hold()

    service = aio.serving(held)
    stream = aio.client().stream("held")
    assert aio.values(stream, 1) == [1]
    gate.came()
    aio.shut(stream)
    assert gate.cancelled.wait(BOUND_S)
    until(lambda: service.stats()["dropped"] == {"cancelled": 1})


def test_a_generator_may_run_in_a_thread(aio: AsyncKit) -> None:
    watched, threads = Watched(), set[int]()

    def slow(number: int) -> Iterator[int]:
        for each in watched.watched(number):
            threads.add(threading.get_ident())
            yield each

    service = aio.service()
    service.handler(slow, thread=True)
    aio.serve(service)
    client = aio.client()
    assert aio.values(client.stream("slow", 100)) == list(range(100))
    assert aio._thread.ident not in threads
    watched.closed.clear()
    stream = client.stream("slow", FOREVER)
    assert aio.values(stream, 1) == [0]
    aio.shut(stream)
    assert watched.closed.wait(BOUND_S)


def test_a_task_that_is_cancelled_closes_its_stream(aio: AsyncKit) -> None:
    gate = aio.gate()

    async def held() -> AsyncIterator[object]:
        yield await gate.hold()

    aio.serving(held)
    stream = aio.client().stream("held")

    async def read() -> list[Any]:
        return [value async for value in stream]

    reading = aio.submit(read())
    gate.came()
    until(lambda: stream._call.listener is not None)
    reading.cancel()
    assert gate.cancelled.wait(BOUND_S)


def test_one_stream_is_read_by_one_task(aio: AsyncKit) -> None:
    gate = aio.gate()

    async def held() -> AsyncIterator[object]:
        yield await gate.hold(1)

    aio.serving(held)
    stream = aio.client().stream("held")
    reading = aio.start(aio.values, stream)
    gate.came()
    until(lambda: stream._call.listener is not None)
    with pytest.raises(zmqkit.UsageError, match="read it in one alone"):
        aio.values(stream)
    gate.open()
    assert reading.result() == [1]
