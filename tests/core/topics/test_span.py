"""The link between the two ends of a bridge: what is sent again, what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.effects import Connect, Disconnect, Effect, Send
from zmqkit.core.topics.passage import Item, item_of
from zmqkit.core.topics.span import DIALLED, MISSING_S, Span
from zmqkit.limits import CREDIT, PACKET_BYTES_MAX, READY_S
from zmqkit.model import Frames, PeerId, parse_url
from zmqkit.wire import carriage, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.carriage import Beat, Greeting
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import Packet

HERE, THERE, OTHER = 0xA, 0xB, 0xC
PEER, PEER_2 = b"~\0aaaa", b"~\0bbbb"
URL = "tcp://10.0.0.5:5580"


def make(url: str | None = None, **limits: int) -> Span:
    place = parse_url(url) if url is not None else None
    return Span("weather", HERE, (b"",), BridgeLimits(**limits), place, lambda item: "")


@pytest.fixture
def span() -> Iterator[Span]:
    """An end that listens."""
    span = make()
    yield span
    span.check()


@pytest.fixture
def dialling() -> Iterator[Span]:
    """An end that has dialled."""
    span = make(URL)
    span.begin(0.0)
    yield span
    span.check()


def item(number: int, size: int = 10) -> Item:
    frames = publication.publication(b"t", 0x99, number, [encode(bytes(size))], 1)
    return item_of(frames, waits=False)


def greets(
    kind: int = wire.HELLO, source: int = THERE, *, token: int = 1, name: str = "",
    following: int = 0, passed: int = 0, first: int = 1, target: int = HERE,
) -> Frames:  # fmt: skip
    said = Greeting(token, name, first, following, passed, (b"",))
    return carriage.greeting(kind, source, target, said)


def beats(following: int, passed: int, *, again: bool = False, leaving: bool = False) -> Frames:
    return carriage.beat(THERE, HERE, Beat(following, passed, again, [], leaving))


def carries(first: int, *numbers: int) -> Frames:
    rows = [(False, item(number).frames) for number in numbers]
    return carriage.carriage(THERE, HERE, first, rows, far=False)


def meet(span: Span, peer: PeerId = PEER, now: float = 0.0) -> None:
    span.receive(peer, greets(), now)
    span.flush(now)


def sent(effects: list[Effect], kind: int) -> list[Packet]:
    packets = [wire.unpack(each.frames) for each in effects if isinstance(each, Send)]
    return [each for each in packets if each.kind == kind]


def numbers(effects: list[Effect]) -> list[tuple[int, int]]:
    """The first number of each packet of items, and how many these are."""
    packets = sent(effects, wire.PUBLISH)
    return [(each.settled, len(carriage.rows_of(each))) for each in packets]


def test_the_one_that_dials_greets_until_it_is_answered() -> None:
    span = make(URL)
    connect, hello = span.begin(0.0)
    assert connect == Connect(DIALLED, URL)
    assert isinstance(hello, Send)
    assert carriage.greeting_of(wire.unpack(hello.frames)).token == 1
    [again] = sent(span.tick(READY_S), wire.HELLO)
    assert carriage.greeting_of(again).token == 2
    assert not span.up
    span.receive(DIALLED, greets(wire.WELCOME, token=1), READY_S)
    assert span.up


def test_a_connection_on_which_nothing_comes_is_made_anew(dialling: Span) -> None:
    dialling.receive(DIALLED, greets(wire.WELCOME), 0.0)
    for now in (1.0, 2.0):
        assert sent(dialling.tick(now), wire.CREDIT)
    effects = dialling.tick(MISSING_S)
    assert Connect(DIALLED, URL) in effects
    assert not dialling.up
    assert Connect(DIALLED, URL) in dialling.tick(2 * MISSING_S)


def test_the_one_that_listens_waits_to_be_dialled_again(span: Span) -> None:
    meet(span)
    assert sent(span.tick(1.0), wire.CREDIT)
    span.tick(MISSING_S)
    assert not span.up
    assert span.deadline() > 1e9
    meet(span, PEER_2, 10.0)
    assert span.up


def test_items_leave_in_packets_and_are_kept_until_they_are_passed_on(span: Span) -> None:
    for number in range(1, 6):
        span.put(item(number))
    assert span.flush(0.0) == []
    span.receive(PEER, greets(), 0.0)
    assert numbers(span.flush(0.0)) == [(1, 5)]
    span.receive(PEER, beats(6, 3), 0.0)
    assert (span.count, span.ended_count) == (3, 2)
    span.receive(PEER, beats(6, 6), 0.0)
    assert (span.count, span.size, span.ended_count) == (0, 0, 5)


def test_after_a_new_connection_it_sends_on_from_where_the_other_end_is(span: Span) -> None:
    meet(span)
    for number in range(1, 6):
        span.put(item(number))
    span.flush(0.0)
    span.receive(PEER_2, greets(following=4, passed=2), 1.0)
    assert span.count == 4
    assert numbers(span.flush(1.0)) == [(4, 2)]


def test_how_far_the_end_before_was_says_nothing_of_its_successor(span: Span) -> None:
    """The other end repeats its HELLO, as the WELCOME was lost with all that followed it."""
    for _ in range(2):
        span.receive(PEER, greets(target=OTHER, following=4, passed=4), 0.0)
        if not span.put_count:
            for number in range(1, 6):
                span.put(item(number))
        assert numbers(span.flush(0.0)) == [(1, 5)]


def test_who_dials_says_whose_packets_it_counts(dialling: Span) -> None:
    assert [each.target for each in sent(dialling.tick(READY_S), wire.HELLO)] == [0]
    dialling.receive(DIALLED, greets(wire.WELCOME), READY_S)
    now = READY_S + MISSING_S
    assert [each.target for each in sent(dialling.tick(now), wire.HELLO)] == [THERE]


def test_another_end_gets_all_that_was_not_passed_on(span: Span) -> None:
    meet(span)
    for number in range(1, 6):
        span.put(item(number))
    span.flush(0.0)
    span.receive(PEER, beats(6, 3), 0.0)
    span.receive(PEER_2, greets(source=OTHER), MISSING_S)
    assert numbers(span.flush(MISSING_S)) == [(3, 3)]


def test_what_comes_twice_is_taken_once(span: Span) -> None:
    meet(span)
    span.receive(PEER, carries(1, 1, 2), 0.0)
    span.receive(PEER, carries(2, 2, 3), 0.0)
    assert [each.sequence for each in span.arrived] == [1, 2, 3]


def test_what_comes_and_is_not_passed_on_is_bounded() -> None:
    span = make(held_bytes_max=2 * item(1).size)
    meet(span)
    for number in range(1, 10):
        span.receive(PEER, carries(number, number), 0.1)
    assert [each.sequence for each in span.arrived] == [1, 2]
    [packet] = sent(span.tick(READY_S), wire.CREDIT)
    assert carriage.beat_of(packet) == Beat(3, 1, False, [], False)
    span.arrived.clear()
    span.pass_on(2)
    [packet] = sent(span.tick(2 * READY_S), wire.CREDIT)
    assert carriage.beat_of(packet) == Beat(3, 3, True, [], False)
    span.receive(PEER, carries(3, 3), 2.1)
    assert [each.sequence for each in span.arrived] == [3]
    span.check()


def test_a_gap_is_asked_for_once(span: Span) -> None:
    meet(span)
    span.receive(PEER, carries(3, 3), 0.0)
    span.receive(PEER, carries(4, 4), 0.0)
    assert not span.arrived
    [beat] = sent(span.flush(0.0), wire.CREDIT)
    assert carriage.beat_of(beat) == Beat(1, 1, True, [], leaving=False)
    span.receive(PEER, carries(5, 5), 0.0)
    assert span.flush(0.0) == []


def test_what_is_asked_for_is_sent_again(span: Span) -> None:
    meet(span)
    span.put(item(1))
    span.put(item(2))
    span.flush(0.0)
    span.receive(PEER, beats(1, 1, again=True), 0.0)
    assert numbers(span.flush(0.0)) == [(1, 2)]


def test_what_did_not_leave_is_sent_after_the_next_word(span: Span) -> None:
    meet(span)
    span.put(item(1))
    [send] = span.flush(0.0)
    assert isinstance(send, Send)
    span.unsent(send.frames)
    assert span.flush(0.0) == []
    span.receive(PEER, beats(1, 1), 0.5)
    assert numbers(span.flush(0.5)) == [(1, 1)]
    span.unsent(send.frames)
    span.tick(READY_S)
    assert numbers(span.flush(READY_S)) == [(1, 1)]


def test_packets_under_way_are_bounded(span: Span) -> None:
    meet(span)
    for number in range(1, CREDIT + 10):
        span.put(item(number))
        span.flush(0.0)
    assert len(span._flights) == CREDIT
    span.receive(PEER, beats(3, 1), 0.0)
    assert numbers(span.flush(0.0)) == [(CREDIT + 1, 9)]


def test_bytes_under_way_are_bounded() -> None:
    span = make(flight_bytes_max=5000)
    meet(span)
    for number in range(1, 11):
        span.put(item(number, 1000))
    assert numbers(span.flush(0.0)) == [(1, 4)]
    span.receive(PEER, beats(5, 3), 0.0)
    assert numbers(span.flush(0.0)) == [(5, 2)]


def test_a_raw_body_travels_as_it_is(span: Span) -> None:
    meet(span)
    frames = publication.raw_publication(b"t", 0x99, 1, memoryview(bytes(100_000)))
    for each in (item(1).frames, frames, item(2).frames):
        span.put(item_of(each, waits=True))
    effects = span.flush(0.0)
    assert numbers(effects) == [(1, 1), (2, 1), (3, 1)]
    [(waits, passed)] = carriage.rows_of(sent(effects, wire.PUBLISH)[1])
    assert (waits, bytes(passed[0]), len(passed[1])) == (True, frames[0], 100_000)


def test_what_is_too_large_for_a_packet_is_dropped(span: Span) -> None:
    span.put(Item((bytes(PACKET_BYTES_MAX),), False))
    assert span.dropped == {"too-large": 1}


def test_a_second_end_is_refused_while_the_first_is_there(span: Span) -> None:
    meet(span)
    [send] = span.receive(PEER_2, greets(source=OTHER), 1.0)
    assert isinstance(send, Send)
    assert carriage.refusal_of(wire.unpack(send.frames)) == "it has another end"
    assert span.far == THERE


def test_a_refusal_is_logged_once(dialling: Span) -> None:
    why = carriage.refusal(THERE, HERE, "it has another end")
    assert dialling.receive(DIALLED, why, 0.0)
    assert not dialling.receive(DIALLED, why, 1.0)


def test_an_end_that_meant_another_one_is_asked_to_greet(span: Span) -> None:
    effects = span.receive(PEER, beats(1, 1), 0.0)
    assert [carriage.greeting_of(each).token for each in sent(effects, wire.WELCOME)] == [0]


def test_who_is_asked_to_greet_does(dialling: Span) -> None:
    dialling.receive(DIALLED, greets(wire.WELCOME), 0.0)
    effects = dialling.receive(DIALLED, greets(wire.WELCOME, OTHER, token=0), 1.0)
    assert sent(effects, wire.HELLO)
    assert not dialling.up
    # Each packet that was under way is answered so.
    assert not dialling.receive(DIALLED, greets(wire.WELCOME, OTHER, token=0), 1.0)
    assert sent(dialling.tick(1.0 + READY_S), wire.HELLO)


def test_what_the_end_before_had_sent_is_not_told_to_the_next(span: Span) -> None:
    meet(span)
    span.receive(PEER, carries(1, 1, 2), 0.0)
    span.receive(PEER_2, greets(source=OTHER, first=7), MISSING_S)
    span.flush(MISSING_S)
    span.arrived.clear()
    span.pass_on(2)
    assert span._passed == 7


def test_nothing_is_sent_to_an_end_that_leaves_but_to_its_successor(span: Span) -> None:
    meet(span)
    span.receive(PEER, beats(1, 1, leaving=True), 0.0)
    span.put(item(1))
    assert not sent(span.flush(0.0), wire.PUBLISH) and span.count == 1
    span.receive(PEER_2, greets(source=OTHER), MISSING_S)
    assert sent(span.flush(MISSING_S), wire.PUBLISH)


def test_it_is_over_when_both_ends_leave(span: Span) -> None:
    meet(span)
    span.put(item(1))
    span.flush(0.0)
    span.leave()
    [beat] = sent(span.flush(0.0), wire.CREDIT)
    assert carriage.beat_of(beat).leaving and not span.is_over
    span.receive(PEER, beats(1, 1, leaving=True), 0.1)
    assert span.is_over and span.count == 1


@pytest.mark.parametrize("is_first", [False, True])
def test_it_is_over_if_the_other_end_is_gone_already(span: Span, is_first: bool) -> None:
    meet(span)
    span.put(item(1))
    if is_first:
        span.leave()
    span.receive(PEER, beats(1, 1, leaving=True), 0.1)
    span.receive(PEER, wire.pack(wire.BYE, THERE, HERE, 0, b""), 0.1)
    assert span.is_over == is_first and not span.up
    span.leave()
    assert span.is_over
    span.receive(PEER_2, greets(source=OTHER), 0.2)
    assert not span.is_over


def test_close_leaves_and_drops_the_rest(dialling: Span) -> None:
    dialling.receive(DIALLED, greets(wire.WELCOME), 0.0)
    dialling.put(item(1))
    bye, gone = dialling.close()
    assert sent([bye], wire.BYE)
    assert isinstance(gone, Disconnect)
    assert dialling.dropped == {"closed": 1}


GARBAGE = [
    (b"",),
    (b"\0" * 34,),
    wire.pack(wire.HELLO, THERE, 0, 0, encode({})),
    wire.pack(wire.HELLO, THERE, 0, 0, encode([])),
    greets(first=0),
    greets(source=0),
    wire.pack(wire.PING, THERE, HERE, 0, encode(1)),
    wire.pack(wire.PUBLISH, THERE, HERE, 0, b"", encode([[True, b"x"]])),
    wire.pack(wire.PUBLISH, THERE, HERE, 1, b"", encode([])),
    wire.pack(wire.PUBLISH, THERE, HERE, 1, b"", encode([b"x"])),
    wire.pack(wire.PUBLISH, THERE, HERE, 1, b"", encode([[True, 5]])),
    wire.pack(wire.CREDIT, THERE, HERE, 0, encode(5)),
    wire.pack(wire.CREDIT, THERE, HERE, 0, encode([1, 2, False, []])),
    wire.pack(wire.CREDIT, THERE, HERE, 0, encode([9, 1, False, []])),
    wire.pack(wire.CREDIT, THERE, HERE, 0, encode([1, 1, False, [-1]])),
    wire.pack(wire.CREDIT, THERE, HERE, 0, encode([1, 1, False, 5])),
]


@pytest.mark.parametrize("frames", GARBAGE)
def test_garbage_is_counted_and_changes_nothing(span: Span, frames: Frames) -> None:
    meet(span)
    span.put(item(1))
    span.flush(0.0)
    span.receive(PEER, frames, 0.0)
    assert sum(span.malformed.values()) == 1
    assert (span.count, len(span.arrived), span.up) == (1, 0, True)


def test_an_item_that_cannot_be_read_is_none(span: Span) -> None:
    meet(span)
    rows = [(False, (b"x",)), (False, item(2).frames)]
    span.receive(PEER, carriage.carriage(THERE, HERE, 1, rows, far=False), 0.0)
    assert [each.frames for each in span.arrived] == [(), item(2).frames]
    assert sum(span.malformed.values()) == 1
