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
from tests.roles.fakes import FakeClient
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.options import THREADS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.05


class Strange(BaseException):
    """Neither an error nor an end of the program."""


def double(value: int) -> int:
    return 2 * value


def raises_interrupt() -> None:
    raise KeyboardInterrupt


def values() -> Iterator[int]:
    yield 1
    raise KeyboardInterrupt


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


def ask(kit: Kit, client: Any, method: str) -> object:
    """Call the method, or read all of its stream."""
    if method.startswith(("streams", "values")):
        return kit.values(client.stream(method))
    return client.call(method)


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


@pytest.mark.parametrize("handler", [ends_strangely, streams_strangely])
def test_what_is_no_error_is_answered_as_one(aio: AsyncKit, handler: Callable[[], Any]) -> None:
    service = aio.serving(handler, double, concurrency=1)
    client = aio.client()
    with pytest.raises(zmqkit.RemoteError, match="Strange"):
        ask(aio, client, handler.__name__)
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


class Interrupted:
    """A service whose handlers raise KeyboardInterrupt, as Ctrl-C does."""

    def __init__(self, kit: Kit, **options: Any) -> None:
        self.service = kit.service(**options)
        self.service.handler(double)
        self.service.handler(raises_interrupt, name="interrupts")
        self.service.handler(values)
        self.service.handler(self.closes)
        self.service.start()
        self.client = kit.client()

    def closes(self) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise KeyboardInterrupt

    def serve_once(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.service.serve(BOUND_S)


@pytest.mark.parametrize("method", ["interrupts", "values"])
def test_who_was_interrupted_is_told_once_the_service_goes_on(
    blocking: Kit, method: str
) -> None:
    scene = Interrupted(blocking)
    asked = blocking.start(ask, blocking, scene.client, method)
    scene.serve_once()
    assert scene.service.stats()["in_flight"] == 1  # should the program end now, it may move
    blocking.serve(scene.service)
    with pytest.raises(zmqkit.RemoteError, match="KeyboardInterrupt"):
        asked.result()
    assert scene.client.call("double", 4) == 8
    assert scene.service.stats()["in_flight"] == 0


def test_a_generator_that_was_interrupted_while_it_was_closed_is_over(blocking: Kit) -> None:
    scene = Interrupted(blocking)

    def read_one() -> None:
        stream = scene.client.stream("closes")
        assert blocking.values(stream, 1) == [1]
        stream.close()

    reading = blocking.start(read_one)
    scene.serve_once()
    reading.result()
    blocking.serve(scene.service)
    assert scene.client.call("double", 4) == 8
    assert scene.service.stats()["in_flight"] == 0


@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_interrupt_in_another_thread_than_the_main_one_is_an_answer(
    blocking: Kit, caplog: pytest.LogCaptureFixture, concurrency: int
) -> None:
    scene = Interrupted(blocking, concurrency=concurrency)
    blocking.serve(scene.service)
    for method in ["interrupts", "values"] * 3:
        with pytest.raises(zmqkit.RemoteError, match="KeyboardInterrupt"):
            ask(blocking, scene.client, method)
    stream = scene.client.stream("closes")
    assert blocking.values(stream, 1) == [1]
    stream.close()
    until(lambda: "raised while it was closed: KeyboardInterrupt" in caplog.text)
    assert scene.client.call("double", 4) == 8


def test_an_interrupt_in_a_thread_of_an_asyncio_service_is_an_answer(aio: AsyncKit) -> None:
    service = aio.service()
    for handler in (raises_interrupt, values):
        service.handler(handler, thread=True)
    aio.serve(service)
    client = aio.client()
    for method in ("raises_interrupt", "values"):
        with pytest.raises(zmqkit.RemoteError, match="KeyboardInterrupt"):
            ask(aio, client, method)


def test_who_waits_moves_on_when_an_interrupted_program_ends(blocking: Kit) -> None:
    scene, other = Interrupted(blocking), blocking.service()
    scene.client.notify("interrupts")
    scene.serve_once()
    asked = blocking.start(scene.client.call, "double", 4)
    until(lambda: scene.service.stats()["accepted"] == 2)
    other.handler(double)
    blocking.serve(other)
    assert scene.service.close(None) == 2  # else it would wait for ever
    assert asked.result() == 8
    assert other.stats()["delivered"] == 1


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

    assert threads <= THREADS_MAX
    aio.submit(scene()).result(2 * BOUND_S)


@pytest.mark.parametrize("kind", ["publisher", "subscriber", "client", "serving"])
def test_a_close_with_a_time_that_is_none_may_be_repeated(kit: Kit, kind: str) -> None:
    options = {"count": 0} if kind in ("subscriber", "client") else {}
    role = getattr(kit, kind)(**options)
    wrong: Any = "soon"
    with pytest.raises(zmqkit.UsageError, match="timeout_s"):
        role.close(wrong)
    assert role.close() == 0
