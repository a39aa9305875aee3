"""Publish-subscribe on the wire. ZeroMQ filters by the topic in front of the packet.

    to subscribers    topic, then a packet, which begins with the NUL that ends the topic
    to a subscriber   NUL and its incarnation (0 for all of them), then a packet
    to the publisher  01 and a prefix to subscribe, 00 and a prefix to unsubscribe,
                      02 and a packet to talk to the publisher

The field `settled` of a PUBLISH packet is the number of its first message in its topic. Packets
of messages are for whoever listens, so the field `target` of PUBLISH and CLEAR has the time of
their publisher's day, in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from zmqkit.errors import UsageError
from zmqkit.forwarder_limits import PATH_MAX
from zmqkit.limits import BODY_BYTES_MAX, ENDS_MAX, TOPIC_BYTES_MAX
from zmqkit.model import Frames, Reach
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import (
    Buffer,
    Malformed,
    array_head,
    array_of,
    decode,
    encode,
    shorten,
    values_of,
)
from zmqkit.wire.packet import Packet

SUBSCRIBE, UNSUBSCRIBE, TALK = b"\x01", b"\x00", b"\x02"

EVERYBODY = 0
"""Stands in place of a subscriber's incarnation for all subscribers."""

_NUL = b"\x00"
_FIRST = wire.FIRST + wire.PUBLISH
_CLEAR = wire.FIRST + wire.CLEAR
_ONE = 0x91
"""The head of an array of one item."""
_NONE = 0x90
"""The head of an empty array; those of up to 15 items follow."""
_WIDTHS = {0xDC: 2, 0xDD: 4}
"""The heads of longer arrays, with the width of the number of items that follows."""
_HEADER_BYTES = wire.HEADER.size
_pack_header = wire.HEADER.pack
_read_header = wire.HEADER.unpack_from
_read_numbers = Struct(">QQ").unpack_from
"""Reads the time and the number at the end of a header."""
_NUMBERS_BYTES = 16
_TIMED = (wire.PUBLISH, wire.CLEAR)
_WALL_US_MAX = 253_402_214_400_000_000
"""The last day of the year 9999, with which every calendar can do something."""
_ID_BYTES = 8
_COPIED_BYTES_MAX = 4 << 10
"""Bodies in a frame of so many bytes are copied: a view would take more than it spares."""


Head = tuple[int, int, int, int]
"""What `head_of` says of a packet."""


class Messages(NamedTuple):
    """What a packet of messages carries."""

    messages: int
    rows: Buffer  # the bodies one behind the other
    raw: Buffer | None  # the body of the only message, whose row is nil
    cleared: bool  # the only message clears the topic
    wall_us: int  # when they were published


def seconds_of(wall_us: int) -> float:
    """Return a time of day that came, in seconds since 1970; no later one than in 9999."""
    return wall_us / 1e6 if wall_us < _WALL_US_MAX else _WALL_US_MAX / 1e6


def wall_us_of(seconds: float) -> int:
    """Return the time of day that `seconds_of` made seconds of; exactly so until 2106."""
    return round(seconds * 1e6)


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
    wall_us: int = 0,
    *,
    far: bool = False,
) -> Frames:
    """Return a packet of `count` messages of one topic.

    bodies: msgpack. Each buffer may hold many values in a row. wall_us: when they leave.
    far: at least one receiver is on another machine.
    """
    rows = array_head(count)
    if far:
        [frame] = wire.pack(
            wire.PUBLISH, source, wall_us, sequence, b"", b"".join((rows, *bodies)), far=far
        )
        return (topic + bytes(frame),)
    head = _pack_header(_FIRST, wire.MSGPACK, 0, source, wall_us, sequence)
    return (b"".join((topic, head, rows, *bodies)),)  # bodies are copied once


def bodies_behind(frames: Frames, topic: bytes, count: int) -> memoryview:
    """Return the bodies in a packet that `publication` made and did not compress."""
    return memoryview(frames[0])[len(topic) + _HEADER_BYTES + len(array_head(count)) :]


def single(topic: bytes, source: int, sequence: int, body: bytes, wall_us: int = 0) -> bytes:
    """Return the frame of a packet of one message."""
    head = _pack_header(_FIRST, wire.MSGPACK, 0, source, wall_us, sequence)
    return b"%b%b\x91%b" % (topic, head, body)


def single_head(topic: bytes, source: int) -> bytes:
    """Return what all packets of one message begin with, of one topic and source."""
    return topic + _pack_header(_FIRST, wire.MSGPACK, 0, source, 0, 0)[:-_NUMBERS_BYTES]


def single_row(frames: Frames, head: bytes, sequence: int) -> tuple[bytes, float] | None:
    """Return the msgpack body of a packet of one message, not decoded, and its time.

    The packet must be the next of a topic and a source, whose `single_head` is the head. For
    any other packet the result is None, and the caller uses `read`.
    """
    if len(frames) != 1:
        return None
    frame = frames[0]
    at = len(head)
    rows_at = at + _NUMBERS_BYTES
    if (
        type(frame) is not bytes
        or not frame.startswith(head)
        or len(frame) <= rows_at + 1
        or frame[rows_at] != _ONE
    ):
        return None
    wall_us, number = _read_numbers(frame, at)
    if number != sequence:
        return None
    # `seconds_of` without the call, as this is done for each message.
    seconds = wall_us / 1e6 if wall_us < _WALL_US_MAX else _WALL_US_MAX / 1e6
    return frame[rows_at + 1 :], seconds


def head_of(frames: Frames) -> Head | None:
    """Return what the header of a packet of messages says, and read no further.

    These are the length of the topic, the source, the first number, and how many messages there
    are; of a compressed packet that is unknown, and is 1. The result is None for any other
    packet.
    """
    frame = frames[0] if frames else b""
    if type(frame) is not bytes:
        frame = bytes(frame)
    end = frame.find(_NUL, 0, TOPIC_BYTES_MAX + 1)
    rows_at = end + _HEADER_BYTES
    if end <= 0 or len(frame) < rows_at:
        return None
    first, encoding, meta_bytes, source, _, sequence = _read_header(frame, end)
    if meta_bytes or not source or not sequence:
        return None
    if first == _CLEAR and len(frames) == 1 and len(frame) == rows_at:
        return end, source, sequence, 1
    if first != _FIRST or len(frame) == rows_at:
        return None
    if encoding or len(frames) != 1:
        if encoding & ~(wire.WITH_RAW | wire.LZ4) or len(frames) != 1 + (encoding >> 8):
            return None
        if encoding & wire.LZ4:
            return end, source, sequence, 1
    count = frame[rows_at] - _NONE
    if not 0 < count < 16:
        width = _WIDTHS.get(frame[rows_at], 0)
        count = int.from_bytes(frame[rows_at + 1 : rows_at + 1 + width], "big")
    return (end, source, sequence, count) if count else None


def messages_of(frames: Frames, end: int) -> Messages:
    """Return the messages of a packet, encoded. Raise Malformed for anything else.

    end: the length of the topic, as `head_of` says. Bodies are not looked at; a compressed
    packet is unpacked.
    """
    frame = frames[0]
    first, encoding, _, _, wall_us, _ = _read_header(frame, end)
    if first == _CLEAR:
        return Messages(1, b"\xc0", None, cleared=True, wall_us=wall_us)
    if encoding:
        packet = wire.unpack(frames, end)
        rows, raw = packet.rows, packet.raw
    else:
        small = len(frame) <= _COPIED_BYTES_MAX
        rows, raw = (frame if small else memoryview(frame))[end + _HEADER_BYTES :], None
    count, at = array_of(rows)
    if not count or (raw is not None and count != 1):
        raise Malformed("bodies")
    return Messages(count, rows[at:], raw, cleared=False, wall_us=wall_us)


def encoded_bodies(packet: Packet) -> list[object]:
    """Return the bodies behind a packet's first value, each encoded unless it is raw."""
    if packet.raw is not None:
        if array_of(packet.rows)[0] != 1:
            raise Malformed("raw")
        return [packet.raw]
    return [*values_of(packet.rows)]


def raw_publication(
    topic: bytes, source: int, sequence: int, raw: Buffer, wall_us: int = 0
) -> Frames:
    """Return a packet of one message whose body travels as it is."""
    head, body = wire.pack(wire.PUBLISH, source, wall_us, sequence, b"", b"\x91\xc0", raw)
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


def is_for(packet: Packet, subscriber: int) -> bool:
    """Whether what a publisher sent is for this subscriber: messages are for every one."""
    return packet.kind in _TIMED or packet.target in (0, subscriber)


def stands_for(packet: Packet) -> int:
    """Return for how many subscribers a HELLO speaks: one, or all of a forwarder's.

    Raises Malformed for a wrong number.
    """
    count = wire.fields_of(packet).get("subscribers", 1)
    if type(count) is not int or not 0 <= count < 1 << 32:
        raise Malformed("subscribers")
    return count


def path_of(packet: Packet) -> tuple[int, ...]:
    """Return the forwarders by which messages come, as a WELCOME tells; none of a publisher.

    The first is the one that says it. Raises Malformed for anything else.
    """
    path = wire.fields_of(packet).get("forwards", [])
    return tuple(wire.sequences_of(path, PATH_MAX))


def seeks_of(packet: Packet) -> Reach | None:
    """Return how far a forwarder looks for publishers of the name, as its WELCOME tells.

    None if it looks for nobody, or does not say so in a way that makes sense.
    """
    seeks = wire.fields_of(packet).get("seeks")
    return next((reach for reach in Reach if type(seeks) is int and reach == seeks), None)


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
    if packet.meta is not None:
        raise Malformed("bodies")
    bodies = bodies_in(packet)
    if not bodies:
        raise Malformed("bodies")
    return bodies


def bodies_in(packet: Packet) -> list[object]:
    """Return the bodies behind a packet's first value. Raise Malformed for anything else."""
    bodies = decode(packet.rows)
    if type(bodies) is not list:
        raise Malformed("bodies")
    if packet.raw is not None:
        if len(bodies) != 1 or len(packet.raw) > BODY_BYTES_MAX:
            raise Malformed("raw")
        return [packet.raw]
    return bodies
