"""How a client's calls end: who is told, here and over there."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, call, error, peer, tell, up
from tests.packets import sent
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.effects import Disconnect, News, Send
from zmqkit.limits import EVASIVE_S, LINGER_S
from zmqkit.wire.packet import CANCEL
from zmqkit.wire.rows import request_row

A, B = 0xA, 0xB
BODY = request_row("count", None, (), {})


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


def stream(client: ClientCore, timeout_s: float = 5.0) -> int:
    """Ask for a stream."""
    sequence = client.stream("count", BODY, None, CallOptions(timeout_s), 0.0).sequence
    client.flush(0.0)
    return sequence


def test_streams_that_time_out_together_are_cancelled_in_one_packet(client: ClientCore) -> None:
    up(client, A)
    stream(client)
    stream(client)
    call(client)
    effects = client.tick(6.0)
    assert (CANCEL, [1, 2]) in sent(effects)
    assert client.stats()["expired"] == 3


def test_a_stream_that_never_left_is_nobodys_business(client: ClientCore) -> None:
    sequence = stream(client)
    assert sent(client.cancel(sequence, 0.0)) == []


def test_one_out_of_reach_is_not_told(client: ClientCore) -> None:
    up(client, A)
    sequence = stream(client)
    client.hear(tell(News.LOST, A), 0.0)
    assert sent(client.cancel(sequence, 0.0)) == []


@pytest.mark.parametrize(
    ("news", "heard_at", "word"),
    [(News.SILENT, 1.0, "is silent"), (News.LOST, 2.0, "was lost")],
)
def test_a_timeout_says_for_how_long_its_instance_has_not_answered(
    client: ClientCore, news: News, heard_at: float, word: str
) -> None:
    up(client, A)
    call(client)
    client.hear(tell(news, A), heard_at + (EVASIVE_S if news is News.SILENT else 0.0))
    assert str(error(client.tick(5.0))) == (
        f"'add' got no reply in time: the instance that has it {word}, and has answered "
        f"nothing for {5 - heard_at:.0f} s; see with `zmqkit ls -v` who answers"
    )


def test_silence_counts_from_its_beginning_though_the_instance_is_lost_later(
    client: ClientCore,
) -> None:
    up(client, A)
    call(client)
    client.hear(tell(News.SILENT, A), 3.0)
    client.hear(tell(News.LOST, A), 4.0)
    assert "was lost, and has answered nothing for 4 s" in str(error(client.tick(5.0)))


def test_an_instance_that_answers_again_is_not_blamed(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.hear(tell(News.SILENT, A), 3.0)
    client.hear(tell(News.ANSWERING, A), 4.0)
    assert (
        str(error(client.tick(6.0)))
        == "'add' got no reply in time; give it longer with timeout_s"
    )
    call(client, now=6.0)
    client.hear(tell(News.LOST, A), 7.0)
    up(client, A)
    assert "give it longer" in str(error(client.tick(12.0)))


def test_close_tells_of_streams_and_lets_that_leave(client: ClientCore) -> None:
    up(client, A)
    stream(client)
    effects = client.close()
    assert sent(effects) == [(CANCEL, [1])]
    assert effects[-1] == Disconnect(peer(A), LINGER_S)


def test_close_says_nothing_to_a_process_that_is_silent(client: ClientCore) -> None:
    up(client, A)
    call(client)
    client.hear(tell(News.SILENT, A), 0.0)
    effects = client.close()
    assert not [e for e in effects if isinstance(e, Send)]
    assert effects[-1] == Disconnect(peer(A))


def test_a_stream_dropped_by_another_thread_is_given_up_at_the_next_tick(
    client: ClientCore,
) -> None:
    up(client, A)
    sequence = stream(client)
    client.receive(peer(A), packets.items(A, CLIENT, sequence, 0, "a"), 0.0)
    [dropped] = client.instances[0].jobs.values()
    assert isinstance(dropped, Call)
    client.abandon(dropped)
    assert (CANCEL, [sequence]) in sent(client.tick(1.0))
    assert client.stats()["dropped"] == {"cancelled": 1}
