"""A batch whose wait for room is interrupted has lost nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.roles.kit import BOUND_S, AsyncKit, Kit, received

pytestmark = pytest.mark.usefixtures("node")


def joined(kit: Kit) -> tuple[Any, Any]:
    """A publisher that waits for its subscriber."""
    publisher, subscriber = kit.publisher(policy="block"), kit.subscriber()
    assert publisher.ready(1, timeout_s=BOUND_S) == 1
    return publisher, subscriber


def read(subscriber: Any, count: int) -> list[object]:
    return [message.body for message in received(subscriber, count)]


def test_an_interrupted_batch_sends_everything_later(
    blocking: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = joined(blocking)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publisher, "_wait_for_room", interrupt)
    count = 0
    with publisher.batch() as batch:
        with suppress(KeyboardInterrupt):
            while True:
                count += 1
                batch.publish("t", count)
        assert publisher._core.blocked
        monkeypatch.undo()
        reader = blocking.start(read, subscriber, count)
    assert reader.result() == list(range(1, count + 1))


def test_a_batch_that_was_cancelled_sends_everything_later(
    aio: AsyncKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = joined(aio)
    count = 0

    async def interrupt() -> None:
        raise TimeoutError

    async def receive() -> list[object]:
        return [(await subscriber.inner.receive(BOUND_S)).body for _ in range(count)]

    async def publish() -> asyncio.Task[list[object]]:
        nonlocal count
        async with publisher.inner.batch() as batch:
            with suppress(TimeoutError):
                while True:
                    count += 1
                    await batch.publish("t", count)
            assert publisher.inner._core.blocked
            monkeypatch.undo()
            return asyncio.create_task(receive())

    async def scene() -> list[object]:
        return await (await publish())

    monkeypatch.setattr(publisher.inner, "_wait_for_room", interrupt)
    assert aio.submit(scene()).result(BOUND_S) == list(range(1, count + 1))
