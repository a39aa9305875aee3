"""A client's view of one instance."""

from __future__ import annotations

import pytest

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.instance import Instance
from zmqkit.options import BATCH_BYTES
from zmqkit.wire.packet import NOTIFY, REQUEST


def call(
    sequence: int,
    *,
    body: bytes = b"",
    raw: bytes | None = None,
    oneway: bool = False,
    copies: int = 0,
) -> Call:
    """A call that an instance may be given."""
    made = Call(sequence, "add", body, raw, CallOptions(), None, 0.0)
    made.oneway, made.copies = oneway, copies
    return made


@pytest.fixture
def instance() -> Instance:
    return Instance(7, b"p", "tcp://127.0.0.1:5000")


def given(instance: Instance, *calls: Call) -> Instance:
    """The instance, with these calls to send."""
    instance.calls = {call.sequence: call for call in calls}
    instance.outbox = list(calls)
    return instance


def test_calls_of_one_kind_share_a_packet(instance: Instance) -> None:
    a, b = call(1), call(2)
    assert given(instance, a, b).take_outbox() == [(REQUEST, [a, b])]
    assert not instance.outbox


def test_one_way_messages_and_raw_bodies_have_packets_of_their_own(instance: Instance) -> None:
    a, b, c = call(1), call(2, raw=b"x"), call(3, oneway=True)
    packets = given(instance, a, b, c).take_outbox()
    assert packets == [(REQUEST, [a]), (REQUEST, [b]), (NOTIFY, [c])]


def test_a_packet_is_full_at_a_batch(instance: Instance) -> None:
    a, b, c = (call(n, body=bytes(BATCH_BYTES // 2)) for n in (1, 2, 3))
    packets = given(instance, a, b, c).take_outbox()
    assert packets == [(REQUEST, [a, b]), (REQUEST, [c])]


def test_what_found_no_room_did_not_leave(instance: Instance) -> None:
    sent = call(1, copies=1)
    instance.calls = {1: sent}
    instance.give_back([1, 2], 3.0)
    assert (sent.copies, instance.outbox, instance.blocked_until) == (0, [sent], 3.0)


def test_what_is_given_back_twice_is_sent_once(instance: Instance) -> None:
    sent = call(1, copies=2)
    instance.calls = {1: sent}
    instance.give_back([1], 3.0)
    instance.give_back([1], 3.0)
    assert (sent.copies, instance.outbox) == (0, [sent])


def test_a_pong_finds_what_got_lost_before_its_ping(instance: Instance) -> None:
    early, held, late, due = call(1), call(2), call(3), call(4)
    late.epoch = 5
    instance.calls = {c.sequence: c for c in (early, held, late, due)}
    instance.outbox = [due]
    assert instance.unnamed(5, {2}) == [early]


def test_a_call_moves_if_it_never_left_or_may_run_twice(instance: Instance) -> None:
    assert instance.may_move(call(1))
    assert not instance.may_move(call(1, copies=1))
    instance.idempotent = frozenset({"add"})
    assert instance.may_move(call(1, copies=1))
    spent = call(1, copies=1)
    spent.attempts = 0
    assert not instance.may_move(spent)


def test_the_unsent_are_those_without_a_copy(instance: Instance) -> None:
    left, waits = call(1, copies=1), call(2)
    instance.calls = {1: left, 2: waits}
    assert instance.unsent() == [waits]
