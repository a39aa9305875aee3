"""lz4 on the msgpack part of a packet."""

from __future__ import annotations

import os
import tracemalloc
from random import Random

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqkit.limits import COMPRESS_BYTES_MIN, PACKET_BYTES_MAX
from zmqkit.wire.compression import compress, decompress
from zmqkit.wire.encoding import Malformed

PART = b"tea, coffee and mate; " * 200
BLOCK = lz4.block.compress(PART, store_size=False)


def claim(size: int) -> bytes:
    """The first bytes of a compressed part that claims this size."""
    return size.to_bytes(4, "big")


@pytest.mark.slow
@given(st.lists(st.binary(max_size=50) | st.text().map(str.encode)), st.integers(1, 5000))
def test_what_is_compressed_arrives(pieces: list[bytes], times: int) -> None:
    part = b"".join(pieces) * times
    shorter = compress(part)
    if shorter is not None:
        assert len(shorter) < len(part) and decompress(memoryview(shorter)) == part


def test_a_part_is_its_size_and_one_block() -> None:
    assert compress(PART) == claim(len(PART)) + BLOCK
    assert decompress(claim(len(PART)) + BLOCK) == PART


def test_short_parts_stay_as_they_are() -> None:
    assert compress(bytes(COMPRESS_BYTES_MIN - 1)) is None
    assert compress(bytes(COMPRESS_BYTES_MIN)) is not None


@pytest.mark.parametrize("size", [COMPRESS_BYTES_MIN, 1 << 16, 1 << 20])
def test_what_does_not_shrink_stays_as_it_is(size: int) -> None:
    assert compress(Random(size).randbytes(size)) is None


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (b"", "size"), (b"\0\0\0", "size"), (claim(1), "size"), (claim(0) + BLOCK, "size"),
        (claim(0xFFFFFFFF) + BLOCK, "size"), (claim(PACKET_BYTES_MAX + 1) + BLOCK, "size"),
        (claim(255 * len(BLOCK) + 1) + BLOCK, "size"), (claim(len(PART) + 1) + BLOCK, "size"),
        (claim(len(PART) - 1) + BLOCK, "block"), (claim(len(PART)) + BLOCK[:-1], "block"),
        (claim(len(PART)) + BLOCK + b"\0", "block"), (claim(100) + b"\xff" * 50, "block"),
    ],
)  # fmt: skip
def test_what_cannot_have_been_compressed_is_malformed(part: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=f"lz4: {reason}"):
        decompress(part)


def test_a_claim_beyond_a_packet_takes_no_memory() -> None:
    block = lz4.block.compress(bytes(PACKET_BYTES_MAX + 1), store_size=False)
    assert peak_bytes(claim(PACKET_BYTES_MAX + 1) + block) < 1 << 20


def test_a_claim_beyond_what_a_block_can_hold_takes_no_memory() -> None:
    assert peak_bytes(claim(PACKET_BYTES_MAX) + bytes(1000)) < 1 << 20


def peak_bytes(bomb: bytes) -> int:
    """How much memory is taken to refuse it."""
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decompress(bomb)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_garbage_is_malformed_or_a_part(data: bytes) -> None:
    try:
        assert decompress(data)
    except Malformed:
        return


@pytest.mark.slow
def test_much_garbage_is_malformed_or_a_part() -> None:
    random = Random(7)
    for _ in range(int(os.environ.get("ZMQKIT_GARBAGE", "10000"))):
        spoilt = bytearray(BLOCK)
        for _ in range(random.randint(0, 4)):
            spoilt[random.randrange(len(spoilt))] = random.randrange(256)
        try:
            found = decompress(claim(random.choice((len(PART), 70, 5000))) + spoilt)
        except Malformed:
            continue
        assert len(found) in (len(PART), 70, 5000)
