"""The pusher's core beside real cores of workers: what becomes of tasks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.core.tasks.world import World, discarded, hello, raised, task
from zmqkit.core.calls.answers import refuse
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Append, News, Send
from zmqkit.core.tasks.lease import TASK, Policy, pause_of, policy_of
from zmqkit.core.tasks.task import State, Task
from zmqkit.errors import JournalError, PeerLost, RemoteError
from zmqkit.limits import ATTEMPTS, BACKOFF_S, BACKOFF_S_MAX, LEASE_S, PING_S, PusherLimits
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import REPLY


@pytest.fixture
def world() -> World:
    return World()


def states(tasks: list[Task]) -> list[State]:
    return [each.state for each in tasks]


def test_each_worker_has_as_many_tasks_as_it_can_run(world: World) -> None:
    one, two = world.worker(), world.worker(concurrency=2)
    tasks = world.push(*range(6))
    assert len(one.handed) == 1 and len(two.handed) == 2
    assert states(tasks).count(State.LEASED) == 3
    world.finish(one)
    assert len(one.handed) == 1 and states(tasks).count(State.DONE) == 1


def test_the_next_lease_leaves_with_what_freed_its_place(world: World) -> None:
    """A blocking driver flushes after commands, and a thread that waits gives none."""
    worker = world.worker()
    [_, second] = world.push(1, 2)
    answer = Answer(REPLY, encode(1))
    worker.take(worker.core.handled([(worker.handed.popleft(), answer)], world.now))
    worker.take(worker.core.flush(world.now))
    effects = world.core.receive(worker.peer, worker.to_pusher.popleft(), world.now)
    assert [type(effect) for effect in effects] == [Send]
    assert second.state is State.LEASED


def test_the_handler_gets_the_body_the_number_and_the_attempt(world: World) -> None:
    worker = world.worker()
    [one] = world.push({"path": "cat.png"}, own_id="order-17")
    request = worker.handed[0]
    assert request.args == [{"path": "cat.png"}]
    assert request.headers == {TASK: [one.sequence, 1, "order-17"]}


def test_a_value_settles_the_task_and_ends_the_wait(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    world.core.await_end(one, "waiter", world.now)
    world.finish(worker)
    assert (one.state, one.value) == (State.DONE, 7)
    assert world.outcomes == [("waiter", 7, None)]


def test_a_failed_attempt_waits_longer_each_time(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    for attempt, pause_s in ((1, 1.0), (2, 2.0)):
        assert one.attempt == attempt
        world.finish(worker, raised("no"))
        assert one.state is State.WAITING
        world.pass_(pause_s - 0.01)
        assert not worker.handed
        world.pass_(0.01)
        assert len(worker.handed) == 1
    world.finish(worker, raised("no"))
    assert one.state is State.DEAD and isinstance(one.error, RemoteError)
    assert list(world.core.ledger.dead.values()) == [one]


def test_what_the_handler_declares_counts(world: World) -> None:
    worker = world.worker(attempts=1)
    [one] = world.push(7)
    world.finish(worker, raised("no"))
    assert one.state is State.DEAD


def test_a_worker_that_is_gone_costs_an_attempt(world: World) -> None:
    worker = world.worker()
    [one, two] = world.push(7, 8)
    world.tell(News.GONE, worker)
    world.pass_(30.0)  # it may still have answered
    assert one.state is State.WAITING and one.attempt == 1
    assert "the worker is gone" in one.reasons[0]
    assert two.attempt == 0
    other = world.worker()
    world.pass_(5.0)
    assert len(other.handed) == 1 and one.attempt + two.attempt == 2


@pytest.mark.parametrize(
    ("took_s", "said"),
    [(1.0, "had begun the task"), (60.0, "took longer than task_timeout_s=60")],
)
def test_a_worker_that_died_late_tells_of_the_limit_of_time(
    world: World, took_s: float, said: str
) -> None:
    worker = world.worker()
    worker.core.about[TASK] = {"task_timeout_s": 60.0}
    worker.take(worker.core.receive(b"p", hello(), world.now))
    world.settle()
    [one] = world.push(7)
    world.now += took_s
    world.tell(News.GONE, worker)
    world.pass_(30.0)  # it may still have answered
    assert one.reasons[0].endswith(said)


def test_a_worker_out_of_reach_keeps_its_lease_for_a_while(world: World) -> None:
    worker, other = world.worker(), None
    [one] = world.push(7)
    worker.is_cut = True
    world.tell(News.LOST, worker)
    other = world.worker()
    world.pass_(LEASE_S - 0.1)
    assert one.state is State.LEASED and not other.handed
    world.pass_(1.2)
    assert len(other.handed) == 1 and one.attempt == 2
    assert "out of reach" in one.reasons[0]


def test_a_worker_that_was_given_up_and_returns_is_used_again(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    worker.is_cut = True
    for news in (News.SILENT, News.LOST, News.GONE):
        world.tell(news, worker)
    assert one.state is State.WAITING and one.attempt == 1
    worker.is_cut = False
    world.tell(News.FOUND, worker)
    world.settle()
    world.finish(worker, Answer(REPLY, encode("after all")))
    assert (one.state, one.value) == (State.DONE, "after all")
    world.push(8)
    assert len(worker.handed) == 1


def test_a_worker_that_was_given_up_for_long_is_forgotten(world: World) -> None:
    worker = world.worker()
    world.push(7)
    worker.is_cut = True
    world.tell(News.LOST, worker)
    world.tell(News.GONE, worker)
    world.pass_(LEASE_S + 0.1)
    assert world.core.instances == []


def test_what_a_lost_worker_had_not_begun_costs_no_attempt(world: World) -> None:
    worker = world.worker()
    worker.core.about[TASK] = {"places": 1}
    worker.take(worker.core.receive(b"p", hello(), world.now))
    world.settle()
    world.core._workers.instances.connections.ready[0].credit = 3
    worker.is_cut = True
    tasks = world.push(1, 2, 3)
    assert [each.attempt for each in tasks] == [1, 1, 1]
    world.tell(News.LOST, worker)
    world.tell(News.GONE, worker)
    assert [each.attempt - each.spared for each in tasks] == [1, 0, 0]
    assert [bool(each.reasons) for each in tasks] == [True, False, False]


def test_the_first_result_of_two_workers_counts(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7)
    worker.is_cut = True
    world.tell(News.LOST, worker)
    other = world.worker()
    world.pass_(LEASE_S + 2.0)
    worker.is_cut = False
    world.tell(News.FOUND, worker)
    world.settle()
    world.finish(worker, Answer(REPLY, encode("early")))
    assert (one.state, one.value) == (State.DONE, "early")
    world.finish(other, Answer(REPLY, encode("late")))
    assert one.value == "early" and world.core.stats()["done"] == 1


def test_a_worker_that_returns_is_told_that_its_task_is_over(world: World) -> None:
    worker = world.worker()
    world.push(7)
    worker.is_cut = True
    world.tell(News.LOST, worker)
    other = world.worker()
    world.pass_(LEASE_S + 2.0)
    world.finish(other)
    worker.is_cut = False
    world.tell(News.FOUND, worker)
    world.settle()
    world.pass_(PING_S + 0.1)
    assert worker.handed[0].cancelled


def test_a_lease_that_did_not_arrive_is_sent_again(world: World) -> None:
    worker = world.worker()
    [one] = [task(7)]
    world.core.submit(one, world.now)
    world.perform(world.core.flush(world.now))
    worker.to_worker.clear()
    world.pass_(PING_S + 0.1)
    assert len(worker.handed) == 1 and one.attempt == 1


def test_a_packet_for_which_there_is_no_room_is_sent_again(world: World) -> None:
    worker = world.worker()
    world.core.submit(task(7), world.now)
    [send] = world.core.flush(world.now)
    assert isinstance(send, Send)
    world.core.unsent(send.peer, send.frames, world.now)
    world.pass_(0.1)
    assert len(worker.handed) == 1


def test_a_full_worker_takes_nothing_and_loses_nothing(world: World) -> None:
    worker = world.worker()
    world.core._workers.instances.connections.ready[
        0
    ].credit = 10  # an earlier word of the worker
    tasks = world.push(*range(3))
    assert len(worker.handed) == 1
    assert sorted(each.attempt for each in tasks) == [0, 0, 1]
    for _ in range(3):
        world.finish(worker)
    assert states(tasks) == [State.DONE] * 3


def test_a_worker_whose_word_that_it_has_room_is_lost_is_asked(world: World) -> None:
    """Seed 2049: nobody asked it while it had no task of this pusher, and the rest waited."""
    worker = world.worker()
    share = worker.core._share
    assert share is not None
    share.places = 0  # others have all places
    [one] = world.push(1)
    worker.is_cut = True
    world.pass_(1.5 * PING_S)
    assert one.state is State.WAITING
    share.places, worker.is_cut = 1, False
    world.pass_(PING_S)
    assert len(worker.handed) == 1


def test_a_worker_that_leaves_gets_no_more_tasks(world: World) -> None:
    worker = world.worker()
    tasks = world.push(*range(2))
    worker.take(worker.core.leave())
    world.finish(worker)
    assert not worker.handed and states(tasks) == [State.DONE, State.WAITING]


def test_the_last_word_of_a_worker_hands_back_what_it_had_not_taken(world: World) -> None:
    worker = world.worker()
    one, two = task(7), task(8)
    world.core.submit(one, world.now)
    world.settle()
    world.core._workers.instances.connections.ready[0].credit = 10
    world.core.submit(two, world.now)
    world.perform(world.core.flush(world.now))
    worker.to_worker.clear()
    worker.take(worker.core.close())
    world.settle()
    assert one.state is State.WAITING and one.reasons and one.attempt == 1
    assert two.state is State.WAITING and not two.reasons and two.attempt == 0


def test_a_result_that_cannot_be_read_fails_its_task_alone(world: World) -> None:
    worker = world.worker(concurrency=2)
    tasks = world.push(7, 8)
    world.finish(worker, Answer(REPLY, b"\xc1"))
    world.finish(worker)
    assert sorted(each.value for each in states(tasks)) == ["done", "failed"]
    assert world.core.stats()["malformed"]["reply"] == 1
    assert any(isinstance(each.error, PeerLost) for each in tasks)


def test_an_expired_lease_ends_the_task(world: World) -> None:
    worker = world.worker()
    [one] = world.push(7, expires_at=world.now + 60.0)
    world.finish(worker, refuse("expired"))
    assert one.state is State.EXPIRED


def test_closing_cancels_what_is_left(world: World) -> None:
    worker = world.worker()
    tasks = world.push(*range(3))
    world.core.await_end(tasks[2], "waiter", world.now)
    world.perform(world.core.close())
    assert states(tasks) == [State.CANCELLED] * 3
    assert [waiter for waiter, _, _ in world.outcomes] == ["waiter"]
    worker.take(worker.core.receive(b"p", worker.to_worker.popleft(), world.now))
    assert worker.handed[0].cancelled


@pytest.mark.parametrize("ends", ["waiting", "leased", "done"])
def test_a_task_that_the_disk_refused_says_whether_it_may_have_run(
    world: World, ends: str
) -> None:
    world.core.recover([], 0, 1, world.now)
    worker = world.worker() if ends != "waiting" else None
    one = task(7)
    world.core.submit_safely(one, "waiter", world.now)
    appends = [each for each in world.core.flush(world.now) if isinstance(each, Append)]
    world.core._workers.leases.fill(world.now)
    world.settle()
    if worker is not None and ends == "done":
        world.core._workers.instances.connections.check()
        world.pass_(PING_S + 0.1)  # what the flush above sent is sent again
        world.finish(worker)
    error = JournalError("the disk is full", may_retry=True)
    world.perform(world.core.unwritten(appends[0].number, error, world.now))
    [(_, there, raised_error)] = world.outcomes
    assert there is one
    if ends == "done":
        assert raised_error is None and one.state is State.DONE
    else:
        assert isinstance(raised_error, JournalError) and one.state is State.DROPPED
        assert raised_error.may_have_run is (ends == "leased")
    world.core.check()


@pytest.mark.parametrize(
    ("declared", "policy"),
    [
        (None, Policy(ATTEMPTS, BACKOFF_S)),
        ({}, Policy(ATTEMPTS, BACKOFF_S)),
        ({"attempts": 5, "backoff_s": 2}, Policy(5, 2.0)),
        ({"places": 2, "task_timeout_s": 60}, Policy(ATTEMPTS, BACKOFF_S, 2, 60.0)),
        ({"places": 0, "task_timeout_s": 0}, Policy(ATTEMPTS, BACKOFF_S)),
        ({"attempts": 0, "backoff_s": -1}, Policy(ATTEMPTS, BACKOFF_S)),
        ({"attempts": 1 << 70, "backoff_s": "soon"}, Policy(ATTEMPTS, BACKOFF_S)),
    ],
)
def test_a_worker_declares_what_it_may(declared: object, policy: Policy) -> None:
    assert policy_of(declared) == policy


def test_pauses_are_bounded() -> None:
    assert Policy(3, 1.0).pause_s(1, 1.5) == 1.5
    assert Policy(3, 1.0).pause_s(1000, 1.0) == BACKOFF_S_MAX
    assert pause_of("2.5") == 2.5
    assert [pause_of(text) for text in ("", "nan", "-1", "1e9", "x")] == [None] * 5


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_task_is_settled_once(seed: int) -> None:
    """Workers come, go, hang, are cut off and return; every task ends, and none is lost."""
    choose = random.Random(seed)
    world = World(replace(PusherLimits(), outcomes_max=1000))
    tasks: list[Task] = []
    ends: dict[int, State] = {}
    for _ in range(150):
        workers = [each for each in world.workers.values() if not each.is_cut]
        step = choose.randrange(10)
        if step < 3:
            delay_s = choose.choice([0.0, 0.0, 3.0])
            tasks += world.push(
                choose.randrange(100),
                priority=choose.randrange(10),
                due_at=world.now + delay_s,
                expires_at=world.now + choose.choice([1e9, 1e9, 20.0]),
            )
        elif step < 4 and len(world.workers) < 5:
            world.worker(choose.randrange(1, 4), choose.randrange(1, 4))
        elif step < 7 and any(each.handed for each in workers):
            worker = choose.choice([each for each in workers if each.handed])
            ways = [None, None, raised("no"), discarded(), Answer(REPLY, b"\xc1")]
            world.finish(worker, choose.choice(ways))
        elif step == 7 and workers:
            worker = choose.choice(workers)
            worker.is_cut = True
            world.tell(choose.choice([News.LOST, News.GONE]), worker)
            world.settle()
        elif step == 8:
            for worker in world.workers.values():
                if worker.is_cut and choose.random() < 0.5:
                    worker.is_cut = False
                    world.tell(News.FOUND, worker)
            world.settle()
        elif step == 9:
            world.pass_(choose.choice([0.1, 2.0, LEASE_S]))
        for each in tasks:
            if each.is_over and each.state is not State.DEAD:
                assert ends.setdefault(each.sequence, each.state) is each.state
    for worker in world.workers.values():
        if worker.is_cut:
            worker.is_cut = False
            world.tell(News.FOUND, worker)
    world.worker(4, 1)
    for _ in range(1000):
        world.pass_(2.0)
        for worker in world.workers.values():
            if worker.handed:
                world.finish(worker)
        if not world.core.in_flight:
            break
    assert not world.core.in_flight
    assert world.core.stats()["accepted"] == len(tasks)
