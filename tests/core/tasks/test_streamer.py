"""A streamer between pushers and workers."""

from __future__ import annotations

import pytest

from tests.core.tasks.street import Node, Street
from tests.core.tasks.world import discarded, raised
from zmqkit.core.effects import News, Send
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import State, Task
from zmqkit.errors import CallTimeout, JournalError, RemoteError
from zmqkit.limits import TURN_S, PusherLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.rows import read_errors, request_columns

JOURNAL = 77 << 32


@pytest.fixture
def street() -> Street:
    return Street()


def states(tasks: list[Task]) -> list[str]:
    return [each.state.value for each in tasks]


def values(tasks: list[Task]) -> list[object]:
    return [each.value for each in tasks]


def streamer_of(node: Node) -> StreamerCore:
    assert isinstance(node.core, StreamerCore)
    return node.core


def pusher_of(node: Node) -> PusherCore:
    assert isinstance(node.core, PusherCore)
    return node.core


def test_a_task_goes_to_a_worker_and_its_result_comes_back(street: Street) -> None:
    street.streamer()
    pusher = street.pusher()
    worker = street.worker()
    street.pass_(TURN_S + 0.1)
    tasks = street.push(pusher, "a", {"b": [1, None]}, 3)
    assert street.work(worker) == ["a", {"b": [1, None]}, 3]
    assert states(tasks) == ["done"] * 3
    assert values(tasks) == ["a", {"b": [1, None]}, 3]


def test_tasks_of_many_pushers_share_workers(street: Street) -> None:
    streamer = street.streamer()
    pushers = [street.pusher() for _ in range(3)]
    worker = street.worker(concurrency=2)
    street.pass_(TURN_S + 0.1)
    tasks = [task for each in pushers for task in street.push(each, *range(4))]
    assert streamer_of(streamer).stats()["accepted"] == 12
    assert len(street.work(worker)) == 12
    assert states(tasks) == ["done"] * 12
    assert streamer_of(streamer).stats()["done"] == 12


def test_a_pusher_turns_to_a_streamer_a_second_after_it_came(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    streamer = street.streamer()
    first = street.push(pusher, 1, 2)
    assert streamer_of(streamer).stats()["accepted"] == 0
    street.pass_(TURN_S + 0.1)
    # The one that the worker has stays with it; the other one is handed on.
    assert streamer_of(streamer).stats()["accepted"] == 1
    second = street.push(pusher, 3)
    assert street.work(worker) == [1, 2, 3]
    assert states(first + second) == ["done"] * 3
    assert streamer_of(streamer).stats()["done"] == 2


def test_a_new_pusher_turns_to_a_streamer_at_once(street: Street) -> None:
    street.worker()
    pusher = street.pusher()
    streamer = street.streamer()
    street.push(pusher, 1, 2)
    assert streamer_of(streamer).stats()["accepted"] == 2


def test_tasks_come_back_from_a_streamer_that_died(street: Street) -> None:
    streamer = street.streamer()
    pusher = street.pusher()
    tasks = street.push(pusher, 1, 2)
    assert streamer_of(streamer).stats()["accepted"] == 2
    street.kill(streamer)
    worker = street.worker()
    assert not worker.handed, "workers are passed over for a second"
    street.pass_(TURN_S + 0.1)
    street.pass_(street.limits.lease_s + 1)
    assert street.work(worker) == [1, 2]
    assert states(tasks) == ["done"] * 2


def test_another_streamer_takes_over(street: Street) -> None:
    first, second = street.streamer(), street.streamer()
    pusher = street.pusher()
    tasks = street.push(pusher, *range(4))
    accepted = [streamer_of(each).stats()["accepted"] for each in (first, second)]
    assert accepted == [2, 2]
    street.kill(first)
    street.pass_(street.limits.lease_s + 1)
    worker = street.worker()
    assert sorted(street.work(worker), key=str) == [0, 1, 2, 3]
    assert states(tasks) == ["done"] * 4


def test_streamers_do_not_use_each_other(street: Street) -> None:
    first, second = street.streamer(), street.streamer()
    pusher = street.pusher()
    street.push(pusher, *range(10))
    accepted = [streamer_of(each).stats()["accepted"] for each in (first, second)]
    assert accepted == [5, 5]


def test_a_failure_says_why(street: Street) -> None:
    street.streamer()
    pusher = street.pusher()
    worker = street.worker(attempts=2)
    street.pass_(TURN_S + 0.1)
    [dead, failed] = street.push(pusher, 1, 2)
    street.finish(worker, raised("no"))
    street.finish(worker, discarded())
    street.pass_(5)
    street.finish(worker, raised("not again"))
    assert states([dead, failed]) == ["dead", "failed"]
    assert isinstance(dead.error, RemoteError) and dead.error.message == "not again"
    assert isinstance(failed.error, RemoteError) and failed.error.message == "never"


def test_a_cancelled_task_does_not_run(street: Street) -> None:
    streamer = street.streamer()
    pusher = street.pusher()
    tasks = street.push(pusher, 1, 2)
    street.perform(pusher, pusher_of(pusher).cancel(tasks[0], street.now))
    worker = street.worker()
    assert street.work(worker) == [2]
    assert states(tasks) == ["cancelled", "done"]
    assert streamer_of(streamer).stats()["cancelled"] == 1


def test_a_task_that_expires_is_not_run(street: Street) -> None:
    street.streamer()
    pusher = street.pusher()
    [task] = street.push(pusher, 1, expires_at=street.now + 1)
    street.pass_(2)
    worker = street.worker()
    assert not worker.handed
    assert isinstance(task.error, CallTimeout)


def test_delays_and_keys_are_kept_by_the_streamer(street: Street) -> None:
    streamer = street.streamer()
    pusher = street.pusher()
    tasks = street.push(pusher, 1, 2, order_by="account")
    tasks += street.push(pusher, 3, due_at=street.now + 5)
    assert streamer_of(streamer).stats()["accepted"] == 3
    worker = street.worker(concurrency=3)
    assert [each.args[0] for each in worker.handed] == [1]
    assert street.work(worker) == [1, 2]
    street.pass_(6)
    assert street.work(worker) == [3]
    assert states(tasks) == ["done"] * 3


def test_what_was_delayed_waits_here_again_once_the_streamer_is_gone(street: Street) -> None:
    streamer = street.streamer()
    pusher = street.pusher()
    worker = street.worker(concurrency=2)
    tasks = street.push(pusher, 1, due_at=street.now + 60)
    tasks += street.push(pusher, 2, 3, order_by="account")
    street.kill(streamer)
    worker.handed.clear()
    street.kill(worker)
    worker = street.worker(concurrency=2)
    street.pass_(street.limits.lease_s + TURN_S + 1)
    assert [each.args[0] for each in worker.handed] == [2]
    assert street.work(worker) == [2, 3]
    street.pass_(60)
    assert street.work(worker) == [1]
    assert states(tasks) == ["done"] * 3


def test_priority_holds_among_pushers(street: Street) -> None:
    street.streamer()
    low, high = street.pusher(), street.pusher()
    street.push(low, *range(3), priority=1)
    street.push(high, "first", priority=9)
    worker = street.worker()
    assert street.work(worker) == ["first", 0, 1, 2]


def test_an_id_is_one_task_among_pushers(street: Street) -> None:
    streamer = street.streamer()
    one, other = street.pusher(), street.pusher()
    tasks = street.push(one, 1, own_id="order-17") + street.push(other, 1, own_id="order-17")
    worker = street.worker()
    assert street.work(worker) == [1]
    assert states(tasks) == ["done"] * 2
    assert streamer_of(streamer).stats()["accepted"] == 1
    assert street.push(street.pusher(), 2, own_id="order-17")[0].value == 1


def test_a_task_that_two_wait_for_is_cancelled_by_both(street: Street) -> None:
    streamer = street.streamer()
    one, other = street.pusher(), street.pusher()
    [first] = street.push(one, 1, own_id="order-17")
    [second] = street.push(other, 1, own_id="order-17")
    street.perform(one, pusher_of(one).cancel(first, street.now))
    street.settle()
    assert streamer_of(streamer).stats()["cancelled"] == 0
    street.perform(other, pusher_of(other).cancel(second, street.now))
    street.settle()
    assert streamer_of(streamer).stats()["cancelled"] == 1


def test_a_full_streamer_loses_nothing() -> None:
    street = Street(PusherLimits(tasks_max=10))
    streamer = street.streamer()
    pushers = [street.pusher() for _ in range(3)]
    tasks = [task for each in pushers for task in street.push(each, *range(8))]
    assert streamer_of(streamer).stats()["accepted"] == 10
    worker = street.worker()
    done: list[object] = []
    for _ in range(30):
        done += street.work(worker)
        street.pass_(1)
    assert len(done) == 24
    assert states(tasks) == ["done"] * 24


def test_a_streamer_that_leaves_hands_back_what_waits(street: Street) -> None:
    streamer = street.streamer()
    pusher = street.pusher()
    worker = street.worker()
    street.pass_(TURN_S + 0.1)
    tasks = street.push(pusher, 1, 2, 3)
    core = streamer_of(streamer)
    street.perform(streamer, core.leave(street.now))
    street.settle()
    assert core.in_flight == 1 and core.left == 1
    street.finish(worker)
    street.perform(streamer, core.close())
    street.settle()
    street.kill(streamer)
    street.pass_(TURN_S + 0.1)
    assert street.work(worker) == [2, 3]
    assert states(tasks) == ["done"] * 3


def test_an_accepted_task_is_on_disk_first(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    street.writes = False
    pusher = street.pusher()
    [task] = street.push(pusher, "body")
    assert not task.journal and task.row
    street.write(streamer)
    assert task.journal == JOURNAL and not task.row
    assert task.state is State.LEASED


def test_a_task_that_the_disk_refused_stays_with_its_pusher(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    street.writes = False
    pusher = street.pusher()
    [task] = street.push(pusher, "body")
    street.write(streamer, JournalError("the disk is full", may_retry=True))
    assert task.state is State.WAITING and task.row
    street.writes = True
    street.pass_(5)
    assert task.journal == JOURNAL
    worker = street.worker()
    assert street.work(worker) == ["body"]
    assert task.value == "body"


def test_what_a_dead_streamer_has_on_disk_waits_for_its_return(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    pusher = street.pusher()
    tasks = street.push(pusher, 1, 2)
    left = [
        each for each in streamer_of(streamer).tasks.ledger.tasks.values() if not each.is_over
    ]
    street.kill(streamer)
    street.worker()
    street.pass_(60)
    assert states(tasks) == ["leased"] * 2, "no worker got them"
    core = StreamerCore("thumbnails", 999 << 32, lambda: 1.0, journal=JOURNAL)
    again = [_restored(each) for each in left]
    core.tasks.recover(again, 2, 2, street.now)
    street._add(core)
    street.pass_(3)
    [worker] = [each for each in street.nodes if each.handed]
    assert street.work(worker) == [1, 2]
    assert states(tasks) == ["done"] * 2


def test_a_streamer_that_forgot_says_so(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    pusher = street.pusher()
    [task] = street.push(pusher, 1)
    street.kill(streamer)
    street.streamer(JOURNAL)
    street.pass_(3)
    assert task.state is State.FAILED
    assert task.error is not None and "no longer knows" in str(task.error)


def test_a_pusher_that_closes_leaves_its_tasks_with_the_streamer(street: Street) -> None:
    streamer = street.streamer()
    pusher = street.pusher()
    [task] = street.push(pusher, 1)
    street.close(pusher)
    assert task.state is State.LEASED and task.error is None
    worker = street.worker()
    assert street.work(worker) == [1]
    assert streamer_of(streamer).stats()["done"] == 1


def test_results_go_to_a_sink(street: Street) -> None:
    pusher = street.pusher()
    worker = street.worker()
    tasks = street.push(pusher, "a", "b", to_sink=True)
    assert street.work(worker) == ["a", "b"]
    assert states(tasks) == ["waiting"] * 2
    sink = street.sink()
    assert street.work(sink) == ["a", "b"]
    assert states(tasks) == ["done"] * 2
    assert values(tasks) == [None] * 2


def test_results_go_to_a_sink_of_the_streamer(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    pusher = street.pusher()
    worker, sink = street.worker(), street.sink()
    tasks = street.push(pusher, {"a": 1}, to_sink=True)
    street.close(pusher)
    assert street.work(worker) == [{"a": 1}]
    assert street.work(sink) == [{"a": 1}]
    assert streamer_of(streamer).stats()["done"] == 1
    assert states(tasks) == ["leased"], "its pusher left, and does not know"


def test_a_result_whose_sink_died_goes_to_another(street: Street) -> None:
    pusher = street.pusher()
    worker, sink = street.worker(), street.sink()
    tasks = street.push(pusher, 1, to_sink=True)
    street.work(worker)
    assert sink.handed
    street.kill(sink)
    other = street.sink()
    street.pass_(street.limits.lease_s + 1)
    assert street.work(other) == [1]
    assert states(tasks) == ["done"]


def test_a_late_worker_does_not_accept_the_result_for_the_sink(street: Street) -> None:
    pusher = street.pusher()
    slow = street.worker()
    [task] = street.push(pusher, 1, to_sink=True)
    street.tell(pusher, slow, News.LOST)
    street.settle()
    street.pass_(street.limits.lease_s + 3)
    quick = street.worker()
    street.pass_(3)
    assert street.work(quick) == [1]
    assert task.is_result and task.state is State.WAITING
    street.tell(pusher, slow, News.FOUND)
    street.settle()
    street.work(slow)
    assert task.state is State.WAITING
    assert street.work(street.sink()) == [1]


def test_a_result_that_nobody_wants_can_be_cancelled(street: Street) -> None:
    pusher = street.pusher()
    worker, sink = street.worker(), street.sink()
    [task] = street.push(pusher, 1, to_sink=True)
    street.work(worker)
    street.perform(pusher, pusher_of(pusher).cancel(task, street.now))
    street.settle()
    assert task.state is State.CANCELLED
    assert sink.handed[0].cancelled


def test_two_streamers_that_say_the_same_journal_are_asked_one_after_the_other(
    street: Street,
) -> None:
    """Only one of them can have the file; the last to say so is asked."""
    first = street.streamer(JOURNAL)
    pusher = street.pusher()
    tasks = street.push(pusher, 1, 2)
    assert [each.journal for each in tasks] == [JOURNAL] * 2
    street.streamer(JOURNAL)
    street.pass_(3)
    assert states(tasks) == ["failed"] * 2
    assert "no longer knows" in str(tasks[0].error)
    street.kill(first)
    worker = street.worker()
    street.push(pusher, 3)
    street.pass_(TURN_S + 1)
    assert 3 in street.work(worker)


def test_a_worker_that_is_no_streamer_accepts_nothing(street: Street) -> None:
    worker, pusher = street.worker(), street.pusher()
    [task] = street.push(pusher, "body")
    own = worker.incarnation
    for numbers in ([task.receipt], [0], [task.receipt, 2**60], "x"):
        frames = wire.pack(wire.ACCEPT, own, pusher.incarnation, 0, encode(numbers))
        peer = own.to_bytes(8, "big")
        street.perform(pusher, pusher.core.receive(peer, frames, street.now))
    assert not task.journal and task.row
    assert street.work(worker) == ["body"] and task.state is State.DONE


@pytest.mark.parametrize(
    "push",
    [None, 5, ["t"], ["", None, None, 0, False, False], ["t", None, None, -1, False, False]],
)
def test_a_task_without_a_right_header_is_refused_alone(street: Street, push: object) -> None:
    streamer, worker = street.streamer(), street.worker()
    street.pass_(TURN_S + 0.1)
    good = ["good", None, None, 0, False, False]
    rows = [encode([{"task": [1, 1, None], "push": each}, [n], {}])
            for n, each in enumerate([good, push])]  # fmt: skip
    columns = request_columns([1, 2], [9000] * 2, ["task"] * 2, [4] * 2, rows)
    frames = wire.pack(wire.REQUEST, 5, streamer.incarnation, 0, columns, b"".join(rows))
    effects = streamer_of(streamer).receive(b"p", frames, street.now)
    effects += streamer_of(streamer).flush(street.now)
    street.perform(streamer, effects)
    street.settle()
    assert street.work(worker) == [0]
    [answer] = [
        wire.unpack(e.frames) for e in effects if isinstance(e, Send) and e.peer == b"p"
    ]
    assert [row[:2] for row in read_errors(answer)] == [(2, "bad-arguments")]
    assert streamer_of(streamer).stats()["accepted"] == 1


def _restored(task: Task) -> Task:
    again = Task(task.row, task.raw, task.priority)
    again.sequence, again.own_id = task.sequence, task.own_id
    return again
