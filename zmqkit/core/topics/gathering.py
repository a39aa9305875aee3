"""Messages that wait to leave together: those of one topic in one packet, in order.

A small body of a simple type that cannot change, and can travel for sure, is encoded with many
others in one go. Any other is encoded at once, so that an error names the value and later
changes do no harm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from operator import length_hint

from zmqkit.errors import UsageError
from zmqkit.limits import (
    BATCH_BYTES,
    BODY_BYTES_MAX,
    GATHER_BYTES,
    GATHER_MESSAGES,
    GATHER_PACKETS,
)
from zmqkit.wire.encoding import (
    SCALARS,
    Buffer,
    array_head,
    encode,
    encode_checked,
    pack_plain,
    raw_of,
)
from zmqkit.wire.publication import check_topic

_FIXED = frozenset({float, bool, type(None)})
_SMALL_BYTES = 1 << 10
_SHARE_BYTES = GATHER_BYTES // GATHER_MESSAGES
"""What a message takes of the room beside its bytes, so that small ones are not too many."""
_PACKET_BYTES = GATHER_BYTES // GATHER_PACKETS
"""What a topic takes of the room beside its messages, as it makes a packet of its own."""
_LENT_MIN, LENT_MAX = 4, 1024
_TOPICS_KEPT_MAX = 10_000
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1


@dataclass(slots=True)
class Rows:
    """Messages of one topic that fit into one packet.

    parts: msgpack, many bodies in a row each. raw: in place of those, the body of the only
    message. size: bytes of all bodies, about.
    """

    topic: str
    parts: list[Buffer]
    count: int
    size: int
    raw: Buffer | None = None


@dataclass(slots=True, eq=False)
class _Topic:
    """What waits for one topic: parts that are encoded, and behind them plain bodies.

    room: an item for each small body that it may take before the next look at its size; to take
    one costs less than to count. count, size: of the parts, size in bytes. last: how many left
    together before.
    """

    name: str
    room: Iterator[None] = field(default_factory=lambda: repeat(None, 0))
    plain: list[object] = field(default_factory=list)
    parts: list[Buffer] = field(default_factory=list)
    count: int = 0
    size: int = 0
    last: int = 0

    @property
    def waits(self) -> bool:
        """Whether there is anything."""
        return bool(self.plain or self.count)

    def seal(self) -> int:
        """Encode the plain bodies; gives how many bytes they take."""
        count = len(self.plain)
        if not count:
            return 0
        part = memoryview(pack_plain(self.plain))[len(array_head(count)) :]
        size = len(part)
        self.count += count
        self.size += size
        self.plain = []
        self.parts.append(part)  # last: an interrupt may come as it returns, not before
        return size

    def take(self) -> Rows:
        """Everything, as rows; it is empty then, and has no room."""
        self.seal()
        rows, none = Rows(self.name, self.parts, self.count, self.size), repeat(None, 0)
        self.parts, self.count, self.size, self.last = [], 0, 0, self.count
        self.room = none
        return rows


class Gathering:
    """What one turn publishes, grouped by topic.

    An interrupt may come at any step: each message is in one place, and only there.
    """

    def __init__(self, lent_max: int = LENT_MAX) -> None:
        """`lent_max`: how many messages `quick` may take before `add` is to have a look."""
        self._topics: dict[str, _Topic] = {}
        self._filled: dict[_Topic, None] = {}
        self._full: deque[Rows] = deque()
        self._room = GATHER_BYTES
        self._lent_max = lent_max

    def __bool__(self) -> bool:
        return bool(self._full or self._filled)

    def __len__(self) -> int:
        waiting = sum(topic.count + len(topic.plain) for topic in self._filled)
        return waiting + sum(rows.count for rows in self._full)

    def quick(self, topic: str, body: object) -> bool:
        """Gather a small plain body if its topic has room for it; if not, `add` is to.

        The way of nearly every message of a batch or a turn, so it is written out.
        """
        try:
            waiting = self._topics[topic]
        except (KeyError, TypeError):  # new, or no text at all
            return False
        if type(body) is bytes or (type(body) is str and body.isascii()):
            if len(body) > _SMALL_BYTES:
                return False
        elif type(body) not in _FIXED and not (
            type(body) is int and _INT_MIN <= body <= _INT_MAX
        ):
            return False
        for _ in waiting.room:
            waiting.plain.append(body)
            return True
        return False

    def add(self, topic: str, body: object) -> bool:
        """Gather a message; whether it is time to `take`.

        Raises UsageError for a topic or a body that cannot travel; nothing is gathered then.
        """
        if self.quick(topic, body):
            return False
        waiting = self._topic(topic)
        if waiting.last and not waiting.waits and _is_plain(body):
            self._begin(waiting)
            waiting.plain.append(body)  # first: nothing is lent where nothing waits
            self._lend(waiting, max(waiting.last - 1, _LENT_MIN))
            return self._room <= 0
        if type(body) is memoryview or (type(body) is bytes and len(body) >= BATCH_BYTES):
            rows = raw_rows(topic, body)
            self._fill(waiting)
            self._full.append(rows)
            return True
        row = encode_body(body)
        if len(row) >= BATCH_BYTES:
            self._fill(waiting)  # together they might be too much for a packet
        self._begin(waiting)
        self._room -= waiting.seal() + len(row) + _SHARE_BYTES
        waiting.count, waiting.size = waiting.count + 1, waiting.size + len(row)
        waiting.parts.append(row)
        if waiting.size >= BATCH_BYTES:
            self._fill(waiting)
            return True
        if not length_hint(waiting.room):
            # As many as it has, if these are likely to fit its packet.
            fitting = (BATCH_BYTES - waiting.size) * waiting.count // waiting.size
            self._lend(waiting, min(max(waiting.count, _LENT_MIN), fitting))
        return self._room <= 0

    def pack(self) -> deque[Rows]:
        """Everything, in packets, which are held until whoever asked takes them out."""
        for waiting in list(self._filled):
            self._fill(waiting)
        if len(self._topics) > _TOPICS_KEPT_MAX:
            self._topics.clear()
        self._room = GATHER_BYTES
        return self._full

    def take(self) -> list[Rows]:
        """Everything, in packets; it is empty then."""
        full = list(self.pack())
        self._full.clear()
        return full

    def give_back(self, packets: Iterable[Rows]) -> None:
        """Hold what was taken and could not leave, before all that came since."""
        self._full = deque([*packets, *self._full])

    def _topic(self, name: str) -> _Topic:
        """What waits for a topic, whose name is right; else UsageError."""
        waiting = self._topics.get(name) if type(name) is str else None
        if waiting is None:
            check_topic(name)
            waiting = self._topics[name] = _Topic(name)
        return waiting

    def _begin(self, waiting: _Topic) -> None:
        """Have a topic hold something."""
        if waiting not in self._filled:
            self._filled[waiting] = None
            self._room -= _PACKET_BYTES

    def _fill(self, waiting: _Topic) -> None:
        """Have what waits for a topic, if anything, be a packet of its own."""
        if waiting.waits:
            self._full.append(waiting.take())
        self._filled.pop(waiting, None)

    def _lend(self, waiting: _Topic, count: int) -> None:
        """Let a topic take so many small bodies before the next look."""
        count = min(count, self._lent_max)
        waiting.room = repeat(None, count)
        self._room -= count * _SHARE_BYTES


def _is_plain(body: object) -> bool:
    """Whether a body is small, cannot change and can travel for sure."""
    if type(body) is bytes or (type(body) is str and body.isascii()):
        return len(body) <= _SMALL_BYTES
    return type(body) in _FIXED or (type(body) is int and _INT_MIN <= body <= _INT_MAX)


def encode_body(body: object) -> bytes:
    """A body as msgpack; UsageError for what cannot travel, by type or by size."""
    row = encode_checked(body, "body") if type(body) in SCALARS else encode(body, "body")
    if len(row) > BODY_BYTES_MAX:
        raise UsageError(f"the body takes {len(row)} bytes; {BODY_BYTES_MAX} at most")
    return row


def raw_rows(topic: str, body: Buffer) -> Rows:
    """One message with a body that travels as it is."""
    raw = raw_of(body)
    if len(raw) > BODY_BYTES_MAX:
        raise UsageError(f"the body has {len(raw)} bytes; {BODY_BYTES_MAX} at most")
    return Rows(topic, [], 1, len(raw), raw)


def single_rows(topic: str, body: object) -> Rows:
    """One message that leaves alone."""
    check_topic(topic)
    if type(body) is memoryview or (type(body) is bytes and len(body) >= BATCH_BYTES):
        return raw_rows(topic, body)
    row = encode_body(body)
    return Rows(topic, [row], 1, len(row))
