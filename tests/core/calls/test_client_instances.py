"""The client's side of request-reply: what happens to instances, and to their calls then."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, HERE, call, ends, error, peer, tell, up
from tests.packets import read, sent
from zmqkit.core.calls import turnover
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import BUSY, EXPIRED, LEAVING, RAISED
from zmqkit.core.effects import Connect, Disconnect, Note, Send, Settle
from zmqkit.errors import Busy, CallTimeout, PeerLost
from zmqkit.options import HELLO_S, PING_S
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR, HELLO, REQUEST, pack, reply_columns

A, B = 0xA, 0xB
THERE = "tcp://127.0.0.1:6000"


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


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
    monkeypatch.setattr(turnover, "RECORDS_MAX", 1)
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
    client.hear(tell("lost", A), 0.0)
    found = error(client.hear(tell("gone", A), 0.0))
    assert isinstance(found, PeerLost) and found.may_have_run


def test_an_idempotent_call_ends_when_its_attempts_do(client: ClientCore) -> None:
    up(client, A, "add")
    call(client, attempts=1)
    client.hear(tell("lost", A), 0.0)
    assert isinstance(error(client.hear(tell("gone", A), 0.0)), PeerLost)


def test_one_that_leaves_gets_nothing_new_and_finishes_what_it_has(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.receive(peer(A), packets.bye(A, CLIENT), 0.0)
    assert sent(call(client)) == []
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert ends(effects) == [("add", 42, None)]


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
    assert ends(effects) == [("add", 42, None)]


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
    assert ends(effects) == [("add", 42, None)]


def test_nobody_answers_for_another(client: ClientCore) -> None:
    up(client, A)
    call(client)
    up(client, B)
    assert client.receive(peer(B), packets.reply(B, CLIENT, _1=42), 0.0) == []
    assert client.in_flight == 1


def test_a_refusal_may_say_that_it_ran_there_before(client: ClientCore) -> None:
    up(client, A)
    call(client, attempts=2)
    up(client, B)
    row = encode([BUSY, "", "", "", True])
    first = pack(ERROR, A, CLIENT, 0, reply_columns([1], [row]))
    client.receive(peer(A), first, 0.0)
    found = error(client.receive(peer(B), packets.error(B, CLIENT, BUSY, 1), 0.0))
    assert isinstance(found, Busy) and found.may_have_run


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
    assert ends(client.receive(peer(A), twice, 0.0)) == [("add", 42, None)]
    client.check()
