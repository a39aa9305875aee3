"""Handlers that end as none should: each gives its place back, and who waits is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.fakes import FakeClient
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.limits import STREAM_ITEMS
from zmqkit.wire import packet as wire
from zmqkit.wire import streams
from zmqkit.wire.encoding import encode

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.05


class Strange(BaseException):
    """Neither an error nor an end of the program."""


def double(value: int) -> int:
    return 2 * value


def closes_badly() -> Iterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise Strange


def closes_wrongly() -> Iterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise ValueError  # as close() itself does where another thread runs the generator


async def ends_strangely() -> None:
    raise Strange


async def gives_up_strangely() -> None:
    raise GeneratorExit  # as it is given to a task whose loop is gone


async def streams_strangely() -> AsyncIterator[int]:
    yield 1
    raise Strange


async def is_cancelled_inside() -> AsyncIterator[int]:
    """As a generator does that cancels a helper and waits for it."""
    helper = asyncio.ensure_future(asyncio.Event().wait())
    try:
        while True:
            yield 1
    finally:
        helper.cancel()
        await helper


async def forever() -> AsyncIterator[int]:
    while True:
        yield 1
        await asyncio.sleep(0)


async def waits() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("handler", [waits, forever])
def test_what_is_cancelled_before_its_first_step_takes_no_place(
    aio: AsyncKit, fake_client: FakeClient, handler: Callable[[], Any]
) -> None:
    service = aio.serving(handler, double, concurrency=1)
    fake_client.request(service, 1, "double", 4)
    assert fake_client.reply()[0] == wire.REPLY
    pause = threading.Event()
    # The loop finds both in one look.
    aio.loop.call_soon_threadsafe(pause.wait, BOUND_S)
    fake_client.request(service, 2, handler.__name__)
    packet = wire.pack(
        wire.CANCEL, fake_client.incarnation, service.incarnation, 0, encode([2])
    )
    fake_client.send(*packet)
    pause.wait(SHORT_S)
    pause.set()
    fake_client.request(service, 3, "double", 4)
    until(lambda: service.stats()["delivered"] == 2)
    assert service.stats()["in_flight"] == 0


@pytest.mark.parametrize("handler", [ends_strangely, gives_up_strangely, streams_strangely])
def test_what_is_no_error_is_answered_as_one(aio: AsyncKit, handler: Callable[[], Any]) -> None:
    service = aio.serving(handler, double, concurrency=1)
    client = aio.client()
    with pytest.raises(zmqkit.RemoteError, match=r"Strange|GeneratorExit"):
        aio.ask(client, handler.__name__)
    assert client.call("double", 4) == 8
    until(lambda: service.stats()["in_flight"] == 0)


@pytest.mark.parametrize("handler", [closes_badly, closes_wrongly, is_cancelled_inside])
def test_a_generator_that_is_closed_and_raises_gives_its_place_back(
    kit: Kit, caplog: pytest.LogCaptureFixture, handler: Callable[[], Any]
) -> None:
    if handler is is_cancelled_inside and not isinstance(kit, AsyncKit):
        handler = closes_badly
    service = kit.serving(handler, double, concurrency=1)
    client = kit.client()
    stream = client.stream(handler.__name__)
    assert kit.values(stream, 1) == [1]
    kit.shut(stream)
    assert client.call("double", 4) == 8
    until(lambda: service.stats()["in_flight"] == 0)
    assert "raised while it was closed" in caplog.text


def test_a_stop_does_not_end_a_close(blocking: Kit) -> None:
    service = blocking.service()

    def stops() -> str:
        service.stop()
        return "the last word"

    service.handler(stops)
    service.handler(double)
    service.start()
    client = blocking.client()
    first = blocking.start(client.call, "stops")
    until(lambda: service.stats()["accepted"] == 1)
    second = blocking.start(client.call, "double", 4)
    until(lambda: service.stats()["accepted"] == 2)
    assert service.close(None) == 0  # else it would turn and turn
    assert (first.result(), second.result()) == ("the last word", 8)


def test_a_generator_that_is_cancelled_from_within_while_it_waits_for_credit_tells(
    aio: AsyncKit,
) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def numbers() -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())
        for number in range(3 * STREAM_ITEMS):
            yield number

    service = aio.serving(numbers, double)
    client = aio.client()
    stream = client.stream("numbers")
    assert aio.values(stream, 1) == [0]
    until(lambda: service.inner._runner._waiting)
    aio.loop.call_soon_threadsafe(tasks[0].cancel)  # as a timeout of its own does
    until(lambda: service.inner._runner._over)
    with pytest.raises(zmqkit.RemoteError, match="CancelledError"):
        aio.values(stream)
    assert client.call("double", 4) == 8
    assert (service.stats()["failed"], service.stats()["in_flight"]) == (1, 0)
    assert not service.inner._runner._over


def test_an_answer_behind_the_end_of_a_stream_leaves_at_once(
    aio: AsyncKit, fake_client: FakeClient
) -> None:
    gate = aio.gate()

    async def held() -> AsyncIterator[object]:
        yield await gate.hold()

    service = aio.serving(held, double, concurrency=1)
    fake_client.connect(service.endpoint)
    body = wire.request_body("held", 4, None, (), {})
    meta = streams.stream_columns([1], [60_000], (8, 1000), [body])
    packet = wire.pack(wire.STREAM, fake_client.incarnation, service.incarnation, 0, meta)
    fake_client.send(*packet)
    gate.came()
    fake_client.request(service, 2, "double", 4)
    until(lambda: service.stats()["waiting"] == 1)
    gate.open()
    # Nothing else comes, which would have it send what it holds.
    until(lambda: service.stats()["delivered"] == 2)


def test_tasks_that_begin_at_once_are_served_too(aio: AsyncKit) -> None:
    eager = getattr(asyncio, "eager_task_factory", None)  # from Python 3.12 on
    if eager is not None and isinstance(aio.loop, asyncio.BaseEventLoop):  # uvloop has none
        aio.loop.call_soon_threadsafe(aio.loop.set_task_factory, eager)

    async def triple(value: int) -> int:
        return 3 * value

    async def count(number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each

    service = aio.serving(triple, count)
    client = aio.client()
    for number in range(3):
        assert client.call("triple", number) == 3 * number
        assert aio.values(client.stream("count", 5 * STREAM_ITEMS))[-1] == 5 * STREAM_ITEMS - 1
    assert not service.inner._runner._tasks


def test_a_close_does_not_hold_up_the_loop_for_a_thread_that_runs_on(aio: AsyncKit) -> None:
    gate, service = threading.Event(), aio.service()
    came = threading.Event()

    def slow() -> None:
        came.set()
        gate.wait(BOUND_S)

    service.handler(slow, thread=True)
    aio.serve(service)
    client = aio.client()
    asked = aio.submit(client.inner.call("slow"))
    assert came.wait(BOUND_S)
    asked.cancel()
    with suppress(CancelledError):
        asked.result(BOUND_S)
    until(lambda: service.stats()["in_flight"] == 0)
    try:
        assert service.close(SHORT_S) == 0
        assert not gate.is_set()
    finally:
        gate.set()


def test_as_many_handlers_run_in_threads_as_the_service_has_places(aio: AsyncKit) -> None:
    threads = 40  # more than Python's own choice for a machine of few cores
    together = threading.Barrier(threads)

    def meets() -> None:
        together.wait(BOUND_S)

    service = aio.service(concurrency=threads)
    service.handler(meets, thread=True)
    aio.serve(service)
    client = aio.client()

    async def scene() -> None:
        calls = [client.inner.options(timeout_s=BOUND_S).call("meets") for _ in range(threads)]
        await asyncio.gather(*calls)

    aio.submit(scene()).result(2 * BOUND_S)


@pytest.mark.parametrize("kind", ["publisher", "subscriber", "client", "serving"])
def test_a_close_with_a_time_that_is_none_may_be_repeated(kit: Kit, kind: str) -> None:
    options = {"count": 0} if kind in ("subscriber", "client") else {}
    role = getattr(kit, kind)(**options)
    wrong: Any = "soon"
    with pytest.raises(zmqkit.UsageError, match="timeout_s"):
        role.close(wrong)
    assert role.close() == 0
