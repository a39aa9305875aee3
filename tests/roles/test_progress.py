"""`current_task().progress(value)` at a worker, and `ticket.progress()` at its pusher."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.limits import PROGRESS_BYTES_MAX


def test_the_pusher_sees_how_far_a_task_is(kit: Kit) -> None:
    go = threading.Event()

    def resize(body: object) -> object:
        zmqkit.current_task().progress({"done": 0.5})
        assert go.wait(BOUND_S)
        return body

    kit.working(resize, **in_threads(kit))
    ticket = kit.pusher(count=0).push("cat")
    assert ticket.progress() is None
    until(lambda: ticket.progress() is not None)
    assert ticket.progress() == {"done": 0.5} and ticket.state == "leased"
    go.set()
    assert ticket.result(BOUND_S) == "cat"
    assert ticket.progress() == {"done": 0.5}


@pytest.mark.parametrize("threads", [False, True])
def test_the_last_of_many_values_is_there_before_the_result(kit: Kit, threads: bool) -> None:
    def count(body: int) -> None:
        for number in range(body):
            zmqkit.current_task().progress(number)

    kit.working(count, **(in_threads(kit) if threads else {}))
    ticket = kit.pusher().push(1000)
    ticket.result(BOUND_S)
    assert ticket.progress() == 999


def test_an_async_handler_may_say_it_too(aio: AsyncKit) -> None:
    gate = aio.gate()

    async def hold(body: object) -> object:
        zmqkit.current_task().progress("begun")
        return await gate.hold(body)

    aio.working(hold)
    ticket = aio.pusher().push(1)
    gate.came()
    until(lambda: ticket.progress() == "begun")
    gate.open()
    assert ticket.result(BOUND_S) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [(object(), "the progress"), (bytes(PROGRESS_BYTES_MAX), f"{PROGRESS_BYTES_MAX} at most")],
)
def test_what_cannot_travel_is_refused(kit: Kit, value: object, said: str) -> None:
    kit.working(lambda body: zmqkit.current_task().progress(value), attempts=1)
    with pytest.raises(zmqkit.RemoteError, match=said) as raised:
        kit.pusher().push(1).result(BOUND_S)
    assert raised.value.type == "zmqkit.errors.UsageError"


def test_a_handler_that_outlives_its_worker_says_it_to_nobody(kit: Kit) -> None:
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def outlive(body: object) -> None:
        task = zmqkit.current_task()
        begun.set()
        assert go.wait(BOUND_S)
        task.progress(1)
        over.set()

    options = in_threads(kit) or {"concurrency": 2}
    worker = kit.working(outlive, **options)
    kit.pusher().push(1)
    assert begun.wait(BOUND_S)
    assert worker.close(0) == 1
    go.set()
    assert over.wait(BOUND_S)


def in_threads(kit: Kit) -> dict[str, Any]:
    return {"thread": True} if isinstance(kit, AsyncKit) else {}
