"""What a store of tasks promises, whichever database or server it is made of.

A store has the tasks of one queue. Programs add tasks and take them; others look after them.

    add     waiting tasks in
    take    the next tasks out, each on a lease: an attempt of its own, for a while
    renew   leases go on
    settle  an attempt ends: done, retry, dead or released
    alter   an operator cancels or purges a task, or has a dead one tried again
    look    counts, and what became of tasks

These rules hold in every store, and `tests/stores/contract.py` proves them:

- What was acknowledged is kept. Of a durable store it is on disk, so that neither a close nor
  the death of the process loses it. An answer follows after that.
- A lease ends when its time is over, unless it is renewed. Its attempt is lost then: the task
  waits again, or is dead after its last attempt. A lease may end earlier only because its store
  was closed or died. Then the attempt need not count.
- A receipt belongs to one lease. That of an older lease settles and renews nothing. So the
  first settlement wins.
- The task of the highest priority is next. Among sixteen tasks in a row is the oldest one.
  Tasks of the same priority come in the order in which they were added; one that waits again
  after an attempt may come behind them.
- Tasks with the same `order_by` are taken one at a time, in the order in which they were added,
  each after the one before has ended. A dead task has ended.
- While a task with the same `id` is known, or an open one has the same `unique`, a task that is
  added is not kept a second time: the answer names the first.
- At any moment the number of accepted tasks is the sum of the counts of all states. Whoever
  opens a store anew may count from then on: the open and the dead tasks that are there are the
  first that were accepted.

A store may choose how long it knows tasks that have ended, how many tasks it has room for, how
its ids and receipts look, and which of the sixteen is the oldest.

Points in time are durations from now, so no two clocks are compared. Batches are answered task
by task, in order: one that is refused says why, and hinders no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from zmqkit.core.tasks.task import State
from zmqkit.errors import ZmqkitError
from zmqkit.limits import ATTEMPTS, PRIORITY

__all__ = [
    "Alteration", "Answer", "End", "Evidence", "Found", "Look", "Needs", "NewTask",
    "Settlement", "State", "Store", "Taken",
]  # fmt: skip


@dataclass(slots=True, frozen=True, kw_only=True)
class Needs:
    """What a program needs of a store; the store answers with `Evidence` for each need.

    A store may refuse a task that has an option which was not among the needs.
    """

    # An answer means that the disk has it.
    durable: bool = False
    # Tasks with an `order_by`, a `unique` key or an `id`, a priority, a delay, an end.
    ordered: bool = False
    unique: bool = False
    priority: bool = False
    delay: bool = False
    expiry: bool = False

    def names(self) -> list[str]:
        """Return the names of the needs."""
        return [name for name in self.__slots__ if getattr(self, name)]


@dataclass(slots=True, frozen=True)
class Evidence:
    """How a store meets each need: by the need's name, in words and measured values.

    For example `durable`: "/var/lib/q.journal: synchronous=FULL, journal_mode=wal".
    """

    facts: Mapping[str, str]


@dataclass(slots=True, frozen=True)
class NewTask:
    """A task that is to be added."""

    # The store does not read it.
    body: bytes
    # 0 to 9; 9 is first.
    priority: int = PRIORITY
    # It may be taken after so many seconds, and not after so many; None: always.
    delay_s: float = 0.0
    expires_s: float | None = None
    # Its own id, the key that one open task has, and the key whose tasks are taken in order:
    # printable text of 1 to 200 characters.
    id: str | None = None
    unique: str | None = None
    order_by: str | None = None


@dataclass(slots=True, frozen=True)
class Taken:
    """A task on a lease."""

    id: str
    body: bytes
    # Which attempt this is, from 1.
    attempt: int
    # Stands for this lease. Only its store can read it.
    receipt: bytes
    # How long the lease is from the moment at which it was taken.
    lease_s: float


class End(Enum):
    """How an attempt ends."""

    # The task is done.
    DONE = "done"
    # The attempt failed, and another one is to follow.
    RETRY = "retry"
    # The attempt failed, and none is to follow.
    DEAD = "dead"
    # It was not begun: the task is to be taken next, and no attempt is counted.
    RELEASED = "released"


@dataclass(slots=True, frozen=True)
class Settlement:
    """How the attempt of a receipt ends."""

    receipt: bytes
    end: End
    # DONE: what `look` is to return of the task.
    value: bytes = b""
    # RETRY, DEAD: why.
    reason: str = ""
    # RETRY: the task may be taken again after so many seconds.
    delay_s: float = 0.0


class Alteration(Enum):
    """What an operator may do to a task."""

    # Give up an open one.
    CANCEL = "cancel"
    # Throw away one that is open or dead.
    PURGE = "purge"
    # Have a dead one wait again, with all of its attempts.
    REQUEUE = "requeue"


@dataclass(slots=True, frozen=True)
class Answer:
    """What one item of a batch brought about."""

    # Whether it had an effect. A task that is there already, and a receipt or an id that does
    # not fit, have none.
    changed: bool
    # The task; empty where there is none.
    id: str = ""
    # Why it had no effect. If it had one: why that may be lost if the process dies now.
    error: ZmqkitError | None = None


@dataclass(slots=True, frozen=True)
class Found:
    """What became of a task so far."""

    id: str
    state: State
    # How many attempts were begun.
    attempts: int
    # Why attempts failed, the last reasons only.
    reasons: tuple[str, ...]
    # What it was settled with, once it is done.
    value: bytes


@dataclass(slots=True, frozen=True)
class Look:
    """A queue at one moment."""

    # How many tasks were accepted, the sum of the counts.
    accepted: int
    counts: Mapping[State, int]
    # For each id that was asked for: its task; None if the store does not know it.
    found: tuple[Found | None, ...]
    # The oldest dead tasks.
    dead: tuple[Found, ...]


class Store(ABC):
    """Keeps the tasks of one queue.

    It is opened once and closed once, and belongs to the event loop on which it was opened. Any
    number of verbs may wait at a time. A `take` that is cancelled has taken nothing. Another
    verb that is cancelled has changed what it had changed so far.

    Each verb raises UsageError before `open` and after `close`, and for a wrong value that
    concerns the whole batch, such as more than `limits.STORE_BATCH` items. Each raises
    JournalError, or another ZmqkitError of the store, if the store has failed.
    """

    @abstractmethod
    async def open(self, needs: Needs) -> Evidence:
        """Begin; return a fact for each need.

        Raises ConfigError, which names the need and the remedy, if one of them is not met: then
        nothing was opened. Raises JournalError if the store's file cannot be opened.
        """

    @abstractmethod
    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        """Accept tasks; return an answer for each, with its id.

        An answer with `changed` means that the task was accepted, and one that has an id alone
        that it is there already. Errors: UsageError for a wrong option, QueueFull, JournalError
        if the disk did not take it. A task with an error was not accepted, but for one thing: a
        disk that failed for good, which `may_retry` says, may have it all the same.
        """

    @abstractmethod
    async def take(
        self,
        count_max: int,
        *,
        lease_s: float,
        wait_s: float = 0.0,
        attempts_max: int = ATTEMPTS,
    ) -> list[Taken]:
        """Return up to `count_max` tasks, each on a lease of `lease_s` seconds from now.

        The tasks are in the order in which they are to be begun. wait_s: how long to wait for
        the first one; then the list is empty. It never waits for a second one. attempts_max: a
        task whose attempt is lost is dead if that was the last of so many; otherwise it waits
        again at once.
        """

    @abstractmethod
    async def renew(self, receipts: Sequence[bytes], *, lease_s: float) -> list[Answer]:
        """Have leases end `lease_s` seconds from now; return an answer for each receipt.

        One without `changed` means that the lease is over: the task is, or will be, another's.
        """

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        """End attempts; return an answer for each.

        One without `changed` means that its lease was over, or the task had ended: nothing is
        different for it. An error with `changed`: the settlement holds in this process, and the
        disk does not have it, so that the task may be taken again after a crash.
        """

    @abstractmethod
    async def alter(self, alteration: Alteration, ids: Sequence[str]) -> list[Answer]:
        """Change tasks by their ids; return an answer for each.

        One without `changed` means that the task is not known, or in no state that the
        alteration concerns. A lease of the task is over then. Errors: QueueFull if there is no
        room for a dead one, and those of `settle`.
        """

    @abstractmethod
    async def look(self, ids: Sequence[str] = (), *, dead_max: int = 0) -> Look:
        """Return the counts, the tasks of these ids, and up to so many dead ones."""

    @abstractmethod
    async def wake(self) -> None:
        """Have each `take` that waits look once more, and return with what there is.

        Whoever waits for a task is told by the store when one is there. This is for a program
        that wants its takers back.
        """

    @abstractmethod
    async def close(self) -> None:
        """End every wait with UsageError, and close what is open.

        What a durable store acknowledged stays, leased tasks included; others are gone. Raises
        JournalError if the disk did not take what ended last. A second close does nothing.
        """
