"""KeyboardInterrupt out of handlers: where it goes, and what becomes of callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.fakes import FakeClient
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

pytestmark = pytest.mark.usefixtures("node")

SHORT_S = 0.05


def double(value: int) -> int:
    return 2 * value


def raises_interrupt() -> None:
    raise KeyboardInterrupt


def values() -> Iterator[int]:
    yield 1
    raise KeyboardInterrupt


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
    asked = blocking.start(blocking.ask, scene.client, method)
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
            blocking.ask(scene.client, method)
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
            aio.ask(client, method)


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


def test_a_close_that_was_interrupted_goes_on_when_it_is_repeated(blocking: Kit) -> None:
    scene = Interrupted(blocking)
    scene.client.notify("interrupts")
    until(lambda: scene.service.stats()["accepted"] == 1)
    with pytest.raises(KeyboardInterrupt):
        scene.service.close(BOUND_S)
    assert scene.service.close(None) == 1


def test_a_close_lets_go_though_a_generator_interrupts_it(blocking: Kit) -> None:
    scene = Interrupted(blocking)
    stream = scene.client.stream("closes")
    reading = blocking.start(blocking.values, stream, 1)
    until(lambda: scene.service.stats()["accepted"] == 1)
    scene.service.serve(SHORT_S)
    assert reading.result() == [1]
    with pytest.raises(KeyboardInterrupt):
        scene.service.close(0)
    assert scene.service._life.plan.place.node is None


class AsyncScene:
    """An asyncio service on a loop of the main thread, which a KeyboardInterrupt ends."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.service = zmqkit.asyncio.Service(name)
        self.service.handler(raises_interrupt)
        self.service.handler(double)
        self.loop.run_until_complete(self.service.start())

    def close(self) -> int:
        left = self.loop.run_until_complete(self.service.close())
        self.loop.close()
        return left


def test_an_interrupt_in_an_asyncio_handler_takes_no_other_along(
    blocking: Kit, fake_client: FakeClient
) -> None:
    scene = AsyncScene(blocking.name)
    fake_client.connect(scene.service.endpoint)
    methods, rows = ["double"] * 6, [[None, [number], {}] for number in range(6)]
    methods.insert(3, "raises_interrupt")
    rows.insert(3, [None, [], {}])
    columns = [list(range(1, 8)), [60_000] * 7, methods, [4] * 7]
    target = scene.service.incarnation
    fake_client.send_requests(target, columns, rows)
    with pytest.raises(KeyboardInterrupt):
        scene.loop.run_forever()
    assert scene.close() == 0
    stats = scene.service.stats()
    assert (stats["delivered"], stats["failed"], stats["in_flight"]) == (6, 1, 0)


def test_who_reads_a_stream_of_a_broken_client_holds_up_nobody(blocking: Kit) -> None:
    client = blocking.client(count=0)
    stream, driver = client.stream("values"), client._life.driver
    with client._life.lock:
        driver.fail()
    with pytest.raises(zmqkit.UsageError, match="was interrupted"):
        next(stream)
    assert not driver.led
