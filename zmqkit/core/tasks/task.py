"""A task, and the states that it passes through.

Theory of operation. A task waits until a worker takes it. Then it is leased: the worker has it
for one attempt. The attempt ends the task, or the task waits for the next attempt. `LIFE` holds
the state that follows from each event in each state. An event that has no entry there changes
nothing: the first settlement of a task wins, and a dead task alone may wait again.

    WAITING    ready for a worker, or delayed, or behind another task with the same key
    LEASED     a worker has it
    DONE       its handler returned, and where the result goes to a sink, a sink has taken it
    FAILED     its handler ended it with an error that is not retried
    DEAD       its last attempt failed; it is kept, and may be requeued
    EXPIRED    its time ran out before a handler began
    CANCELLED  its sender gave it up
    DROPPED    it was purged
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum, auto
from math import inf

from zmqkit.errors import ZmqkitError
from zmqkit.types import TaskCounts
from zmqkit.wire.encoding import Buffer


class State(Enum):
    """The state of a task; the text at the top of the module says what each means."""

    __hash__ = object.__hash__  # members are compared by identity; Enum hashes their names

    WAITING = "waiting"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DROPPED = "dropped"


class Event(Enum):
    """What may happen to a task."""

    __hash__ = object.__hash__

    # A worker took it.
    LEASED = auto()
    # The worker gave it back, and had not begun it.
    RELEASED = auto()
    # The attempt failed, and another one may follow.
    RETRIED = auto()
    # The attempt failed, and it was the last one.
    EXHAUSTED = auto()
    # Its handler returned, and the result waits for a sink.
    RETURNED = auto()
    # Its handler returned, or a sink took the result.
    DONE = auto()
    # Its handler ended it with an error that is not retried.
    FAILED = auto()
    # Its time ran out.
    EXPIRED = auto()
    # Its sender gave it up.
    CANCELLED = auto()
    # Somebody threw it away.
    PURGED = auto()
    # Somebody wants a dead task to be tried again.
    REQUEUED = auto()


LIFE: Mapping[State, Mapping[Event, State]] = {
    State.WAITING: {
        Event.LEASED: State.LEASED,
        Event.RETURNED: State.WAITING,  # as below
        Event.DONE: State.DONE,  # a worker that was given up finished it after all
        Event.FAILED: State.FAILED,
        Event.EXPIRED: State.EXPIRED,
        Event.CANCELLED: State.CANCELLED,
        Event.PURGED: State.DROPPED,
    },
    State.LEASED: {
        Event.RELEASED: State.WAITING,
        Event.RETRIED: State.WAITING,
        Event.EXHAUSTED: State.DEAD,
        Event.RETURNED: State.WAITING,
        Event.DONE: State.DONE,
        Event.FAILED: State.FAILED,
        Event.EXPIRED: State.EXPIRED,
        Event.CANCELLED: State.CANCELLED,
        Event.PURGED: State.DROPPED,
    },
    State.DEAD: {
        Event.RETURNED: State.WAITING,
        Event.DONE: State.DONE,
        Event.PURGED: State.DROPPED,
        Event.REQUEUED: State.WAITING,
    },
    State.DONE: {},
    State.FAILED: {},
    State.EXPIRED: {},
    State.CANCELLED: {},
    State.DROPPED: {},
}

OPEN = frozenset({State.WAITING, State.LEASED})
"""The states in which a task is still to be done."""


class Encoded:
    """The value of a task as bytes; whoever asks for it decodes it."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Task:
    """One task: what is to be done, and what became of it so far."""

    # These defaults fit almost every new task. They stand in the class, which halves the cost
    # of making a task.

    # The number that the ledger gives it.
    sequence = 0
    state = State.WAITING
    # How many attempts there were, and how many of them cost nothing: a worker out of reach had
    # them, and probably did not begin them.
    attempt = 0
    spared = 0
    # The number of its present lease, 0 while it has none.
    receipt = 0
    # Whether a worker that was out of reach for too long may still work on it.
    has_lapsed = False
    # When it was accepted.
    pushed_at = 0.0
    # When it may run; until then it is delayed.
    due_at = 0.0
    # When it is no longer worth to be begun.
    expires_at = inf
    # The id that its sender chose, if any.
    own_id: str | None = None
    # While a task with this key is open, another one is the same task.
    unique: str | None = None
    # Tasks with the same key run one at a time, in the order in which they were pushed.
    order_by: str | None = None
    # Its result goes to a sink.
    to_sink = False
    # Its handler returned: the body is the result, which waits for a sink or is at one.
    is_result = False
    # The append that has it on disk, where there is a journal.
    append = 0
    # The journal of the streamer that has it on its disk, 0 while none has.
    journal = 0
    # Its last attempt failed at a streamer, among whose dead tasks it is.
    died_away = False
    # The task that was there already when this one was pushed, which counts in its place.
    twin: Task | None = None
    # The value that its handler returned and the bytes of it, or the error that ended it.
    value: object = None
    result_size = 0
    error: ZmqkitError | None = None
    # What its handler said last of its progress.
    progress: object = None
    # Why its attempts failed, the last reasons only.
    reasons: tuple[str, ...] = ()
    # Who waits for its end.
    waiters: list[object] | None = None
    # When it was settled.
    settled_at = inf
    # Whether the ledger keeps it no longer.
    is_forgotten = False
    # Whether a journal has it among the plain tasks, at least as it was pushed.
    is_plain = False
    # Whether it waits on disk only, and this is what is left of it in memory.
    is_shelved = False

    def __init__(self, row: bytes, raw: Buffer | None, priority: int) -> None:
        """Make a task that no ledger has accepted.

        row: the positional and keyword arguments, encoded; empty once the task is settled.
        raw: a long body.
        """
        self.row = row
        self.raw = raw
        self.priority = priority
        # How many bytes the body has.
        self.size = len(row) if raw is None else len(row) + len(raw)

    def turn_into_result(self, row: bytes, raw: Buffer | None) -> None:
        """Be the result, for a sink, from now on: its arguments, and attempts of its own."""
        self.row, self.raw, self.size = row, raw, len(row) + len(raw or b"")
        self.is_result = True
        self.receipt = self.attempt = self.spared = 0
        self.unique = self.order_by = self.error = None
        self.due_at, self.expires_at, self.settled_at = 0.0, inf, inf

    @property
    def failures(self) -> int:
        """How many attempts have ended and count; one that is under way does not."""
        return self.attempt - self.spared - (self.state is State.LEASED)

    @property
    def is_over(self) -> bool:
        """Whether its state is final, unless somebody requeues it."""
        return self.state not in OPEN


def number_of(id: str, incarnation: int) -> int | None:
    """Return the number in an id that was not chosen by a sender; None if it is no such id."""
    if len(id) == 32 and id[:16] == f"{incarnation:016x}":
        with suppress(ValueError):
            return int(id[16:], 16)
    return None


def counts_of(counts: Mapping[State, int], accepted: int) -> TaskCounts:
    """Return how many tasks of those accepted are in each state."""
    return {
        "accepted": accepted,
        "waiting": counts[State.WAITING],
        "leased": counts[State.LEASED],
        "done": counts[State.DONE],
        "failed": counts[State.FAILED],
        "dead": counts[State.DEAD],
        "expired": counts[State.EXPIRED],
        "cancelled": counts[State.CANCELLED],
        "dropped": counts[State.DROPPED],
    }
