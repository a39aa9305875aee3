"""lz4 on the msgpack part of a packet, where that makes it shorter.

    offset  bytes  field
    0       4      bytes of the msgpack part before
    4              the msgpack part as one lz4 block

A block, not a frame: it is shorter and faster, and the frame's own fields would repeat what
the header and these four bytes say. What does not shrink costs little to find out, since lz4
passes over such data in ever longer steps, so nothing is probed or remembered.
"""

from __future__ import annotations

import lz4.block

from zmqkit.limits import COMPRESS_BYTES_MIN, PACKET_BYTES_MAX
from zmqkit.wire.encoding import Buffer, Malformed

_SIZE_BYTES = 4
_RATIO_MAX = 255
"""No byte of an lz4 block stands for more than so many."""


def compress(part: bytes) -> bytes | None:
    """The part in its shorter form; None where it is short already or does not shrink."""
    size = len(part)
    if size < COMPRESS_BYTES_MIN:
        return None
    block: bytes = lz4.block.compress(part, store_size=False)
    if _SIZE_BYTES + len(block) >= size:
        return None
    return size.to_bytes(_SIZE_BYTES, "big") + block


def decompress(part: Buffer) -> bytes:
    """The part that `compress` was given. Malformed for whatever it cannot have made.

    The size that is claimed is checked before so much memory is taken: against the limit of a
    packet, and against what a block of this length can hold.
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
