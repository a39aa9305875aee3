"""What a publisher or a forwarder keeps, as it is asked for and sent by pages.

    HEADS    a subscriber asks where topics end; whoever keeps them tells it, or all subscribers
    RECOVER  a subscriber asks for messages of topics, by their numbers
    HISTORY  one page of these messages
    CLEAR    a message without a body: what was kept of its topic is kept no longer

Each topic is that of one publisher, and named with its incarnation: a forwarder keeps those of
many. A page holds messages of many topics: an entry for each run of numbers, and all bodies in
one array. Times are those that the packets of publishers had, in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeGuard

from zmqkit.history_limits import PAGE_HISTORY_BYTES, PAGE_TOPICS
from zmqkit.limits import TOPIC_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire import publication
from zmqkit.wire.encoding import (
    Buffer,
    Malformed,
    array,
    array_head,
    decode,
    encode,
    values_of,
)
from zmqkit.wire.packet import SEQUENCE_MAX, Packet

_HEADS_MAX = PAGE_HISTORY_BYTES
_PREFIXES_BYTES_MAX = 16 << 10
_INT = frozenset({int})


Key = tuple[int, str]
"""The incarnation of a publisher, and one of its topics."""


BodiesIn = Callable[[Packet], list[object]]
"""Reads the bodies of a packet, or leaves each encoded."""


class Want(NamedTuple):
    """The messages of a topic from one number on, up to another one that is not wanted."""

    publisher: int
    topic: str
    begin: int
    end: int


class Entry(NamedTuple):
    """Messages of one topic in a page. Without messages, none below there is kept."""

    publisher: int
    topic: str
    sequence: int  # the number of the first message
    messages: int
    cleared: bool  # the only message clears the topic
    times: list[int]  # by packet: how many of them it had, and when it left, in turn


class Ask(NamedTuple):
    """What a subscriber asks for in one page."""

    token: int
    messages_max: int
    bytes_max: int
    wants: list[Want]


class HeadsAsk(NamedTuple):
    """Of which topics a subscriber asks the numbers."""

    token: int
    prefixes: tuple[str, ...]  # the beginnings of the topics
    after: int  # the place of the last topic that it was told of, 0 at first


class Heads(NamedTuple):
    """The numbers that the next messages of topics will have."""

    token: int  # of the question; 0 if nobody asked
    next: dict[Key, int]
    after: int  # the place of the last topic in it; 0 if there are no further topics


def ask_meta(ask: Ask) -> object:
    """Return the first value of a RECOVER packet."""
    return [ask.token, ask.messages_max, ask.bytes_max, [list(want) for want in ask.wants]]


def heads_ask_meta(token: int, prefixes: Iterable[bytes], after: int) -> object:
    """Return the first value of a HEADS packet that asks.

    It asks for all topics if the prefixes are long; the subscriber passes over those that it
    does not want.
    """
    names = [prefix.decode() for prefix in prefixes]
    if sum(map(len, names)) > _PREFIXES_BYTES_MAX:
        names = [""]
    return [token, names, after]


def heads(source: int, subscriber: int, told: Heads) -> Frames:
    """Return a HEADS packet for one subscriber, or for EVERYBODY."""
    numbers = [[*key, number] for key, number in told.next.items()]
    meta = [told.token, numbers, told.after]
    return publication.to_subscriber(wire.HEADS, source, subscriber, meta)


def page(
    source: int,
    subscriber: int,
    token: int,
    entries: Sequence[Entry],
    rows: Sequence[Buffer],
    *,
    raw: Buffer | None = None,
    far: bool = False,
) -> Frames:
    """Return a HISTORY packet.

    rows: msgpack; each buffer may hold many bodies in a row. raw: the body of the only message,
    which is nil in the rows. far: the subscriber is on another machine.
    """
    meta = encode([token, [list(entry) for entry in entries]])
    count = sum(entry.messages for entry in entries)
    bodies = b"".join((array_head(count), *rows))
    frames = wire.pack(wire.HISTORY, source, subscriber, 0, meta, bodies, raw, far=far)
    return (publication.private(subscriber) + bytes(frames[0]), *frames[1:])


def times_of(entry: Entry) -> list[float]:
    """Return when each message of an entry was published, in seconds since 1970."""
    found: list[float] = []
    for count, wall_us in zip(entry.times[::2], entry.times[1::2], strict=True):
        found += [publication.seconds_of(wall_us)] * count
    return found


def clear(topic: bytes, source: int, sequence: int, wall_us: int = 0) -> Frames:
    """Return the packet of a message that clears its topic."""
    [frame] = wire.pack(wire.CLEAR, source, wall_us, sequence, b"")
    return (topic + bytes(frame),)


def read_ask(packet: Packet) -> Ask:
    """Return what a RECOVER packet asks for. Raise Malformed for anything else."""
    match packet.meta:
        case [int(token), int(messages_max), int(bytes_max), list(wants)] if (
            token > 0 and messages_max > 0 and bytes_max > 0 and 0 < len(wants) <= PAGE_TOPICS
        ):
            bytes_max = min(bytes_max, PAGE_HISTORY_BYTES)
            return Ask(token, messages_max, bytes_max, [_want(each) for each in wants])
    raise Malformed("recover")


def read_heads_ask(packet: Packet) -> HeadsAsk:
    """Return what a HEADS packet of a subscriber asks for. Raise Malformed otherwise."""
    match packet.meta:
        case [int(token), list(prefixes), int(after)] if token > 0 and after >= 0:
            if all(type(prefix) is str for prefix in prefixes):
                return HeadsAsk(token, tuple(prefixes), after)
    raise Malformed("heads")


def read_heads(packet: Packet) -> Heads:
    """Return what a HEADS packet tells. Raise Malformed for anything else."""
    match packet.meta:
        case [int(token), list(rows), int(after)] if (
            token >= 0 and after >= 0 and len(rows) <= _HEADS_MAX
        ):
            return Heads(token, dict(map(_head, rows)), after)
    raise Malformed("heads")


def read_page(
    packet: Packet, bodies_in: BodiesIn = publication.bodies_in
) -> tuple[int, list[Entry], list[object]]:
    """Return the token, the entries and all bodies of a HISTORY packet.

    Of an entry with a body that cannot be read, no messages are returned, as if none were kept.
    Raises Malformed for anything else.
    """
    match packet.meta:
        case [int(token), list(rows)] if token > 0:
            entries = [_entry(each) for each in rows]
            try:
                bodies = bodies_in(packet)
            except Malformed:
                entries, bodies = _readable(packet, entries)
            if sum(entry.messages for entry in entries) == len(bodies):
                return token, entries, bodies
    raise Malformed("history")


def _readable(packet: Packet, entries: list[Entry]) -> tuple[list[Entry], list[object]]:
    """Return what can be read of a page: a publisher's wrong body harms no other publisher."""
    rows = values_of(packet.rows)
    readable: list[Entry] = []
    bodies: list[object] = []
    at = 0
    for entry in entries:
        theirs = rows[at : at + entry.messages]
        at += entry.messages
        try:
            bodies += decode(array(theirs))  # type: ignore[arg-type]  # an array is a list
            readable.append(entry)
        except Malformed:
            behind = entry.sequence + entry.messages
            readable.append(Entry(entry.publisher, entry.topic, behind, 0, False, []))
    return readable, bodies


def _want(value: object) -> Want:
    match value:
        case [publisher, topic, begin, end] if (
            _is_publisher(publisher)
            and _is_topic(topic)
            and _is_number(begin)
            and _is_number(end)
        ):
            return Want(publisher, topic, begin, end)
    raise Malformed("recover")


def _head(value: object) -> tuple[Key, int]:
    match value:
        case [publisher, topic, number] if (
            _is_publisher(publisher) and _is_topic(topic) and _is_number(number)
        ):
            return (publisher, topic), number
    raise Malformed("heads")


def _entry(value: object) -> Entry:
    if type(value) is not list or len(value) != 6:
        raise Malformed("history")
    publisher, topic, number, messages, cleared, times = value
    if (
        not _is_publisher(publisher)
        or not _is_topic(topic)
        or not _is_number(number)
        or type(messages) is not int
        or type(cleared) is not bool
        or messages < 0
        or (cleared and messages != 1)
        or not _are_times(times, messages)
    ):
        raise Malformed("history")
    return Entry(publisher, topic, number, messages, cleared, times)


def _are_times(value: object, messages: int) -> TypeGuard[list[int]]:
    """Whether these are the times of so many messages."""
    if type(value) is not list or len(value) % 2 or not _INT.issuperset(map(type, value)):
        return False
    counts, walls = value[::2], value[1::2]
    return sum(counts) == messages and min(counts, default=1) > 0 and min(walls, default=0) >= 0


def _is_publisher(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 1 << 64


def _is_topic(value: object) -> TypeGuard[str]:
    return type(value) is str and 0 < len(value) <= TOPIC_BYTES_MAX


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= SEQUENCE_MAX
