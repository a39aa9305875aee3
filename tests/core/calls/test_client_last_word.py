"""An instance that has closed and is gone: what it answered last may still be under way."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, HERE, call, ends, error, note, peer, tell, up
from tests.packets import sent
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import LEAVING
from zmqkit.core.effects import Connect, Disconnect, News, Send
from zmqkit.errors import Busy, CallTimeout, PeerLost
from zmqkit.limits import LINGER_S_MAX, PING_S, ClientLimits
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import BYE, REQUEST, pack

A, B = 0xA, 0xB
REPLY = packets.reply(A, CLIENT, _1=42)


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


def leave(client: ClientCore, *idempotent: str) -> None:
    """Have an instance say goodbye with one call in hand."""
    up(client, A, *idempotent)
    call(client, timeout_s=60.0)
    client.receive(peer(A), packets.bye(A, CLIENT), 0.0)
    client.check()


def test_a_last_answer_is_taken_after_the_end(client: ClientCore) -> None:
    leave(client)
    assert client.hear(tell(News.GONE, A), 0.0) == [note("gone", A)]
    client.check()
    effects = client.receive(peer(A), REPLY, 1.0)
    assert ends(effects) == [("add", 42, None)] and Disconnect(peer(A)) in effects
    client.check()
    assert client.instances == []


def test_so_is_one_that_comes_before_the_goodbye(client: ClientCore) -> None:
    up(client, A)
    call(client)
    assert client.hear(tell(News.GONE, A), 0.0) == [note("gone", A)]
    assert ends(client.receive(peer(A), REPLY, 1.0)) == [("add", 42, None)]
    client.check()


def test_one_that_owes_nothing_is_forgotten_at_once(client: ClientCore) -> None:
    leave(client)
    client.receive(peer(A), REPLY, 0.0)
    assert client.hear(tell(News.GONE, A), 0.0) == [note("gone", A), Disconnect(peer(A))]
    assert client.instances == []


def test_it_is_not_waited_for_for_ever(client: ClientCore) -> None:
    leave(client)
    client.hear(tell(News.GONE, A), 0.0)
    early = LINGER_S_MAX - 0.1
    while client.deadline() < early:
        now = client.deadline()
        assert client.tick(now) == []
        assert client.deadline() > now
    found = error(client.tick(LINGER_S_MAX))
    assert isinstance(found, PeerLost) and found.may_have_run
    client.check()


def test_a_call_whose_time_is_over_is_waited_for_no_longer(client: ClientCore) -> None:
    leave(client)
    client.hear(tell(News.GONE, A), 0.0)
    client.cancel(1, 1.0)
    assert Disconnect(peer(A)) in client.tick(1.0 + PING_S)
    client.check()


def test_what_may_run_twice_moves_at_once(client: ClientCore) -> None:
    leave(client, "add")
    up(client, B, "add")
    effects = client.hear(tell(News.GONE, A), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]
    assert Disconnect(peer(A)) in effects
    client.check()


@pytest.mark.parametrize("news", [News.GONE, News.LOST, News.SILENT])
def test_further_news_of_it_changes_nothing(client: ClientCore, news: News) -> None:
    leave(client)
    client.hear(tell(News.GONE, A), 0.0)
    assert client.hear(tell(news, A), 0.5) == []
    assert ends(client.receive(peer(A), REPLY, 1.0)) == [("add", 42, None)]


def test_it_may_be_found_again(client: ClientCore) -> None:
    leave(client)
    client.hear(tell(News.GONE, A), 0.0)
    effects = client.hear(tell(News.FOUND, A, f"{HERE}{A}"), 1.0)
    assert Connect(peer(A), f"{HERE}{A}") in effects
    client.check()
    effects = client.receive(peer(A), packets.welcome(A, CLIENT), 1.0)
    assert sent(effects) == [(REQUEST, [1])]


def test_its_connection_is_not_used_for_new_calls(client: ClientCore) -> None:
    leave(client)
    client.hear(tell(News.GONE, A), 0.0)
    assert call(client) == []
    up(client, B)
    assert [(i.incarnation, len(i.jobs)) for i in client.instances] == [(A, 1), (B, 1)]


def test_one_that_was_silent_may_be_found_again(client: ClientCore) -> None:
    leave(client)
    client.hear(tell(News.SILENT, A), 0.0)
    client.hear(tell(News.GONE, A), 0.0)
    client.hear(tell(News.FOUND, A, HERE), 1.0)
    client.receive(peer(A), packets.welcome(A, CLIENT), 1.0)
    assert client.ready_count == 1


@pytest.mark.parametrize("news", [(News.GONE, A), (News.FOUND, B)])
def test_one_that_left_gives_way_when_there_is_no_room(
    news: tuple[News, int],
) -> None:
    """To one that is found then, and to one that stood by."""
    client = ClientCore("orders", CLIENT, ClientLimits(instances_max=1))
    leave(client)
    first = (News.FOUND, B) if news[0] is News.GONE else (News.GONE, A)
    client.hear(tell(*first, HERE), 0.0)
    effects = client.hear(tell(*news, HERE), 0.0)
    assert isinstance(error(effects), PeerLost) and Connect(peer(B), HERE) in effects
    client.check()


# The last word


def test_what_it_did_not_take_did_not_run_there(client: ClientCore) -> None:
    leave(client)
    up(client, B)
    effects = client.receive(peer(A), packets.last_word(A, CLIENT), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]
    client.hear(tell(News.GONE, A), 0.0)
    client.check()
    packet = packets.error(B, CLIENT, LEAVING, 1)
    client.receive(peer(B), packet, 0.0)
    found = error(client.tick(60.0))
    assert isinstance(found, CallTimeout) and not found.may_have_run


def test_what_it_did_not_take_waits_for_another(client: ClientCore) -> None:
    leave(client)
    client.hear(tell(News.GONE, A), 0.0)
    effects = client.receive(peer(A), packets.last_word(A, CLIENT), 0.0)
    assert effects == [Disconnect(peer(A))]
    up(client, B)
    client.check()
    assert [i.jobs.keys() for i in client.instances] == [{1}]


@pytest.mark.parametrize("packet", [
    packets.last_word(A, CLIENT, 1), packets.last_word(A, CLIENT, below=2),
])  # fmt: skip
def test_what_it_took_and_did_not_answer_may_have_run(
    client: ClientCore, packet: Frames
) -> None:
    leave(client)
    up(client, B)
    found = error(client.receive(peer(A), packet, 0.0))
    assert isinstance(found, PeerLost) and found.may_have_run


def test_what_it_took_and_may_run_twice_moves(client: ClientCore) -> None:
    leave(client, "add")
    up(client, B, "add")
    effects = client.receive(peer(A), packets.last_word(A, CLIENT, 1), 0.0)
    assert [e.peer for e in effects if isinstance(e, Send)] == [peer(B)]
    client.check()


def test_what_it_did_not_take_ends_with_its_attempts(client: ClientCore) -> None:
    up(client, A)
    call(client, attempts=1)
    found = error(client.receive(peer(A), packets.last_word(A, CLIENT), 0.0))
    assert isinstance(found, Busy) and not found.may_have_run


def test_nothing_is_sent_to_it_after_that(client: ClientCore) -> None:
    up(client, A)
    assert client.receive(peer(A), packets.last_word(A, CLIENT), 0.0) == []
    assert call(client) == [] and client.ready_count == 0
    client.check()


@pytest.mark.parametrize("meta", [[], [0], [0, 1], [0, ["1"]], [None, []], 7, "gone", {}])
def test_a_last_word_that_makes_no_sense_is_counted(client: ClientCore, meta: object) -> None:
    up(client, A)
    call(client)
    assert client.receive(peer(A), pack(BYE, A, CLIENT, 0, encode(meta)), 0.0) == []
    assert client.malformed.total() == 1 and client.in_flight == 1
