"""Publish-subscribe on the wire. ZeroMQ filters by the topic in front of the packet.

    to subscribers    topic, then a packet, which begins with the NUL that ends the topic
    to a subscriber   NUL and its incarnation (0 for all of them), then a packet
    to the publisher  01 and a prefix to subscribe, 00 and a prefix to unsubscribe,
                      02 and a packet to talk to the publisher

The field `settled` of a PUBLISH packet is the number of its first message in its topic.
"""

from __future__ import annotations

from collections.abc import Sequence

from zmqkit.errors import UsageError
from zmqkit.limits import BODY_BYTES_MAX, ENDS_MAX, TOPIC_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed, array_head, decode, encode, shorten
from zmqkit.wire.packet import Packet

SUBSCRIBE, UNSUBSCRIBE, TALK = b"\x01", b"\x00", b"\x02"

EVERYBODY = 0
"""Stands in place of a subscriber's incarnation for all subscribers."""

_NUL = b"\x00"
_FIRST = wire.FIRST + wire.PUBLISH
_ONE = 0x91
"""The head of an array of one item."""
_HEADER_BYTES = wire.HEADER.size
_pack_header = wire.HEADER.pack
_read_header = wire.HEADER.unpack_from
_ID_BYTES = 8


def check_topic(topic: object) -> bytes:
    """Return a topic as it travels. Raise UsageError for anything that cannot be a topic."""
    if not isinstance(topic, str) or not topic:
        raise UsageError(f"a topic is text of at least one character, not {topic!r}")
    return check_prefix(topic)


def check_prefix(prefix: object) -> bytes:
    """Return the beginning of topics as it travels; "" stands for all topics.

    Raises UsageError for anything that cannot be the beginning of a topic.
    """
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
    """Return the error for a topic that is not plain text."""
    if isinstance(prefix, str):
        kind = type(prefix).__name__
        shown = shorten(str.__repr__(prefix))
        return UsageError(f"topic {shown} is of type {kind}, a subclass of str; use str(it)")
    return UsageError(f"topics are text, not {prefix!r}")


def private(subscriber: int) -> bytes:
    """Return the topic of packets for one subscriber, or for EVERYBODY."""
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
    """Return a packet of `count` messages of one topic.

    bodies: msgpack. Each buffer may hold many values in a row.
    far: at least one receiver is on another machine.
    """
    rows = array_head(count)
    if far:
        [frame] = wire.pack(
            wire.PUBLISH, source, 0, sequence, b"", b"".join((rows, *bodies)), far=far
        )
        return (topic + bytes(frame),)
    head = _pack_header(_FIRST, wire.MSGPACK, 0, source, 0, sequence)
    return (b"".join((topic, head, rows, *bodies)),)  # bodies are copied once


def single(topic: bytes, source: int, sequence: int, body: bytes) -> bytes:
    """Return the frame of a packet of one message."""
    head = _pack_header(_FIRST, wire.MSGPACK, 0, source, 0, sequence)
    return b"%b%b\x91%b" % (topic, head, body)


def single_row(frames: Frames, topic: bytes, source: int, sequence: int) -> bytes | None:
    """Return the msgpack body of a packet of one message, not decoded.

    The packet must be the next of its topic and of this source. For any other packet the result
    is None, and the caller uses `read`.
    """
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
    expected = (_FIRST, wire.MSGPACK, 0, source, 0, sequence)
    return frame[rows_at + 1 :] if _read_header(frame, at) == expected else None


def raw_publication(topic: bytes, source: int, sequence: int, raw: Buffer) -> Frames:
    """Return a packet of one message whose body travels as it is."""
    head, body = wire.pack(wire.PUBLISH, source, 0, sequence, b"", b"\x91\xc0", raw)
    return (topic + bytes(head), body)


def to_subscriber(kind: int, source: int, subscriber: int, meta: object) -> Frames:
    """Return a packet for one subscriber, or for EVERYBODY."""
    [frame] = wire.pack(kind, source, subscriber, 0, encode(meta))
    return (private(subscriber) + bytes(frame),)


def to_publisher(kind: int, source: int, target: int, meta: object) -> Frames:
    """Return a packet from a subscriber to its publisher."""
    [frame] = wire.pack(kind, source, target, 0, encode(meta))
    return (TALK + bytes(frame),)


def read(frames: Frames) -> tuple[bytes, Packet]:
    """Return the topic and the packet that a publisher sent. Raise Malformed for anything else.

    A private topic is returned as NUL and the incarnation that it names.
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
    """Return the number of each topic's next message, as a BYE tells it.

    Raises Malformed for anything else.
    """
    ends = wire.fields_of(packet).get("next")
    if type(ends) is not dict or len(ends) > ENDS_MAX:
        raise Malformed("ends")
    for name, number in ends.items():
        if type(name) is not str or type(number) is not int or number <= 0:
            raise Malformed("ends")
    return ends


def bodies_of(packet: Packet) -> list[object]:
    """Return the bodies of a PUBLISH packet, at least one. Raise Malformed otherwise."""
    bodies = decode(packet.rows)
    if packet.meta is not None or type(bodies) is not list or not bodies:
        raise Malformed("bodies")
    if packet.raw is not None:
        if len(bodies) != 1 or len(packet.raw) > BODY_BYTES_MAX:
            raise Malformed("raw")
        return [packet.raw]
    return bodies
