"""Messages that wait to leave together."""

from __future__ import annotations

from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.naming import shown
from zmqkit.core.topics import gathering as gathering_module
from zmqkit.core.topics.gathering import Gathering, Rows, encode_body, raw_rows, single_rows
from zmqkit.errors import UsageError
from zmqkit.limits import (
    BATCH_BYTES,
    BODY_BYTES_MAX,
    GATHER_BYTES,
    GATHER_MESSAGES,
    GATHER_PACKETS,
    PACKET_BYTES_MAX,
    QUEUE_MESSAGES,
)
from zmqkit.wire.encoding import encode

SPARE_BYTES = 1024
"""More than a header, a topic and the head of an array take."""

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
BODIES = PLAIN | st.text(max_size=9) | st.binary(max_size=9) | st.lists(st.integers(0, 9))


@pytest.fixture
def gathering() -> Gathering:
    return Gathering()


def bodies(rows: Rows) -> list[object]:
    """What these rows hold, decoded."""
    if rows.raw is not None:
        return [rows.raw]
    unpacker = msgpack.Unpacker(strict_map_key=False, timestamp=3)
    unpacker.feed(b"".join(rows.parts))
    return list(unpacker)


def taken(gathering: Gathering) -> dict[str, list[object]]:
    """Everything, by topic."""
    found: dict[str, list[object]] = {}
    for rows in gathering.take():
        assert rows.count == len(bodies(rows))
        found.setdefault(rows.topic, []).extend(bodies(rows))
    return found


def test_messages_of_a_topic_leave_in_one_packet_and_in_order(gathering: Gathering) -> None:
    for topic, body in (("a", 1), ("b", 2), ("a", [3]), ("a", "four"), ("b", 5)):
        assert not gathering.add(topic, body)
    assert [rows.topic for rows in gathering.take()] == ["a", "b"]
    assert not gathering and len(gathering) == 0 and gathering.take() == []


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("abc"), BODIES)))
def test_nothing_is_lost_and_order_holds_for_each_topic(
    messages: list[tuple[str, object]],
) -> None:
    gathering, came, sent = Gathering(), dict[str, list[object]](), dict[str, list[object]]()
    for number, (topic, body) in enumerate(messages):
        gathering.add(topic, body)
        sent.setdefault(topic, []).append(body)
        if number % 7 == 6:
            for name, some in taken(gathering).items():
                came.setdefault(name, []).extend(some)
    assert len(gathering) == len(messages) - sum(map(len, came.values()))
    assert bool(gathering) == (len(gathering) > 0)
    for name, some in taken(gathering).items():
        came.setdefault(name, []).extend(some)
    assert {name: encode(each) for name, each in came.items()} == {
        name: encode(each) for name, each in sent.items()
    }


def test_what_could_not_leave_is_held_before_what_came_since(gathering: Gathering) -> None:
    for topic, body in (("a", 1), ("b", 2), ("a", 3)):
        gathering.add(topic, body)
    _, *left = gathering.take()
    gathering.add("b", 4)
    gathering.give_back(left)
    assert len(gathering) == 2 and taken(gathering) == {"b": [2, 4]}


def test_later_changes_do_no_harm(gathering: Gathering) -> None:
    body = [1]
    gathering.add("t", body)
    gathering.add("t", 2)
    body.append(9)
    assert taken(gathering) == {"t": [[1], 2]}


def test_a_view_of_what_may_change_is_copied(gathering: Gathering) -> None:
    memory = bytearray(b"before")
    gathering.add("t", memoryview(memory))
    memory[:] = b"after!"
    assert taken(gathering) == {"t": [b"before"]}


@pytest.mark.parametrize("count", [15, 16, 17, 4000])
def test_any_number_of_messages_leaves(gathering: Gathering, count: int) -> None:
    for number in range(count):
        gathering.add("t", number)
    assert taken(gathering) == {"t": list(range(count))}


def test_a_full_packet_says_that_it_is_time(gathering: Gathering) -> None:
    size = BATCH_BYTES // 4
    assert [gathering.add("t", bytes(size)) for _ in range(5)] == [False] * 3 + [True, False]
    assert [rows.count for rows in gathering.take()] == [4, 1]


def test_many_topics_say_that_it_is_time(gathering: Gathering) -> None:
    size = BATCH_BYTES // 2
    due = [gathering.add(f"t{n}", bytes(size)) for n in range(GATHER_BYTES // size)]
    assert due[-1] and not any(due[: GATHER_BYTES // size * 4 // 5])


def test_many_topics_of_a_message_each_say_that_it_is_time(gathering: Gathering) -> None:
    count = 0
    while not gathering.add(f"t{count}", count):
        count += 1
    assert GATHER_PACKETS * 4 // 5 < len(gathering.take()) <= GATHER_PACKETS


def test_many_small_messages_say_that_it_is_time(gathering: Gathering) -> None:
    for number in range(QUEUE_MESSAGES):
        if gathering.add(f"t{number % 100}", number):
            break
    assert GATHER_MESSAGES // 2 < len(gathering) <= GATHER_MESSAGES


def test_a_long_body_travels_raw_behind_those_before_it(gathering: Gathering) -> None:
    long = bytes(BATCH_BYTES)
    gathering.add("t", 1)
    assert gathering.add("t", long)
    gathering.add("t", 2)
    assert [bodies(rows) for rows in gathering.take()] == [[1], [long], [2]]


def test_a_large_value_travels_alone(gathering: Gathering) -> None:
    small, large = ["x" * 1000] * 60, ["x" * BATCH_BYTES]
    for body in (small, large, small):
        gathering.add("t", body)
    assert [bodies(rows) for rows in gathering.take()] == [[small], [large], [small]]


def test_no_packet_is_larger_than_a_packet_may_be(gathering: Gathering) -> None:
    gathering.add("t", bytes(BATCH_BYTES - 100))
    gathering.add("t", [bytes(BODY_BYTES_MAX - 10)])
    for rows in gathering.take():
        assert sum(map(len, rows.parts)) <= PACKET_BYTES_MAX - SPARE_BYTES


@pytest.mark.parametrize("topic", ["", b"t", None, "a\0b", ["t"], {}], ids=shown)
def test_a_wrong_topic_is_an_error_and_nothing_is_gathered(
    gathering: Gathering, topic: object
) -> None:
    for publish in (gathering.add, single_rows):
        with pytest.raises(UsageError, match="topic"):
            publish(topic, 1)  # type: ignore[arg-type]
    assert not gathering


@pytest.mark.parametrize(
    "body",
    [{1, 2}, object(), 1 << 64, -(1 << 63) - 1, "\ud800", WHEN.replace(tzinfo=None),
     [bytearray(1)], {(1,): 2}, memoryview(b"abcdef")[::2]],
    ids=shown,
)  # fmt: skip
def test_what_cannot_travel_is_an_error_and_nothing_is_gathered(
    gathering: Gathering, body: object
) -> None:
    for publish in (gathering.add, single_rows):
        with pytest.raises(UsageError):
            publish("t", body)
    assert not gathering and gathering.take() == []
    gathering.add("t", 5)
    assert taken(gathering) == {"t": [5]}


def test_a_body_has_a_limit(gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering_module, "BODY_BYTES_MAX", BATCH_BYTES)
    long = memoryview(bytes(BATCH_BYTES + 1))
    for body in (long, bytes(long), ["x" * BATCH_BYTES], "x" * (BATCH_BYTES + 1)):
        for publish in (gathering.add, single_rows):
            with pytest.raises(UsageError, match=f"{BATCH_BYTES} at most"):
                publish("t", body)
    assert raw_rows("t", long[1:]).size == BATCH_BYTES


def test_a_point_in_time_travels(gathering: Gathering) -> None:
    gathering.add("t", WHEN)
    assert taken(gathering) == {"t": [WHEN]}


def test_topics_are_not_remembered_without_end(
    gathering: Gathering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering_module, "_TOPICS_KEPT_MAX", 2)
    for number in range(5):
        gathering.add(f"t{number}", number)
    assert len(gathering.take()) == 5
    gathering.add("t0", 0)
    assert [rows.topic for rows in gathering.take()] == ["t0"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (1 << 64, "body: an int beyond 64 bits"),
        ([1, 1 << 64], "body[1]: an int beyond 64 bits"),
        ("\ud800", "body: text that is not Unicode"),
    ],
)
def test_what_cannot_travel_is_named_as_the_body(body: object, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode_body(body)
    assert str(caught.value).startswith(text)
