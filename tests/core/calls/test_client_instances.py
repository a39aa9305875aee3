"""The client's side of request-reply: what happens to instances, and to their calls then."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, HERE, call, ends, error, kinds, note, peer, tell, up
from tests.packets import read, sent
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import BUSY, EXPIRED, LEAVING, NO_METHOD, RAISED, RECALLED
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Note, Send, Settle
from zmqkit.errors import Busy, CallTimeout, NoMethod, PeerLost
from zmqkit.limits import HELLO_S, PING_S, ClientLimits
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR, HELLO, PING, RECALL, REQUEST, pack
from zmqkit.wire.rows import answer_columns

A, B = 0xA, 0xB
THERE = "tcp://127.0.0.1:6000"


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


# Finding instances


def test_what_is_found_is_connected_and_greeted(client: ClientCore) -> None:
    connect, hello = client.hear(tell(News.FOUND, A, HERE), 0.0)
    assert connect == Connect(peer(A), HERE)
    assert read(hello) == (HELLO, {"name": "orders"})


def test_what_is_found_twice_is_connected_once(client: ClientCore) -> None:
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    assert client.hear(tell(News.FOUND, A, HERE), 1.0) == []


def test_what_is_found_elsewhere_is_connected_there(client: ClientCore) -> None:
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    first, second, _ = client.hear(tell(News.FOUND, A, THERE), 1.0)
    assert [first, second] == [Disconnect(peer(A)), Connect(peer(A), THERE)]


def test_welcome_makes_an_instance_ready(client: ClientCore) -> None:
    up(client, A)
    assert client.ready_count == 1


def test_hello_is_repeated_until_welcome(client: ClientCore) -> None:
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    assert client.deadline() == HELLO_S
    assert [read(e)[0] for e in client.tick(HELLO_S)] == [HELLO]


def test_an_instance_that_was_replaced_is_gone(client: ClientCore) -> None:
    up(client, A)
    call(client)
    effects = client.receive(peer(A), packets.welcome(B, CLIENT), 0.0)
    assert isinstance(effects[0], Note) and effects[0].event == "replaced"
    assert isinstance(error(effects), PeerLost) and not client.instances


def test_a_stranger_that_says_anything_else_is_not_believed(client: ClientCore) -> None:
    up(client, A)
    assert client.receive(peer(A), packets.bye(B, CLIENT), 0.0) == []
    assert client.stats()["malformed"] == {"source": 1} and client.ready_count == 1


def test_too_many_instances_are_an_event() -> None:
    client = ClientCore("orders", CLIENT, ClientLimits(known_max=1))
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    assert client.hear(tell(News.FOUND, B, THERE), 0.0) == [
        Note("instances-full", {"name": "orders"})
    ]


def test_a_wait_for_instances_ends_when_they_are_up(client: ClientCore) -> None:
    assert client.await_ready(1, "me", 5.0, 0.0) == []
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    effects = client.receive(peer(A), packets.welcome(A, CLIENT), 0.0)
    assert effects == [note("up", A, HERE), Settle([("me", 1, None)])]


def test_a_wait_for_instances_ends_in_time(client: ClientCore) -> None:
    client.await_ready(1, "me", 5.0, 0.0)
    assert client.deadline() == 5.0
    assert client.tick(5.0) == [Settle([("me", 0, None)])]


# What becomes of instances


def noted(effects: list[Effect]) -> list[Note]:
    return [effect for effect in effects if isinstance(effect, Note)]


def test_what_becomes_of_an_instance_is_told_to_the_log_once(client: ClientCore) -> None:
    found = tell(News.FOUND, A, HERE)
    assert not noted(client.hear(found, 0.0))
    welcome = packets.welcome(A, CLIENT)
    for expected in ([note("up", A, HERE)], []):
        assert noted(client.receive(peer(A), welcome, 0.0)) == expected
    for news in (News.SILENT, News.ANSWERING, News.LOST):
        for expected in ([note(news.value, A, HERE)], []):
            assert noted(client.hear(tell(news, A), 0.0)) == expected
    client.hear(found, 0.0)
    assert noted(client.receive(peer(A), welcome, 0.0)) == [note("up", A, HERE)]
    client.hear(tell(News.LOST, A), 0.0)
    for expected in ([note("gone", A, HERE)], []):
        assert noted(client.hear(tell(News.GONE, A), 0.0)) == expected


def test_an_instance_that_closed_is_gone_once(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.receive(peer(A), packets.bye(A, CLIENT), 0.0)
    assert noted(client.hear(tell(News.GONE, A), 0.0)) == [note("gone", A)]
    answered = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 1.0)
    assert ends(answered) and not noted(answered)


def test_a_silent_instance_is_not_chosen(client: ClientCore) -> None:
    up(client, A)
    client.hear(tell(News.SILENT, A), 0.0)
    assert sent(call(client)) == []
    assert sent(client.hear(tell(News.ANSWERING, A), 0.0)) == [(REQUEST, [1])]


def test_what_did_not_leave_for_a_silent_instance_goes_to_another(client: ClientCore) -> None:
    up(client, A)
    [send] = call(client)
    assert isinstance(send, Send)
    client.unsent(send.peer, send.frames, 0.0)
    up(client, B)
    effects = client.hear(tell(News.SILENT, A), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]


def test_a_lost_instance_is_disconnected_and_its_calls_wait(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert client.hear(tell(News.LOST, A), 0.0) == [note("lost", A), Disconnect(peer(A))]
    assert client.in_flight == 1


def test_the_same_incarnation_is_asked_again(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    effects = client.receive(peer(A), packets.welcome(A, CLIENT), 0.0)
    assert sent(effects) == [(REQUEST, [1])] and client.stats()["retries"] == 1


def test_an_idempotent_call_moves_when_its_instance_is_lost(client: ClientCore) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    effects = client.hear(tell(News.LOST, A), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]


def test_a_call_that_must_not_move_ends_when_its_instance_is_gone(client: ClientCore) -> None:
    up(client, A)
    call(client)
    up(client, B)
    client.hear(tell(News.LOST, A), 0.0)
    found = error(client.hear(tell(News.GONE, A), 0.0))
    assert isinstance(found, PeerLost) and found.may_have_run


def test_an_idempotent_call_ends_when_its_attempts_do(client: ClientCore) -> None:
    up(client, A, "add")
    call(client, attempts=1)
    client.hear(tell(News.LOST, A), 0.0)
    assert isinstance(error(client.hear(tell(News.GONE, A), 0.0)), PeerLost)


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
    client.hear(tell(News.FOUND, A, HERE), 0.0)
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
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    assert client.receive(peer(A), packets.error(A, CLIENT, code, 1), 0.0) == []
    assert client.in_flight == 1


def test_a_value_from_one_that_had_the_call_is_as_good(client: ClientCore) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    effects = client.receive(peer(A), packets.reply(A, CLIENT, _1=42), 0.0)
    assert ends(effects) == [("add", 42, None)]


@pytest.mark.parametrize(
    "late", [packets.reply(A, CLIENT, _1=42), packets.error(A, CLIENT, RAISED, 1)]
)
def test_who_still_runs_what_was_answered_elsewhere_counts_as_busy(
    client: ClientCore, late: Frames
) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add", credit=1)
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    assert len(ends(client.receive(peer(A), late, 0.0))) == 1
    assert sent(call(client)) == []
    assert kinds(client.tick(client.deadline())) == [PING]
    assert sent(client.receive(peer(B), packets.pong(B, CLIENT, 1), 1.0)) == [(REQUEST, [2])]
    client.check()


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
    first = pack(ERROR, A, CLIENT, 0, answer_columns([1], [row]), row)
    client.receive(peer(A), first, 0.0)
    found = error(client.receive(peer(B), packets.error(B, CLIENT, BUSY, 1), 0.0))
    assert isinstance(found, Busy) and found.may_have_run


def test_a_refusal_says_nothing_of_the_instance_before(client: ClientCore) -> None:
    up(client, A, "add")
    call(client)
    up(client, B, "add")
    client.hear(tell(News.GONE, A), 0.0)
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


# What an instance may still have


def test_an_instance_whose_only_place_hangs_is_not_given_every_second_call(
    client: ClientCore,
) -> None:
    up(client, A)
    call(client, timeout_s=1.0)
    up(client, B)
    assert isinstance(error(client.tick(1.1)), CallTimeout)
    for sequence in (2, 3, 4):
        [send] = call(client, now=1.1)
        assert isinstance(send, Send) and send.peer == peer(B)
        client.receive(peer(B), packets.reply(B, CLIENT, **{f"_{sequence}": 42}), 1.2)
    assert PING in kinds(client.tick(1.1 + PING_S))
    client.receive(peer(A), packets.pong(A, CLIENT, 1, []), 2.2)
    [send] = call(client, now=2.2)
    assert isinstance(send, Send) and send.peer == peer(A)


def test_a_call_that_waits_behind_one_that_hangs_moves_to_who_is_idle(
    client: ClientCore,
) -> None:
    up(client, A)
    call(client)
    call(client)
    client.tick(PING_S)
    up(client, B)
    effects = client.receive(peer(A), packets.pong(A, CLIENT, 1, [1, 2], running=1), PING_S)
    assert sent(effects) == [(RECALL, [2])]
    effects = client.receive(peer(A), packets.error(A, CLIENT, RECALLED, 2), PING_S)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]
    assert client.in_flight == 2
    client.check()


@pytest.mark.parametrize("code", [BUSY, NO_METHOD])
def test_a_call_that_the_idle_one_refused_stays_where_it_waits(
    client: ClientCore, code: str
) -> None:
    """Seed 8205893: given back for the one that had no room before, it was nobody's."""
    up(client, B)
    call(client)
    up(client, A)
    effects = client.receive(peer(B), packets.error(B, CLIENT, code, 1), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(A)]
    client.receive(peer(B), packets.welcome(B, CLIENT), 0.0)  # it has room again
    client.tick(PING_S)
    effects = client.receive(peer(A), packets.pong(A, CLIENT, 1, [1], running=0), PING_S)
    assert RECALL not in kinds(effects)
    client.check()


def test_a_call_goes_to_an_instance_that_has_its_method(client: ClientCore) -> None:
    up(client, A)
    call(client)
    up(client, B)
    effects = client.receive(peer(A), packets.error(A, CLIENT, NO_METHOD, 1), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]
    found = error(client.receive(peer(B), packets.error(B, CLIENT, NO_METHOD, 1), 0.0))
    assert isinstance(found, NoMethod) and not found.may_have_run


def test_a_method_that_nobody_else_has_is_not_asked_for_elsewhere(client: ClientCore) -> None:
    up(client, A)
    call(client)
    found = error(client.receive(peer(A), packets.error(A, CLIENT, NO_METHOD, 1), 0.0))
    assert isinstance(found, NoMethod)


def test_instances_that_hang_make_room_for_others() -> None:
    """Sixteen of eighteen may: two that answer are enough."""
    client = ClientCore("orders", CLIENT, ClientLimits(instances_max=16))
    for incarnation in range(1, 19):
        client.hear(tell(News.FOUND, incarnation, f"{HERE}{incarnation}"), 0.0)
    hang = sorted(instance.incarnation for instance in client.instances)
    assert len(hang) == 16
    for incarnation in hang:
        client.hear(tell(News.SILENT, incarnation), 2.0)
        client.check()
    answering = {instance.incarnation for instance in client.instances} - set(hang)
    assert answering == set(range(1, 19)) - set(hang)
