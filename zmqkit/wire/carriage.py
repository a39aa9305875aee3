"""What the two ends of a bridge say to each other, and how packets travel between them.

HELLO    from the end that dials; WELCOME is the answer. Both carry `Greeting` as a map
PUBLISH  packets of publishers, as they came; `settled` is the number of the first. Each row
         is [whether its publisher waits, its first frame]; a raw body is that of the last
         row
CREDIT   [next, passed, again, direct, leaving], see `Beat`
BYE      the end leaves; or {"why": text}, it is not for the one that said HELLO
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zmqkit.limits import PREFIXES_MAX, PUBLISHERS_MAX, TOPIC_BYTES_MAX
from zmqkit.model import Frames
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, decode, encode
from zmqkit.wire.packet import Packet

Row = tuple[bool, Frames]
"""Whether the publisher of a packet waits for its subscribers, and the packet."""


@dataclass(slots=True)
class Greeting:
    """What an end says of itself when a connection begins."""

    # Counts the greetings of the end that dials; the answer repeats it, 0 answers none.
    token: int
    # The name that the other end must have; nothing for any.
    name: str
    # The number of the first packet that it still has for the other end.
    first: int
    # The packet that it expects next, and the one that it passes on next; 0 for any.
    next: int
    passed: int
    # The beginnings of topics that it lets in.
    takes: tuple[bytes, ...]
    # The ends are on different machines, so shorter packets are worth some time.
    is_far: bool = False
    # That of the end; both have to be in the same.
    space: str = ""


@dataclass(slots=True)
class Beat:
    """How far an end is, said whenever that changes and now and then."""

    next: int
    passed: int
    # Packets before `next` did not come, so send on from there.
    again: bool
    # The publishers that it hears directly, so that it needs nothing of theirs.
    direct: list[int]
    # It is about to end, and passes on no more than it has by now.
    leaving: bool


def greeting(kind: int, source: int, target: int, said: Greeting) -> Frames:
    """Return a HELLO or WELCOME."""
    takes = [prefix.decode() for prefix in said.takes]
    fields = {
        "token": said.token, "name": said.name, "first": said.first, "next": said.next,
        "passed": said.passed, "takes": takes, "lz4": said.is_far, **wire.named(said.space),
    }  # fmt: skip
    return wire.pack(kind, source, target, 0, encode(fields))


def greeting_of(packet: Packet) -> Greeting:
    """Return what a HELLO or WELCOME says. Raise Malformed for anything else."""
    fields = wire.fields_of(packet)
    name, takes = fields.get("name"), fields.get("takes")
    keys = ("token", "first", "next", "passed")
    token, first, following, passed = wire.sequences_of([fields.get(key) for key in keys], 4)
    if type(name) is not str or type(takes) is not list or len(takes) > PREFIXES_MAX:
        raise Malformed("greeting")
    prefixes = tuple(each.encode() for each in takes if type(each) is str)
    if len(prefixes) != len(takes) or max(map(len, prefixes), default=0) > TOPIC_BYTES_MAX:
        raise Malformed("greeting")
    if not first or not packet.source:
        raise Malformed("greeting")
    far = fields.get("lz4") is True
    space = wire.space_of(fields)
    return Greeting(token, name, first, following, passed, prefixes, far, space)


def carriage(source: int, target: int, first: int, rows: Sequence[Row], *, far: bool) -> Frames:
    """Return a packet of packets. Only the last may have a raw body."""
    last = rows[-1][1]
    raw = last[1] if len(last) > 1 else None
    encoded = encode([[waits, bytes(frames[0])] for waits, frames in rows])
    return wire.pack(wire.PUBLISH, source, target, first, b"", encoded, raw, far=far)


def rows_of(packet: Packet) -> list[Row]:
    """Return the packets in a packet. Raise Malformed for anything else."""
    rows = decode(packet.rows)
    if packet.meta is not None or not packet.settled or type(rows) is not list or not rows:
        raise Malformed("rows")
    found: list[Row] = []
    for row in rows:
        if type(row) is not list or len(row) != 2 or type(row[1]) is not bytes:
            raise Malformed("row")
        found.append((row[0] is True, (row[1],)))
    if packet.raw is not None:
        waits, (frame,) = found[-1]
        found[-1] = (waits, (frame, packet.raw))
    return found


def beat(source: int, target: int, said: Beat) -> Frames:
    """Return a CREDIT."""
    meta = [said.next, said.passed, said.again, said.direct, said.leaving]
    return wire.pack(wire.CREDIT, source, target, 0, encode(meta))


def beat_of(packet: Packet) -> Beat:
    """Return what a CREDIT says. Raise Malformed for anything else."""
    meta = packet.meta
    if type(meta) is not list or len(meta) != 5:
        raise Malformed("beat")
    following, passed = wire.sequences_of(meta[:2], 2)
    if not 0 < passed <= following:
        raise Malformed("beat")
    direct = wire.sequences_of(meta[3], PUBLISHERS_MAX)
    return Beat(following, passed, meta[2] is True, direct, meta[4] is True)


def refusal(source: int, target: int, why: str) -> Frames:
    """Return a BYE for an end that is not the one wanted."""
    return wire.pack(wire.BYE, source, target, 0, encode({"why": why}))


def refusal_of(packet: Packet) -> str:
    """Return why a BYE refuses the one that said HELLO; nothing if the end just leaves."""
    why = packet.meta.get("why") if type(packet.meta) is dict else None
    return why if type(why) is str else ""
