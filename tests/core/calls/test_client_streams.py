"""A client's streams: every value once and in order, credit as they are taken, and one end."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.bench import CLIENT, HERE, kinds, peer, tell, up
from tests.packets import read, sent
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.effects import Effect, News, Send, Settle
from zmqkit.errors import CallCancelled, CallTimeout, NoMethod, PeerLost, RemoteError
from zmqkit.limits import PING_S, STREAM_BYTES, STREAM_ITEMS
from zmqkit.model import Frames
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import CANCEL, GRANT, ITEM, STREAM, pack
from zmqkit.wire.rows import item_columns, request_row

BODY = request_row("count", None, (), {})
A, B = 0xA, 0xB


@pytest.fixture
def client() -> ClientCore:
    return ClientCore("orders", CLIENT)


def stream(client: ClientCore, now: float = 0.0, **options: object) -> StreamCall:
    """Ask for a stream."""
    call = client.stream("count", BODY, None, CallOptions(**options), now)  # type: ignore[arg-type]  # its own options
    client.flush(now)
    client.check()
    return call


def receive(
    client: ClientCore, frames: Frames, now: float = 0.0, incarnation: int = A
) -> list[Effect]:
    """Have a packet arrive, and the turn end; the core is sound afterwards."""
    effects = client.receive(peer(incarnation), frames, now)
    client.check()
    return effects + client.flush(now)


def items(first: int, *values: object, sequence: int = 1) -> Frames:
    """Values of the one stream."""
    return packets.items(A, CLIENT, sequence, first, *values)


def end(count: int, code: str = "") -> Frames:
    """The end of the one stream."""
    return packets.end(A, CLIENT, 1, count, code)


def drain(client: ClientCore, call: StreamCall) -> list[object]:
    """Take all that is here."""
    taken = []
    while call.values:
        taken.append(client.take(call))
    client.check()
    return taken


def grants(effects: list[Effect]) -> list[object]:
    """The columns of credit that leave."""
    return [read(e)[1] for e in effects if sent([e]) and read(e)[0] == GRANT]


def begun(client: ClientCore, **options: object) -> StreamCall:
    """A stream whose first value is here."""
    up(client, A)
    call = stream(client, **options)
    receive(client, items(0, "a"))
    return call


def test_a_stream_is_asked_for_with_its_window(client: ClientCore) -> None:
    up(client, A)
    client.stream("count", BODY, None, CallOptions(), 0.0)
    [packet] = client.flush(0.0)
    kind, meta = read(packet)
    assert kind == STREAM and isinstance(meta, list)
    assert meta[:2] == [[1], [5000]] and meta[4] == [[STREAM_ITEMS, STREAM_BYTES]]


def test_values_come_in_order_and_the_end_after_them(client: ClientCore) -> None:
    call = begun(client)
    receive(client, items(1, "b", "c"))
    receive(client, end(3))
    assert call.over and call.error is None
    assert drain(client, call) == ["a", "b", "c"]
    assert client.stats()["delivered"] == 1 and client.in_flight == 0


def test_who_listens_is_told_of_a_value_and_of_the_end(client: ClientCore) -> None:
    call = begun(client)
    drain(client, call)
    client.listen(call, "me", 0.0)
    assert receive(client, items(1, "b")) == [Settle([("me", None, None)])]
    drain(client, call)
    client.listen(call, "me", 0.0)
    assert receive(client, end(2)) == [Settle([("me", None, None)])]


def test_what_it_raised_comes_after_its_values(client: ClientCore) -> None:
    call = begun(client)
    receive(client, end(1, "raised"))
    assert drain(client, call) == ["a"] and isinstance(call.error, RemoteError)
    assert client.stats()["failed"] == 1


def test_credit_is_granted_a_quarter_of_the_window_at_a_time(client: ClientCore) -> None:
    call = begun(client)
    quarter = STREAM_ITEMS // 4
    receive(client, items(1, *range(quarter)))
    for _ in range(quarter - 1):
        client.take(call)
    assert client.flush(0.0) == []
    client.take(call)
    assert grants(client.flush(0.0)) == [[[1], [quarter], [None]]]
    assert client.flush(0.0) == []


def test_credit_for_an_instance_that_is_silent_leaves_when_it_answers(
    client: ClientCore,
) -> None:
    call = begun(client)
    quarter = STREAM_ITEMS // 4
    receive(client, items(1, *range(quarter)))
    client.hear(tell(News.SILENT, A), 0.0)
    drain(client, call)
    assert grants(client.flush(0.0)) == []
    effects = client.hear(tell(News.ANSWERING, A), 1.0) + client.flush(1.0)
    assert grants(effects) == [[[1], [quarter + 1], [None]]]


def test_large_values_are_credited_one_by_one(client: ClientCore) -> None:
    up(client, A)
    call = stream(client)
    row = encode("x" * STREAM_BYTES)
    receive(client, pack(ITEM, A, CLIENT, 0, item_columns([1], [0], [row]), row))
    client.take(call)
    assert grants(client.flush(0.0)) == [[[1], [1], [None]]]


def test_a_gap_is_asked_for_once(client: ClientCore) -> None:
    call = begun(client)
    assert grants(receive(client, items(2, "c"))) == [[[1], [0], [1]]]
    assert receive(client, items(3, "d")) == []
    receive(client, items(1, "b", "c", "d"))
    assert drain(client, call) == ["a", "b", "c", "d"]
    assert client.stats()["retries"] == 1


def test_an_end_that_comes_early_waits_for_what_is_missing(client: ClientCore) -> None:
    call = begun(client)
    assert grants(receive(client, end(2))) == [[[1], [0], [1]]]
    assert not call.over
    receive(client, items(1, "b"))
    assert call.over and drain(client, call) == ["a", "b"]


def test_a_value_that_comes_twice_is_counted(client: ClientCore) -> None:
    call = begun(client)
    receive(client, items(0, "a", "b"))
    assert drain(client, call) == ["a", "b"]
    assert client.stats()["duplicates"] == 1


def test_a_pong_shows_what_got_lost_last(client: ClientCore) -> None:
    begun(client)
    client.tick(PING_S)
    pong = packets.pong(A, CLIENT, 1, [1], progress=[(1, 3, 0)])
    assert grants(receive(client, pong, PING_S)) == [[[1], [0], [1]]]


def test_a_pong_shows_that_credit_got_lost(client: ClientCore) -> None:
    call = begun(client)
    receive(client, items(1, *range(STREAM_ITEMS // 4)))
    drain(client, call)
    client.flush(0.0)
    client.tick(PING_S)
    taken = STREAM_ITEMS // 4 + 1
    pong = packets.pong(A, CLIENT, 1, [1], progress=[(1, taken, 0)])
    assert grants(receive(client, pong, PING_S)) == [[[1], [taken], [None]]]


def test_one_that_a_pong_does_not_name_is_asked_to_go_on(client: ClientCore) -> None:
    begun(client)
    client.tick(PING_S)
    effects = receive(client, packets.pong(A, CLIENT, 1, []), PING_S)
    assert grants(effects) == [[[1], [0], [1]]] and len(effects) == 1


def test_one_that_has_not_begun_is_asked_for_anew(client: ClientCore) -> None:
    up(client, A)
    stream(client)
    client.tick(PING_S)
    assert sent(receive(client, packets.pong(A, CLIENT, 1, []), PING_S)) == [(STREAM, [1])]


def test_a_connection_made_anew_goes_on_where_it_was(client: ClientCore) -> None:
    begun(client)
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.FOUND, A, HERE), 0.0)
    effects = receive(client, packets.welcome(A, CLIENT))
    assert grants(effects) == [[[1], [0], [1]]]
    assert STREAM not in kinds(effects)


def test_one_that_began_by_an_earlier_copy_does_not_move(client: ClientCore) -> None:
    """Its later copy found no room, and then the first one's value came."""
    up(client, A, "count")
    call = stream(client)
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.FOUND, A, f"{HERE}1"), 0.0)
    packet = packets.welcome(A, CLIENT, idempotent=["count"])
    for effect in client.receive(peer(A), packet, 0.0):
        if isinstance(effect, Send):
            client.unsent(effect.peer, effect.frames, 0.0)
    assert call.copies == 0
    receive(client, items(0, "a"))
    up(client, B, "count")
    assert client.receive(peer(A), packets.bye(A, CLIENT), 0.0) == []
    client.check()
    assert call.instance is client.instances[0]


def test_one_that_has_begun_is_lost_with_its_instance(client: ClientCore) -> None:
    up(client, A, "count")
    call = stream(client)
    up(client, B, "count")
    receive(client, items(0, "a"))
    client.hear(tell(News.LOST, A), 0.0)
    client.hear(tell(News.GONE, A), 0.0)
    client.check()
    assert drain(client, call) == ["a"]
    assert isinstance(call.error, PeerLost) and call.error.may_have_run


def test_one_that_has_not_begun_moves_if_it_may(client: ClientCore) -> None:
    up(client, A, "count")
    call = stream(client)
    up(client, B, "count")
    client.hear(tell(News.GONE, A), 0.0)
    client.check()
    receive(client, packets.items(B, CLIENT, 1, 0, "b"), incarnation=B)
    assert drain(client, call) == ["b"]


def test_one_that_moves_forgets_the_end_that_was_told_before(client: ClientCore) -> None:
    up(client, A, "count")
    call = stream(client)
    receive(client, end(2))  # its values were lost
    up(client, B, "count")
    client.hear(tell(News.GONE, A), 0.0)
    receive(client, packets.items(B, CLIENT, 1, 0, 1, 2, 3), incarnation=B)
    receive(client, packets.end(B, CLIENT, 1, 3), incarnation=B)
    assert drain(client, call) == [1, 2, 3] and call.over and call.error is None


def test_values_of_an_instance_that_had_it_are_passed_over(client: ClientCore) -> None:
    up(client, A, "count")
    call = stream(client)
    up(client, B, "count")
    client.hear(tell(News.LOST, A), 0.0)
    up(client, A)
    assert sent(receive(client, items(0, "a"))) == []
    assert not call.values


def test_a_refusal_before_the_first_value_has_it_move(client: ClientCore) -> None:
    up(client, A)
    stream(client)
    up(client, B)
    effects = receive(client, packets.error(A, CLIENT, "busy", 1))
    assert sent(effects) == [(STREAM, [1])]


def test_a_refusal_after_the_first_value_is_a_loss(client: ClientCore) -> None:
    call = begun(client)
    up(client, B)
    receive(client, packets.error(A, CLIENT, "leaving", 1))
    assert isinstance(call.error, PeerLost) and call.error.may_have_run


def test_time_runs_to_the_first_value_and_then_while_one_waits(client: ClientCore) -> None:
    call = begun(client, timeout_s=2.0)
    client.tick(100.0)
    assert not call.over
    drain(client, call)
    client.listen(call, "me", 100.0)
    client.tick(101.9)
    client.check()
    assert not call.over
    effects = client.tick(102.1)
    assert effects[0] == Settle([("me", None, None)])
    assert isinstance(call.error, CallTimeout) and call.error.may_have_run
    assert sent(effects[1:2]) == [(CANCEL, [1])]
    assert client.stats()["expired"] == 1


def test_the_first_value_has_the_time_of_a_call(client: ClientCore) -> None:
    up(client, A)
    call = stream(client, timeout_s=2.0)
    client.listen(call, "me", 1.5)
    client.tick(2.1)
    assert isinstance(call.error, CallTimeout)


def test_one_that_is_given_up_is_told(client: ClientCore) -> None:
    call = begun(client)
    effects = client.cancel(call.sequence, 0.0)
    client.check()
    assert sent(effects) == [(CANCEL, [1])]
    assert isinstance(call.error, CallCancelled)
    assert client.stats()["dropped"] == {"cancelled": 1}


def test_a_service_that_did_not_hear_it_is_told_again(client: ClientCore) -> None:
    call = begun(client)
    client.cancel(call.sequence, 0.0)
    assert sent(receive(client, items(1, "b", "c"))) == [(CANCEL, [1])]


def test_close_ends_it_and_leaves_what_came(client: ClientCore) -> None:
    call = begun(client)
    client.close()
    assert call.over and call.values and isinstance(call.error, CallCancelled)


def test_one_value_of_a_plain_method_is_a_stream_too(client: ClientCore) -> None:
    up(client, A)
    call = stream(client)
    client.listen(call, "me", 0.0)
    effects = receive(client, packets.reply(A, CLIENT, _1=42))
    assert effects == [Settle([("me", None, None)])]
    assert drain(client, call) == [42] and call.over and call.error is None


def test_no_method_is_told(client: ClientCore) -> None:
    up(client, A)
    call = stream(client)
    receive(client, packets.error(A, CLIENT, "no-method", 1))
    assert isinstance(call.error, NoMethod) and not call.error.may_have_run


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (end(0), "end"),
        (items(1, *range(STREAM_ITEMS)), "credit"),
        (packets.pong(A, CLIENT, 1, [], progress=[(1, 2)]), "progress"),
        (packets.grant(A, CLIENT, 1, 1), "unexpected"),
    ],
)
def test_what_makes_no_sense_is_counted(
    client: ClientCore, frames: Frames, reason: str
) -> None:
    begun(client)
    client.tick(PING_S)
    receive(client, frames)
    assert client.stats()["malformed"] == {reason: 1}
