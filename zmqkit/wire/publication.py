"""Publish-subscribe on the wire: a topic in front of the packet, by which ZeroMQ filters.

    to subscribers    topic, then a packet, which begins with the NUL that ends the topic
    to one, or all    NUL and its incarnation, or 0, then a packet
    to the publisher  01 and a prefix subscribes, 00 and a prefix ends that,
                      02 and a packet talks

The field `settled` of a PUBLISH packet is the number of its first message in its topic.
"""

from __future__ import annotations

from collections.abc import Sequence

from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, ENDS_MAX, TOPIC_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed, array_head, encode, shorten
from zmqkit.wire.packet import Packet

SUBSCRIBE, UNSUBSCRIBE, TALK = b"\x01", b"\x00", b"\x02"

EVERYBODY = 0
"""In place of a subscriber's incarnation: all that are there."""

_NUL = b"\x00"
_FIRST = wire.FIRST + wire.PUBLISH
_ONE = 0x91
"""The head of an array of one item."""
_HEADER_BYTES = wire.HEADER.size
_pack_header = wire.HEADER.pack
_read_header = wire.HEADER.unpack_from
_ID_BYTES = 8


def check_topic(topic: object) -> bytes:
    """A topic as it travels; UsageError for what cannot be one."""
    if not isinstance(topic, str) or not topic:
        raise UsageError(f"a topic is text of at least one character, not {topic!r}")
    return check_prefix(topic)


def check_prefix(prefix: object) -> bytes:
    """The beginning of topics as it travels, "" for all; UsageError for what cannot be one."""
    if type(prefix) is not str:
        raise _no_text(prefix)
    try:
        data = prefix.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"topic {shorten(repr(prefix))} is text that is not Unicode and cannot travel; "
            "leave its surrogates out"
        ) from error
    if len(data) > TOPIC_BYTES_MAX:
        shown = shorten(repr(prefix))
        raise UsageError(f"topic {shown} has {len(data)} bytes; {TOPIC_BYTES_MAX} at most")
    if _NUL in data:
        shown = shorten(repr(prefix))
        raise UsageError(f"topic {shown} has a NUL in it, which ends topics; leave it out")
    return data


def _no_text(prefix: object) -> UsageError:
    """What to say of a topic that is no plain text."""
    if isinstance(prefix, str):
        kind = type(prefix).__name__
        shown = shorten(str.__repr__(prefix))
        return UsageError(f"topic {shown} is of type {kind}, a subclass of str; use str(it)")
    return UsageError(f"topics are text, not {prefix!r}")


def private(subscriber: int) -> bytes:
    """The topic of what is meant for one subscriber, or for EVERYBODY."""
    return _NUL + subscriber.to_bytes(_ID_BYTES, "big")


def publication(
    topic: bytes,
    source: int,
    sequence: int,
    bodies: Sequence[Buffer],
    count: int,
    *,
    far: bool = False,
) -> Frames:
    """A packet of `count` messages of one topic; bodies: msgpack, many values in a row each.

    far: somebody on another machine is to receive it.
    """
    rows = array_head(count)
    if far:
        [frame] = wire.pack(
            wire.PUBLISH, source, 0, sequence, b"".join((rows, *bodies)), far=far
        )
        return (topic + bytes(frame),)
    size = len(rows) + sum(map(len, bodies))
    head = _pack_header(_FIRST, wire.MSGPACK, size, source, 0, sequence)
    return (b"".join((topic, head, rows, *bodies)),)  # bodies are copied once


def single(topic: bytes, source: int, sequence: int, body: bytes) -> bytes:
    """The frame of a packet of one message."""
    head = _pack_header(_FIRST, wire.MSGPACK, 1 + len(body), source, 0, sequence)
    return b"%b%b\x91%b" % (topic, head, body)


def single_row(frames: Frames, topic: bytes, source: int, sequence: int) -> bytes | None:
    """The msgpack body of a packet of one message, not decoded, if the packet is just the one
    that is to follow in its topic; None for any other, which `read` is for."""
    if len(frames) != 1:
        return None
    frame = frames[0]
    at = len(topic)
    rows_at = at + _HEADER_BYTES
    if (
        type(frame) is not bytes
        or not frame.startswith(topic)
        or len(frame) <= rows_at + 1
        or frame[rows_at] != _ONE
    ):
        return None
    expected = (_FIRST, wire.MSGPACK, len(frame) - rows_at, source, 0, sequence)
    return frame[rows_at + 1 :] if _read_header(frame, at) == expected else None


def raw_publication(topic: bytes, source: int, sequence: int, raw: Buffer) -> Frames:
    """A packet of one message whose body travels as it is."""
    head, body = wire.pack(wire.PUBLISH, source, 0, sequence, b"\x91\xc0", raw)
    return (topic + bytes(head), body)


def to_subscriber(kind: int, source: int, subscriber: int, meta: object) -> Frames:
    """A packet for one subscriber, or for EVERYBODY."""
    [frame] = wire.pack(kind, source, subscriber, 0, encode(meta))
    return (private(subscriber) + bytes(frame),)


def to_publisher(kind: int, source: int, target: int, meta: object) -> Frames:
    """A packet from a subscriber."""
    [frame] = wire.pack(kind, source, target, 0, encode(meta))
    return (TALK + bytes(frame),)


def read(frames: Frames) -> tuple[bytes, Packet]:
    """Topic and packet of what a publisher sent; Malformed for what is not one.

    A private topic is given as NUL and the incarnation it names.
    """
    head = frames[0] if frames else b""
    if type(head) is not bytes:
        head = bytes(head[: TOPIC_BYTES_MAX + 1])
    end = head.find(_NUL, 0, TOPIC_BYTES_MAX + 1)
    if end < 0:
        raise Malformed("topic")
    end = end or 1 + _ID_BYTES
    return head[:end], wire.unpack(frames, end)


def ends_of(packet: Packet) -> dict[str, int]:
    """What a BYE says of topics: the number of each one's next message; else Malformed."""
    ends = wire.fields_of(packet).get("next")
    if type(ends) is not dict or len(ends) > ENDS_MAX:
        raise Malformed("ends")
    for name, number in ends.items():
        if type(name) is not str or type(number) is not int or number <= 0:
            raise Malformed("ends")
    return ends


def bodies_of(packet: Packet) -> list[object]:
    """The bodies of a PUBLISH packet, at least one; Malformed otherwise."""
    bodies = packet.meta
    if type(bodies) is not list or not bodies:
        raise Malformed("bodies")
    if packet.raw is not None:
        if len(bodies) != 1 or len(packet.raw) > BODY_BYTES_MAX:
            raise Malformed("raw")
        return [packet.raw]
    return bodies
