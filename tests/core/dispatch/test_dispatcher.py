"""Where each job is, and how it gets from there to its end."""

from __future__ import annotations

from math import inf

import pytest

from zmqkit.core.dispatch.connections import Connections, Event, State
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.limits import PING_S
from zmqkit.wire.packet import REQUEST


class Patient(Job):
    """One that is given up a second after it was made if nobody is known."""

    give_up_at = 1.0


def make(incarnation: int, endpoint: str) -> Instance:
    return Instance(incarnation, incarnation.to_bytes(8, "big"), endpoint)


@pytest.fixture
def connections() -> Connections[Instance]:
    return Connections(1, make, connections_max=16, known_max=100)


@pytest.fixture
def dispatcher(connections: Connections[Instance]) -> Dispatcher:
    return Dispatcher(connections, 100)


def up(dispatcher: Dispatcher, incarnation: int, *, credit: int = 1) -> Instance:
    """An instance that answers."""
    connections = dispatcher.connections
    connections.learn(incarnation, "tcp://127.0.0.1:5000")
    [instance], _ = connections.best(lambda connection: True)
    connections.add(instance)
    connections.open(instance, 0.0)
    connections.shift(instance, Event.WELCOME)
    instance.credit = credit
    return instance


def add(dispatcher: Dispatcher, *, priority: int = 4, method: str = "add") -> Job:
    """A job that was accepted."""
    job = Patient(dispatcher.next, method, priority, b"", None, 5.0, attempts=3)
    dispatcher.add(job, 0.0)
    dispatcher.check()
    return job


def sent(dispatcher: Dispatcher, now: float = 0.0) -> list[tuple[int, list[Job]]]:
    """To whom something leaves now, and what."""
    parcels = dispatcher.flush(now)
    assert all(kind == REQUEST for _, kind, _ in parcels)
    return [(instance.incarnation, jobs) for instance, _, jobs in parcels]


# Places


def test_a_job_waits_until_somebody_is_there(dispatcher: Dispatcher) -> None:
    job = add(dispatcher)
    dispatcher.fill(0.0)
    assert sent(dispatcher) == [] and list(dispatcher.line) == [job]
    up(dispatcher, 10)
    dispatcher.fill(0.0)
    assert sent(dispatcher) == [(10, [job])]


def test_who_waits_longer_or_matters_more_is_first(dispatcher: Dispatcher) -> None:
    add(dispatcher, priority=0)
    urgent = add(dispatcher, priority=9)
    up(dispatcher, 10)
    dispatcher.fill(0.0)
    assert sent(dispatcher) == [(10, [urgent])]


def test_the_least_loaded_with_credit_is_chosen_and_all_in_turn(dispatcher: Dispatcher) -> None:
    small, big = up(dispatcher, 10), up(dispatcher, 20, credit=9)
    jobs = [add(dispatcher) for _ in range(4)]
    assert [job.instance for job in jobs] == [small, big, big, big]


def test_a_job_that_was_sent_and_moves_spends_an_attempt(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    dispatcher.flush(0.0)
    dispatcher.connections.shift(instance, Event.LOST)
    dispatcher.move([job])
    assert (job.exposed, job.copies, job.attempts, job.instance) == (True, 0, 1, None)
    assert dispatcher.stats()["retries"] == 1


def test_a_job_that_never_left_moves_for_nothing(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    dispatcher.connections.shift(instance, Event.LOST)
    dispatcher.move([job])
    assert (job.exposed, job.attempts) == (False, 2)
    dispatcher.check()


def test_a_blocked_instance_waits(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    instance.blocked_until = 1.0
    assert sent(dispatcher, 0.5) == []
    assert sent(dispatcher, 1.0) == [(10, [job])]


def test_nothing_leaves_for_who_does_not_listen(dispatcher: Dispatcher) -> None:
    up(dispatcher, 10)
    add(dispatcher)
    dispatcher.connections.hush(10, silent=True)
    assert sent(dispatcher) == []


# Ends


def test_everything_below_the_oldest_open_job_is_settled(dispatcher: Dispatcher) -> None:
    first, second = add(dispatcher), add(dispatcher)
    dispatcher.settle(second, "failed")
    assert dispatcher.settled_below() == 1
    dispatcher.settle(first, "failed")
    assert dispatcher.settled_below() == 3


def test_answers_settle_the_jobs_of_their_instance(dispatcher: Dispatcher) -> None:
    instance = up(dispatcher, 10, credit=9)
    jobs = [add(dispatcher), add(dispatcher)]
    dispatcher.flush(0.0)
    assert dispatcher.take(instance, [1, 2], 0.0) == jobs
    assert dispatcher.stats()["delivered"] == 2
    dispatcher.check()


def test_what_is_answered_twice_in_one_packet_is_settled_once(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    dispatcher.flush(0.0)
    assert dispatcher.take(instance, [1, 1, 9], 0.0) == [job, None, None]
    assert dispatcher.stats()["delivered"] == 1 and dispatcher.stats()["duplicates"] == 2
    dispatcher.check()


def test_an_answer_from_elsewhere_counts_if_the_job_was_there(dispatcher: Dispatcher) -> None:
    one, other = up(dispatcher, 10), up(dispatcher, 20)
    job = add(dispatcher)
    assert job.instance is one and dispatcher.take(other, [1], 0.0) == [None]
    job.exposed = True
    assert dispatcher.take(other, [1], 0.0) == [job]
    dispatcher.check()


def test_an_answer_to_what_is_due_again_leaves_nothing_to_send(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    assert dispatcher.take(instance, [1], 0.0) == [job]
    assert sent(dispatcher) == []
    dispatcher.check()


def test_a_job_is_due_at_its_deadline_and_its_patience_does_not_matter(
    dispatcher: Dispatcher,
) -> None:
    up(dispatcher, 10)
    job = add(dispatcher)
    assert dispatcher.due(4.9, alone=False) == []
    assert dispatcher.due(5.0, alone=False) == [job]


def test_a_job_that_waits_may_be_told_that_nobody_came(dispatcher: Dispatcher) -> None:
    job = add(dispatcher)
    assert dispatcher.due(0.9, alone=True) == []
    assert dispatcher.due(1.1, alone=True) == [job]


def test_what_may_have_run_is_not_given_up_before_its_deadline(dispatcher: Dispatcher) -> None:
    add(dispatcher).exposed = True
    assert dispatcher.due(2.0, alone=True) == []
    assert dispatcher.look_at == 5.0


def test_deadlines_close_together_are_one_look(dispatcher: Dispatcher) -> None:
    first, second = add(dispatcher), add(dispatcher)
    second.deadline_at += 0.001
    assert dispatcher.due(5.0, alone=False) == [first]
    assert 5.001 < dispatcher.look_at <= 5.0 + 1 / 64


def test_what_is_given_up_is_counted_by_its_reason(dispatcher: Dispatcher) -> None:
    dispatcher.drop(add(dispatcher), "cancelled")
    assert dispatcher.stats()["dropped"] == {"cancelled": 1}
    dispatcher.check()


@pytest.mark.parametrize("late", [False, True])
def test_a_job_whose_end_is_interrupted_is_counted_once_it_is_ended_again(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    instance, unassign = up(dispatcher, 10), Dispatcher._unassign
    job = add(dispatcher)

    def interrupted(self: Dispatcher, job: Job) -> None:
        if late:
            unassign(self, job)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "_unassign", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dispatcher.drop(job, "cancelled")
    assert dispatcher.stats()["in_flight"] == 1 and not dispatcher.dropped
    dispatcher.drop(job, "cancelled")
    assert dispatcher.dropped == {"cancelled": 1} and not instance.load
    dispatcher.check()


# Refusals


def test_what_one_refused_goes_to_another(dispatcher: Dispatcher) -> None:
    one, other = up(dispatcher, 10), up(dispatcher, 20)
    job = add(dispatcher)
    assert dispatcher.refused(job, one, 0.0, free=False, waits=False)
    assert job.instance is other and job.refused_by == (10,) and not job.may_have_run
    assert job.attempts == 1
    dispatcher.check()


def test_a_refusal_by_the_only_one_is_the_end(dispatcher: Dispatcher) -> None:
    only, job = up(dispatcher, 10), add(dispatcher)
    assert not dispatcher.refused(job, only, 0.0, free=False, waits=False)


def test_a_refusal_is_the_end_without_attempts(dispatcher: Dispatcher) -> None:
    one, _ = up(dispatcher, 10), up(dispatcher, 20)
    job = add(dispatcher)
    job.attempts = 0
    assert not dispatcher.refused(job, one, 0.0, free=False, waits=True)
    assert dispatcher.refused(job, one, 0.0, free=True, waits=True)


def test_a_job_that_waits_is_not_given_to_who_refused_it(dispatcher: Dispatcher) -> None:
    only, job = up(dispatcher, 10), add(dispatcher)
    assert dispatcher.refused(job, only, 0.0, free=True, waits=True)
    other_job = add(dispatcher)
    dispatcher.fill(0.0)
    assert list(dispatcher.line) == [job] and other_job.instance is only
    dispatcher.check()
    other = up(dispatcher, 20)
    dispatcher.fill(0.0)
    assert job.instance is other


def test_an_instance_without_the_method_is_not_asked_while_others_may_have_it(
    dispatcher: Dispatcher,
) -> None:
    one, other = up(dispatcher, 10, credit=9), up(dispatcher, 20, credit=9)
    job = add(dispatcher)
    assert job.instance is one and dispatcher.lacks(job, one)
    assert dispatcher.refused(job, one, 0.0, free=True, waits=True)
    assert [add(dispatcher).instance for _ in range(3)] == [other, other, other]
    assert add(dispatcher, method="sub").instance is one
    assert not dispatcher.lacks(job, other)


# What an instance holds


def test_an_instance_with_jobs_is_pinged_and_once_more_without(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    assert dispatcher.to_ping(PING_S) == [instance] and instance.ping_token == 1
    dispatcher.settle(job, "failed")
    assert dispatcher.to_ping(2 * PING_S) == [instance]
    assert dispatcher.care_at == inf


def test_what_a_pong_does_not_name_got_lost(dispatcher: Dispatcher) -> None:
    instance = up(dispatcher, 10, credit=9)
    lost, held = add(dispatcher), add(dispatcher)
    dispatcher.flush(0.0)
    dispatcher.to_ping(PING_S)
    add(dispatcher)
    dispatcher.flush(PING_S)
    assert dispatcher.held(instance, 1, [held.sequence], 1) == ([lost], [])


def test_what_timed_out_counts_until_its_instance_says_otherwise(
    dispatcher: Dispatcher,
) -> None:
    hangs, other = up(dispatcher, 10, credit=9), up(dispatcher, 20, credit=9)
    job = add(dispatcher)
    assert job.instance is hangs
    dispatcher.flush(0.0)
    dispatcher.abandon(job, 1.0)
    dispatcher.settle(job, "expired")
    for _ in range(2):
        late = add(dispatcher)
        assert late.instance is other
        dispatcher.settle(late, "failed")
    assert hangs in dispatcher.to_ping(2.0)
    dispatcher.held(hangs, 1, [1], 1)
    assert hangs.load == 1 and hangs in dispatcher.to_ping(3.0)
    dispatcher.held(hangs, 2, [], 0)
    assert hangs.load == 0
    dispatcher.check()


def test_many_that_timed_out_are_asked_for_at_once(dispatcher: Dispatcher) -> None:
    instance = up(dispatcher, 10, credit=4)
    job = add(dispatcher)
    dispatcher.flush(0.0)
    dispatcher.abandon(job, 0.25)
    assert dispatcher.care_at == 0.25 and dispatcher.to_ping(0.25) == [instance]


def test_what_never_left_occupies_nobody(dispatcher: Dispatcher) -> None:
    instance, job = up(dispatcher, 10), add(dispatcher)
    dispatcher.abandon(job, 1.0)
    assert not instance.occupied


def test_what_waits_at_a_busy_instance_is_recalled_for_an_idle_one(
    dispatcher: Dispatcher,
) -> None:
    busy = up(dispatcher, 10, credit=9)
    runs, waits, waits_longer = add(dispatcher), add(dispatcher), add(dispatcher)
    dispatcher.flush(0.0)
    dispatcher.to_ping(1.0)
    numbers = [runs.sequence, waits.sequence, waits_longer.sequence]
    assert dispatcher.held(busy, 1, numbers, 1) == ([], [])
    up(dispatcher, 20, credit=9)
    assert dispatcher.held(busy, 1, numbers, 1) == ([], [2])
    assert dispatcher.held(busy, 1, numbers, 3) == ([], [])


def test_nothing_is_recalled_for_one_that_is_busy_too(dispatcher: Dispatcher) -> None:
    busy, _ = up(dispatcher, 10, credit=2), up(dispatcher, 20)
    numbers = [add(dispatcher).sequence for _ in range(3)]
    dispatcher.flush(0.0)
    assert dispatcher.held(busy, 1, numbers, 0) == ([], [])


def test_an_instance_that_answers_anew_is_sent_all_that_has_not_begun(
    dispatcher: Dispatcher,
) -> None:
    instance = up(dispatcher, 10, credit=9)
    begun, job = add(dispatcher), add(dispatcher)
    dispatcher.flush(0.0)
    begun.begun = True
    dispatcher.connections.shift(instance, Event.FOUND)
    dispatcher.connections.shift(instance, Event.WELCOME)
    assert dispatcher.resume(instance, 0.0) == [begun]
    assert sent(dispatcher) == [(10, [job])] and instance.state is State.UP
