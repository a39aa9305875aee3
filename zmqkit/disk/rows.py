"""What a journal says of tasks: the rows of its tables, each with a checksum.

SQLite does not see a flipped bit in a body. The checksum of a row is over all that it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
        return size


def place(priority: int, sequence: int) -> int:
    """Return the place of a plain task."""
    return priority << PLACE_BITS | sequence


def is_sound(row: Entry | Plain | Outcome, checksum: object) -> bool:
    """Return whether a row is what was written; damage may change the types of fields."""
    try:
        return row.checksum == checksum
    except TypeError:
        return False
