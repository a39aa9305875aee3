"""History on the wire: what is asked for and told is read as it was, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zmqkit.history_limits import PAGE_HISTORY_BYTES, PAGE_TOPICS
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.history import Ask, Entry, Heads, HeadsAsk, Want
from zmqkit.wire.packet import Packet

PUBLISHER, SUBSCRIBER = 0xA, 0x1


def packet(meta: object, bodies: object = ()) -> Packet:
    return Packet(wire.HISTORY, 1, 2, 0, meta, encode(list(bodies)))  # type: ignore[call-overload]  # any


def test_a_page_arrives_as_it_was() -> None:
    entries = [
        Entry(PUBLISHER, "a", 7, 2, False, [1, 5, 1, (1 << 64) - 1]),
        Entry(PUBLISHER, "b", 9, 0, False, []),
        Entry(PUBLISHER, "c", 1, 1, True, [1, 0]),
    ]
    rows = [encode(1), encode("x"), b"\xc0"]
    for far in (False, True):
        frames = history.page(PUBLISHER, SUBSCRIBER, 3, entries, rows, far=far)
        topic, read = publication.read(frames)
        assert topic == publication.private(SUBSCRIBER)
        assert history.read_page(read) == (3, entries, [1, "x", None])


def test_a_raw_body_is_alone_in_its_page() -> None:
    frames = history.page(
        1, 2, 3, [Entry(PUBLISHER, "a", 7, 1, False, [1, 0])], [b"\xc0"], raw=b"raw"
    )
    assert len(frames) == 2
    _, _, bodies = history.read_page(publication.read(frames)[1])
    assert [bytes(body) for body in bodies] == [b"raw"]  # type: ignore[call-overload]  # a view


def test_questions_arrive_as_they_were() -> None:
    ask = Ask(2, 100, 1000, [Want(PUBLISHER, "a", 7, 9), Want(PUBLISHER, "ça", 1, 2)])
    assert (
        history.read_ask(
            packet([2, 100, 1000, [[PUBLISHER, "a", 7, 9], [PUBLISHER, "ça", 1, 2]]])
        )
        == ask
    )
    assert history.ask_meta(ask) == [
        2,
        100,
        1000,
        [[PUBLISHER, "a", 7, 9], [PUBLISHER, "ça", 1, 2]],
    ]
    asked = history.heads_ask_meta(3, [b"a", "ç".encode()], 5)
    assert history.read_heads_ask(packet(asked)) == HeadsAsk(3, ("a", "ç"), 5)
    told = Heads(3, {(PUBLISHER, "a"): 8}, 5)
    assert history.read_heads(publication.read(history.heads(1, 2, told))[1]) == told


def test_no_larger_page_is_sent_than_there_may_be() -> None:
    assert history.read_ask(packet([2, 1, 1 << 40, [[PUBLISHER, "a", 7, 9]]])).bytes_max == (
        PAGE_HISTORY_BYTES
    )


def test_who_has_many_prefixes_asks_for_all_topics() -> None:
    asked = history.heads_ask_meta(1, [b"x" * 100 + bytes([65 + n]) for n in range(50)], 0)
    assert asked[1] != [""]  # type: ignore[index]  # a list
    many = [b"%0200d" % number for number in range(100)]
    assert history.heads_ask_meta(1, many, 0) == [1, [""], 0]


BAD_WANTS = (
    [[1, "a", 0, 1]], [[1, "", 1, 2]], [[1, "a", 1]], [[1, 1, 1, 1]], ["a"], [[1, "a", 1, "2"]],
    [["a", 1, 2]], [[0, "a", 1, 2]], [["1", "a", 1, 2]], [[1 << 64, "a", 1, 2]],
)  # fmt: skip


@pytest.mark.parametrize("wants", [[], [[1, "a", 1, 2]] * (PAGE_TOPICS + 1), *BAD_WANTS])
def test_a_wrong_question_is_malformed(wants: object) -> None:
    with pytest.raises(Malformed, match="recover"):
        history.read_ask(packet([1, 10, 10, wants]))


@pytest.mark.parametrize(
    ("read", "meta"),
    [
        (history.read_ask, None), (history.read_ask, [0, 1, 1, [[1, "a", 1, 2]]]),
        (history.read_ask, [1, 0, 1, [[1, "a", 1, 2]]]), (history.read_ask, [1, 1, "1", []]),
        (history.read_heads_ask, [1, [b"a"], 0]), (history.read_heads_ask, [0, ["a"], 0]),
        (history.read_heads_ask, [1, ["a"], -1]), (history.read_heads_ask, {}),
        (history.read_heads, [1, [[1, "a", 0]], 0]),
        (history.read_heads, [1, [[1, b"a", 1]], 0]),
        (history.read_heads, [-1, [], 0]), (history.read_heads, [1, {}, 0]),
        (history.read_heads, [1, [[0, "a", 1]], 0]), (history.read_heads, [1, [["a", 1]], 0]),
        (history.read_heads, [1, [[1, "x" * 257, 1]], 0]),
    ],
)  # fmt: skip
def test_what_is_no_question_and_no_answer_is_malformed(
    read: Callable[[Packet], object], meta: object
) -> None:
    with pytest.raises(Malformed):
        read(packet(meta))


@pytest.mark.parametrize(
    ("meta", "bodies"),
    [
        (None, []), ([0, []], []), ([1, [[1, "a", 1, 2, False]]], [1]),
        ([1, [[1, "a", 1, 1, 0, [1, 5]]]], [1]), ([1, [[1, "a", 0, 1, False, [1, 5]]]], [1]),
        ([1, [[1, "a", 1, -1, False, [-1, 5]], [1, "a", 1, 2, False, [2, 5]]]], [1]),
        ([1, [[1, "a", 1, 0, True, []]]], []), ([1, [[1, "a", 1, 1, False]]], [1]),
        ([1, [["a", 1, 1, False, [1, 5]]]], [1]), ([1, [[0, "a", 1, 1, False, [1, 5]]]], [1]),
        ([1, "a"], []),
        *(
            ([1, [[1, "a", 1, 2, False, times]]], [1, 2])
            for times in (
                None, 5, {}, [], [2], [1, 5], [3, 5], [2, -1], [2, "5"], [2.0, 5], [True, 5],
                [2, 5, 0, 5], [3, 5, -1, 5], [1, 5, 1], [2, None], [[2, 5]], [2, 5.0],
            )
        ),
    ],
)  # fmt: skip
def test_a_wrong_page_is_malformed(meta: object, bodies: list[object]) -> None:
    with pytest.raises(Malformed, match="history"):
        history.read_page(packet(meta, bodies))


def test_a_body_that_cannot_be_read_takes_only_its_entry_along() -> None:
    entries = [
        Entry(1, "a", 7, 1, False, [1, 0]),
        Entry(2, "a", 3, 2, False, [2, 0]),
        Entry(3, "b", 1, 1, False, [1, 0]),
    ]
    rows = [encode("x"), encode(1), b"\xc7\x00\x05", encode("y")]  # an extension among them
    _, read = publication.read(history.page(PUBLISHER, SUBSCRIBER, 3, entries, rows))
    wrong = Entry(2, "a", 5, 0, False, [])
    assert history.read_page(read) == (3, [entries[0], wrong, entries[2]], ["x", "y"])


def test_each_message_of_an_entry_has_the_time_of_its_packet() -> None:
    times = [2, 1_500_000, 1, 3_000_000]
    assert history.times_of(Entry(1, "a", 7, 3, False, times)) == [1.5, 1.5, 3.0]
    assert history.times_of(Entry(1, "a", 7, 0, False, [])) == []


def test_bodies_may_stay_encoded() -> None:
    entries = [Entry(1, "a", 7, 2, False, [2, 0])]
    rows = [encode("x"), encode([1])]
    _, read = publication.read(history.page(PUBLISHER, SUBSCRIBER, 3, entries, rows))
    assert history.read_page(read, publication.encoded_bodies) == (3, entries, rows)
