"""Clients of RFC 7 and RFC 18 at a front of ours."""

from __future__ import annotations

import pytest

from tests import packets
from tests.core.majordomo.desk import ANN, BOB, BROKER, FRONT, V1, V2, Desk
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.feed import INNER
from zmqkit.limits import BODY_BYTES_MAX, ServiceLimits
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.mdp import ClientRequest, Kind, Version
from zmqkit.wire.passing import unread_arguments

each_version = pytest.mark.parametrize("version", [V1, V2])
FINAL, PARTIAL = Kind.FINAL, Kind.PARTIAL


@each_version
def test_a_request_is_answered_in_kind(version: Version) -> None:
    desk = Desk()
    desk.ask(ANN, version, b"one", b"two")
    assert desk.running[0].method == MDP and desk.running[0].args == [b"one", b"two"]
    desk.answer(b"pong")
    [(peer, reply)] = desk.got
    assert (peer, reply.version, reply.service) == (ANN, version, "echo")
    assert desk.take() == [(ANN, FINAL, (b"pong",))]


@each_version
def test_whoever_passes_a_request_on_reads_the_row_and_its_raw_body(version: Version) -> None:
    desk = Desk(read=unread_arguments)
    desk.ask(ANN, version, b"one", bytes(5000))
    [request] = desk.running
    assert request.headers == {} and request.priority == 4
    row, raw = request.args
    assert row == encode([b"one"]) + encode({})
    assert isinstance(raw, memoryview) and raw == bytes(5000)


@pytest.mark.parametrize(("value", "body"), [
    (b"x", (b"x",)), ([b"a", b"", b"c"], (b"a", b"", b"c")), ("größe", ("größe".encode(),)),
    (7, (b"\x07",)), ([], (b"\x90",)), ([b"a", 1], (encode([b"a", 1]),)), (None, (b"\xc0",)),
    ({"a": 1}, (encode({"a": 1}),)), (b"", (b"",)),
])  # fmt: skip
@each_version
def test_any_value_has_a_body(version: Version, value: object, body: object) -> None:
    desk = Desk()
    desk.ask(ANN, version, b"?")
    desk.answer(value)
    assert desk.take() == [(ANN, FINAL, body)]


def test_a_raw_value_is_one_frame() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    desk.answer(None, bytes(70_000))
    assert desk.take() == [(ANN, FINAL, (bytes(70_000),))]


def test_requests_of_several_clients_are_answered_to_the_right_one() -> None:
    desk = Desk()
    for peer in (ANN, BOB, ANN):
        desk.ask(peer, V1, b"?")
    desk.running.reverse()
    for value in (b"1", b"2", b"3"):
        desk.answer(value)
    assert desk.take() == [(p, FINAL, (v,)) for p, v in ((ANN, b"1"), (BOB, b"2"), (ANN, b"3"))]


def test_items_are_partials_and_the_last_one_is_the_final() -> None:
    desk = Desk(streams=True)
    desk.ask(ANN, V2, b"?")
    desk.give(b"1", b"2")
    desk.turn()
    assert desk.take() == [(ANN, PARTIAL, (b"1",)), (ANN, PARTIAL, (b"2",))]
    desk.give(b"3", [b"4", b"5"])
    desk.end()
    desk.turn()
    assert desk.take() == [(ANN, PARTIAL, (b"3",)), (ANN, FINAL, (b"4", b"5"))]


@pytest.mark.parametrize("items", [0, 1])
def test_an_end_by_itself_is_a_final_without_content(items: int) -> None:
    desk = Desk(streams=True)
    desk.ask(ANN, V2, b"?")
    desk.give(*[b"x"] * items)
    desk.turn()
    desk.end()
    desk.turn()
    assert desk.take() == [(ANN, PARTIAL, (b"x",))] * items + [(ANN, FINAL, (b"",))]


def test_a_long_stream_gets_credit_as_it_goes() -> None:
    desk = Desk(streams=True, front_limits=ServiceLimits(stream_items_max=2))
    desk.ask(ANN, V2, b"?")
    for at in range(50):
        desk.give(at)
        desk.turn()
    desk.end()
    desk.turn()
    assert [kind for _, kind, _ in desk.take()] == [PARTIAL] * 50 + [FINAL]


def test_a_stream_that_fails_has_no_final() -> None:
    desk = Desk(streams=True)
    desk.ask(ANN, V2, b"?")
    desk.give(b"1")
    desk.end("raised")
    desk.turn()
    assert desk.take() == [(ANN, PARTIAL, (b"1",))]
    assert desk.clients.stats()["failed"] == {"raised": 1}


def test_an_error_is_counted_and_noted_once_a_second() -> None:
    desk = Desk()
    for _ in range(3):
        desk.ask(ANN, V1, b"?")
        desk.fail("busy", "come back later")
    desk.now = 1.0
    desk.ask(ANN, V1, b"?")
    desk.fail("never heard of")
    assert desk.take() == []
    assert desk.clients.stats()["failed"] == {"busy": 3, "other": 1}
    fields = [note.fields for note in desk.notes if note.event == "mdp-request-failed"]
    assert fields == [
        {"service": "echo", "code": "busy", "text": "come back later"},
        {"service": "echo", "code": "never heard of", "text": "no"},
    ]


@each_version
def test_a_request_that_nobody_serves_expires(version: Version) -> None:
    desk = Desk(limits=MdpLimits(request_s=7.5))
    desk.ask(ANN, version, b"?")
    assert desk.running[0].deadline_at == 7.5
    desk.fail("expired")
    assert desk.take() == [] and desk.clients.stats()["failed"] == {"expired": 1}


@each_version
def test_the_front_keeps_no_answer_of_a_client_that_rests(version: Version) -> None:
    desk = Desk()
    desk.ask(ANN, version, b"?")
    desk.answer(b"x" * 100)
    assert desk.front.stats()["retained_bytes"] == 0


def test_the_front_keeps_few_answers_of_a_client_that_does_not_rest() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"the first one takes long")
    first = desk.running.pop()
    for _ in range(400):
        desk.ask(ANN, V1, b"?")
        desk.answer(b"x" * 100)
        assert desk.front.stats()["retained_bytes"] < 200 * 300  # type: ignore[operator]  # int
    desk.ask(ANN, V1, b"?")
    desk.answer(b"x" * 70_000)
    assert desk.front.stats()["unread_bytes"] == 0
    desk.running.append(first)
    desk.answer(b"y")
    assert desk.front.stats()["retained_bytes"] == 0


def test_a_stream_with_long_pauses_is_kept() -> None:
    desk = Desk(streams=True)
    desk.ask(ANN, V2, b"?")
    desk.give(b"1")
    desk.turn()
    desk.wait(1000.0)
    assert not desk.running[0].cancelled
    desk.give(b"2")
    desk.end()
    desk.turn()
    assert desk.take() == [(ANN, PARTIAL, (b"1",)), (ANN, FINAL, (b"2",))]


def test_an_idle_client_is_forgotten_after_a_while() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    desk.answer(b"x")
    desk.wait(299.0)
    assert desk.clients.stats()["clients"] == 1
    desk.wait(2.0)
    assert desk.clients.stats()["clients"] == 0 and desk.clients.deadline() == float("inf")


def test_the_client_that_is_idle_for_longest_makes_room() -> None:
    desk = Desk(limits=MdpLimits(clients_max=2))
    for peer in (ANN, BOB, b"\x00eve"):
        desk.ask(peer, V1, b"?")
        desk.answer(b"x")
    assert desk.clients.stats()["clients"] == 2
    assert [peer for peer, _, _ in desk.take()] == [ANN, BOB, b"\x00eve"]


def test_clients_that_wait_for_answers_make_no_room() -> None:
    desk = Desk(limits=MdpLimits(clients_max=1))
    desk.ask(ANN, V1, b"?")
    desk.ask(BOB, V1, b"?")
    assert desk.clients.stats()["refused"] == {"clients-full": 1}
    assert [note.fields["reason"] for note in desk.notes] == ["clients-full"]


def test_a_client_may_have_so_many_requests_and_no_more() -> None:
    desk = Desk(limits=MdpLimits(client_requests_max=2))
    for _ in range(3):
        desk.ask(ANN, V1, b"?")
    assert len(desk.running) == 2 and desk.clients.stats()["refused"] == {"busy": 1}


def test_a_request_for_one_service_too_many_is_refused() -> None:
    desk = Desk()
    desk.target = 0
    desk.ask(ANN, V1, b"?")
    assert desk.fed == [] and desk.clients.stats()["refused"] == {"services-full": 1}


def test_a_body_too_large_for_a_packet_is_refused() -> None:
    desk = Desk()
    half = bytes(BODY_BYTES_MAX // 2)
    deeds = desk.clients.receive(ANN, ClientRequest(V1, "echo", (half, half)), 0.0)
    desk.follow(deeds)
    assert desk.fed == [] and desk.clients.stats()["refused"] == {"too-large": 1}


def test_the_largest_body_passes() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"", bytes(BODY_BYTES_MAX - 10))
    assert len(desk.running) == 1 and desk.front.stats()["malformed"] == {}


@each_version
def test_mmi_is_answered_at_once(version: Version) -> None:
    desk = Desk()
    desk.ask(ANN, version, b"echo", service="mmi.service")
    desk.ask(ANN, version, b"nobody", service="mmi.service")
    assert desk.take() == [(ANN, FINAL, (b"200",)), (ANN, FINAL, (b"404",))]
    assert desk.fed == [] and desk.clients.stats()["clients"] == 0


def test_requests_of_a_client_that_is_gone_are_cancelled() -> None:
    desk = Desk(streams=True)
    desk.ask(ANN, V2, b"?")
    desk.give(b"1")
    desk.turn()
    desk.follow(desk.clients.unsent(ANN, desk.now))
    assert desk.running[0].cancelled
    assert desk.clients.stats()["dropped"] == {"unsent": 1}
    assert desk.clients.stats()["clients"] == 0
    assert desk.clients.unsent(BOB, desk.now) == []


def test_requests_at_a_front_that_was_replaced_are_given_up() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    desk.target = FRONT + 1
    desk.ask(ANN, V1, b"?")
    assert wire.unpack(desk.fed[-1]).target == FRONT + 1
    assert desk.clients.stats()["dropped"] == {"replaced": 1}
    desk.answer(b"too late")
    assert desk.take() == [] and desk.clients.stats()["malformed"] == {"unexpected": 1}


def test_requests_at_a_front_that_closes_are_given_up() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    desk.perform(desk.front.leave())
    assert desk.clients.stats()["in_flight"] == 1
    desk.perform(desk.front.close())
    assert desk.clients.stats()["dropped"] == {"closed": 1}


def test_a_request_for_which_the_front_has_no_room_is_given_up() -> None:
    desk = Desk(front_limits=ServiceLimits(clients_max=1))
    desk.ask(ANN, V1, b"?")
    desk.ask(BOB, V1, b"?")
    desk.wait(41.0)
    assert desk.clients.stats()["dropped"] == {"lost": 1}
    assert desk.clients.stats()["in_flight"] == len(desk.running) == 1


def test_a_request_that_the_front_does_not_name_is_given_up() -> None:
    desk = Desk(front_limits=ServiceLimits(clients_max=1))
    desk.ask(ANN, V1, b"?")
    desk.ask(BOB, V1, b"the front has no room")
    desk.answer(b"x")
    desk.wait(25.0)
    assert desk.clients.stats()["dropped"] == {"lost": 1}
    assert [n.fields for n in desk.notes if n.event == "mdp-requests-lost"] == [
        {"service": "echo", "count": 1}
    ]


def test_clients_of_a_broker_have_numbers_of_their_own_and_inner_ids() -> None:
    desk = Desk()
    for peer, version, service in (
        (ANN, V1, "a"), (ANN, V1, "b"), (ANN, V2, "a"), (BOB, V1, "a"),
    ):  # fmt: skip
        desk.ask(peer, version, b"?", service=service)
    sources = [wire.unpack(frames).source for frames in desk.fed]
    assert sources == [BROKER + 1 + n for n in range(4)]
    assert INNER + sources[0].to_bytes(8, "big") in desk.clients and ANN not in desk.clients


@pytest.mark.parametrize("incarnation", [(1 << 63) - 3, (1 << 64) - 1])
def test_numbers_of_clients_have_63_bits_and_are_not_0(incarnation: int) -> None:
    desk = Desk(broker=incarnation)
    for n in range(6):
        desk.ask(bytes((0, n)), V1, b"?")
    sources = {wire.unpack(frames).source for frames in desk.fed}
    assert len(sources) == 6 and min(sources) > 0 and max(sources) < 1 << 63


def test_odd_packets_of_a_front_change_nothing() -> None:
    desk = Desk()
    desk.ask(ANN, V2, b"?")
    source = wire.unpack(desk.fed[0]).source
    inner = INNER + source.to_bytes(8, "big")
    for frames in (
        (b"x",), packets.items(FRONT, source, 1, 3, 4), packets.items(FRONT, source, 9, 0, 1),
        packets.reply(FRONT, source, _9=1), packets.error(FRONT, source, "busy", 9),
        packets.end(FRONT, source, 9, 0), packets.reply(FRONT, source + 1, _1=1),
        packets.pong(FRONT, source, 1), packets.welcome(FRONT, source),
    ):  # fmt: skip
        desk.follow(desk.clients.take(inner, frames, 0.0))
    assert desk.clients.take(INNER, packets.reply(FRONT, source, _1=1), 0.0) == []
    assert desk.take() == [] and desk.clients.stats()["in_flight"] == 1


def test_a_reply_that_cannot_be_read_ends_its_request_alone() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    desk.ask(ANN, V1, b"?")
    source = wire.unpack(desk.fed[0]).source
    columns = encode([[1, 2], [1, 1]])
    frames = wire.pack(wire.REPLY, FRONT, source, 0, columns, b"\xc1\x07")
    desk.follow(desk.clients.take(INNER + source.to_bytes(8, "big"), frames, 0.0))
    assert desk.take() == [(ANN, FINAL, (b"\x07",))]
    assert desk.clients.stats()["dropped"] == {"unreadable": 1}


def test_a_value_that_cannot_be_decoded_ends_its_request() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    source = wire.unpack(desk.fed[0]).source
    extension = b"\xd4\x05\x00"
    frames = wire.pack(wire.REPLY, FRONT, source, 0, encode([[1], [3]]), extension)
    desk.follow(desk.clients.take(INNER + source.to_bytes(8, "big"), frames, 0.0))
    assert desk.take() == [] and desk.clients.stats()["dropped"] == {"unreadable": 1}


def test_a_stream_that_lacks_items_at_its_end_is_given_up() -> None:
    desk = Desk()
    desk.ask(ANN, V2, b"?")
    source = wire.unpack(desk.fed[0]).source
    frames = packets.end(FRONT, source, 1, 3)
    desk.follow(desk.clients.take(INNER + source.to_bytes(8, "big"), frames, 0.0))
    assert desk.take() == [] and desk.clients.stats()["dropped"] == {"unreadable": 1}


def test_only_the_answer_to_the_last_ping_says_what_the_front_lacks() -> None:
    desk = Desk()
    desk.ask(ANN, V1, b"?")
    desk.wait(50.0)
    source = wire.unpack(desk.fed[0]).source
    inner = INNER + source.to_bytes(8, "big")
    desk.follow(desk.clients.take(inner, packets.pong(FRONT, source, 1), 50.0))
    assert desk.clients.stats()["in_flight"] == 1
    desk.follow(desk.clients.take(inner, packets.pong(FRONT, source, 2), 50.0))
    assert desk.clients.stats()["dropped"] == {"lost": 1}
