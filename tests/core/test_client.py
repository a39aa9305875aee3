"""The client's side of request-reply."""

from __future__ import annotations

import math

import pytest

from zmqkit.core import client as client_module
from zmqkit.core.client import ClientCore
from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send, Settle, Tell
from zmqkit.core.outcome import BUSY, EXPIRED, LEAVING, RAISED
from zmqkit.errors import (
    Busy,
    CallCancelled,
    CallTimeout,
    NoService,
    PeerError,
    PeerLost,
    QueueFull,
    RemoteError,
    ZmqkitError,
)
from zmqkit.options import HELLO_S, PING_S
from zmqkit.testing import packets
from zmqkit.testing.packets import read, sent
from zmqkit.wire.packet import CANCEL, HELLO, NOTIFY, PING, REQUEST, request_body

CLIENT = 1
A, B = 0xA, 0xB
KEY = "service/orders"
HERE, THERE = "tcp://127.0.0.1:5000", "tcp://127.0.0.1:6000"


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


def peer(incarnation: int) -> bytes:
    """What the client calls its connection to an instance."""
    return incarnation.to_bytes(8, "big")


def tell(news: str, incarnation: int, endpoint: str = "", text: str = "") -> Tell:
    """Membership's news."""
    return Tell(news, KEY, incarnation, endpoint, text)


def up(client: ClientCore, incarnation: int, *idempotent: str, credit: int = 1000) -> None:
    """Have an instance that answers."""
    client.hear(tell("found", incarnation, f"{HERE}{incarnation}"), 0.0)
    welcome = packets.welcome(incarnation, CLIENT, credit=credit, idempotent=idempotent)
    client.receive(peer(incarnation), welcome, 0.0)


def call(
    client: ClientCore,
    method: str = "add",
    *,
    timeout_s: float = 5.0,
    wait_s: float = 5.0,
    attempts: int = 3,
    oneway: bool = False,
    now: float = 0.0,
) -> list[Effect]:
    """Make a call whose waiter is its number, and end the turn."""
    client.submit(
        method, request_body(method, 4, None, (), {}), None, timeout_s=timeout_s,
        wait_s=wait_s, priority=4, attempts=attempts, oneway=oneway,
        waiter=client._pending.next, now=now,
    )  # fmt: skip
    client.check()
    return client.flush(now)


def ends(effects: list[Effect]) -> list[tuple[object, object, ZmqkitError | None]]:
    """The outcomes among the effects."""
    return [outcome for e in effects if isinstance(e, Settle) for outcome in e.outcomes]


def error(effects: list[Effect], waiter: object = 1) -> PeerError:
    """The one error among the effects."""
    [(who, value, found)] = ends(effects)
    assert (who, value) == (waiter, None) and isinstance(found, PeerError)
    return found


# Finding instances


def test_what_is_found_is_connected_and_greeted(client: ClientCore) -> None:
    connect, hello = client.hear(tell("found", A, HERE), 0.0)
    assert connect == Connect(peer(A), HERE)
    assert read(hello) == (HELLO, {"name": "orders"})


def test_what_is_found_twice_is_connected_once(client: ClientCore) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    assert client.hear(tell("found", A, HERE), 1.0) == []


def test_what_is_found_elsewhere_is_connected_there(client: ClientCore) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    first, second, _ = client.hear(tell("found", A, THERE), 1.0)
    assert [first, second] == [Disconnect(peer(A)), Connect(peer(A), THERE)]


def test_welcome_makes_an_instance_ready(client: ClientCore) -> None:
    up(client, A)
    assert client.ready_count == 1


def test_hello_is_repeated_until_welcome(client: ClientCore) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    assert client.deadline() == HELLO_S
    assert [read(e)[0] for e in client.tick(HELLO_S)] == [HELLO]


def test_an_instance_that_was_replaced_is_gone(client: ClientCore) -> None:
    up(client, A)
    call(client)
    effects = client.receive(peer(A), packets.welcome(B, CLIENT), 0.0)
    assert isinstance(effects[0], Note) and effects[0].event == "replaced"
    assert isinstance(error(effects), PeerLost) and not client.roster.instances


def test_a_stranger_that_says_anything_else_is_not_believed(client: ClientCore) -> None:
    up(client, A)
    assert client.receive(peer(A), packets.bye(B, CLIENT), 0.0) == []
    assert client.stats()["malformed"] == {"source": 1} and client.ready_count == 1


def test_too_many_instances_are_an_event(
    client: ClientCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "RECORDS_MAX", 1)
    client.hear(tell("found", A, HERE), 0.0)
    assert client.hear(tell("found", B, THERE), 0.0) == [
        Note("instances-full", {"name": "orders"})
    ]


def test_a_wait_for_instances_ends_when_they_are_up(client: ClientCore) -> None:
    assert client.await_ready(1, "me", 5.0, 0.0) == []
    client.hear(tell("found", A, HERE), 0.0)
    effects = client.receive(peer(A), packets.welcome(A, CLIENT), 0.0)
    assert effects == [Settle([("me", 1, None)])]


def test_a_wait_for_instances_ends_in_time(client: ClientCore) -> None:
    client.await_ready(1, "me", 5.0, 0.0)
    assert client.deadline() == 5.0
    assert client.tick(5.0) == [Settle([("me", 0, None)])]


# Calls


def test_calls_of_one_turn_leave_in_one_packet(client: ClientCore) -> None:
    up(client, A)
    for _ in range(2):
        client.submit(
            "add", request_body("add", 4, None, (), {}), None, timeout_s=5.0, wait_s=5.0,
            priority=4, attempts=3, oneway=False, waiter=None, now=0.0,
        )  # fmt: skip
    assert sent(client.flush(0.0)) == [(REQUEST, [1, 2])]


def test_a_reply_ends_its_call(client: ClientCore) -> None:
    up(client, A)
    call(client)
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert effects == [Settle([(1, 42, None)])]
    assert client.stats()["delivered"] == 1


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
    assert ends(effects) == [(1, None, None)]


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
    client.hear(tell("hint", 0, text="the process there has: stock"), 0.0)
    call(client, wait_s=1.0)
    assert "stock" in str(error(client.tick(1.1)))


def test_whoever_is_known_is_waited_for(client: ClientCore) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    call(client, timeout_s=2.0, wait_s=1.0)
    assert ends(client.tick(1.1)) == []
    found = error(client.tick(2.1))
    assert isinstance(found, CallTimeout) and not found.may_have_run


def test_who_was_known_and_went_is_not_waited_for(client: ClientCore) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    call(client, wait_s=1.0)
    client.hear(tell("gone", A), 0.5)
    assert isinstance(error(client.tick(1.1)), NoService)


def test_too_many_waiting_calls_are_refused(
    client: ClientCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WAITING_CALLS_MAX", 1)
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
    settle, disconnect = client.close()
    assert isinstance(error([settle]), CallCancelled)
    assert disconnect == Disconnect(peer(A))
    assert client.in_flight == 0 and client.deadline() == math.inf
    client.check()


def test_a_closed_client_hears_nothing(client: ClientCore) -> None:
    client.close()
    assert client.hear(tell("found", A, HERE), 0.0) == []


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


# What becomes of instances


def test_a_silent_instance_is_not_chosen(client: ClientCore) -> None:
    up(client, A)
    client.hear(tell("silent", A), 0.0)
    assert sent(call(client)) == []
    assert sent(client.hear(tell("answering", A), 0.0)) == [(REQUEST, [1])]


def test_what_did_not_leave_for_a_silent_instance_goes_to_another(client: ClientCore) -> None:
    up(client, A)
    [send] = call(client)
    assert isinstance(send, Send)
    client.unsent(send.peer, send.frames, 0.0)
    up(client, B)
    effects = client.hear(tell("silent", A), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]


def test_a_lost_instance_is_disconnected_and_its_calls_wait(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert client.hear(tell("lost", A), 0.0) == [Disconnect(peer(A))]
    assert client.in_flight == 1


def test_the_same_incarnation_is_asked_again(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.hear(tell("lost", A), 0.0)
    client.hear(tell("found", A, HERE), 0.0)
    effects = client.receive(peer(A), packets.welcome(A, CLIENT), 0.0)
    assert sent(effects) == [(REQUEST, [1])] and client.stats()["retries"] == 1


def test_an_idempotent_call_moves_when_its_instance_is_lost(client: ClientCore) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    effects = client.hear(tell("lost", A), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]


def test_a_call_that_must_not_move_ends_when_its_instance_is_gone(client: ClientCore) -> None:
    up(client, A)
    call(client)
    up(client, B)
    found = error(client.hear(tell("gone", A), 0.0))
    assert isinstance(found, PeerLost) and found.may_have_run


def test_an_idempotent_call_ends_when_its_attempts_do(client: ClientCore) -> None:
    up(client, A, "add")
    call(client, attempts=1)
    assert isinstance(error(client.hear(tell("gone", A), 0.0)), PeerLost)


def test_one_that_leaves_gets_nothing_new_and_finishes_what_it_has(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.receive(peer(A), packets.bye(A, CLIENT), 0.0)
    assert sent(call(client)) == []
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert ends(effects) == [(1, 42, None)]


def test_what_got_lost_is_sent_again_even_to_one_that_leaves(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.receive(peer(A), packets.bye(A, CLIENT), 0.0)
    client.tick(PING_S)
    effects = client.receive(peer(A), packets.pong(A, CLIENT, 1), PING_S)
    assert sent(effects) == [(REQUEST, [1])]


def test_a_goodbye_before_welcome_waits_for_the_next(client: ClientCore) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    assert client.receive(peer(A), packets.bye(A, CLIENT), 0.0) == []
    up(client, A)
    assert client.ready_count == 1


# Refusals


def test_a_refused_call_goes_to_another_instance(client: ClientCore) -> None:
    up(client, A)
    call(client)
    up(client, B)
    effects = client.receive(peer(A), packets.error(A, CLIENT, BUSY, 1), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]


def test_a_call_that_all_refuse_fails_and_did_not_run(client: ClientCore) -> None:
    up(client, A)
    call(client)
    found = error(client.receive(peer(A), packets.error(A, CLIENT, BUSY, 1), 0.0))
    assert isinstance(found, Busy) and not found.may_have_run


def test_a_call_refused_by_one_that_leaves_waits_for_the_next(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert client.receive(peer(A), packets.error(A, CLIENT, LEAVING, 1), 0.0) == []
    up(client, B)
    assert client.in_flight == 1 and sent(client.flush(0.0)) == []
    effects = client.receive(peer(B), packets.reply(B, CLIENT, _1=42), 0.0)
    assert ends(effects) == [(1, 42, None)]


@pytest.mark.parametrize("code", [BUSY, LEAVING, EXPIRED])
def test_a_refusal_by_one_that_has_the_call_no_more_says_nothing(
    client: ClientCore, code: str
) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    client.hear(tell("lost", A), 0.0)
    client.hear(tell("found", A, HERE), 0.0)
    assert client.receive(peer(A), packets.error(A, CLIENT, code, 1), 0.0) == []
    assert client.in_flight == 1


def test_a_value_from_one_that_had_the_call_is_as_good(client: ClientCore) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    client.hear(tell("lost", A), 0.0)
    client.hear(tell("found", A, HERE), 0.0)
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert ends(effects) == [(1, 42, None)]


def test_nobody_answers_for_another(client: ClientCore) -> None:
    up(client, A)
    call(client)
    up(client, B)
    assert client.receive(peer(B), packets.reply(B, CLIENT, _1=42), 0.0) == []
    assert client.in_flight == 1


def test_a_refusal_says_nothing_of_the_instance_before(client: ClientCore) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    client.hear(tell("gone", A), 0.0)
    found = error(client.receive(peer(B), packets.error(B, CLIENT, EXPIRED, 1), 0.0))
    assert isinstance(found, CallTimeout) and found.may_have_run


@pytest.mark.parametrize("code", [BUSY, LEAVING, RAISED])
def test_an_error_that_is_said_twice_in_one_packet_counts_once(
    client: ClientCore, code: str
) -> None:
    up(client, A)
    call(client)
    up(client, B)
    client.receive(peer(A), packets.error(A, CLIENT, code, 1, 1), 0.0)
    assert client.stats()["duplicates"] == 1
    client.check()


def test_an_answer_that_is_said_twice_in_one_packet_counts_once(client: ClientCore) -> None:
    up(client, A)
    call(client)
    [send] = call(client)
    assert isinstance(send, Send)
    client.unsent(send.peer, send.frames, 0.0)
    twice = packets.reply(A, CLIENT, _1=42, _01=43)
    assert ends(client.receive(peer(A), twice, 0.0)) == [(1, 42, None)]
    client.check()


# Whatever is sent


def test_packets_of_many_frames_are_counted(client: ClientCore) -> None:
    up(client, A)
    assert client.receive(peer(A), (b"x", b"y"), 0.0) == []
    assert client.stats()["malformed"] == {"frames": 1}


def test_whoever_is_not_connected_says_nothing(client: ClientCore) -> None:
    assert client.receive(b"nobody", packets.bye(A, CLIENT), 0.0) == []


def test_what_is_for_somebody_else_is_counted(client: ClientCore) -> None:
    up(client, A)
    client.receive(peer(A), packets.reply(A, CLIENT + 1, _1=42), 0.0)
    assert client.stats()["malformed"] == {"unexpected": 1}


@pytest.mark.parametrize("credit", [0, -1])
def test_no_credit_is_malformed(client: ClientCore, credit: int) -> None:
    client.hear(tell("found", A, HERE), 0.0)
    client.receive(peer(A), packets.welcome(A, CLIENT, credit=credit), 0.0)
    assert client.stats()["malformed"] == {"credit": 1} and client.ready_count == 0


def test_a_failed_one_way_message_that_nobody_waits_for_is_noted(client: ClientCore) -> None:
    client.submit(
        "add", request_body("add", 4, None, (), {}), None, timeout_s=1.0, wait_s=1.0,
        priority=4, attempts=3, oneway=True, waiter=None, now=0.0,
    )  # fmt: skip
    [note] = client.tick(1.1)
    assert isinstance(note, Note) and note.event == "notify-failed"
