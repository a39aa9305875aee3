"""Messages that wait to leave together: those of one topic in one packet, in order.

A body of a simple type that cannot change, and can travel for sure, is encoded with all others
of its packet in one go. Any other is encoded at once, so that an error names the value and
later changes do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zmqkit.errors import UsageError
from zmqkit.options import BATCH_BYTES, BODY_BYTES_MAX, GATHER_BYTES, GATHER_MESSAGES
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
_FIXED_BYTES = 9
_HEAD_BYTES = 5
_SHARE_BYTES = GATHER_BYTES // GATHER_MESSAGES
"""What a message takes of the room beside its bytes, so that small ones are not too many."""
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
    """What waits for one topic: parts that are encoded, and behind them plain bodies."""

    name: str
    plain: list[object] = field(default_factory=list)
    parts: list[Buffer] = field(default_factory=list)
    count: int = 0
    size: int = 0

    def seal(self) -> None:
        """Encode the plain bodies."""
        count = len(self.plain)
        if count:
            head = len(array_head(count))
            self.parts.append(memoryview(pack_plain(self.plain))[head:])
            self.count += count
            self.plain.clear()

    def take(self) -> Rows:
        """Everything, as rows; it is empty then."""
        self.seal()
        rows = Rows(self.name, self.parts, self.count, self.size)
        self.parts, self.count, self.size = [], 0, 0
        return rows


class Gathering:
    """What one turn publishes, grouped by topic."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._full: list[Rows] = []
        self._room = GATHER_BYTES

    def __bool__(self) -> bool:
        return bool(self._full) or any(topic.size for topic in self._topics.values())

    def __len__(self) -> int:
        waiting = sum(topic.count + len(topic.plain) for topic in self._topics.values())
        return waiting + sum(rows.count for rows in self._full)

    def add(self, topic: str, body: object) -> bool:
        """Gather a message; whether it is time to `take`.

        Raises UsageError for a topic or a body that cannot travel; nothing is gathered then.
        """
        try:
            waiting = self._topics[topic]
        except (KeyError, TypeError):  # new, or no text at all
            check_topic(topic)
            waiting = self._topics[topic] = _Topic(topic)
        if type(body) is bytes or (type(body) is str and body.isascii()):
            size = len(body) + _HEAD_BYTES
        elif type(body) in _FIXED or (type(body) is int and _INT_MIN <= body <= _INT_MAX):
            size = _FIXED_BYTES
        else:
            return self._add_encoded(waiting, body)
        if size > BATCH_BYTES:
            return self._add_encoded(waiting, body)
        waiting.plain.append(body)
        waiting.size += size
        self._room -= size + _SHARE_BYTES
        if waiting.size >= BATCH_BYTES:
            self._full.append(waiting.take())
            return True
        return self._room <= 0

    def take(self) -> list[Rows]:
        """Everything, in packets; it is empty then."""
        full, self._full = self._full, []
        full += [waiting.take() for waiting in self._topics.values() if waiting.size]
        if len(self._topics) > _TOPICS_KEPT_MAX:
            self._topics.clear()
        self._room = GATHER_BYTES
        return full

    def _add_encoded(self, waiting: _Topic, body: object) -> bool:
        """Gather what is to be encoded now, or travels as it is."""
        if type(body) is memoryview or (type(body) is bytes and len(body) >= BATCH_BYTES):
            if waiting.size:
                self._full.append(waiting.take())
            self._full.append(raw_rows(waiting.name, body))
            return True
        row = encode_body(body)
        if waiting.size and len(row) >= BATCH_BYTES:
            self._full.append(waiting.take())  # together they might be too much for a packet
        waiting.seal()
        waiting.parts.append(row)
        waiting.count += 1
        waiting.size += len(row)
        self._room -= len(row) + _SHARE_BYTES
        if waiting.size >= BATCH_BYTES:
            self._full.append(waiting.take())
            return True
        return self._room <= 0


def encode_body(body: object) -> bytes:
    """A body as msgpack; UsageError for what cannot travel, by type or by size."""
    row = encode_checked(body) if type(body) in SCALARS else encode(body, "body")
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
