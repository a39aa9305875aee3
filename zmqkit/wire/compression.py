"""Compress the msgpack part of a packet with lz4 where that makes it shorter.

    offset  bytes  field
    0       4      bytes of the msgpack part before
    4              the msgpack part as one lz4 block

The format is an lz4 block, not an lz4 frame. A block is shorter and faster, and the fields of a
frame would repeat what the header and these four bytes say. Data that does not shrink costs
little time, since lz4 passes over such data in ever longer steps. So nothing here samples the
data or remembers earlier results.
"""

from __future__ import annotations

import lz4.block

from zmqkit.limits import COMPRESS_BYTES_MIN, PACKET_BYTES_MAX
from zmqkit.wire.encoding import Buffer, Malformed

_SIZE_BYTES = 4
_RATIO_MAX = 255
"""Each byte of an lz4 block stands for at most so many bytes of data."""


def compress(part: bytes) -> bytes | None:
    """Return the compressed part, or None if the part is short already or does not shrink."""
    size = len(part)
    if size < COMPRESS_BYTES_MIN:
        return None
    block: bytes = lz4.block.compress(part, store_size=False)
    if _SIZE_BYTES + len(block) >= size:
        return None
    return size.to_bytes(_SIZE_BYTES, "big") + block


def decompress(part: Buffer) -> bytes:
    """Return the part that `compress` was given.

    Raises Malformed for bytes that `compress` cannot have made. The claimed size is checked
    before the memory is allocated. It may exceed neither the limit of a packet nor what a block
    of this length can hold.
    """
    size = int.from_bytes(part[:_SIZE_BYTES], "big")
    if not 0 < size <= min(PACKET_BYTES_MAX, _RATIO_MAX * (len(part) - _SIZE_BYTES)):
        raise Malformed("lz4: size")
    try:
        found: bytes = lz4.block.decompress(part[_SIZE_BYTES:], uncompressed_size=size)
    except (lz4.block.LZ4BlockError, ValueError, MemoryError) as error:
        raise Malformed("lz4: block") from error
    if len(found) != size:
        raise Malformed("lz4: size")
    return found
