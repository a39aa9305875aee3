"""Leases that outlive the process that gave them out."""

from __future__ import annotations

import pytest

from tests.core.tasks.street import Node, Street
from tests.core.tasks.world import raised
from zmqkit.core.effects import News
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import State, Task
from zmqkit.limits import LEASE_S, TURN_S, PusherLimits
from zmqkit.wire.packet import REPLY

JOURNAL = 77 << 32


@pytest.fixture
def street() -> Street:
    return Street()


def queue_of(node: Node) -> PusherCore:
    core = node.core
    return core.tasks if isinstance(core, StreamerCore) else core  # type: ignore[return-value]


def stats(node: Node) -> dict[str, int]:
    """The states of the tasks of a streamer or a pusher, but for those that no task is in."""
    found = queue_of(node).ledger.counts
    return {state.value: count for state, count in found.items() if count}


def only(node: Node) -> Task:
    [task] = queue_of(node).ledger.tasks.values()
    return task


def test_a_task_runs_once_though_its_pusher_is_restarted_meanwhile(street: Street) -> None:
    worker, other = street.worker(), street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    pusher = street.restart(pusher)
    assert stats(pusher) == {"leased": 1}
    [at] = [each for each in (worker, other) if each.handed]
    street.pass_(2 * LEASE_S)
    assert street.work(at) == ["a"] and not other.handed and not worker.handed
    task = only(pusher)
    assert (task.state, task.value, task.attempt) == (State.DONE, "a", 1)


def test_a_result_that_nobody_took_is_taken_after_the_restart(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.kill(pusher)
    assert street.work(worker) == ["a"]
    pusher = street.pusher(JOURNAL, pusher.file)
    assert (only(pusher).value, worker.handed) == ("a", type(worker.handed)())


def test_a_result_is_asked_for_again_that_is_lost_on_its_way(street: Street) -> None:
    """Seed 7261: one pong that does not name a lease proves nothing, as links drop packets."""
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.kill(pusher)
    assert street.work(worker) == ["a"]
    street.loses = [REPLY, REPLY]
    pusher = street.pusher(JOURNAL, pusher.file)
    street.pass_(0.1)
    assert not street.loses and not worker.handed
    assert (only(pusher).value, only(pusher).attempt) == ("a", 1)


def test_an_attempt_that_failed_meanwhile_counts(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.kill(pusher)
    street.finish(worker, raised("no"))
    pusher = street.pusher(JOURNAL, pusher.file)
    assert (only(pusher).state, only(pusher).failures) == (State.WAITING, 1)
    street.pass_(2.0)
    assert street.work(worker) == ["a"]
    assert (only(pusher).state, only(pusher).attempt) == (State.DONE, 2)


def test_what_no_worker_had_is_given_out_at_once(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a", "b")
    street.kill(pusher)
    street.kill(worker)
    other = street.worker()
    pusher = street.pusher(JOURNAL, pusher.file)
    assert street.work(other) == ["b"]
    street.pass_(LEASE_S - 1.0)
    assert stats(pusher) == {"leased": 1, "done": 1}
    street.pass_(1.1)
    assert street.work(other) == ["a"]
    assert stats(pusher) == {"done": 2}


def test_a_worker_that_nobody_finds_again_costs_no_attempt(street: Street) -> None:
    worker = street.worker(attempts=1)
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.kill(pusher)
    street.kill(worker)
    for _ in range(5):
        pusher = street.restart(pusher)
        assert only(pusher).state is State.LEASED
    street.pass_(LEASE_S + 0.1)
    assert (only(pusher).state, only(pusher).failures) == (State.WAITING, 0)
    assert stats(pusher) == {"waiting": 1}
    queue_of(pusher).check()


def test_a_task_whose_answer_was_read_and_not_written_runs_again(street: Street) -> None:
    """The worker knows that the lease is settled, so it neither answers nor names it."""
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.writes = False
    street.finish(worker)
    street.push(pusher, "b")  # a packet that says that the first lease is settled
    assert stats(pusher) == {"done": 1, "leased": 1}
    street.kill(pusher)
    street.writes = True
    street.work(worker)
    pusher = street.pusher(JOURNAL, pusher.file)
    street.pass_(0.1)
    assert street.work(worker) == ["a"]
    assert stats(pusher) == {"done": 1}


def test_a_lease_that_the_disk_does_not_know_of_is_taken_back(street: Street) -> None:
    """It was given out in the moment before the crash: its worker is told to stop."""
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.writes = False
    worker = street.worker()
    assert len(worker.handed) == 1 and not pusher.file.held  # type: ignore[union-attr]
    pusher = street.restart(pusher)
    street.writes = True
    street.pass_(2.0)
    assert worker.handed[0].cancelled and not worker.handed[0].overdue
    assert street.work(worker) == ["a", "a"]
    assert stats(pusher) == {"done": 1}


def test_a_lease_joins_the_next_commit_and_asks_for_one(street: Street) -> None:
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    worker = street.worker()
    assert pusher.file is not None
    [held] = pusher.file.held.values()
    assert (held.worker, len(held.leases)) == (worker.incarnation, 1)
    street.work(worker)
    assert not pusher.file.held


def test_a_pusher_that_closed_leaves_no_lease(street: Street) -> None:
    street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    street.perform(pusher, queue_of(pusher).close())
    street.write(pusher)
    assert pusher.file is not None and not pusher.file.held


def test_a_task_may_be_cancelled_before_its_worker_is_found(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    worker.is_cut = True
    pusher = street.restart(pusher)
    street.perform(pusher, queue_of(pusher).cancel(only(pusher), street.now))
    street.settle()
    assert stats(pusher) == {"cancelled": 1}
    worker.is_cut = False
    street.pass_(5.0)
    assert worker.handed[0].cancelled
    street.work(worker)
    assert stats(pusher) == {"cancelled": 1}


def test_the_first_result_counts_of_a_worker_that_comes_late(street: Street) -> None:
    worker, other = street.worker(), street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a")
    late, early = (worker, other) if worker.handed else (other, worker)
    late.is_cut = True
    pusher = street.restart(pusher)
    street.tell(pusher, late, News.LOST)
    street.pass_(LEASE_S + 1.0)
    assert len(early.handed) == 1
    late.is_cut = False
    street.tell(pusher, late, News.FOUND)
    street.settle()
    assert street.work(late) == ["a"]
    assert stats(pusher) == {"done": 1} and early.handed[0].cancelled


def test_the_tasks_of_a_key_wait_for_the_one_at_work(street: Street) -> None:
    worker = street.worker(concurrency=2)
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a", "b", order_by="k")
    pusher = street.restart(pusher)
    assert len(worker.handed) == 1
    assert street.work(worker) == ["a", "b"]
    assert stats(pusher) == {"done": 2}


def test_plain_tasks_at_work_are_in_memory_and_the_others_on_disk(street: Street) -> None:
    street.limits = PusherLimits(window_tasks=4, choice_s=0)
    street.worker(concurrency=2)
    pusher = street.pusher(JOURNAL)
    street.push(pusher, *range(10))
    pusher = street.restart(pusher)
    assert stats(pusher) == {"leased": 2, "waiting": 8}
    queue_of(pusher).check()


def test_the_pusher_of_a_streamer_that_is_restarted_gets_the_result(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    worker = street.worker()
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, "a")
    streamer = street.restart(streamer)
    street.pass_(TURN_S + 0.1)
    assert street.work(worker) == ["a"]
    assert (task.state, task.value, stats(streamer)) == (State.DONE, "a", {"done": 1})


def test_a_sink_accepts_a_result_that_it_had_before_the_restart(street: Street) -> None:
    streamer = street.streamer(JOURNAL)
    worker, sink = street.worker(), street.sink()
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, "a", to_sink=True)
    street.work(worker)
    assert len(sink.handed) == 1
    streamer = street.restart(streamer)
    street.pass_(TURN_S + 0.1)
    assert street.work(sink) == ["a"]
    assert (task.state, stats(streamer)) == (State.DONE, {"done": 1})


def test_a_worker_that_dialled_keeps_its_task(street: Street) -> None:
    street.answers = streamer = street.streamer(JOURNAL)
    worker = street.dialling()
    pusher = street.pusher()
    street.pass_(TURN_S + 0.1)
    [task] = street.push(pusher, "a")
    assert len(worker.handed) == 1
    street.answers = None
    street.kill(streamer)
    street.answers = street.streamer(JOURNAL, streamer.file)
    street.pass_(5.0)
    assert street.work(worker) == ["a"]
    assert (task.state, task.value) == (State.DONE, "a")


def test_a_second_restart_finds_the_same_lease(street: Street) -> None:
    worker = street.worker()
    pusher = street.pusher(JOURNAL)
    street.push(pusher, "a", "b")
    for _ in range(3):
        pusher = street.restart(pusher)
    assert street.work(worker) == ["a", "b"]
    assert stats(pusher) == {"done": 2}
