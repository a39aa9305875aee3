"""Publish-subscribe on the wire: a topic in front of the packet."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, TOPIC_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.simulation.garbage import lie, noise, spoil
from zmqkit.wire import history, publication
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import CREDIT, HELLO, MARK, PUBLISH, WELCOME, Packet

NUMBERS = st.integers(0, (1 << 64) - 1)
TOPICS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=64
)
BODIES = st.none() | st.integers(-9, 9) | st.text(max_size=5) | st.lists(st.booleans())


def read_bodies(frames: Frames) -> list[object]:
    """The bodies behind the topic."""
    return publication.bodies_of(publication.read(frames)[1])


@pytest.mark.slow
@given(TOPICS, NUMBERS, NUMBERS, st.lists(BODIES, min_size=1, max_size=40))
def test_messages_arrive_as_they_were(
    topic: str, source: int, sequence: int, bodies: list[object]
) -> None:
    data = publication.check_topic(topic)
    parts = [encode(body) for body in bodies]
    frames = publication.publication(data, source, sequence, parts, len(parts))
    whole = Packet(PUBLISH, source, 0, sequence, None, encode(bodies))
    assert publication.read(frames) == (data, whole)
    assert read_bodies(frames) == bodies
    assert publication.read(tuple(map(memoryview, frames))) == publication.read(frames)


@pytest.mark.parametrize("count", [1, 15, 16, 70_000])
def test_a_header_says_how_many_messages_there_are(count: int) -> None:
    frames = publication.publication(b"kitchen", 7, 9, [b"\x01"] * count, count)
    assert publication.head_of(frames) == (7, 7, 9, count)
    assert publication.head_of((memoryview(frames[0]),)) == (7, 7, 9, count)


def test_a_header_of_a_raw_body_or_of_what_is_compressed_is_read() -> None:
    raw = publication.raw_publication(b"t", 7, 9, bytes(1000))
    assert publication.head_of(raw) == (1, 7, 9, 1)
    far = publication.publication(b"t", 7, 9, [encode("x" * 9999)] * 2, 2, far=True)
    assert publication.read(far)[1].size > len(far[0])
    assert publication.head_of(far) == (1, 7, 9, 1)


def test_a_header_of_a_clearing_is_read() -> None:
    [frame] = history.clear(b"t", 7, 9)
    assert publication.head_of((frame,)) == (1, 7, 9, 1)
    assert publication.head_of((frame, b"")) is publication.head_of((frame + b"x",)) is None


def test_only_messages_have_such_a_header() -> None:
    [frame] = publication.publication(b"t", 7, 9, [b"\x01"], 1)
    others: list[Frames] = [
        (), (b"",), (b"t",), (frame[:35],), (frame, b""), (frame[1:],), (b"t" * 300 + frame,),
        publication.publication(b"t", 0, 9, [b"\x01"], 1),
        publication.publication(b"t", 7, 0, [b"\x01"], 1),
        publication.publication(b"t", 7, 9, [], 0),
        (b"t" + bytes(wire.pack(PUBLISH, 7, 0, 9, b"\xc0", b"\x91\x01")[0]),),
        publication.to_subscriber(MARK, 7, 0, 5), publication.to_subscriber(WELCOME, 7, 2, {}),
    ]  # fmt: skip
    assert [publication.head_of(each) for each in others] == [None] * len(others)


@pytest.mark.parametrize("count", [-1, True, 1.0, "1", None, 1 << 32])
def test_for_how_many_subscribers_a_hello_speaks_is_a_number(count: object) -> None:
    [frame] = publication.to_publisher(HELLO, 1, 2, {"token": 1, "subscribers": count})
    with pytest.raises(Malformed, match="subscribers"):
        publication.stands_for(wire.unpack((frame[1:],)))


@given(TOPICS, NUMBERS, NUMBERS, BODIES)
def test_a_single_message_is_a_packet_of_one(
    topic: str, source: int, sequence: int, body: object
) -> None:
    data, row = topic.encode(), encode(body)
    packet = publication.publication(data, source, sequence, [row], 1)
    assert (publication.single(data, source, sequence, row),) == packet


def test_parts_may_hold_many_bodies_each() -> None:
    parts = [encode([1, 2, 3])[1:], encode(4), encode([5, 6])[1:]]
    frames = publication.publication(b"t", 7, 9, parts, 6)
    assert read_bodies(frames) == [1, 2, 3, 4, 5, 6]


@given(TOPICS, NUMBERS, NUMBERS, NUMBERS)
def test_packets_of_any_form_tell_when_they_left(
    topic: str, source: int, sequence: int, wall_us: int
) -> None:
    data, row = topic.encode(), encode("x" * 3000)
    single = publication.single(data, source, sequence, row, wall_us)
    for frames in (
        (single,), publication.publication(data, source, sequence, [row], 1, wall_us, far=True),
        publication.raw_publication(data, source, sequence, b"raw", wall_us),
        history.clear(data, source, sequence, wall_us),
    ):  # fmt: skip
        packet = publication.read(frames)[1]
        assert packet.target == wall_us and publication.is_for(packet, 5)
        assert publication.messages_of(frames, len(data)).wall_us == wall_us
    head = publication.single_head(data, source)
    read = publication.single_row((single,), head, sequence)
    assert read == (row, publication.seconds_of(wall_us))
    assert publication.single_row((single,), head, sequence ^ 1) is None
    other = publication.single_head(data, source ^ 1)
    assert publication.single_row((single,), other, sequence) is None


@given(NUMBERS)
def test_any_number_is_a_time_of_which_there_is_a_date(wall_us: int) -> None:
    seconds = publication.seconds_of(wall_us)
    assert 1970 <= datetime.fromtimestamp(seconds, UTC).year <= 9999
    for zone in (timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))):
        if seconds > 86_400:
            datetime.fromtimestamp(seconds, zone)
    assert 0 <= publication.wall_us_of(seconds) < 1 << 64


@given(st.integers(0, (1 << 32) * 1_000_000 - 1))
def test_a_time_is_passed_on_as_it_came(wall_us: int) -> None:
    assert publication.wall_us_of(publication.seconds_of(wall_us)) == wall_us


@given(TOPICS, NUMBERS, NUMBERS, st.binary())
def test_a_raw_body_arrives_as_it_was(
    topic: str, source: int, sequence: int, raw: bytes
) -> None:
    frames = publication.raw_publication(topic.encode(), source, sequence, raw)
    data, packet = publication.read(frames)
    assert (data, packet.source, packet.settled) == (topic.encode(), source, sequence)
    assert publication.bodies_of(packet) == [raw] and frames[1] is raw


@pytest.mark.parametrize("kind", [WELCOME, MARK])
@given(NUMBERS, NUMBERS, BODIES)
def test_what_is_for_one_subscriber_begins_with_its_private_topic(
    kind: int, source: int, subscriber: int, meta: object
) -> None:
    frames = publication.to_subscriber(kind, source, subscriber, meta)
    topic, packet = publication.read(frames)
    assert topic == publication.private(subscriber) == bytes(frames[0][:9])
    assert packet == Packet(kind, source, subscriber, 0, meta)


@pytest.mark.parametrize("kind", [HELLO, CREDIT])
@given(NUMBERS, NUMBERS, BODIES)
def test_what_a_subscriber_says_is_told_from_its_subscriptions(
    kind: int, source: int, target: int, meta: object
) -> None:
    [frame] = publication.to_publisher(kind, source, target, meta)
    assert frame[:1] == publication.TALK
    assert wire.unpack((frame[1:],)) == Packet(kind, source, target, 0, meta)
    assert len({publication.SUBSCRIBE, publication.UNSUBSCRIBE, publication.TALK}) == 3


def test_no_topic_begins_as_a_private_one_does() -> None:
    assert publication.private(publication.EVERYBODY)[0] == 0
    assert publication.private((1 << 64) - 1) == b"\0" + b"\xff" * 8


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("", "at least one"), (b"t", "text"), (None, "text"), (5, "text"), (["t"], "text"),
        ("a\0b", "NUL"), ("x" * (TOPIC_BYTES_MAX + 1), "256 at most"),
        ("ü" * (TOPIC_BYTES_MAX // 2 + 1), "258 bytes"), ("\ud800", "Unicode"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_a_topic_is_named(topic: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        publication.check_topic(topic)
    if topic != "":
        with pytest.raises(UsageError, match=reason):
            publication.check_prefix(topic)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("check", [publication.check_topic, publication.check_prefix])
def test_a_topic_of_a_subclass_of_text_is_named_as_one(
    check: Callable[[object], bytes],
) -> None:
    with pytest.raises(UsageError, match=r"topic 'a' is of type Text.*; use str\(it\)"):
        check(Text("a"))


@pytest.mark.parametrize("topic", ["x" * 100_000, "x\0" + "y" * 100, "\ud800" + "x" * 100_000])
def test_a_long_topic_is_shown_in_part(topic: str) -> None:
    with pytest.raises(UsageError, match=r"'?xx|'x|ud800") as caught:
        publication.check_topic(topic)
    assert len(str(caught.value)) < 200


def test_a_topic_that_is_not_unicode_is_told_what_to_use() -> None:
    with pytest.raises(UsageError) as caught:
        publication.check_topic("x\ud800")
    assert str(caught.value) == (
        r"topic 'x\ud800' is text that is not Unicode and cannot travel; "
        "leave its surrogates out"
    )


def test_the_longest_topic_travels() -> None:
    topic = publication.check_topic("x" * TOPIC_BYTES_MAX)
    frames = publication.publication(topic, 1, 1, [encode(5)], 1)
    assert publication.read(frames)[0] == topic


def test_the_prefix_of_all_topics_is_empty() -> None:
    assert publication.check_prefix("") == b""


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ((), "topic"), ((b"",), "topic"), ((b"x" * 300,), "topic"), ((b"kitchen",), "topic"),
        ((b"x" * (TOPIC_BYTES_MAX + 1) + b"\0\x5a",), "topic"),
        ((b"\0",), "size"), ((b"\0\0\0\0\0\0\0\0\1",), "size"), ((b"t\0\x5a\1",), "size"),
        ((b"t" + bytes(40),), "magic"), ((bytes(60),), "magic"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_has_no_topic_or_no_packet_is_malformed(frames: Frames, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        publication.read(frames)


@pytest.mark.parametrize("meta", [None, [], {}, 5, "x"])
def test_a_packet_without_bodies_is_malformed(meta: object) -> None:
    with pytest.raises(Malformed, match="bodies"):
        publication.bodies_of(Packet(PUBLISH, 1, 0, 1, None, encode(meta)))


def test_a_raw_body_belongs_to_one_message_and_has_a_limit() -> None:
    long = memoryview(bytes(BODY_BYTES_MAX + 1))
    for bodies, raw in ([None, None], memoryview(b"raw")), ([None], long):
        with pytest.raises(Malformed, match="raw"):
            publication.bodies_of(Packet(PUBLISH, 1, 0, 1, None, encode(bodies), raw))
    fits = long[:BODY_BYTES_MAX]
    assert publication.bodies_of(Packet(PUBLISH, 1, 0, 1, None, encode([None]), fits)) == [fits]


def decode_all(frames: Frames) -> None:
    """Put a message through both decoders; only Malformed may come out."""
    try:
        topic, packet = publication.read(frames)
        assert 0 < len(topic) <= TOPIC_BYTES_MAX
        assert publication.bodies_of(packet)
    except Malformed:
        return


@given(st.lists(st.binary(max_size=100), max_size=3))
def test_garbage_is_malformed(frames: list[bytes]) -> None:
    decode_all(tuple(frames))


@pytest.mark.slow
@given(st.binary(max_size=300), st.binary(max_size=60), st.none() | st.binary())
def test_garbage_behind_a_header_is_malformed(
    topic: bytes, meta: bytes, raw: bytes | None
) -> None:
    head, *rest = wire.pack(PUBLISH, 1, 0, 3, b"", meta, raw)
    decode_all((topic + bytes(head), *rest))


@pytest.mark.slow
def test_much_garbage_is_malformed() -> None:
    random = Random(5)
    seeds = [
        publication.publication(b"t", 1, 1, [encode([1, "x"])[1:]], 2),
        publication.raw_publication(b"kitchen", 1, 7, b"raw"),
        publication.to_subscriber(MARK, 1, 0, 5),
        publication.to_subscriber(WELCOME, 1, 2, {"token": 1, "waits": True}),
    ]
    for _ in range(int(os.environ.get("ZMQKIT_GARBAGE", "10000"))):
        made = (b"t" + noise(random),), lie(random), spoil(random, random.choice(seeds))
        decode_all(random.choice(made))
