"""Bodies of MDP, which are frames, as arguments and values of a method, and the other way.

    request   the frames are the arguments of the method `mdp`, each as bytes
    reply     one frame is bytes, more are a list of bytes

A service of ours may answer a client of an RFC with any value. A value that is none of the two
above is text, which is sent as UTF-8, or it is sent as msgpack. A client of ours may ask a
worker of an RFC with bytes and text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from zmqkit.limits import BODY_BYTES_MAX, RAW_BYTES_MIN
from zmqkit.model import Frames
from zmqkit.wire.encoding import Buffer, pack_plain
from zmqkit.wire.rows import Arguments

MDP = "mdp"
"""The method that stands for whatever a worker of an RFC does."""

Part = tuple[bytes, "Buffer | None"]
"""The row of a request or an answer, and its raw body if it has one."""

_FRAME_BYTES = 5
_NIL = b"\xc0"
_EMPTY: Frames = (b"",)
_FRAME_TYPES = frozenset({bytes, memoryview})


def travels(body: Frames) -> bool:
    """Return whether a body is small enough for a packet."""
    return size_of(body) <= BODY_BYTES_MAX


def size_of(body: Frames) -> int:
    """Return the bytes that a body takes in a packet, or a few more."""
    return sum(map(len, body)) + _FRAME_BYTES * len(body)


def request_part(body: Frames, headers: Mapping[str, object]) -> Part:
    """Return a client's request; a long last frame is not copied."""
    raw = body[-1] if len(body[-1]) >= RAW_BYTES_MIN else None
    frames = body if raw is None else body[:-1]
    return pack_plain((headers, list(map(bytes, frames)), {})), raw


def request_body(arguments: Arguments | None) -> Frames | None:
    """Return the body of a request with these arguments; None if they cannot be frames.

    A message of MDP has a body, so no arguments are an empty frame.
    """
    if arguments is None or arguments[2]:
        return None
    frames = [each.encode() if type(each) is str else each for each in arguments[1]]
    if not _FRAME_TYPES.issuperset(map(type, frames)):
        return None
    return tuple(cast("list[Buffer]", frames)) or _EMPTY


def answer_part(body: Frames) -> Part:
    """Return a worker's reply, or a part of one; a long single frame is not copied."""
    if len(body) > 1:
        return pack_plain(list(map(bytes, body))), None
    if len(body[0]) >= RAW_BYTES_MIN:
        return _NIL, body[0]
    return pack_plain(bytes(body[0])), None


def answer_body(value: object, row: Buffer) -> Frames:
    """Return the body that tells a client of an RFC a value.

    row: the value as it came.
    """
    if isinstance(value, bytes | memoryview):
        return (value,)
    if isinstance(value, str):
        return (value.encode(),)
    if type(value) is list and value and {*map(type, value)} == {bytes}:
        return tuple(value)
    return (row,)
