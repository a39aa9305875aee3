"""`task_timeout_s`: what becomes of an attempt that takes too long, and of its handler."""

from __future__ import annotations

import threading

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until

SHORT_S = 1.0
SAID = "TimeoutError: took longer than task_timeout_s=1"


class Hang:
    """A plain handler that hangs at the first attempt, until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.returned = threading.Event()
        self.cancelled: list[bool] = []

    def __call__(self, body: object) -> object:
        task = zmqkit.current_task()
        if task.attempt == 1:
            assert self.let_go.wait(BOUND_S)
            self.cancelled.append(task.cancelled)
            self.returned.set()
        return body


@pytest.fixture
def hang() -> Hang:
    return Hang()


def plain(kit: Kit, hang: Hang, **options: object) -> zmqkit.Worker:
    """A worker that runs plain handlers in threads."""
    threads = {"thread": True} if isinstance(kit, AsyncKit) else {}
    worker: zmqkit.Worker = kit.working(hang, backoff_s=0, **threads, **options)
    return worker


def test_a_hanging_attempt_fails_and_the_next_one_goes_elsewhere(kit: Kit, hang: Hang) -> None:
    first = plain(kit, hang, concurrency=1, task_timeout_s=SHORT_S)
    pusher = kit.pusher()
    ticket = pusher.push("cat")
    until(lambda: ticket.reasons)
    assert ticket.reasons == [SAID]
    plain(kit, hang, concurrency=1)
    assert ticket.result(BOUND_S) == "cat" and ticket.attempts == 2
    assert first.stats()["overdue"] == 1
    hang.let_go.set()
    assert hang.returned.wait(BOUND_S)
    assert hang.cancelled == [True]
    until(lambda: first.stats()["overdue"] == 0)
    assert kit.balanced(first)["failed"] == 1


def test_the_place_is_free_again_once_the_handler_returned(kit: Kit, hang: Hang) -> None:
    worker = plain(kit, hang, concurrency=1, task_timeout_s=SHORT_S)
    ticket = kit.pusher().push("cat")
    until(lambda: worker.stats()["overdue"] == 1)
    hang.let_go.set()
    assert ticket.result(BOUND_S) == "cat"
    assert (ticket.attempts, ticket.reasons) == (2, [SAID])


def test_a_worker_with_a_hanging_handler_closes_in_time(kit: Kit, hang: Hang) -> None:
    worker = plain(kit, hang, concurrency=2, task_timeout_s=SHORT_S)
    kit.pusher().push("cat")
    until(lambda: worker.stats()["overdue"] == 1)
    assert kit.start(worker.close, 10 * BOUND_S).result() == 0
    hang.let_go.set()


def test_a_worker_of_one_place_closes_in_time_too(kit: Kit, hang: Hang) -> None:
    worker = plain(kit, hang, concurrency=1, task_timeout_s=SHORT_S)
    kit.pusher().push("cat")
    until(lambda: worker.stats()["overdue"] == 1)
    assert kit.start(worker.close, 10 * BOUND_S).result() == 0
    hang.let_go.set()


def test_an_async_handler_is_cancelled(aio: AsyncKit) -> None:
    gate = aio.gate()
    worker = aio.working(gate.hold, attempts=1, task_timeout_s=SHORT_S)
    ticket = aio.pusher().push("cat")
    with pytest.raises(zmqkit.RemoteError, match=SAID):
        ticket.result(BOUND_S)
    assert ticket.state == "dead"
    assert gate.cancelled.wait(BOUND_S)
    until(lambda: worker.stats()["overdue"] == 0)


def test_a_timeout_is_logged(kit: Kit, hang: Hang, caplog: pytest.LogCaptureFixture) -> None:
    plain(kit, hang, concurrency=1, task_timeout_s=SHORT_S, attempts=1)
    ticket = kit.pusher().push("cat", id="order-17")
    with pytest.raises(zmqkit.RemoteError):
        ticket.result(BOUND_S)
    said = f"handler-overdue id='order-17' limit_s={SHORT_S}"
    until(lambda: said in caplog.messages)
    hang.let_go.set()


def test_the_limit_is_what_the_handler_declares(kit: Kit) -> None:
    worker = kit._kept(kit.worker_class, kit.name)
    assert worker.task_timeout_s is None
    for wrong in (0, -1, "x", float("inf"), True):
        with pytest.raises(zmqkit.UsageError, match="task_timeout_s is"):
            worker.task(str, task_timeout_s=wrong)
    worker.task(str, task_timeout_s=60)
    assert worker.task_timeout_s == 60.0
