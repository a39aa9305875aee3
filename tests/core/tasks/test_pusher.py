"""The pusher's core beside real cores of workers: what becomes of tasks."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace

import pytest

from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, Handle, News, Send, Settle, Tell
from zmqkit.core.tasks.lease import TASK, Policy, pause_of, policy_of
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.task import State, Task
from zmqkit.errors import PeerLost, RemoteError
from zmqkit.limits import ATTEMPTS, BACKOFF_S, BACKOFF_S_MAX, LEASE_S, PING_S, PusherLimits
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR, REPLY
from zmqkit.wire.rows import request_row

PUSHER = 5 << 32
NAME = "thumbnails"


@dataclass(eq=False)
class Worker:
    """A worker and the connection to it."""

    number: int
    concurrency: int = 1
    attempts: int = 3
    handed: deque[Request] = field(default_factory=deque)
    to_worker: deque[Frames] = field(default_factory=deque)
    to_pusher: deque[Frames] = field(default_factory=deque)
    is_cut: bool = False
    begun: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.incarnation = (100 + self.number) << 32
        self.peer = self.incarnation.to_bytes(8, "big")
        self.core = ServiceCore(self.incarnation, {TASK: False}, self.concurrency, shares=Share)
        self.core.about[TASK] = {"attempts": self.attempts, "backoff_s": 1.0}

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.to_pusher.append(effect.frames)
            elif isinstance(effect, Handle):
                self.handed.extend(effect.requests)


class World:
    """One pusher and its workers; packets arrive when `settle` is called."""

    def __init__(self, limits: PusherLimits | None = None) -> None:
        self.now = 100.0
        self.core = PusherCore(NAME, PUSHER, lambda: 1.0, limits or PusherLimits())
        self.workers: dict[bytes, Worker] = {}
        self.outcomes: list[tuple[object, object, object]] = []

    def worker(self, concurrency: int = 1, attempts: int = 3) -> Worker:
        worker = Worker(len(self.workers), concurrency, attempts)
        self.workers[worker.peer] = worker
        self.tell(News.FOUND, worker)
        self.settle()
        return worker

    def tell(self, news: News, worker: Worker) -> None:
        endpoint = f"tcp://127.0.0.1:{5000 + worker.number}"
        self.perform(self.core.hear(Tell(news, NAME, worker.incarnation, endpoint), self.now))

    def push(self, *bodies: object, **options: object) -> list[Task]:
        tasks = [task(body, **options) for body in bodies]
        for each in tasks:
            self.core.submit(each, self.now)
        self.settle()
        return tasks

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.workers[effect.peer].to_worker.append(effect.frames)
            elif isinstance(effect, Settle):
                self.outcomes += effect.outcomes

    def settle(self) -> None:
        """Carry packets to and fro until nothing moves; check all cores."""
        for _ in range(1000):
            self.perform(self.core.flush(self.now))
            moved = False
            for worker in self.workers.values():
                moved = self._carry(worker) or moved
            self.core.check()
            if not moved:
                return
        raise AssertionError("it never came to rest")

    def _carry(self, worker: Worker) -> bool:
        if worker.is_cut:
            worker.to_worker.clear()
            worker.to_pusher.clear()
            return False
        moved = bool(worker.to_worker)
        while worker.to_worker:
            frames = worker.to_worker.popleft()
            worker.take(worker.core.receive(b"p", frames, self.now))
        worker.take(worker.core.flush(self.now))
        worker.core.check()
        moved = moved or bool(worker.to_pusher)
        while worker.to_pusher:
            frames = worker.to_pusher.popleft()
            self.perform(self.core.receive(worker.peer, frames, self.now))
        return moved

    def finish(
        self, worker: Worker, answer: Answer | None = None, *, took_s: float = 0.01
    ) -> None:
        """Have a worker finish the task at hand, which took longer than a round trip."""
        self.now += took_s
        request = worker.handed.popleft()
        made = answer or Answer(REPLY, encode(request.args[0]))
        worker.take(worker.core.handled([(request, made)], self.now))
        self.settle()

    def pass_(self, seconds: float) -> None:
        """Let time pass, and the cores do what is due."""
        until = self.now + seconds
        while self.core.deadline() <= until:
            self.now = max(self.now, self.core.deadline())
            self.perform(self.core.tick(self.now))
            self.settle()
        self.now = until


def task(body: object, priority: int = 4, **options: object) -> Task:
    made = Task(request_row(TASK, None, (body,), {})[2:], None, priority)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def hello() -> Frames:
    return wire.pack(wire.HELLO, PUSHER, 100 << 32, 0, encode({"name": NAME}))


def raised(text: str) -> Answer:
    return Answer(ERROR, encode(["raised", "ValueError", text, "", True]))


def discarded() -> Answer:
    return Answer(ERROR, encode(["discard", "zmqkit.Discard", "never", "", True]))


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
    world.core._instances.connections.ready[0].credit = 3
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
    world.core._instances.connections.ready[0].credit = 10  # an earlier word of the worker
    tasks = world.push(*range(3))
    assert len(worker.handed) == 1
    assert sorted(each.attempt for each in tasks) == [0, 0, 1]
    for _ in range(3):
        world.finish(worker)
    assert states(tasks) == [State.DONE] * 3


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
    world.core._instances.connections.ready[0].credit = 10
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
    assert world.core.malformed["reply"] == 1
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


@pytest.mark.parametrize(
    ("declared", "policy"),
    [
        (None, Policy(ATTEMPTS, BACKOFF_S)),
        ({}, Policy(ATTEMPTS, BACKOFF_S)),
        ({"attempts": 5, "backoff_s": 2}, Policy(5, 2.0)),
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
