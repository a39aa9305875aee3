"""What a service answers beside values, and how answers become packets."""

from __future__ import annotations

import pytest

from tests.packets import sent
from zmqkit.core.calls.answers import CANCELLED, DONE, Outbox, packets, refuse
from zmqkit.core.calls.outcome import BUSY, EXPIRED, FORGOTTEN, LEAVING
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.dispatch.windows import Windows
from zmqkit.limits import BATCH_BYTES, ServiceLimits
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.packet import ERROR, REPLY, reply_columns


@pytest.mark.parametrize("code", [BUSY, EXPIRED, LEAVING, FORGOTTEN])
def test_only_what_is_forgotten_may_have_run(code: str) -> None:
    row = decode(refuse(code).row)
    assert isinstance(row, list) and row[0] == code and row[4] is (code == FORGOTTEN)


def test_a_refusal_can_say_more() -> None:
    assert decode(refuse("no-method", "no method 'x'").row) == [
        "no-method", "", "no method 'x'", "", False
    ]  # fmt: skip


def test_a_one_way_message_is_acknowledged_with_nothing() -> None:
    assert (DONE.kind, decode(DONE.row)) == (REPLY, None)


def test_a_late_copy_of_a_cancelled_request_is_told_so() -> None:
    assert decode(CANCELLED.row) == ["forgotten", "", "the call was cancelled", "", True]


def test_answers_of_one_kind_share_a_packet() -> None:
    one, two = Answer(REPLY, encode(1)), Answer(REPLY, encode(2))
    columns = reply_columns([5, 6], [one.row, two.row])
    assert list(packets([(5, one), (6, two)])) == [(REPLY, columns, None)]


def test_values_and_errors_have_packets_of_their_own() -> None:
    kinds = [kind for kind, _, _ in packets([(5, DONE), (6, CANCELLED), (7, DONE)])]
    assert kinds == [REPLY, ERROR]


def test_a_raw_body_has_a_packet_of_its_own() -> None:
    raw = Answer(REPLY, encode(None), b"raw")
    parts = list(packets([(5, DONE), (6, raw)]))
    assert [(kind, body) for kind, _, body in parts] == [(REPLY, b"raw"), (REPLY, None)]


def test_a_packet_is_full_at_a_batch() -> None:
    half = Answer(REPLY, encode(bytes(BATCH_BYTES // 2)))
    sizes = [len(columns) for _, columns, _ in packets([(n, half) for n in range(3)])]
    assert len(sizes) == 3 and max(sizes) < BATCH_BYTES


def test_what_is_larger_than_a_batch_still_leaves() -> None:
    large = Answer(REPLY, encode(bytes(2 * BATCH_BYTES)))
    assert len(list(packets([(1, DONE), (2, large), (3, DONE)]))) == 3


def test_answers_of_a_turn_share_a_packet_to_each_client() -> None:
    windows = Windows(ServiceLimits())
    for client in (1, 2):
        windows.hear(client, b"peer %d" % client, 0.0)
    outbox = Outbox(9, windows)
    for client, sequence in ((1, 5), (2, 6), (1, 7)):
        outbox.add(client, sequence, DONE)
    assert outbox
    assert sent(outbox.take()) == [(REPLY, [5, 7]), (REPLY, [6])]
    assert not outbox and outbox.take() == []


def test_answers_to_a_client_that_was_forgotten_go_nowhere() -> None:
    outbox = Outbox(9, Windows(ServiceLimits()))
    outbox.add(1, 5, DONE)
    assert outbox.take() == []
