"""Calls that were begun, and whose results are Futures."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent import futures
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")


def double(value: int) -> int:
    if value == 7:
        raise ValueError("7 is not doubled")
    return 2 * value


def begun(client: Any, *values: int) -> list[futures.Future[int]]:
    return [client.begin("double", value) for value in values]


def test_a_future_has_the_value_of_its_call(blocking: Kit) -> None:
    blocking.serving(double)
    client = blocking.client()
    results = begun(client, *range(10, 200))
    assert [each.result(BOUND_S) for each in results] == [2 * n for n in range(10, 200)]
    assert client.options(priority=9).begin("double", 3).result(BOUND_S) == 6


def test_a_future_has_the_error_of_its_call(blocking: Kit) -> None:
    blocking.serving(double)
    client = blocking.client()
    [failed, done] = begun(client, 7, 8)
    with pytest.raises(zmqkit.RemoteError, match="7 is not doubled"):
        failed.result(BOUND_S)
    assert isinstance(failed.exception(), zmqkit.RemoteError) and done.result(BOUND_S) == 16
    with pytest.raises(zmqkit.UsageError, match="cannot travel"):
        client.begin("double", object())


def test_the_tools_for_futures_work(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(double, gate.hold, concurrency=2)
    client = blocking.client()
    held = client.begin("hold", 1)
    results = begun(client, 10, 11, 12)
    done, waits = futures.wait([held, *results], BOUND_S, futures.FIRST_COMPLETED)
    assert held in waits and done <= set(results)
    assert sorted(each.result() for each in futures.as_completed(results, BOUND_S)) == [
        20, 22, 24,
    ]  # fmt: skip
    assert not held.done()
    gate.open()
    assert held.result(BOUND_S) == 1


def test_a_callback_may_call_and_begin(blocking: Kit) -> None:
    blocking.serving(double)
    client = blocking.client()
    seen: futures.Future[int] = futures.Future()

    def again(future: futures.Future[int]) -> None:
        more = client.call("double", future.result())
        client.begin("double", more).add_done_callback(
            lambda last: seen.set_result(last.result())
        )

    client.begin("double", 1).add_done_callback(again)
    assert seen.result(BOUND_S) == 8


def test_cancelling_a_future_cancels_its_call(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold)
    client = blocking.client()
    future = client.begin("hold")
    gate.came()
    assert future.cancel() and future.cancelled()
    until(lambda: gate.requests[0].cancelled)
    assert client.stats()["dropped"] == {"cancelled": 1}
    with pytest.raises(futures.CancelledError):
        future.result(0)


def test_closing_the_client_ends_futures(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold)
    client = blocking.client()
    results = [client.begin("hold", n) for n in range(5)]
    gate.came()
    client.close(0)
    assert [type(each.exception(BOUND_S)) for each in results] == [zmqkit.CallCancelled] * 5
    with pytest.raises(zmqkit.UsageError, match="closed"):
        client.begin("hold")


def test_a_callback_may_close_the_client(blocking: Kit) -> None:
    blocking.serving(double)
    client = blocking.client()
    closed = threading.Event()

    def close(future: futures.Future[int]) -> None:
        client.close()
        closed.set()

    client.begin("double", 1).add_done_callback(close)
    assert closed.wait(BOUND_S)


def test_begin_waits_for_room(blocking: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold, concurrency=4)
    client = blocking.client()
    monkeypatch.setattr(client._futures, "_room", threading.Semaphore(2))
    first = [client.begin("hold", n) for n in range(2)]
    third = blocking.start(client.begin, "hold", 2)
    gate.came(2)
    assert not third.over and client.stats()["accepted"] == 2
    assert first[0].cancel()
    assert client.stats()["dropped"] == {"cancelled": 1}
    gate.open()
    assert third.result().result(BOUND_S) == 2 and first[1].result(BOUND_S) == 1


def test_calls_go_on_beside_those_that_were_begun(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold, double, concurrency=3)
    client = blocking.client()
    held = client.begin("hold", 5)
    calls = [blocking.start(client.call, "double", n) for n in range(20, 30)]
    assert [each.result() for each in calls] == [2 * n for n in range(20, 30)]
    gate.open()
    assert held.result(BOUND_S) == 5


def test_asyncio_futures_have_values_and_errors(aio: AsyncKit) -> None:
    aio.serving(double)
    client = aio.client().inner

    async def scene() -> list[Any]:
        begun = [await client.begin("double", n) for n in (6, 7, 8)]
        return await asyncio.gather(*begun, return_exceptions=True)

    before, failed, after = aio.submit(scene()).result(BOUND_S)
    assert (before, after) == (12, 16) and isinstance(failed, zmqkit.RemoteError)


def test_cancelling_an_asyncio_future_cancels_its_call(aio: AsyncKit) -> None:
    gate = aio.gate()
    aio.serving(gate.hold)
    client = aio.client()

    async def scene() -> None:
        future = await client.inner.begin("hold")
        assert await asyncio.to_thread(gate.came) is None
        future.cancel()
        await asyncio.wait([future])

    aio.submit(scene()).result(BOUND_S)
    assert gate.cancelled.wait(BOUND_S)
    assert client.stats()["dropped"] == {"cancelled": 1}


def test_begin_waits_for_room_on_a_loop(aio: AsyncKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmqkit.asyncio.futures.WAITING_CALLS_MAX", 2)
    gate = aio.gate()
    aio.serving(gate.hold)
    client = aio.client().inner

    async def scene() -> list[Any]:
        begun = [await client.begin("hold", n) for n in range(2)]
        others = [asyncio.ensure_future(client.begin("hold", n)) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in others)
        others[0].cancel()
        begun[0].cancel()
        begun.append(await others[1])
        assert not others[2].done()
        gate.open()
        begun.append(await others[2])
        return await asyncio.gather(*begun[1:])

    assert aio.submit(scene()).result(BOUND_S) == [1, 3, 4]


def test_closing_the_client_ends_every_wait_for_room(
    aio: AsyncKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqkit.asyncio.futures.WAITING_CALLS_MAX", 2)
    client = aio.client(count=0).inner

    async def scene() -> list[Any]:
        begun = [await client.begin("double", n) for n in range(2)]
        others = [asyncio.ensure_future(client.begin("double", n)) for n in range(7)]
        await asyncio.sleep(0)
        await client.close(0)
        _, waits = await asyncio.wait([*begun, *others], timeout=BOUND_S)
        assert not waits
        return [type(each.exception()) for each in (*begun, *others)]

    ended = aio.submit(scene()).result(2 * BOUND_S)
    assert ended == [zmqkit.CallCancelled] * 2 + [zmqkit.UsageError] * 7


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_futures_end_though_their_thread_fails(blocking: Kit) -> None:
    client = blocking.client(count=0)
    future = client.begin("double", 1)
    until(lambda: client._life.driver.led)

    def fail(now: float) -> None:
        raise MemoryError("no more")

    client._life.driver.driver.pump = fail
    client._life.driver.wake()
    error = future.exception(BOUND_S)
    assert isinstance(error, zmqkit.UsageError) and "make a new one" in str(error)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_ends_its_thread_ends_no_other_future(blocking: Kit) -> None:
    blocking.serving(double)
    client = blocking.client()
    client.begin("double", 1).add_done_callback(lambda future: sys.exit(1))
    results = begun(client, *range(10, 40))
    assert [each.result(BOUND_S) for each in results] == [2 * n for n in range(10, 40)]


@pytest.mark.slow
def test_20_000_calls_are_begun_without_an_error(blocking: Kit) -> None:
    blocking.serving(double)
    client = blocking.client(timeout_s=3 * BOUND_S)
    results = begun(client, *range(10, 20_010))
    assert sum(each.result(BOUND_S) for each in results) == sum(range(20, 40_020, 2))
