"""Packets that nobody should send: noise, half-truths and lies about the sender."""

from __future__ import annotations

from random import Random

from zmqkit.model import Frames
from zmqkit.simulation.network import Connection, Network
from zmqkit.simulation.subscriptions import TopicListener
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.publication import EVERYBODY, TALK, private

_ODD: tuple[object, ...] = (
    None, True, -1, 0, 2**64 - 1, 0.5, "x", b"\xff", [], [[]], [[1]], [[1], [2]], [1, 2], {},
    {"credit": 0}, {1: 2}, ["p", 1, []], [1, "p", [None]], [1, 1, list(range(50))],
    [1, 1, [1], 0, [[1, 9, 0]]], [[1], [2], [0]], [[1], [0], [None]],
    [1, {"done": 0.5}], [2, bytes(5000)],
    # The columns of requests, streams, answers, values and ends. Their rows stand below.
    [[0], [5], ["add"], [4], [9]], [[1], [-1], ["add"], [4], [4]],
    [[-1], [5], ["add"], [4], [4]],
    [[1, 1], [5, 5], ["add"] * 2, [4, 4], [4, 4]],
    [[2, 3], [5, 5], ["add"] * 2, [4, 4], [4, 4]],
    [[0], [5], ["count"], [4], [[1, 9]], [4]], [[7], [9]], [[7, 8], [1, 3]], [[1], [0], [1]],
    [[1, 1], [9, 0], [1, 3]], [[9], [1], [1], [5], ["add"], [4], [4]],
)  # fmt: skip
_ROWS = (
    b"", b"\xc0", encode([None, [1], {}]), 2 * encode([None, [1], {}]), b"\xc1\xc1\xc1\xc1",
    encode(["busy", "", "", "", False]), b"\x93\x01\x02\x03", b"\x91\x01",
)  # fmt: skip
_HANDOVERS: tuple[list[object], ...] = (
    ["t", None, None, 0, False], ["t", None, None, 0, True], ["t", "u", "o", 10_000, False],
    ["s", "u", "o", 0, False], ["", None, None, 0, False], [None, None, None, 0, False],
    [b"t", None, None, 0, False], ["t", 5, None, 0, False], ["t", None, [], 0, False],
    ["x" * 300, None, None, 0, False], ["t", None, None, -1, False],
    ["t", None, None, 0.5, False], ["t", None, None, True, False],
    ["t", None, None, 2**60, False], ["t", None, None, 0, 1],
)  # fmt: skip
_PUSHES: tuple[object, ...] = (
    *([*said, False] for said in _HANDOVERS), None, 5, [], ["t"], {"id": "t"},
    ["t", None, None, 0, False], ["t", None, None, 0, False, True],
    ["t", None, None, 0, False, 1],
)  # fmt: skip
_BODIES = (
    b"\x91\x01\x80", b"\x91\x01\x80", b"\x91\x01", b"", b"\x90\x80\xc0", b"\x01\x02",
    b"\xc1\xc1", b"\x91\xd4\x05\x00\x80", b"\xdd\xff\xff\xff\xff\x80", 2 * b"\x91\x01\x80",
)  # fmt: skip


def noise(random: Random) -> bytes:
    """Return random bytes, sometimes behind the protocol's magic."""
    body = random.randbytes(random.choice((0, 1, 33, 34, 35, 80)))
    return b"\0\x5a\x01" + body if random.random() < 0.5 else body


def lie(random: Random, target: int = 0) -> Frames:
    """Return a packet of this protocol from a sender that does not exist."""
    kind = random.choice(sorted(wire.KINDS))
    source = random.getrandbits(63) | 1
    meta = encode(random.choice(_ODD))
    rows = random.choice(_ROWS)
    raw = random.randbytes(9) if random.random() < 0.1 else None
    settled, mixed = random.choice((0, 2**64 - 1)), random.random() < 0.1
    return wire.pack(kind, source, target, settled, meta, rows, raw, is_mixed=mixed)


def tasks(random: Random, source: int, target: int, method: str = "task") -> Frames:
    """Return a packet of tasks for a streamer, whose header is right and whose rows may not be.

    Now and then a row has bytes of the one behind it.
    """
    count = random.randint(1, 4)
    rows = [
        b"\x93" + encode({method: [1, 1, None], "push": random.choice(_PUSHES)})
        + random.choice(_BODIES)
        for _ in range(count)
    ]  # fmt: skip
    sizes = [len(row) for row in rows]
    if count > 1 and random.random() < 0.2:
        sizes[0], sizes[1] = sizes[0] + 1, sizes[1] - 1
    lefts = [random.choice((-1, 0, 1, 9000, 2**63)) for _ in range(count)]
    first = random.randrange(50)
    columns = [[*range(first, first + count)], lefts, [method] * count, [4] * count, sizes]
    raw = random.randbytes(9) if random.random() < 0.1 else None
    return wire.pack(wire.REQUEST, source, target, 0, encode(columns), b"".join(rows), raw)


def spoil(random: Random, frames: Frames) -> Frames:
    """Return a packet with some bytes of its first frame changed, lost or added."""
    spoilt = bytearray(frames[0])
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(spoilt) + 1)
        change = random.randrange(3)
        if change == 0:
            spoilt[at : at + 1] = random.randbytes(1)
        elif change == 1:
            del spoilt[at : at + random.randint(1, 8)]
        else:
            spoilt[at:at] = random.randbytes(random.randint(1, 8))
    return (bytes(spoilt), *frames[1:])


def frames(random: Random, target: int = 0) -> Frames:
    """Return one message of garbage, of any number of frames."""
    made = random.choice(((noise(random),), lie(random, target), spoil(random, lie(random))))
    return made if random.random() < 0.9 else random.choice(((), made + made))


def inject(random: Random, network: Network, connection: Connection) -> None:
    """Have garbage arrive at both ends of a connection."""
    topics = isinstance(connection.listener, TopicListener)
    for _ in range(random.randint(1, 20)):
        made = behind(random, frames(random), TALK) if topics else frames(random)
        network.inject(connection, made, back=False)
    for _ in range(random.randint(1, 20)):
        made = frames(random)
        if topics:
            made = behind(random, made, b"kitchen.", private(EVERYBODY))
        elif is_word_of_a_stranger(made):
            continue
        network.inject(connection, made, back=True)


def behind(random: Random, made: Frames, *before: bytes) -> Frames:
    """Return the message, mostly with one of the given beginnings in front.

    On a connection for topics, such a beginning stands before a packet.
    """
    if not made or random.random() < 0.2:
        return made
    return (random.choice(before) + bytes(made[0]), *made[1:])


def is_word_of_a_stranger(made: Frames) -> bool:
    """Return whether the message is a WELCOME.

    At the end of a connection that the process opened itself, a WELCOME is not garbage.
    """
    return 0 < len(made) <= 2 and bytes(made[0][3:4]) == bytes((wire.WELCOME,))
