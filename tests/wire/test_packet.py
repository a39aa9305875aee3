"""One frame per packet, and a second for a raw body."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.limits import COMPRESS_BYTES_MIN, PACKET_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.simulation.garbage import lie, noise, spoil
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.packet import (
    END,
    ERROR,
    HEADER,
    HELLO,
    ITEM,
    KINDS,
    PING,
    PUBLISH,
    REPLY,
    REQUEST,
    SEQUENCE_MAX,
    STREAM,
    Packet,
    fields_of,
    pack,
    sequences_of,
    unpack,
)
from zmqkit.wire.rows import (
    arguments_of,
    read_ends,
    read_errors,
    read_grants,
    read_items,
    read_replies,
    read_requests,
    read_streams,
)

NUMBERS = st.integers(0, (1 << 64) - 1)
SEQUENCES = st.integers(0, SEQUENCE_MAX)
METHODS = st.text(max_size=10)
ARGUMENTS = st.lists(st.integers(0, 9) | st.text(max_size=5), max_size=3)
HEADERS = st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)


@pytest.mark.slow
@given(st.sampled_from(sorted(KINDS)), NUMBERS, NUMBERS, NUMBERS, st.none() | st.binary())
def test_a_packet_arrives_as_it_was(
    kind: int, source: int, target: int, settled: int, raw: bytes | None
) -> None:
    rows = b"rows" if kind in wire.WITH_ROWS else b""
    frames = pack(kind, source, target, settled, encode([1]), rows, raw)
    packet = unpack(frames)
    assert packet == Packet(kind, source, target, settled, [1], rows, packet.raw)
    assert packet.raw == raw
    assert unpack(tuple(map(memoryview, frames))) == packet


@pytest.mark.parametrize("raw", [None, b"", b"raw"])
@pytest.mark.parametrize("size", [0, COMPRESS_BYTES_MIN, 1 << 20])
def test_a_packet_arrives_from_far_away_as_it_was(size: int, raw: bytes | None) -> None:
    meta, rows = encode([1]), encode("x" * size)
    frames = pack(REPLY, 1, 2, 3, meta, rows, raw, far=True)
    plain = unpack(pack(REPLY, 1, 2, 3, meta, rows, raw))
    assert unpack(tuple(map(memoryview, frames))) == plain
    assert (len(frames[0]) < HEADER.size + len(meta) + len(rows)) == bool(size)


def test_what_does_not_shrink_travels_as_it_is() -> None:
    meta = encode(Random(1).randbytes(1 << 16))
    assert pack(PING, 1, 2, 3, meta, far=True) == pack(PING, 1, 2, 3, meta)


def test_a_compressed_bomb_is_malformed() -> None:
    with pytest.raises(Malformed, match="msgpack"):
        unpack(pack(PING, 1, 2, 3, b"\x91" * 60_000, far=True))
    with pytest.raises(Malformed, match="msgpack"):
        unpack(pack(PING, 1, 2, 3, b"\xdd\x00\xff\xff\xff" * 200_000, far=True))


def frame(**changes: int) -> bytes:
    """A frame whose header is wrong in one way."""
    fields = {
        "end": 0, "magic": 0x5A, "version": 1, "kind": HELLO, "encoding": 0, "flags": 0,
        "size": 1, "source": 1, "target": 0, "settled": 0,
    }  # fmt: skip
    return struct.pack(">6BIQQQ", *(fields | changes).values()) + b"\xc0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"end": 1}, "magic"), ({"magic": 0}, "magic"), ({"version": 2}, "version"),
        ({"kind": 0}, "kind"), ({"kind": 24}, "kind"), ({"kind": 23}, "kind"),
        ({"encoding": 2}, "encoding"), ({"flags": 1}, "lz4: size"), ({"size": 0}, "length"),
        ({"flags": 4}, "encoding"),
        ({"encoding": 1, "flags": 1}, "frames"), ({"encoding": 1}, "frames"),
        ({"flags": 2}, "origins"), ({"flags": 3}, "origins"), ({"flags": 128}, "encoding"),
        ({"size": 2}, "length"), ({"size": 2, "encoding": 1}, "frames"),
    ],
)  # fmt: skip
def test_each_field_of_the_header_is_checked(changes: dict[str, int], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        unpack((frame(**changes),))


@pytest.mark.parametrize("kind", sorted(KINDS - wire.WITH_ROWS))
def test_rows_are_in_packets_of_many_messages_alone(kind: int) -> None:
    with pytest.raises(Malformed, match="length"):
        unpack(pack(kind, 1, 2, 3, encode(1), b"rows"))


def test_a_packet_may_have_rows_alone() -> None:
    packet = unpack(pack(PUBLISH, 1, 2, 3, b"", b"rows"))
    assert packet.meta is None and packet.rows == b"rows"


def test_a_right_header_is_right() -> None:
    assert unpack((frame(),)) == Packet(HELLO, 1, 0, 0, None)


@pytest.mark.parametrize(
    "frames", [(), (frame(), b""), (frame(encoding=1), b"", b"")], ids=["0", "2", "3"]
)
def test_the_number_of_frames_is_checked(frames: Frames) -> None:
    with pytest.raises(Malformed, match="frames"):
        unpack(frames)


@pytest.mark.parametrize("size", [0, HEADER.size - 1, PACKET_BYTES_MAX + 1])
def test_sizes_are_checked_before_anything_else(size: int) -> None:
    with pytest.raises(Malformed, match="size"):
        unpack((bytes(size),))


@pytest.mark.parametrize(
    "value", [None, {}, ["x"], [1, None], [1, 2, 3], [-1], [1, SEQUENCE_MAX + 1]]
)
def test_a_list_of_ids_has_a_limit_and_nothing_else_in_it(value: object) -> None:
    with pytest.raises(Malformed, match="sequences"):
        sequences_of(value, 2)


def test_a_list_of_ids_may_be_empty() -> None:
    assert sequences_of([], 0) == []


def test_fields_are_a_map() -> None:
    assert fields_of(unpack(pack(HELLO, 1, 2, 0, encode({"name": "x"})))) == {"name": "x"}
    with pytest.raises(Malformed, match="fields"):
        fields_of(unpack(pack(HELLO, 1, 2, 0, encode([]))))


READERS: tuple[Callable[[Packet], object], ...] = (
    lambda packet: arguments_of(read_requests(packet)[1]),
    lambda packet: arguments_of(read_streams(packet)[2]),
    read_replies, read_errors, read_items, read_ends, read_grants, fields_of,
)  # fmt: skip


def rows(kind: int, columns: list[object], *rows: bytes, **options: Any) -> Frames:
    """The frames of a packet with these columns and rows."""
    meta = encode([*columns, [len(row) for row in rows]])
    return pack(kind, 1, 2, 3, meta, b"".join(rows), options.pop("raw", None), **options)


def decode_all(frames: Frames) -> None:
    """Put a message through every decoder; only Malformed may come out."""
    try:
        packet = unpack(frames, may_mix=True)
    except Malformed:
        return
    for read in READERS:
        try:
            read(packet)
        except Malformed:
            continue


@given(st.binary(max_size=100))
def test_garbage_is_malformed(data: bytes) -> None:
    decode_all((data,))


@pytest.mark.slow
@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60), st.none() | st.binary())
def test_garbage_behind_a_header_is_malformed(
    kind: int, meta: bytes, raw: bytes | None
) -> None:
    decode_all(pack(kind, 1, 2, 3, meta, b"", raw))


@pytest.mark.slow
def test_much_garbage_is_malformed() -> None:
    random = Random(5)
    seeds = [
        rows(REQUEST, [[5], [9], ["a"], [4]], encode([{}, [1], {}])),
        rows(REQUEST, [[5], [9], ["a"], [4]], encode([{}, [1], {}]), raw=b"raw"),
        rows(
            REQUEST, [[7], [1], [2], [5], [9], ["a"], [4]], encode([{}, [1], {}]), is_mixed=True
        ),
        rows(STREAM, [[5], [9], ["a"], [4], [[1, 9]]], encode([{}, [1], {}])),
        rows(REPLY, [[5, 6]], encode(1), encode("x")),
        rows(REPLY, [[5]], encode("x" * COMPRESS_BYTES_MIN), far=True),
        rows(ERROR, [[5]], encode(["raised", "E", "m", "t", True])),
        rows(ITEM, [[5, 5], [0, 1]], encode(1), encode(2)),
        rows(END, [[5], [2]], encode(None)),
        pack(PING, 1, 2, 3, encode([1, 2, [3]])),
    ]
    for _ in range(int(os.environ.get("ZMQKIT_GARBAGE", "10000"))):
        made = (noise(random),), lie(random), spoil(random, random.choice(seeds))
        decode_all(random.choice(made))


def test_the_header_has_no_holes() -> None:
    assert wire.HEADER.size == 34
