"""What a publisher keeps of its topics, for subscribers that join late or missed something.

The packets of a topic are kept as they were published, their bodies as msgpack. Kept numbers of
a publisher follow each other up to the newest message: what is dropped is always the oldest of
its topic. A device may have gaps between them. A topic loses what is beyond `messages` or older
than `age_s`. If all topics together take more than `bytes`, a packet goes that another one of
its topic followed for longest. The last packets of topics go last.

What is kept has a key, which is the topic for a publisher. Whoever keeps the messages of many
publishers has a key for each topic of each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, KeysView, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, le
from typing import Generic, TypeVar

from zmqkit.history_limits import (
    ENTRY_BYTES,
    KEPT_BYTES,
    RAW_SHARED_BYTES_MAX,
    TIME_BYTES,
    History,
)
from zmqkit.wire.encoding import Buffer, Malformed, check_values, encode, values_at
from zmqkit.wire.history import Entry, Want

_LUMP = 16
_sequence_of = attrgetter("sequence")

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True, eq=False)
class _Kept(Generic[K]):
    """Messages of one topic that left together."""

    key: K
    sequence: int  # the number of the first message
    count: int
    rows: Buffer  # msgpack, one body behind the other
    at: float  # since when they are kept
    wall_us: int  # the time of day at which their publisher sent them
    cost: int  # bytes in memory
    raw: Buffer | None = None  # the body of the only message; its row is nil
    sound: bool = True  # the rows are known to be as many as there are messages
    cleared: bool = False  # the only message clears the topic


@dataclass(slots=True, eq=False)
class _Topic(Generic[K]):
    """What is kept of one topic, the oldest first."""

    kept: list[_Kept[K]] = field(default_factory=list)
    messages: int = 0


@dataclass(slots=True)
class Page:
    """Messages of many topics, or one message with a raw body."""

    messages_max: int
    bytes_max: int
    entries: list[Entry] = field(default_factory=list)
    rows: list[Buffer] = field(default_factory=list)
    raw: Buffer | None = None
    messages: int = 0
    size: int = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more fits."""
        full = self.messages >= self.messages_max or self.size >= self.bytes_max
        return full or self.raw is not None

    def fits(self, size: int) -> bool:
        """Whether there is room for so many bytes; the first messages may take any number."""
        return not self.messages or self.size + size <= self.bytes_max

    def add(self, entry: Entry, size: int, rows: Buffer = b"") -> None:
        """Add messages, behind those of the same topic that they continue."""
        self.messages += entry.messages
        self.size += size
        self.rows.append(rows)
        last = self.entries[-1] if self.entries else None
        if (
            last is not None
            and last[:2] == entry[:2]  # the same publisher and topic
            and last.sequence + last.messages == entry.sequence
            and not (last.cleared or entry.cleared)
        ):
            last.times.extend(entry.times)
            entry = last._replace(messages=last.messages + entry.messages)
            self.entries.pop()
        self.entries.append(entry)


class Archive(Generic[K]):
    """The messages that are kept."""

    def __init__(
        self, limits: History, dropped: Callable[[K], None] = lambda key: None
    ) -> None:
        """dropped: called with a topic of which nothing is kept any more."""
        self.size = 0  # bytes
        self._dropped = dropped
        self._limits = limits
        # The topic that was published to longest ago first.
        self._topics: OrderedDict[K, _Topic[K]] = OrderedDict()
        # All packets but the last of each topic; the one that was followed first is first.
        self._followed: OrderedDict[_Kept[K], None] = OrderedDict()
        # So many messages of a topic may be beyond the limit until they are dropped together.
        self._lump = limits.messages // _LUMP
        self._expires = limits.age_s < float("inf")

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return sum(topic.messages for topic in self._topics.values())

    def keep(
        self,
        key: K,
        sequence: int,
        count: int,
        parts: Sequence[Buffer],
        now: float,
        wall_us: int,
        raw: Buffer | None = None,
        *,
        sound: bool = True,
    ) -> None:
        """Keep messages that came now, and left at this time of day.

        parts: msgpack; each buffer may hold many bodies in a row. raw: the body of the only
        message, in place of the parts. One that is not large is kept as msgpack, too, so that
        many of them fit into a page. sound: whether the parts are known to have as many bodies
        as there are messages; if not, they are looked at when they are asked for.
        """
        if raw is not None and len(raw) <= RAW_SHARED_BYTES_MAX:
            parts, raw, sound = [encode(bytes(raw))], None, True
        rows = b"\xc0" if raw is not None else parts[0] if len(parts) == 1 else b"".join(parts)
        if count > self._limits.messages:
            if not (sound or _is_sound(rows, count)):
                return
            skipped, sound = count - self._limits.messages, True
            rows = bytes(values_at(rows, skipped, self._limits.messages))
            sequence, count = sequence + skipped, self._limits.messages
        cost = len(rows) + KEPT_BYTES if raw is None else len(raw) + KEPT_BYTES
        sound = sound or raw is not None
        self._add(_Kept(key, sequence, count, rows, now, wall_us, cost, raw, sound))

    def clear(self, key: K, sequence: int, now: float, wall_us: int) -> None:
        """Keep a message that clears its topic, in place of all that was kept of it."""
        self.forget(key)
        self._add(_Kept(key, sequence, 1, b"\xc0", now, wall_us, KEPT_BYTES, cleared=True))

    def topics(self) -> KeysView[K]:
        """Return the topics of which something is kept."""
        return self._topics.keys()

    def forget(self, key: K) -> None:
        """Keep nothing of a topic."""
        topic = self._topics.get(key)
        if topic is not None:
            self._drop(key, topic, len(topic.kept))

    def page(
        self,
        wants: Iterable[tuple[K | None, Want, int]],
        messages_max: int,
        bytes_max: int,
        now: float,
    ) -> Page:
        """Return as many messages as fit into a page, in the order in which they are wanted.

        wants: by key, None if there is none, with the number below which what is not kept will
        not come any more. A topic that has no entry did not fit. A first message that is larger
        is alone.
        """
        page = Page(messages_max, bytes_max)
        for key, want, known in wants:
            self._fill(page, key, want, known, now)
            if page.is_full:
                break
        return page

    def check(self) -> None:
        """Assert that the counts are right and no limit is exceeded."""
        kept = [each for topic in self._topics.values() for each in topic.kept]
        assert self.size == sum(each.cost for each in kept)
        assert self.size <= self._limits.bytes or len(kept) == 1  # which may be larger
        assert len(kept) == len(self._followed) + len(self._topics)
        for key, topic in self._topics.items():
            assert {each.key for each in topic.kept} == {key}
            assert topic.messages == sum(each.count for each in topic.kept)
            assert topic.messages < 2 * self._limits.messages + self._lump
            ends = [each.sequence + each.count for each in topic.kept]
            assert all(map(le, ends, (each.sequence for each in topic.kept[1:])))

    # Inside

    def _add(self, kept: _Kept[K]) -> None:
        key = kept.key
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic()
        else:
            self._followed[topic.kept[-1]] = None
            self._topics.move_to_end(key)
        topic.kept.append(kept)
        topic.messages += kept.count
        self.size += kept.cost
        limits = self._limits
        if topic.messages > limits.messages + self._lump:
            self._trim(key, topic)
        while self.size > limits.bytes and len(self._followed) + len(self._topics) > 1:
            self._make_room()
        if self._expires:
            self._expire(kept.at - limits.age_s)

    def _trim(self, key: K, topic: _Topic[K]) -> None:
        """Drop packets all of whose messages are beyond the limit."""
        spare, count = topic.messages - self._limits.messages, 0
        for each in topic.kept:
            spare -= each.count
            if spare < 0:
                break
            count += 1
        self._drop(key, topic, count)

    def _make_room(self) -> None:
        """Drop the packets that others have followed for longest, or else a last one."""
        if self._followed:
            key = next(iter(self._followed)).key
            topic = self._topics[key]
            self._drop(key, topic, 1 + (len(topic.kept) - 1) // _LUMP)
        else:
            self.forget(next(iter(self._topics)))

    def _expire(self, before: float) -> None:
        """Drop packets from before a point in time. Some that others followed late may stay."""
        while self._followed and (oldest := next(iter(self._followed))).at < before:
            self._drop(oldest.key, self._topics[oldest.key], 1)
        while self._topics:
            key, topic = next(iter(self._topics.items()))
            if topic.kept[-1].at >= before:
                break
            self.forget(key)

    def _drop(self, key: K, topic: _Topic[K], count: int) -> None:
        """Drop the oldest packets of a topic."""
        for each in topic.kept[:count]:
            self._followed.pop(each, None)
            topic.messages -= each.count
            self.size -= each.cost
        del topic.kept[:count]
        if not topic.kept:
            del self._topics[key]
            self._dropped(key)

    def _runs(
        self, key: K | None, begin: int, now: float
    ) -> Iterator[tuple[int, int, _Kept[K]]]:
        """Yield what is kept of a topic from a number on: the first number, and the next one.

        What is beyond the limits and was not dropped yet is passed over.
        """
        topic = self._topics.get(key) if key is not None else None
        if topic is None:
            return
        last = topic.kept[-1]
        begin = max(begin, last.sequence + last.count - self._limits.messages)
        at = max(0, bisect_right(topic.kept, begin, key=_sequence_of) - 1)
        before = now - self._limits.age_s
        while at < len(topic.kept):
            each = topic.kept[at]
            at += 1
            end = each.sequence + each.count
            if begin < end and each.at >= before and self._is_sound(each):
                yield max(begin, each.sequence), end, each

    def _is_sound(self, kept: _Kept[K]) -> bool:
        """Whether a packet has as many bodies as it says; it is looked at when it is wanted."""
        kept.sound = kept.sound or _is_sound(kept.rows, kept.count)
        return kept.sound

    def _fill(self, page: Page, key: K | None, want: Want, known: int, now: float) -> None:
        """Add what is kept of a wanted topic, as far as it fits."""
        publisher, name, none = want.publisher, want.topic, True
        for sequence, behind, kept in self._runs(key, want.begin, now):
            end = min(behind, want.end)
            if sequence >= end:
                break
            none = False
            if page.is_full:
                return
            count = min(end - sequence, page.messages_max - page.messages)
            rows: Buffer = kept.rows
            if count < kept.count:
                rows = values_at(rows, sequence - kept.sequence, count)
            size = len(rows) + len(name) + ENTRY_BYTES + TIME_BYTES
            if kept.raw is not None:
                size += len(kept.raw)
            if not page.fits(size) or (kept.raw is not None and page.messages):
                page.size = page.bytes_max  # what follows may not overtake it
                return
            page.raw = kept.raw
            times = [count, kept.wall_us]
            page.add(Entry(publisher, name, sequence, count, kept.cleared, times), size, rows)
        if none and not page.is_full:
            number = min(want.end, known)
            page.add(Entry(publisher, name, number, 0, False, []), len(name) + ENTRY_BYTES)


def _is_sound(rows: Buffer, count: int) -> bool:
    """Whether so many bodies stand in a row, and nothing else."""
    try:
        check_values(rows, count)
    except Malformed:
        return False
    return True
