"""A plain handler that holds its event loop for long is named in the log, with a remedy."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.roles.kit import AsyncKit, until
from zmqkit.warning_limits import LOOP_HELD_S

pytestmark = [pytest.mark.usefixtures("node"), pytest.mark.slow]

SAID = (
    "nothing else of its event loop runs meanwhile; pass thread=True where it is registered, "
    "or make it async def and await what it waits for"
)


def hold() -> None:
    """Hold whoever runs this for longer than a loop may be held."""
    threading.Event().wait(2 * LOOP_HELD_S)


def hold_a_task(task: object) -> None:
    hold()


def quick() -> int:
    return 42


def stream() -> Iterator[int]:
    hold()
    yield 1


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was warned of."""
    return [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]


def test_a_handler_that_holds_the_loop_is_named_once(
    aio: AsyncKit, caplog: pytest.LogCaptureFixture
) -> None:
    client = aio.client(aio.serving(hold, quick).endpoint)
    for method in ("hold", "hold", "quick"):
        client.call(method)
    until(lambda: lines(caplog))
    [line] = (
        each for each in lines(caplog) if "'hold'" in each
    )  # any is slow on a busy machine
    assert line.startswith("handler-holds-loop handler='hold' took_s=")
    assert line.endswith(f": {SAID}")


def test_a_generator_that_holds_the_loop_is_named(
    aio: AsyncKit, caplog: pytest.LogCaptureFixture
) -> None:
    client = aio.client(aio.serving(stream).endpoint)
    assert aio.values(client.stream("stream")) == [1]
    until(lambda: lines(caplog))
    assert [line.split()[1] for line in lines(caplog)] == ["handler='stream'"]


def test_a_task_that_holds_the_loop_is_named_by_its_function(
    aio: AsyncKit, caplog: pytest.LogCaptureFixture
) -> None:
    aio.working(hold_a_task)
    assert aio.mapped(aio.pusher(), [1]) == [None]
    until(lambda: lines(caplog))
    assert [line.split()[1] for line in lines(caplog)] == ["handler='hold_a_task'"]


def test_a_thread_may_take_its_time(aio: AsyncKit, caplog: pytest.LogCaptureFixture) -> None:
    service = aio.service()
    service.handler(hold, thread=True)
    client = aio.client(aio.serve(service).endpoint)
    client.call("hold")
    assert lines(caplog) == []
