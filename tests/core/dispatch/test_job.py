"""A job, and the instance that has it."""

from __future__ import annotations

import pytest

from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.limits import BATCH_BYTES
from zmqkit.wire.packet import NOTIFY, REQUEST


def job(
    sequence: int,
    *,
    row: bytes = b"",
    raw: bytes | None = None,
    kind: int = REQUEST,
    copies: int = 0,
) -> Job:
    """A job that an instance may be given."""
    made = Job(sequence, "add", 4, row, raw, 5.0, attempts=3)
    made.kind, made.copies = kind, copies
    return made


@pytest.fixture
def instance() -> Instance:
    return Instance(7, b"p", "tcp://127.0.0.1:5000")


def given(instance: Instance, *jobs: Job) -> Instance:
    """The instance, with these jobs to send."""
    instance.jobs = {each.sequence: each for each in jobs}
    instance.outbox = list(jobs)
    return instance


def test_jobs_of_one_kind_share_a_packet(instance: Instance) -> None:
    a, b = job(1), job(2)
    assert given(instance, a, b).take_outbox() == [(REQUEST, [a, b])]
    assert not instance.outbox


def test_one_way_messages_and_raw_bodies_have_packets_of_their_own(instance: Instance) -> None:
    a, b, c = job(1), job(2, raw=b"x"), job(3, kind=NOTIFY)
    packets = given(instance, a, b, c).take_outbox()
    assert packets == [(REQUEST, [a]), (REQUEST, [b]), (NOTIFY, [c])]


def test_a_packet_is_full_at_a_batch(instance: Instance) -> None:
    a, b, c = (job(n, row=bytes(BATCH_BYTES // 2)) for n in (1, 2, 3))
    packets = given(instance, a, b, c).take_outbox()
    assert packets == [(REQUEST, [a, b]), (REQUEST, [c])]


def test_what_found_no_room_did_not_leave(instance: Instance) -> None:
    sent = job(1, copies=1)
    instance.jobs = {1: sent}
    instance.give_back([1, 2], 3.0)
    assert (sent.copies, instance.outbox, instance.blocked_until) == (0, [sent], 3.0)


def test_what_is_given_back_twice_is_sent_once(instance: Instance) -> None:
    sent = job(1, copies=2)
    instance.jobs = {1: sent}
    instance.give_back([1], 3.0)
    instance.give_back([1], 3.0)
    assert (sent.copies, instance.outbox) == (0, [sent])


def test_a_pong_finds_what_got_lost_before_its_ping(instance: Instance) -> None:
    early, held, late, due = job(1), job(2), job(3), job(4)
    late.epoch = 5
    instance.jobs = {c.sequence: c for c in (early, held, late, due)}
    instance.outbox = [due]
    assert instance.unnamed(5, frozenset({2})) == [early]


def test_a_job_moves_if_it_never_left_or_may_run_twice(instance: Instance) -> None:
    assert job(1).may_move
    sent = job(1, copies=1)
    sent.instance = instance
    assert not sent.may_move
    instance.idempotent = frozenset({"add"})
    assert sent.may_move
    sent.attempts = 0
    assert not sent.may_move


def test_a_job_that_has_begun_stays(instance: Instance) -> None:
    sent = job(1, copies=1)
    sent.instance, sent.begun = instance, True
    instance.idempotent = frozenset({"add"})
    assert not sent.may_move


def test_the_unsent_are_those_without_a_copy(instance: Instance) -> None:
    left, waits = job(1, copies=1), job(2)
    instance.jobs = {1: left, 2: waits}
    assert instance.unsent() == [waits]
