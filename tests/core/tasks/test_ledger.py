"""Where tasks stand, which one is next, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import LIFE, OPEN, Event, State, Task
from zmqkit.errors import CallTimeout, QueueFull, RemoteError
from zmqkit.limits import OLDEST_EVERY, REASONS_MAX, TASK_BYTES, PusherLimits

LIMITS = PusherLimits(
    tasks_max=50, tasks_bytes_max=50 * (TASK_BYTES + 100), dead_max=3, outcomes_max=5
)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(LIMITS)


def task(
    body: bytes = b"x",
    *,
    priority: int = 4,
    due_at: float = 0.0,
    expires_at: float = inf,
    own_id: str | None = None,
    unique: str | None = None,
    order_by: str | None = None,
) -> Task:
    made = Task(body, None, priority)
    made.due_at, made.expires_at = due_at, expires_at
    made.own_id, made.unique, made.order_by = own_id, unique, order_by
    return made


def added(ledger: Ledger, *tasks: Task) -> None:
    for each in tasks:
        ledger.add(each, 0.0)
    ledger.check()


def leased(ledger: Ledger, now: float = 0.0) -> list[Task]:
    """Every task that is ready, in the order in which workers get them."""
    tasks = []
    while (each := ledger.lease(now)) is not None:
        tasks.append(each)
    ledger.check()
    return tasks


def test_each_state_knows_what_follows_and_the_final_ones_are_final() -> None:
    assert LIFE.keys() == set(State)
    assert all(LIFE[state] for state in OPEN)
    for state in set(State) - OPEN - {State.DEAD}:
        assert not LIFE[state]


def test_tasks_of_one_priority_are_leased_in_order(ledger: Ledger) -> None:
    tasks = [task() for _ in range(5)]
    added(ledger, *tasks)
    assert leased(ledger) == tasks
    assert [each.sequence for each in tasks] == [1, 2, 3, 4, 5]
    assert all(each.state is State.LEASED and each.attempt == 1 for each in tasks)


def test_a_higher_priority_is_first(ledger: Ledger) -> None:
    low, high = task(priority=0), task(priority=9)
    added(ledger, low, high)
    assert leased(ledger) == [high, low]


def test_now_and_then_the_task_that_waited_longest_is_next(ledger: Ledger) -> None:
    low = task(priority=0)
    added(ledger, low, *(task(priority=9) for _ in range(2 * OLDEST_EVERY)))
    assert leased(ledger).index(low) == OLDEST_EVERY - 1


def test_a_delayed_task_is_ready_when_it_is_due(ledger: Ledger) -> None:
    late = task(due_at=5.0)
    added(ledger, late)
    assert leased(ledger) == [] and ledger.deadline() == 5.0
    ledger.tick(4.9)
    assert leased(ledger, 4.9) == []
    ledger.tick(5.0)
    assert leased(ledger, 5.0) == [late]


@pytest.mark.parametrize("due_at", [0.0, 9.0])
def test_a_task_whose_time_is_over_never_runs(ledger: Ledger, due_at: float) -> None:
    old = task(expires_at=3.0, due_at=due_at)
    added(ledger, old)
    assert ledger.deadline() == 3.0
    ledger.tick(3.0)
    assert leased(ledger, 3.0) == [] and old.state is State.EXPIRED
    assert ledger.stats()["expired"] == 1


def test_a_task_that_expired_unseen_is_not_leased(ledger: Ledger) -> None:
    old, young = task(expires_at=3.0), task()
    added(ledger, old, young)
    assert leased(ledger, 4.0) == [young] and old.state is State.EXPIRED


def test_a_task_given_back_is_next_and_has_lost_no_attempt(ledger: Ledger) -> None:
    first, second = task(), task()
    added(ledger, first, second)
    assert ledger.lease(0.0) is first
    ledger.release(first, 0.0)
    assert first.attempt == 0
    assert leased(ledger) == [first, second]


def test_tasks_that_are_given_back_keep_their_order(ledger: Ledger) -> None:
    """A worker that was full gave back 30 at once, and they ran in reverse order."""
    tasks = [task() for _ in range(6)]
    added(ledger, *tasks)
    for each in tasks[:4]:
        assert ledger.lease(0.0) is each
    for each in (tasks[1], tasks[3], tasks[0], tasks[2]):
        ledger.release(each, 0.0)
    ledger.check()
    assert ledger.lease(0.0) is tasks[0]
    ledger.release(tasks[0], 0.0)
    ledger.settle(tasks[1], Event.CANCELLED, 0.0)
    assert leased(ledger) == [tasks[0], *tasks[2:]]


def test_results_that_a_sink_gives_back_keep_their_order(ledger: Ledger) -> None:
    tasks = [task() for _ in range(4)]
    added(ledger, *tasks)
    for each in leased(ledger):
        each.to_sink = True
        assert ledger.returned(each, b"result", None, 0.0)
    for each in tasks[:3]:
        assert ledger.lease_result() is each
    for each in tasks[:3]:
        ledger.release(each, 0.0)
    assert [ledger.lease_result() for _ in tasks] == tasks
    ledger.check()


def test_a_failed_attempt_waits_for_the_next_one_and_says_why(ledger: Ledger) -> None:
    one = task()
    added(ledger, one)
    for number in range(REASONS_MAX + 2):
        assert ledger.lease(10.0 * number) is one
        ledger.retry(one, f"reason {number}", 2.0, 10.0 * number)
        assert ledger.lease(10.0 * number) is None
        ledger.tick(10.0 * number + 2.0)
    assert len(one.reasons) == REASONS_MAX and one.reasons[-1] == f"reason {REASONS_MAX + 1}"
    assert one.attempt == REASONS_MAX + 2


def test_a_retried_task_can_still_expire(ledger: Ledger) -> None:
    one = task(expires_at=3.0)
    added(ledger, one)
    assert ledger.lease(0.0) is one
    ledger.tick(1.0)
    ledger.retry(one, "no", 10.0, 1.0)
    ledger.tick(3.0)
    assert one.state is State.EXPIRED
    assert one.error is not None and one.error.may_have_run


def test_a_task_that_expired_at_its_worker_has_not_run(ledger: Ledger) -> None:
    one = task(expires_at=3.0)
    added(ledger, one)
    assert ledger.lease(0.0) is one
    ledger.expire(one, 3.0)
    assert one.error is not None and not one.error.may_have_run


def test_the_first_settlement_wins(ledger: Ledger) -> None:
    one = task()
    added(ledger, one)
    assert ledger.lease(0.0) is one
    assert ledger.settle(one, Event.DONE, 1.0, value=7)
    assert not ledger.settle(one, Event.FAILED, 2.0, error=CallTimeout("late"))
    assert (one.state, one.value, one.error, one.settled_at) == (State.DONE, 7, None, 1.0)


def test_a_worker_that_was_given_up_may_finish_a_task_that_waits_again(ledger: Ledger) -> None:
    one = task()
    added(ledger, one)
    assert ledger.lease(0.0) is one
    ledger.retry(one, "out of reach", 60.0, 0.0)
    assert ledger.settle(one, Event.DONE, 1.0, value=7)
    ledger.tick(61.0)
    assert leased(ledger, 61.0) == []


def test_dead_tasks_are_kept_until_they_are_requeued(ledger: Ledger) -> None:
    one = task(expires_at=9.0)
    added(ledger, one)
    assert ledger.lease(0.0) is one
    ledger.settle(one, Event.EXHAUSTED, 1.0, error=CallTimeout("again"))
    assert list(ledger.dead.values()) == [one] and one.reasons == ("again",)
    assert ledger.requeue(one, 20.0) and not ledger.requeue(one, 20.0)
    assert leased(ledger, 20.0) == [one] and one.attempt == 1 and not ledger.dead


def test_the_oldest_dead_tasks_make_room(ledger: Ledger) -> None:
    tasks = [task() for _ in range(LIMITS.dead_max + 2)]
    added(ledger, *tasks)
    for each in leased(ledger):
        ledger.settle(each, Event.EXHAUSTED, 1.0)
    ledger.check()
    assert list(ledger.dead.values()) == tasks[2:]
    assert [each.state for each in tasks[:2]] == [State.DROPPED] * 2


def test_an_id_that_was_pushed_before_is_the_same_task_even_when_it_is_done(
    ledger: Ledger,
) -> None:
    one = task(own_id="order-17")
    assert ledger.names.known(one) is None
    added(ledger, one)
    assert ledger.names.known(task(own_id="order-17")) is one
    ledger.settle(one, Event.CANCELLED, 1.0)
    assert ledger.names.known(task(own_id="order-17")) is one
    assert ledger.names.known(task(own_id="order-18")) is None


def test_a_dead_task_that_made_room_still_says_why_it_died(ledger: Ledger) -> None:
    """Seed 260: its ticket said that it still waits."""
    tasks = [task() for _ in range(LIMITS.dead_max + 1)]
    added(ledger, *tasks)
    error = RemoteError("ValueError", "no", "")
    for each in leased(ledger):
        ledger.settle(each, Event.EXHAUSTED, 1.0, error=error)
    assert tasks[0].state is State.DROPPED and tasks[0].error is error


def test_a_unique_key_is_free_again_once_its_task_is_settled(ledger: Ledger) -> None:
    one = task(unique="cat.png")
    added(ledger, one)
    assert ledger.names.known(task(unique="cat.png")) is one
    assert ledger.lease(0.0) is one
    assert ledger.names.known(task(unique="cat.png")) is one
    ledger.settle(one, Event.DONE, 1.0)
    assert ledger.names.known(task(unique="cat.png")) is None


def test_a_dead_task_that_is_requeued_has_its_unique_key_again(ledger: Ledger) -> None:
    """Seed 72: another task with the key was accepted beside it."""
    one = task(unique="cat.png")
    added(ledger, one)
    leased(ledger)
    ledger.settle(one, Event.EXHAUSTED, 1.0)
    assert ledger.names.known(task(unique="cat.png")) is None
    ledger.requeue(one, 2.0)
    assert ledger.names.known(task(unique="cat.png")) is one


def test_tasks_of_one_key_run_one_at_a_time_and_in_order(ledger: Ledger) -> None:
    first, second, other = task(order_by="a"), task(order_by="a", priority=9), task()
    added(ledger, first, second, other)
    assert leased(ledger) == [first, other]
    ledger.retry(first, "no", 1.0, 0.0)
    assert leased(ledger, 0.5) == []
    ledger.tick(1.0)
    assert leased(ledger, 1.0) == [first]
    ledger.settle(first, Event.DONE, 2.0)
    assert leased(ledger, 2.0) == [second]


def test_a_task_that_ends_behind_its_key_does_not_pass_the_key_on(ledger: Ledger) -> None:
    tasks = [task(order_by="a") for _ in range(3)]
    added(ledger, *tasks)
    ledger.settle(tasks[1], Event.CANCELLED, 0.0)
    assert leased(ledger) == [tasks[0]]
    ledger.settle(tasks[0], Event.DONE, 0.0)
    assert leased(ledger) == [tasks[2]]


def test_full_is_an_answer(ledger: Ledger) -> None:
    added(ledger, *(task() for _ in range(LIMITS.tasks_max)))
    assert not ledger.has_room(task())
    with pytest.raises(QueueFull, match="50 tasks"):
        ledger.add(task(), 0.0)
    leased(ledger)
    with pytest.raises(QueueFull):  # a task that a worker has still takes room
        ledger.add(task(), 0.0)
    ledger.check()
    assert ledger.accepted == LIMITS.tasks_max


def test_bytes_are_limited_too_and_a_single_task_always_fits() -> None:
    ledger = Ledger(replace(LIMITS, tasks_bytes_max=1000))
    added(ledger, task(bytes(5000)))
    with pytest.raises(QueueFull):
        ledger.add(task(), 0.0)


def test_outcomes_are_kept_by_number_and_age(ledger: Ledger) -> None:
    tasks = [task() for _ in range(LIMITS.outcomes_max + 2)]
    added(ledger, *tasks)
    for at, each in enumerate(leased(ledger)):
        ledger.settle(each, Event.DONE, float(at), size=10)
    ledger.check()
    assert [each.sequence in ledger.tasks for each in tasks] == [False] * 2 + [True] * 5
    assert ledger.deadline() == 2.0 + LIMITS.outcomes_s
    ledger.tick(3.0 + LIMITS.outcomes_s)
    assert [each.sequence in ledger.tasks for each in tasks] == [False] * 4 + [True] * 3
    assert ledger.stats()["done"] == len(tasks)


def test_what_had_ended_is_known_and_not_counted(ledger: Ledger) -> None:
    one = task(own_id="order-17")
    one.sequence, one.state, one.settled_at = 7, State.DONE, 1.0
    ledger.restore(one, 2.0)
    ledger.check()
    assert ledger.names.known(task(own_id="order-17")) is one
    assert ledger.accepted == 0 and ledger.last == 7
    ledger.tick(1.0 + LIMITS.outcomes_s)
    assert ledger.names.known(task(own_id="order-17")) is None


def test_what_the_journal_refused_was_never_there(ledger: Ledger) -> None:
    ledger.begin({})
    one = task(own_id="order-17", order_by="a")
    added(ledger, one)
    ledger.refuse(one, CallTimeout("full"), 1.0)
    ledger.check()
    assert one.state is State.DROPPED and one.is_forgotten and not ledger.changes
    assert ledger.names.known(task(own_id="order-17")) is None


def test_two_tasks_of_a_key_may_be_at_work_as_a_journal_is_opened(ledger: Ledger) -> None:
    """Seed 1025: one was leased while a streamer saw to the keys; it waited and was leased."""
    two = [task(order_by="a"), task(order_by="a")]
    for number, each in enumerate(two, start=1):
        each.sequence, each.state, each.attempt, each.receipt = number, State.LEASED, 1, number
        ledger.restore(each, 0.0)
    three = task(order_by="a")
    added(ledger, three)
    assert not leased(ledger)
    ledger.done(two[0], None, 0, 1.0)
    assert leased(ledger) == [three]
    ledger.done(two[1], None, 0, 1.0)
    ledger.check()


def test_what_expired_long_ago_takes_no_memory() -> None:
    ledger = Ledger(PusherLimits(outcomes_max=10))
    for number in range(5000):
        one = task(expires_at=1e6, due_at=1e6 - 1)
        ledger.add(one, 0.0)
        ledger.settle(one, Event.CANCELLED, float(number))
    ledger.check()
    assert len(ledger._schedule) < 4000


class Machine(RuleBasedStateMachine):
    """Any commands in any order; `check` holds after each."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(LIMITS)
        self.now = 0.0
        self.all: list[Task] = []
        self.ends: dict[int, State] = {}
        self.ledger.begin({})
        self.disk: dict[int, tuple[State, float]] = {}

    @rule(
        priority=st.integers(0, 9),
        delay_s=st.sampled_from([0.0, 1.0, 5.0]),
        expires_s=st.sampled_from([inf, 2.0, 6.0]),
        key=st.sampled_from([None, "a", "b"]),
        unique=st.sampled_from([None, None, "u"]),
    )
    def push(
        self, priority: int, delay_s: float, expires_s: float, key: str | None,
        unique: str | None,
    ) -> None:  # fmt: skip
        one = task(
            bytes(priority),
            priority=priority,
            due_at=self.now + delay_s,
            expires_at=self.now + expires_s,
            order_by=key,
            unique=unique,
        )
        known = self.ledger.names.known(one)
        assert known is None or not known.is_over or known.own_id
        if known is None and self.ledger.has_room(one):
            self.ledger.add(one, self.now)
            self.all.append(one)

    @rule()
    def lease(self) -> None:
        one = self.ledger.lease(self.now)
        if one is not None:
            assert one.due_at <= self.now < one.expires_at
            one.receipt = 1
            if one.order_by is not None:
                others = [t for t in self.all if t.order_by == one.order_by and t is not one]
                assert not any(t.state is State.LEASED for t in others)

    @rule()
    def lease_result(self) -> None:
        self.ledger.lease_result()

    @precondition(lambda self: self.all)
    @rule(data=st.data(), event=st.sampled_from(Event))
    def happen(self, data: st.DataObject, event: Event) -> None:
        one = data.draw(st.sampled_from(self.all))
        if event is Event.LEASED:
            return
        if event is Event.RELEASED:
            self.ledger.release(one, self.now)
        elif event is Event.RETRIED:
            self.ledger.retry(one, "why", data.draw(st.sampled_from([0.0, 3.0])), self.now)
        elif event is Event.RETURNED:
            one.to_sink = True
            self.ledger.returned(one, b"result", None, self.now)
        elif event is Event.REQUEUED:
            if self.ledger.has_room(one):
                self.ledger.requeue(one, self.now)
        else:
            self.ledger.settle(one, event, self.now, size=3)

    @rule(pause_s=st.sampled_from([0.1, 1.0, 4000.0]))
    def wait(self, pause_s: float) -> None:
        self.now += pause_s
        self.ledger.tick(self.now)
        assert self.ledger.deadline() > self.now

    @rule()
    def append(self) -> None:
        """Write all changes: the disk then has what the ledger has, as it is."""
        changes, self.ledger.changes = self.ledger.changes, {}
        assert changes is not None
        for sequence, one in changes.items():
            if one.is_forgotten:
                self.disk.pop(sequence, None)
            else:
                self.disk[sequence] = (one.state, one.due_at)
        kept = {
            each.sequence: (each.state if each.is_over else State.WAITING, each.due_at)
            for each in self.ledger.tasks.values()
        }
        disk = {
            n: (s if s not in OPEN else State.WAITING, at) for n, (s, at) in self.disk.items()
        }
        assert disk == kept

    @invariant()
    def consistent(self) -> None:
        self.ledger.check()
        for one in self.all:
            before = self.ends.get(one.sequence)
            assert before is None or one.state is before, "settled once"
            if one.is_over and one.state is not State.DEAD:
                self.ends[one.sequence] = one.state


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
