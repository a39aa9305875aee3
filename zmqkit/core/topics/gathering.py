"""Messages that wait to leave together: those of one topic in one packet, in order.

A body is plain when it is small, and of a simple, immutable type that can always be encoded.
Many plain bodies are encoded in one go. Any other body is encoded at once. So an error names
the value, and the caller may change the value afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from operator import length_hint

from zmqkit.errors import UsageError
from zmqkit.limits import BATCH_BYTES, PublisherLimits
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
_LENT_MIN, LENT_MAX = 4, 1024
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1
_DEFAULTS = PublisherLimits()


@dataclass(slots=True)
class Rows:
    """Messages of one topic that fit into one packet."""

    topic: str
    parts: list[Buffer]  # msgpack; each part holds one body or many in a row
    count: int  # messages
    size: int  # bytes of all bodies, about
    raw: Buffer | None = None  # the raw body of the only message; there are no parts then


@dataclass(slots=True, eq=False)
class _Topic:
    """What waits for one topic: parts that are encoded, and behind them plain bodies."""

    name: str
    # An item for each plain body that may be added before the size is looked at again. Taking
    # an item costs less than counting.
    room: Iterator[None] = field(default_factory=lambda: repeat(None, 0))
    plain: list[object] = field(default_factory=list)
    parts: list[Buffer] = field(default_factory=list)
    count: int = 0  # messages in the parts
    size: int = 0  # bytes of the parts
    last: int = 0  # how many messages left together the last time

    @property
    def waits(self) -> bool:
        """Whether any message waits."""
        return bool(self.plain or self.count)

    def seal(self) -> int:
        """Encode the plain bodies, and return how many bytes they take."""
        count = len(self.plain)
        if not count:
            return 0
        part = memoryview(pack_plain(self.plain))[len(array_head(count)) :]
        self.parts.append(part)
        self.plain = []
        self.count += count
        self.size += len(part)
        return len(part)

    def take(self) -> Rows:
        """Return all that waits, as rows; the topic is then empty and has no room."""
        self.seal()
        rows = Rows(self.name, self.parts, self.count, self.size)
        self.parts, self.count, self.size, self.last = [], 0, 0, self.count
        self.room = repeat(None, 0)
        return rows


class Gathering:
    """What one turn publishes, grouped by topic."""

    def __init__(
        self, limits: PublisherLimits = _DEFAULTS, *, lent_max: int = LENT_MAX
    ) -> None:
        """lent_max: how many messages `quick` may take before `add` looks at the size again."""
        self._topics: dict[str, _Topic] = {}
        self._filled: dict[_Topic, None] = {}
        self._full: list[Rows] = []
        self._limits = limits
        self._room = limits.gather_bytes
        # A message takes this much of the room beside its bytes, so that small messages do not
        # become too many. So does a topic, because it makes a packet of its own.
        self._share_bytes = limits.gather_bytes // limits.gather_messages
        self._packet_bytes = limits.gather_bytes // limits.gather_packets
        self._lent_max = lent_max

    def __bool__(self) -> bool:
        return bool(self._full or self._filled)

    def __len__(self) -> int:
        waiting = sum(topic.count + len(topic.plain) for topic in self._filled)
        return waiting + sum(rows.count for rows in self._full)

    def quick(self, topic: str, body: object) -> bool:
        """Gather a plain body if its topic has room for it; return false if not.

        The caller then uses `add`. Nearly every message of a batch or a turn comes this way, so
        the check of `_is_plain` is written out here.
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
        """Gather a message, and return whether it is time to `take`.

        Raises UsageError for a topic or a body that cannot be sent; nothing is gathered then.
        """
        if self.quick(topic, body):
            return False
        waiting = self._topic(topic)
        if waiting.last and not waiting.waits and _is_plain(body):
            self._begin(waiting)
            waiting.plain.append(body)
            self._lend(waiting, max(waiting.last - 1, _LENT_MIN))
            return self._room <= 0
        if type(body) is memoryview or (type(body) is bytes and len(body) >= BATCH_BYTES):
            rows = raw_rows(topic, body, self._limits.body_bytes_max)
            self._fill(waiting)
            self._full.append(rows)
            return True
        row = encode_body(body, self._limits.body_bytes_max)
        if len(row) >= BATCH_BYTES:
            self._fill(waiting)  # with what waits it might be too much for one packet
        self._begin(waiting)
        self._room -= waiting.seal() + len(row) + self._share_bytes
        waiting.count, waiting.size = waiting.count + 1, waiting.size + len(row)
        waiting.parts.append(row)
        if waiting.size >= BATCH_BYTES:
            self._fill(waiting)
            return True
        if not length_hint(waiting.room):
            # As many more as the topic holds already, if they are likely to fit its packet.
            fitting = (BATCH_BYTES - waiting.size) * waiting.count // waiting.size
            self._lend(waiting, min(max(waiting.count, _LENT_MIN), fitting))
        return self._room <= 0

    def take(self) -> list[Rows]:
        """Return all messages in packets, and begin anew with none."""
        for waiting in list(self._filled):
            self._fill(waiting)
        if len(self._topics) > self._limits.gather_topics_max:
            self._topics.clear()
        self._room = self._limits.gather_bytes
        full, self._full = self._full, []
        return full

    def give_back(self, packets: Iterable[Rows]) -> None:
        """Put packets that were taken and could not leave before all that came since."""
        self._full = [*packets, *self._full]

    def _topic(self, name: str) -> _Topic:
        """Return what waits for a topic. Raises UsageError for a wrong name."""
        waiting = self._topics.get(name) if type(name) is str else None
        if waiting is None:
            check_topic(name)
            waiting = self._topics[name] = _Topic(name)
        return waiting

    def _begin(self, waiting: _Topic) -> None:
        """Note that a topic holds something, and reserve the share of its packet."""
        if waiting not in self._filled:
            self._filled[waiting] = None
            self._room -= self._packet_bytes

    def _fill(self, waiting: _Topic) -> None:
        """Make a packet of what waits for a topic, if anything does."""
        if waiting.waits:
            self._full.append(waiting.take())
        self._filled.pop(waiting, None)

    def _lend(self, waiting: _Topic, count: int) -> None:
        """Let a topic take `count` plain bodies before its size is looked at again."""
        count = min(count, self._lent_max)
        waiting.room = repeat(None, count)
        self._room -= count * self._share_bytes


def _is_plain(body: object) -> bool:
    """Whether a body is small, immutable and can always be encoded."""
    if type(body) is bytes or (type(body) is str and body.isascii()):
        return len(body) <= _SMALL_BYTES
    return type(body) in _FIXED or (type(body) is int and _INT_MIN <= body <= _INT_MAX)


def encode_body(body: object, bytes_max: int) -> bytes:
    """Return a body as msgpack. Raises UsageError for a wrong type or too many bytes."""
    row = encode_checked(body, "body") if type(body) in SCALARS else encode(body, "body")
    if len(row) > bytes_max:
        raise UsageError(f"the body takes {len(row)} bytes; {bytes_max} at most")
    return row


def raw_rows(topic: str, body: Buffer, bytes_max: int) -> Rows:
    """Return the rows of one message whose body is sent as it is, without encoding.

    Raises UsageError when the body is larger than `bytes_max`.
    """
    raw = raw_of(body)
    if len(raw) > bytes_max:
        raise UsageError(f"the body has {len(raw)} bytes; {bytes_max} at most")
    return Rows(topic, [], 1, len(raw), raw)


def single_rows(topic: str, body: object, bytes_max: int) -> Rows:
    """Return the rows of one message that leaves alone.

    Raises UsageError for a topic or a body that cannot be sent.
    """
    check_topic(topic)
    if type(body) is memoryview or (type(body) is bytes and len(body) >= BATCH_BYTES):
        return raw_rows(topic, body, bytes_max)
    row = encode_body(body, bytes_max)
    return Rows(topic, [row], 1, len(row))
