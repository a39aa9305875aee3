"""What a journal says of tasks: the rows of its tables, each with a checksum.

SQLite does not see a flipped bit in a body. The checksum of a row is over all that it says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import chain
from zlib import crc32

_COMMIT_BYTES = 1 << 14
PLACE_BITS = 48
"""How many bits the number of a plain task has; its priority stands before them."""


DEAD, TO_SINK, IS_RESULT = 1, 2, 4
"""Flags of an entry: its last attempt failed; its result goes to a sink; it is a result."""


@dataclass(slots=True)
class Entry:
    """A task that is open or dead. Points in time are of the wall clock, in seconds."""

    sequence: int
    flags: int  # DEAD, TO_SINK and IS_RESULT, added up
    priority: int
    due_at: float
    expires_at: float | None
    attempt: int
    own_id: str | None
    unique: str | None
    order_by: str | None
    reasons: str  # one a line
    body: bytes
    raw: bytes | None

    @property
    def checksum(self) -> int:
        """The checksum of all that the entry says."""
        flags = bool(self.flags) if self.flags <= DEAD else self.flags  # as format 1 has it
        head = repr((
            self.sequence, flags, self.priority, self.due_at, self.expires_at, self.attempt,
            self.own_id, self.unique, self.order_by, self.reasons, self.raw is None,
        ))  # fmt: skip
        return crc32(self.raw or b"", crc32(self.body, crc32(head.encode(errors="replace"))))

    def row(self) -> tuple[object, ...]:
        """Return the row of the table `task`."""
        return (
            self.sequence, int(self.flags), self.priority, self.due_at, self.expires_at,
            self.attempt, self.own_id, self.unique, self.order_by, self.reasons, self.body,
            self.raw, self.checksum,
        )  # fmt: skip


@dataclass(slots=True)
class Plain:
    """A task that nobody began yet; its body and its priority are all that there is of it."""

    sequence: int
    priority: int
    body: bytes
    raw: bytes | None

    @property
    def place(self) -> int:
        """Where it stands: the tasks of a priority stand together, in order."""
        return place(self.priority, self.sequence)

    @property
    def checksum(self) -> int:
        """The checksum of all that the row says."""
        head = b"%d %d" % (self.place, self.raw is None)
        return crc32(self.raw or b"", crc32(self.body, crc32(head)))

    def row(self) -> tuple[object, ...]:
        """Return the row of the table `plain`."""
        return self.place, self.body, self.raw, self.checksum


@dataclass(slots=True)
class PlainPage:
    """Plain tasks of one priority, as they were read."""

    tasks: list[Plain]
    damaged: list[Plain]
    # The number of the last task that was read, and whether no more follow.
    read: int
    is_last: bool


@dataclass(slots=True)
class Outcome:
    """What became of a task that ended: its value or its error, encoded, or a long value."""

    sequence: int
    state: str
    settled_at: float
    attempt: int
    own_id: str | None
    reasons: str  # one a line
    value: bytes | None
    raw: bytes | None
    error: bytes | None

    @property
    def checksum(self) -> int:
        """The checksum of all that the outcome says."""
        lacks = (self.value is None, self.raw is None, self.error is None)
        head = (
            f"{self.sequence} {self.state} {self.settled_at} {self.attempt} {self.own_id} "
            f"{lacks} {self.reasons}"
        )
        end = self.value or self.raw or b""
        return crc32(end, crc32(self.error or b"", crc32(head.encode(errors="replace"))))

    def row(self) -> tuple[object, ...]:
        """Return the row of the table `outcome`."""
        return (
            self.sequence, self.state, self.settled_at, self.attempt, self.own_id, self.reasons,
            self.value, self.raw, self.error, self.checksum,
        )  # fmt: skip


@dataclass(slots=True)
class Held:
    """The leases that a worker has: the number of each, and the place of its task."""

    worker: int
    leases: list[tuple[int, int]]

    @property
    def key(self) -> bytes:
        """The worker's incarnation, as the table has it."""
        return self.worker.to_bytes(8, "big")

    def row(self) -> tuple[object, ...]:
        """Return the row of the table `held`."""
        numbers = chain.from_iterable(self.leases)
        data = struct.pack(f">{2 * len(self.leases)}Q", *numbers)
        return self.key, data, crc32(data, crc32(self.key))

    @classmethod
    def read(cls, key: object, data: object, checksum: object) -> Held | None:
        """Return what a row of the table says; None if it is damaged."""
        if type(key) is not bytes or type(data) is not bytes:
            return None
        if len(key) != 8 or len(data) % 16 or crc32(data, crc32(key)) != checksum:
            return None
        numbers = struct.unpack(f">{len(data) // 8}Q", data)
        return cls(int.from_bytes(key, "big"), [*zip(numbers[::2], numbers[1::2], strict=True)])


@dataclass(slots=True)
class Changes:
    """What one transaction writes and removes."""

    # The highest number of a task that was accepted.
    last: int = 0
    # Tasks that are new or have changed, and the numbers of tasks that are neither open nor
    # dead any more.
    entries: list[Entry] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    # Plain tasks that are new, and the places of tasks that are over, or not plain any more.
    plain: list[Plain] = field(default_factory=list)
    plain_over: list[int] = field(default_factory=list)
    # What became of tasks, and the numbers of tasks of which that is to be kept no longer.
    outcomes: list[Outcome] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    # Workers that have other leases now, or none any more.
    held: list[Held] = field(default_factory=list)
    # The time of day, if the ages of tasks matter.
    at: float | None = None

    @property
    def size(self) -> int:
        """About how many bytes a log gets for them."""
        size = _COMMIT_BYTES
        for entry in self.entries:
            size += len(entry.body) + len(entry.raw or b"")
        for plain in self.plain:
            size += len(plain.body) + len(plain.raw or b"")
        for outcome in self.outcomes:
            size += len(outcome.value or outcome.raw or b"")
        for held in self.held:
            size += 16 * len(held.leases)
        return size


def place(priority: int, sequence: int) -> int:
    """Return the place of a plain task."""
    return priority << PLACE_BITS | sequence


def number_at(place: int) -> int:
    """Return the number of the task that has this place."""
    return place & (1 << PLACE_BITS) - 1


def is_sound(row: Entry | Plain | Outcome, checksum: object) -> bool:
    """Return whether a row is what was written; damage may change the types of fields."""
    try:
        return row.checksum == checksum
    except TypeError:
        return False
