"""The client's side of request-reply: calls, from submission to their end."""

from __future__ import annotations

import math

import pytest

from tests import packets
from tests.core.bench import CLIENT, HERE, call, ends, error, peer, tell, up
from tests.packets import read, sent, settled
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.effects import Disconnect, News, Note, Send, Settle
from zmqkit.errors import (
    CallCancelled,
    CallTimeout,
    NoService,
    PeerError,
    QueueFull,
    RemoteError,
)
from zmqkit.limits import (
    BATCH_BYTES,
    FOLLOW_STREAK,
    HOLD_S,
    LINGER_S,
    PING_S,
    TELL_BYTES,
    ClientLimits,
)
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import BYE, CANCEL, NOTIFY, PING, REPLY, REQUEST, pack
from zmqkit.wire.rows import request_row

BODY = request_row("add", None, (), {})

A = 0xA


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


# Calls


def test_calls_of_one_turn_leave_in_one_packet(client: ClientCore) -> None:
    up(client, A)
    for _ in range(2):
        client.submit("add", BODY, None, CallOptions(), "me", 0.0)
    assert sent(client.flush(0.0)) == [(REQUEST, [1, 2])]


def test_a_reply_ends_its_call(client: ClientCore) -> None:
    up(client, A)
    call(client)
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert effects == [Settle([("add", 42, None)])]
    assert client.stats()["delivered"] == 1


def test_what_was_read_is_told_at_once_if_it_is_much(client: ClientCore) -> None:
    up(client, A)
    for _ in range(3):
        call(client)
    short = "x" * (TELL_BYTES // 2)
    assert sent(client.receive(peer(A), packets.reply(A, CLIENT, _1=short), 0.0)) == []
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _2=short), 0.0)
    assert sent(effects) == [(CANCEL, [])] and settled(effects[-1]) == 3
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _3=short), 0.0)
    assert [type(effect) for effect in effects] == [Settle]


def test_what_was_read_is_told_with_a_ping_if_something_before_it_is_open(
    client: ClientCore,
) -> None:
    up(client, A)
    for _ in range(3):
        call(client)
    short = "x" * (TELL_BYTES // 2)
    assert sent(client.receive(peer(A), packets.reply(A, CLIENT, _3=short), 0.0)) == []
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _2=short), 0.0)
    assert read(effects[-1]) == (PING, [1, 4, [1]])


def test_what_a_request_says_was_read_is_not_told_again(client: ClientCore) -> None:
    up(client, A)
    call(client)
    short = "x" * (TELL_BYTES // 2)
    client.receive(peer(A), packets.reply(A, CLIENT, _1=short), 0.0)
    [sends] = call(client)
    assert settled(sends) == 2
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _2=short), 0.0)
    assert [type(effect) for effect in effects] == [Settle]


def test_a_ping_names_the_last_pong_that_was_read(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert [read(effect) for effect in client.tick(PING_S)] == [(PING, [1, 2, [1]])]
    client.receive(peer(A), packets.pong(A, CLIENT, 1, [1]), PING_S)
    assert [read(effect) for effect in client.tick(2 * PING_S)] == [(PING, [2, 2, [1], 1])]


def test_a_new_connection_knows_of_no_pong(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.tick(PING_S)
    client.receive(peer(A), packets.pong(A, CLIENT, 1, [1]), PING_S)
    client.hear(tell(News.LOST, A), PING_S)
    up(client, A)
    assert (PING, [2, 2, [1]]) in [read(e) for e in client.tick(3 * PING_S)]


def test_a_second_reply_is_counted_and_dropped(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0) == []
    assert client.stats()["duplicates"] == 1


def test_what_a_handler_raised_ends_its_call(client: ClientCore) -> None:
    up(client, A)
    call(client)
    effects = client.receive(peer(A), packets.error(A, CLIENT, RAISED, 1, text="no"), 0.0)
    assert isinstance(error(effects), RemoteError) and client.stats()["failed"] == 1


def test_a_one_way_message_is_acknowledged(client: ClientCore) -> None:
    up(client, A)
    assert sent(call(client, oneway=True)) == [(NOTIFY, [1])]
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=None), 0.0)
    assert ends(effects) == [("add", None, None)]


def test_a_call_waits_for_credit(client: ClientCore) -> None:
    up(client, A, credit=1)
    assert sent(call(client)) == [(REQUEST, [1])]
    assert sent(call(client)) == []
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert sent(effects) == [(REQUEST, [2])]


def test_a_call_times_out(client: ClientCore) -> None:
    up(client, A)
    call(client, timeout_s=1.0)
    found = error(client.tick(1.1))
    assert isinstance(found, CallTimeout) and found.may_have_run


def test_nobody_there_ends_a_call_within_its_wait(client: ClientCore) -> None:
    call(client, wait_s=1.0)
    assert client.tick(0.9) == []
    assert isinstance(error(client.tick(1.1)), NoService)


def test_nobody_there_says_what_is(client: ClientCore) -> None:
    client.hear(tell(News.HINT, 0, text="the process there has: stock"), 0.0)
    call(client, wait_s=1.0)
    assert "stock" in str(error(client.tick(1.1)))


def test_whoever_is_known_is_waited_for(client: ClientCore) -> None:
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    call(client, timeout_s=2.0, wait_s=1.0)
    assert ends(client.tick(1.1)) == []
    found = error(client.tick(2.1))
    assert isinstance(found, CallTimeout) and not found.may_have_run


def test_who_was_known_and_went_is_not_waited_for(client: ClientCore) -> None:
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    call(client, wait_s=1.0)
    client.hear(tell(News.GONE, A), 0.5)
    assert isinstance(error(client.tick(1.1)), NoService)


def test_too_many_waiting_calls_are_refused() -> None:
    client = ClientCore("orders", CLIENT, ClientLimits(waiting_calls_max=1))
    call(client)
    with pytest.raises(QueueFull, match="1 calls to 'orders' wait already"):
        call(client)
    assert client.stats()["accepted"] == 1


# Giving up


def test_a_cancelled_call_tells_the_service(client: ClientCore) -> None:
    up(client, A)
    call(client)
    effects = client.cancel(1, 0.0)
    found = error(effects)
    assert isinstance(found, CallCancelled) and found.may_have_run
    assert sent(effects) == [(CANCEL, [1])]


def test_a_call_that_waits_is_cancelled_without_a_word(client: ClientCore) -> None:
    call(client)
    effects = client.cancel(1, 0.0)
    assert not error(effects).may_have_run and sent(effects) == []


def test_nothing_is_cancelled_twice(client: ClientCore) -> None:
    call(client)
    client.cancel(1, 0.0)
    assert client.cancel(1, 0.0) == []


def test_close_ends_calls_and_connections(client: ClientCore) -> None:
    up(client, A)
    call(client)
    settle, bye, disconnect = client.close()
    assert isinstance(error([settle]), CallCancelled)
    assert read(bye) == (BYE, None)
    assert disconnect == Disconnect(peer(A), LINGER_S)
    assert client.in_flight == 0 and client.deadline() == math.inf
    client.check()


def test_a_closed_client_hears_nothing(client: ClientCore) -> None:
    client.close()
    assert client.hear(tell(News.FOUND, A, HERE), 0.0) == []


def test_a_wait_for_instances_ends_with_the_client(client: ClientCore) -> None:
    client.await_ready(1, "me", 5.0, 0.0)
    assert client.close() == [Settle([("me", 0, None)])]


# What got lost


def test_a_call_that_a_pong_does_not_name_is_sent_again(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert [read(e)[0] for e in client.tick(PING_S)] == [PING]
    effects = client.receive(peer(A), packets.pong(A, CLIENT, 1), PING_S)
    assert sent(effects) == [(REQUEST, [1])] and client.stats()["retries"] == 1


def test_a_call_that_a_pong_names_is_not_sent_again(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.tick(PING_S)
    assert client.receive(peer(A), packets.pong(A, CLIENT, 1, [1]), PING_S) == []


def test_a_call_sent_after_the_ping_is_not_expected_in_its_pong(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.tick(PING_S)
    call(client, now=PING_S)
    effects = client.receive(peer(A), packets.pong(A, CLIENT, 1), PING_S)
    assert sent(effects) == [(REQUEST, [1])]


def test_a_pong_to_a_ping_that_was_never_sent_is_malformed(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert client.receive(peer(A), packets.pong(A, CLIENT, 9), 0.0) == []
    assert client.stats()["malformed"] == {"token": 1}


def test_what_found_no_room_is_sent_again_shortly(client: ClientCore) -> None:
    up(client, A)
    [send] = call(client)
    assert isinstance(send, Send)
    assert client.unsent(send.peer, send.frames, 0.0) == []
    assert client.flush(0.0) == []
    assert sent(client.tick(client.deadline())) == [(REQUEST, [1])]


def test_what_found_no_room_cannot_have_run(client: ClientCore) -> None:
    up(client, A)
    [send] = call(client, timeout_s=1.0)
    assert isinstance(send, Send)
    client.unsent(send.peer, send.frames, 0.0)
    assert not error(client.cancel(1, 0.0)).may_have_run


# Whatever is sent


def test_packets_of_many_frames_are_counted(client: ClientCore) -> None:
    up(client, A)
    [frame] = packets.reply(A, CLIENT, _1=2)
    for frames in ((frame, b"raw"), ()):
        assert client.receive(peer(A), frames, 0.0) == []
    assert client.stats()["malformed"] == {"frames": 2}


def test_a_reply_that_cannot_be_read_ends_its_call_and_no_other(client: ClientCore) -> None:
    up(client, A)
    for _ in range(2):
        client.submit("add", BODY, None, CallOptions(), "me", 0.0)
    client.flush(0.0)
    columns = encode([[1, 2], [1, 1]])
    frames = pack(REPLY, A, CLIENT, 0, columns, b"\xc1\x05")
    (_, _, failed), (_, value, none) = sorted(
        ends(client.receive(peer(A), frames, 0.0)), key=lambda outcome: outcome[1] is not None
    )
    assert isinstance(failed, PeerError) and failed.may_have_run
    assert (value, none) == (5, None) and client.in_flight == 0
    assert client.stats()["malformed"] == {"reply": 1}
    client.check()


def test_whoever_is_not_connected_says_nothing(client: ClientCore) -> None:
    assert client.receive(b"nobody", packets.bye(A, CLIENT), 0.0) == []


def test_what_is_for_somebody_else_is_counted(client: ClientCore) -> None:
    up(client, A)
    client.receive(peer(A), packets.reply(A, CLIENT + 1, _1=42), 0.0)
    assert client.stats()["malformed"] == {"unexpected": 1}


@pytest.mark.parametrize("credit", [0, -1])
def test_no_credit_is_malformed(client: ClientCore, credit: int) -> None:
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    client.receive(peer(A), packets.welcome(A, CLIENT, credit=credit), 0.0)
    assert client.stats()["malformed"] == {"credit": 1} and client.ready_count == 0


def notify(client: ClientCore, body: bytes = BODY, now: float = 1.0) -> None:
    client.notify("add", body, None, CallOptions(), now)


def test_one_way_messages_that_follow_closely_leave_together_in_time(
    client: ClientCore,
) -> None:
    up(client, A)
    for number in range(1, FOLLOW_STREAK + 1):
        notify(client)
        assert client.pace.due_at == math.inf
        assert sent(client.flush(1.0)) == [(NOTIFY, [number])]
    client.tick(1.0)
    for _ in range(3):
        notify(client)
        assert client.deadline() == 1.0 + HOLD_S
    assert sent(client.flush(1.0 + HOLD_S)) == [(NOTIFY, [9, 10, 11])]
    assert client.deadline() > 1.0 + HOLD_S


def test_a_large_one_way_message_waits_for_no_other(client: ClientCore) -> None:
    up(client, A)
    for _ in range(FOLLOW_STREAK):
        notify(client)
    client.flush(1.0)
    notify(client, request_row("add", None, (bytes(BATCH_BYTES),), {}))
    assert client.deadline() == -math.inf


def test_a_failed_one_way_message_that_nobody_waits_for_is_noted(client: ClientCore) -> None:
    client.submit("add", BODY, None, CallOptions(timeout_s=1.0), None, 0.0, oneway=True)
    [note] = client.tick(1.1)
    assert isinstance(note, Note) and note.event == "notify-failed"


def test_one_way_messages_that_fail_together_are_one_note(client: ClientCore) -> None:
    for _ in range(3):
        client.submit("add", BODY, None, CallOptions(timeout_s=1.0), None, 0.0, oneway=True)
    [note] = client.tick(1.1)
    assert isinstance(note, Note) and note.fields["count"] == 3
    assert (note.fields["name"], note.fields["method"]) == ("orders", "add")
    assert "nobody serves" in str(note.fields["error"])


def test_one_way_messages_to_several_methods_are_a_note_for_each(client: ClientCore) -> None:
    for method in ("add", "drop", "add"):
        client.submit(method, BODY, None, CallOptions(timeout_s=1.0), None, 0.0, oneway=True)
    notes = [each for each in client.tick(1.1) if isinstance(each, Note)]
    assert [(n.fields["method"], n.fields["count"]) for n in notes] == [("add", 2), ("drop", 1)]
