"""The pipeline as people use it: tasks pushed, done, failed, retried and given up."""

from __future__ import annotations

import importlib
import inspect
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.limits import BODY_BYTES_MAX, PusherLimits
from zmqkit.roles.tasks import DEFAULTS, PushOptions


def double(number: int) -> int:
    return 2 * number


def test_a_task_is_done_and_its_result_comes_back(kit: Kit) -> None:
    kit.working(double)
    ticket = kit.pusher().push(21)
    assert ticket.result(BOUND_S) == 42
    assert (ticket.state, ticket.attempts, ticket.reasons) == ("done", 1, [])
    assert ticket.result(0) == 42


def test_tasks_wait_for_the_first_worker(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    tickets = pusher.push_many(range(10))
    with pytest.raises(zmqkit.CallTimeout, match="nobody works on") as raised:
        tickets[0].result(0)
    assert not raised.value.may_have_run
    kit.working(double)
    assert [each.result(BOUND_S) for each in tickets] == [2 * n for n in range(10)]


@pytest.mark.parametrize("ordered", [True, False])
def test_map_yields_each_result_once(kit: Kit, ordered: bool) -> None:
    kit.working(double)
    kit.working(double)
    results = kit.mapped(kit.pusher(count=2), range(300), window=40, ordered=ordered)
    assert (results if ordered else sorted(results)) == [2 * n for n in range(300)]


def test_a_map_that_is_collected_in_the_middle_of_the_pushers_work_cancels_what_is_left(
    blocking: Kit,
) -> None:
    gate = blocking.gate()
    blocking.working(lambda body: gate.hold(body) if body else body)
    pusher = blocking.pusher()
    results = pusher.map(range(5), window=5)
    assert next(results) == 0
    gate.came()
    with pusher._life.lock:
        del results  # as a collection would that begins while this thread has the lock
    until(lambda: pusher.stats()["cancelled"] == 4)


def test_map_cancels_what_is_under_way_when_a_task_fails(kit: Kit) -> None:
    gate = kit.gate()
    kit.working(gate.hold)
    pusher = kit.pusher()
    mapping = kit.start(kit.mapped, pusher, range(5), window=5, timeout_s=2.0)
    gate.came()
    with pytest.raises(zmqkit.CallTimeout):
        mapping.result()
    assert pusher.stats()["cancelled"] == 5


def test_an_error_costs_an_attempt_until_the_task_is_dead(kit: Kit) -> None:
    attempts: list[int] = []

    def fail(body: object) -> None:
        attempts.append(zmqkit.current_task().attempt)
        raise ValueError(f"no {body}")

    kit.working(fail, attempts=3, backoff_s=0.01)
    pusher = kit.pusher()
    ticket = pusher.push("cat")
    with pytest.raises(zmqkit.RemoteError, match="ValueError: no cat") as raised:
        ticket.result(BOUND_S)
    assert "Traceback" in raised.value.traceback
    assert attempts == [1, 2, 3] and ticket.state == "dead"
    assert ticket.reasons == ["ValueError: no cat"] * 3
    [dead] = pusher.dead()
    assert dead.id == ticket.id
    assert dead.requeue() and not dead.requeue()
    until(lambda: ticket.state == "dead")
    assert attempts == [1, 2, 3, 1, 2, 3]
    dead.purge()
    assert ticket.state == "dropped" and pusher.dead() == []


@pytest.mark.parametrize("id", ["order-17", None])
def test_the_log_names_the_handler_and_the_task(
    kit: Kit, caplog: pytest.LogCaptureFixture, id: str | None
) -> None:
    def resize(body: object) -> None:
        raise ValueError(f"no {body}")

    kit.working(resize, attempts=2, backoff_s=0)
    ticket = kit.pusher().push("cat", id=id)
    with pytest.raises(zmqkit.RemoteError):
        ticket.result(BOUND_S)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        f"handler 'resize' raised ValueError at attempt {attempt} of task {ticket.id!r}"
        for attempt in (1, 2)
    ]


def test_a_handler_may_ask_for_another_attempt_or_for_none(kit: Kit) -> None:
    def choosy(body: str) -> int:
        attempt = zmqkit.current_task().attempt
        if body == "discard":
            raise zmqkit.Discard("never")
        if attempt < 3:
            raise zmqkit.Retry(0.01, "later")
        return attempt

    kit.working(choosy, attempts=3, backoff_s=3000.0)
    pusher = kit.pusher()
    assert pusher.push("retry").result(BOUND_S) == 3
    ticket = pusher.push("discard")
    with pytest.raises(zmqkit.RemoteError, match="never"):
        ticket.result(BOUND_S)
    assert ticket.state == "failed" and ticket.attempts == 1


def test_a_body_that_the_handler_does_not_take_fails_at_once(kit: Kit) -> None:
    def nothing() -> None: ...

    kit.working(nothing)
    ticket = kit.pusher().push(1)
    with pytest.raises(zmqkit.BadArguments, match="'nothing' takes") as raised:
        ticket.result(BOUND_S)
    assert not raised.value.may_have_run
    assert ticket.state == "failed" and ticket.attempts == 1


@pytest.mark.parametrize(
    ("value", "said"), [(object(), "object"), (bytes(BODY_BYTES_MAX + 1), "more than")]
)
def test_a_result_that_cannot_travel_fails_its_task_at_once(
    kit: Kit, value: object, said: str
) -> None:
    kit.working(lambda body: value)
    ticket = kit.pusher().push(1)
    with pytest.raises(zmqkit.RemoteError, match=said) as raised:
        ticket.result(BOUND_S)
    assert raised.value.type == "zmqkit.errors.UsageError" and raised.value.may_have_run
    assert (ticket.state, ticket.attempts) == ("failed", 1)


def test_a_higher_priority_is_first(kit: Kit) -> None:
    order: list[object] = []
    gate = kit.gate()
    pusher = kit.pusher(count=0)
    for priority in (1, 9, 5):
        pusher.push(priority, priority=priority)
    kit.working(lambda body: order.append(body), concurrency=1)
    until(lambda: len(order) == 3)
    assert order == [9, 5, 1]
    gate.open()


def test_a_task_that_expired_never_runs(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    ticket = pusher.push(1, expires_s=0.01)
    with pytest.raises(zmqkit.CallTimeout, match="ran out"):
        ticket.result(BOUND_S)
    assert ticket.state == "expired" and pusher.stats()["expired"] == 1


@pytest.mark.parametrize("way", ["delay_s", "deliver_at"])
def test_a_delayed_task_waits_in_the_queue(kit: Kit, way: str) -> None:
    began: list[float] = []
    kit.working(lambda body: began.append(time.monotonic()))
    pushed = time.monotonic()
    when = datetime.now(UTC) + timedelta(seconds=0.3)
    options: dict[str, Any] = {way: 0.3 if way == "delay_s" else when}
    kit.pusher().push(1, **options).result(BOUND_S)
    assert began[0] - pushed >= 0.25


def test_a_task_that_is_there_already_is_not_pushed_again(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    first, other = pusher.push(1, id="order-17"), pusher.push(2, unique="cat.png")
    assert pusher.push(3, id="order-17").id == first.id == "order-17"
    assert pusher.push(4, unique="cat.png").id == other.id
    assert pusher.stats()["accepted"] == 2
    kit.working(double)
    assert (first.result(BOUND_S), other.result(BOUND_S)) == (2, 4)
    assert pusher.push(3, id="order-17").result(0) == 2
    assert pusher.push(5, unique="cat.png").result(BOUND_S) == 10
    assert pusher.ticket("order-17").result(0) == 2
    assert pusher.ticket(other.id).result(0) == 4
    with pytest.raises(zmqkit.UsageError, match="no task 'order-18'"):
        pusher.ticket("order-18")


def test_tasks_of_one_key_never_run_at_the_same_time(kit: Kit) -> None:
    order: list[int] = []
    running = threading.Semaphore(1)

    def alone(number: int) -> None:
        assert running.acquire(blocking=False), "two at once"
        order.append(number)
        threading.Event().wait(0.002)
        running.release()

    for _ in range(2):
        kit.working(alone)
    pusher = kit.pusher(count=2)
    tickets = pusher.push_many(range(30), order_by="account-1")
    for each in tickets:
        each.result(BOUND_S)
    assert order == list(range(30))


def test_a_cancelled_task_that_waits_never_runs(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    ticket = pusher.push(1)
    assert ticket.cancel() and not ticket.cancel()
    with pytest.raises(zmqkit.CallCancelled) as raised:
        ticket.result(BOUND_S)
    assert not raised.value.may_have_run and ticket.state == "cancelled"


def test_the_handler_of_a_cancelled_task_is_told(blocking: Kit) -> None:
    begun, seen = threading.Event(), threading.Event()

    def long(body: object) -> None:
        task = zmqkit.current_task()
        begun.set()
        until(lambda: task.cancelled)
        seen.set()

    blocking.working(long)
    ticket = blocking.pusher().push(1)
    assert begun.wait(BOUND_S)
    assert ticket.cancel()
    with pytest.raises(zmqkit.CallCancelled) as raised:
        ticket.result(BOUND_S)
    assert raised.value.may_have_run
    assert seen.wait(BOUND_S)


def test_a_worker_hoards_nothing_that_another_could_do(kit: Kit) -> None:
    gate = kit.gate()
    workers = [kit.working(gate.hold, concurrency=1) for _ in range(3)]
    pusher = kit.pusher(count=3)
    tickets = pusher.push_many(range(9))
    gate.came(3)
    assert [row["outstanding"] for row in pusher.instances()] == [1, 1, 1]
    assert [each.state for each in tickets].count("leased") == 3
    gate.open()
    assert sorted(each.result(BOUND_S) for each in tickets) == list(range(9))
    done = [worker.stats()["delivered"] for worker in workers]
    assert sum(done) == 9


def test_pushers_that_meet_at_a_worker_take_turns(kit: Kit) -> None:
    gate = kit.gate()
    worker = kit.working(gate.hold, concurrency=1)
    pushers = [kit.pusher() for _ in range(3)]
    tickets = [pusher.push(number) for number, pusher in enumerate(pushers)]
    gate.came()
    until(lambda: worker.stats()["refused"] >= 2)
    gate.open()
    assert sorted(each.result(BOUND_S) for each in tickets) == [0, 1, 2]
    assert all(each.attempts == 1 for each in tickets)


def test_a_worker_that_closes_hands_back_what_it_did_not_begin(kit: Kit) -> None:
    gate = kit.gate()
    first = kit.working(gate.hold, concurrency=1)
    pusher = kit.pusher()
    tickets = pusher.push_many(range(4))
    gate.came()
    closing = kit.start(first.close, BOUND_S)
    kit.working(double)
    assert [each.result(BOUND_S) for each in tickets[1:]] == [2, 4, 6]
    gate.open()
    assert tickets[0].result(BOUND_S) == 0
    assert closing.result() == 0
    assert all(each.attempts == 1 for each in tickets)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_worker_may_do_a_number_of_tasks(kit: Kit, concurrency: int) -> None:
    worker = kit._kept(kit.worker_class, kit.name, concurrency=concurrency)
    worker.task(double)
    pusher = kit.pusher(count=0)
    tickets = pusher.push_many(range(20))
    worker.work(BOUND_S, tasks_max=7)
    assert worker.close() == 0
    assert worker.stats()["delivered"] == 7
    until(lambda: pusher.stats()["done"] == 7)
    kit.working(double)
    assert [each.result(BOUND_S) for each in tickets] == [2 * n for n in range(20)]
    assert {each.attempts for each in tickets} == {1}


def test_the_last_task_of_a_number_may_be_cancelled(kit: Kit) -> None:
    gate = kit.gate()
    worker = kit._kept(kit.worker_class, kit.name, concurrency=1)
    worker.task(gate.hold)
    working = kit.start(worker.work, BOUND_S, tasks_max=1)
    ticket = kit.pusher().push(1)
    gate.came()
    ticket.cancel()
    until(lambda: gate.requests[0].cancelled)
    gate.open()
    working.result()
    assert worker.stats()["dropped"] == {"cancelled": 1}


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "7", True])
def test_the_number_of_tasks_is_checked(kit: Kit, wrong: object) -> None:
    worker = kit._kept(kit.worker_class, kit.name)
    worker.task(double)
    with pytest.raises(zmqkit.UsageError, match="tasks_max is"):
        worker.work(tasks_max=wrong)


def test_full_is_an_answer(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    core = kit.core(pusher)
    core.ledger._limits = PusherLimits(tasks_max=2, tasks_bytes_max=1 << 20)
    pusher.push(1)
    ticket = pusher.push(2)
    with pytest.raises(zmqkit.QueueFull, match="2 tasks"):
        pusher.push(3, timeout_s=0)
    waiting = kit.start(pusher.push, 3)
    ticket.cancel()
    assert waiting.result().state == "waiting"
    assert pusher.stats()["accepted"] == 3


def test_large_bodies_and_results_travel(kit: Kit) -> None:
    kit.working(lambda body: body + b"!")
    body = bytes(200_000)
    assert kit.pusher().push(body).result(BOUND_S) == body + b"!"


def test_close_says_what_is_left_and_ends_the_waits(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    ticket = pusher.push(1)
    assert pusher.close(0.01) == 1
    with pytest.raises(zmqkit.CallCancelled, match="pusher was closed"):
        ticket.result()
    assert ticket.state == "cancelled"
    with pytest.raises(zmqkit.UsageError, match="is closed"):
        pusher.push(2)


def test_a_wait_for_a_result_ends_with_the_pusher(aio: AsyncKit) -> None:
    pusher = aio.pusher(count=0)
    waiting = aio.start(pusher.push(1).result)
    until(lambda: any(task.waiters for task in aio.core(pusher).ledger.tasks.values()))
    pusher.close(0)
    with pytest.raises(zmqkit.CallCancelled):
        waiting.result()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": 10}, "priority is 10"),
        ({"expires_s": 0}, "expires_s is 0"),
        ({"delay_s": -1}, "delay_s is -1"),
        ({"deliver_at": datetime(2030, 1, 1)}, "zone"),  # noqa: DTZ001 - it is refused
        ({"id": ""}, "id is ''"),
        ({"unique": 7}, "unique is 7"),
        ({"order_by": "a\0b"}, "order_by is"),
    ],
)
def test_a_wrong_option_is_refused(kit: Kit, options: dict[str, Any], said: str) -> None:
    pusher = kit.pusher(count=0)
    with pytest.raises(zmqkit.UsageError, match=said):
        pusher.push(1, **options)
    assert pusher.stats()["accepted"] == 0


def test_an_option_that_there_is_not_is_refused_as_any_argument(kit: Kit) -> None:
    pusher = kit.pusher(count=0)
    with pytest.raises(TypeError, match="prioritty"):
        pusher.push(1, prioritty=3)
    with pytest.raises(TypeError, match="prioritty"):
        pusher.push_many([1], prioritty=3)


@pytest.mark.parametrize("module", ["zmqkit", "zmqkit.asyncio"])
def test_push_shows_its_options_and_the_others_pass_them_on(module: str) -> None:
    pusher = importlib.import_module(module).Pusher
    shown = {
        each.name: each.default
        for each in inspect.signature(pusher.push).parameters.values()
        if each.kind is each.KEYWORD_ONLY and each.name != "timeout_s"
    }
    assert shown.keys() == PushOptions.__annotations__.keys()
    del shown["durable"]
    assert shown == asdict(DEFAULTS)


def test_a_worker_needs_one_handler(kit: Kit) -> None:
    worker = kit._kept(kit.worker_class, kit.name)
    with pytest.raises(zmqkit.UsageError, match="no handler"):
        worker.start()
    for wrong in ({"attempts": 0}, {"backoff_s": -1}):
        with pytest.raises(zmqkit.UsageError):
            worker.task(double, **wrong)

    def many(body: object) -> Any:
        yield body

    with pytest.raises(zmqkit.UsageError, match="generator"):
        worker.task(many)
    worker.task(double)
    with pytest.raises(zmqkit.UsageError, match="handler already"):
        worker.task(double)


def test_there_is_no_task_outside_a_handler() -> None:
    with pytest.raises(zmqkit.UsageError, match="no task here"):
        zmqkit.current_task()
