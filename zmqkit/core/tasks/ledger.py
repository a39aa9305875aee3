"""The tasks of one queue: where each of them stands, and which one is next.

Tasks of a higher priority are leased first; every OLDEST_EVERY-th time it is the task that has
waited longest, so that a low priority waits and does not starve. Tasks with the same `order_by`
run one at a time: the first of them holds the key until it is settled, through all of its
attempts, and the others wait behind it.

The ledger keeps what became of a settled task for a while: up to a number, to a number of
bytes, and to an age. A dead task is kept until somebody requeues or purges it, or too many are
dead. At any moment, the number of accepted tasks is the sum over all states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import inf

from zmqkit.core.tasks.keys import Keys
from zmqkit.core.tasks.names import Names
from zmqkit.core.tasks.ready import Ready, is_plain
from zmqkit.core.tasks.row import Row
from zmqkit.core.tasks.schedule import Schedule
from zmqkit.core.tasks.settled import Settled
from zmqkit.core.tasks.task import LIFE, OPEN, Event, State, Task, counts_of, number_of
from zmqkit.errors import CallTimeout, QueueFull, ZmqkitError
from zmqkit.limits import REASONS_MAX, ROW_BYTES, TASK_BYTES, PusherLimits
from zmqkit.types import TaskCounts
from zmqkit.wire.encoding import Buffer


class Ledger:
    """All tasks that were accepted and are not forgotten."""

    def __init__(self, limits: PusherLimits) -> None:
        self.tasks: dict[int, Task] = {}
        # How many tasks were accepted, and the number of the last one.
        self.accepted = 0
        self.last = 0
        # What the journal is to be told, where there is one: each task that is new, has changed
        # or ended, or was forgotten.
        self.changes: dict[int, Task] | None = None
        self.counts: Counter[State] = Counter()
        # The tasks that a worker may have now.
        self.line = Ready(limits.window_tasks)
        # Results that a sink may have now, in the order in which they came.
        self.results = Row()
        # How many tasks in memory are still to be done, and their bytes.
        self.open_count = 0
        self.size = 0
        # How many bytes the journal has, and is to get next.
        self.journal_bytes = 0
        self.unwritten_bytes = 0
        self._limits = limits
        self.names = Names()
        self._keys = Keys()
        self._schedule = Schedule(self.tasks)
        self.settled = Settled(limits)
        # Settled tasks whose end somebody waits for, and tasks that a streamer has on its disk
        # from now on; the owner empties the lists.
        self.awaited: list[Task] = []
        self.handed: list[Task] = []
        # Whether delayed tasks, and tasks behind a key, wait here.
        self._holds = True

    # Tasks in

    def find(self, id: str, incarnation: int) -> Task | None:
        """Return the task that has this id: its own, or its number behind the incarnation."""
        task = self.names.find(id)
        number = number_of(id, incarnation) if task is None else None
        if number is not None:
            task = self.tasks.get(number) or self.line.stub(number)
        return task

    def has_room(self, task: Task) -> bool:
        """Return whether a task can be accepted now."""
        limits, shares = self._limits, 1
        if self.changes is not None:
            size = self.journal_bytes + self.unwritten_bytes + task.size + ROW_BYTES
            if size > limits.journal_bytes_max and self.in_flight:
                return False
            if self.line.pages and is_plain(task):
                shares = 2  # it need not stay in memory
        return self.open_count < shares * limits.tasks_max and (
            self.size + task.size + TASK_BYTES <= shares * limits.tasks_bytes_max
            or not self.open_count
        )

    def add(self, task: Task, now: float) -> None:
        """Accept a new task. Raises QueueFull when there is no room."""
        if not self.has_room(task):
            raise QueueFull(
                f"{self.in_flight} tasks wait already, {self.size} bytes in memory and "
                f"{self.journal_bytes} in a journal; push more slowly, or start more workers"
            )
        self.last = sequence = self.last + 1
        task.sequence = sequence
        self.tasks[sequence] = task
        if self.changes is not None:
            self.changes[sequence] = task
            self.unwritten_bytes += task.size + ROW_BYTES
            task.is_plain = is_plain(task)
        self.names.add(task)
        self._open(task, now)

    def restore(self, task: Task, now: float) -> None:
        """Take a task from the journal, with the number and the state that it has there.

        One that had ended is not accepted once more: it is kept for whoever asks, and no count
        has it. Such tasks come in the order in which they ended.
        """
        self.last = max(self.last, task.sequence)
        self.tasks[task.sequence] = task
        self.names.add(task)
        if task.is_over and task.state is not State.DEAD:
            self._keep(task, task.result_size, now)
            return
        if task.state is State.DEAD:
            self.accepted += 1
            self.counts[State.DEAD] += 1
            self._bury(task, now)
        elif task.state is State.LEASED:
            self.accepted += 1
            self.counts[State.LEASED] += 1
            self._take_room(task)
            self._keys.keep(task)
        else:
            self._open(task, now)

    # Tasks on disk only

    def begin(self, on_disk: Mapping[int, int]) -> None:
        """Follow a journal that has so many plain tasks of each priority, to be read later."""
        self.changes = {}
        self.line.begin(on_disk)
        self.accepted += self.line.total
        self.counts[State.WAITING] += self.line.total

    def bring_in(self, task: Task) -> None:
        """Have a task in memory that was on disk only."""
        if task.is_shelved:
            self.line.take_back(task)
        else:
            self.line.gone(task.priority)
        self.tasks[task.sequence] = task
        self._take_room(task)

    def is_crowded(self) -> bool:
        """Return whether so much memory is in use that plain tasks better wait on disk."""
        return self.size > self._limits.tasks_bytes_max // 2

    # Tasks out

    @property
    def in_flight(self) -> int:
        """How many tasks are still to be done, in memory and on disk only."""
        return self.open_count + self.line.total

    def opened(self) -> Iterator[Task]:
        """Yield the tasks that are still to be done and that somebody may wait for."""
        yield from [each for each in self.tasks.values() if not each.is_over]
        yield from self.line.stubs()

    def lease(self, now: float) -> Task | None:
        """Return the next task, which a worker has from now on; None if none may be leased."""
        while self.line.count and not self.line.paused:
            task = self.line.next()
            if task is None:
                return None
            if now >= task.expires_at:
                self.expire(task, now)
                continue
            self.counts[State.WAITING] -= 1
            self.counts[State.LEASED] += 1
            task.state = State.LEASED
            task.attempt += 1
            return task
        return None

    def lease_result(self) -> Task | None:
        """Return the next result, which a sink has from now on; None if none is ready."""
        if not self.results:
            return None
        task = self.results.take()
        self.counts[State.WAITING] -= 1
        self.counts[State.LEASED] += 1
        task.state = State.LEASED
        task.attempt += 1
        return task

    def returned(self, task: Task, row: bytes, raw: Buffer | None, now: float) -> bool:
        """Have the result of a task wait for a sink; False if the task has ended before.

        row, raw: what the sink is called with, in the place of the task's body.
        """
        before = task.state
        if task.is_result or not self._shift(task, Event.RETURNED):
            return False
        if before is State.WAITING:
            self._leave(task)
        if before is State.DEAD:
            self.settled.exhume(task)
            self._take_room(task)
        else:
            self._free(task, now)
        self.size -= task.size
        self.settled.returned(task, row, now)
        task.turn_into_result(row, raw)
        self.size += task.size
        if self.changes is not None:
            self.changes[task.sequence] = task
        self._join(task)
        return True

    def release(self, task: Task, now: float) -> None:
        """Take back a task that its worker had not begun; the attempt does not count."""
        if self._shift(task, Event.RELEASED):
            task.attempt -= 1
            task.receipt = 0
            self._schedule.limit(task, self.open_count)
            self._wait(task, now, first=True)

    def spare(self, task: Task, now: float) -> None:
        """Have a task wait again that a worker out of reach has probably not begun."""
        if self._shift(task, Event.RELEASED):
            task.spared += 1
            task.receipt = 0
            self._schedule.limit(task, self.open_count)
            self._wait(task, now, first=True)

    def hand_over(self, task: Task, journal: int) -> None:
        """Note that a streamer has a leased task on its disk, in this journal."""
        task.journal = journal
        self.size -= task.size
        task.row, task.raw, task.size = b"", None, 0
        if self.changes is not None:
            self.changes[task.sequence] = task
        self.handed.append(task)

    def retry(self, task: Task, reason: str, delay_s: float, now: float) -> None:
        """Have a task wait for its next attempt, `delay_s` from now."""
        if self._shift(task, Event.RETRIED):
            self._note(task, reason)
            self.settled.retried(task, reason, now)
            task.receipt = 0
            task.due_at = now + delay_s
            if self.changes is not None:
                self.changes[task.sequence] = task
            self._schedule.limit(task, self.open_count)
            self._wait(task, now)

    def settle(
        self,
        task: Task,
        event: Event,
        now: float,
        *,
        value: object = None,
        size: int = 0,
        error: ZmqkitError | None = None,
    ) -> bool:
        """End a task; return False if it has ended before, which changes nothing.

        value, size: what its handler returned, and how many bytes that took.
        error: why it ended otherwise.
        """
        if task.is_shelved:
            self.bring_in(task)
        before = task.state
        if not self._shift(task, event):
            return False
        if error is not None and error is not task.error:
            self._note(task, str(error))
        task.value, task.error, task.settled_at, task.receipt = value, error, now, 0
        if before is State.WAITING:
            self._leave(task)
        if before is State.DEAD:
            self.settled.exhume(task)
        if self.changes is not None:
            self.changes[task.sequence] = task
        if task.waiters:
            self.awaited.append(task)
        if before in OPEN:
            self._close(task, now)
        if task.state is State.DEAD:
            self._bury(task, now)
        else:
            self._keep(task, size, now)
        return True

    def done(self, task: Task, value: object, size: int, now: float) -> bool:
        """Note that a task's handler returned; what `settle` does, written out for speed."""
        if task.state is not State.LEASED:
            return self.settle(task, Event.DONE, now, value=value, size=size)
        self.counts[State.LEASED] -= 1
        self.counts[State.DONE] += 1
        task.state = State.DONE
        task.value, task.settled_at, task.receipt = value, now, 0
        if self.changes is not None:
            self.changes[task.sequence] = task
        if task.waiters:
            self.awaited.append(task)
        self._close(task, now)
        self._keep(task, size, now)
        return True

    def refuse(self, task: Task, error: ZmqkitError, now: float) -> None:
        """End a task that the journal did not take, and forget it: it was not accepted."""
        self.settle(task, Event.PURGED, now, error=error)
        if task.sequence in self.settled.over:
            self.forget(task)
        (self.changes or {}).pop(task.sequence, None)

    def forget(self, task: Task) -> None:
        """Know a task no longer that has ended and is not dead."""
        self.settled.strike(task)
        del self.tasks[task.sequence]
        task.is_forgotten = True
        self.names.forget(task)
        if self.changes is not None:
            self.changes[task.sequence] = task

    def expire(self, task: Task, now: float) -> None:
        """End a task whose time ran out before a handler began it."""
        text = "the task's time ran out before a worker began it"
        unbegun = task.state is State.LEASED  # the worker says that it did not begin this one
        error = CallTimeout(text, may_have_run=task.attempt > unbegun)
        self.settle(task, Event.EXPIRED, now, error=error)

    def requeue(self, task: Task, now: float) -> bool:
        """Have a dead task wait again, with all of its attempts; False if it is not dead.

        Raises QueueFull when there is no room.
        """
        if task.state is not State.DEAD:
            return False
        if not self.has_room(task):
            raise QueueFull("there is no room for a dead task; push more slowly")
        self._shift(task, Event.REQUEUED)
        if self.changes is not None:
            self.changes[task.sequence] = task
        self.settled.exhume(task)
        self._take_room(task)
        task.attempt, task.spared, task.settled_at, task.error = 0, 0, inf, None
        task.due_at, task.expires_at = now, inf
        self.names.open(task)
        self._enter(task, now)
        return True

    def hold(self, now: float, *, holds: bool) -> None:
        """Have delayed tasks, and tasks behind a key, wait here or not.

        They need not where all tasks go to a streamer, for it has a ledger of its own.
        """
        self._holds = holds
        self.line.clear()
        self._schedule.delay_none()
        waiting: list[Task] = []
        holders: list[Task] = []
        for task in self.tasks.values():
            if task.state is State.WAITING and not task.is_result:
                waiting.append(task)
            elif holds and task.state is State.LEASED:
                holders.append(task)
        self._keys.begin(holders)
        for task in sorted(waiting, key=lambda each: each.sequence):
            self._enter(task, now)

    # Time

    def tick(self, now: float) -> None:
        """Make delayed tasks ready that are due; end those whose time ran out."""
        for task in self._schedule.due(now):
            if not self.line.has(task):
                self._join(task)
        for task in self._schedule.expired(now):
            self.expire(task, now)
        self._forget(now)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self._schedule.deadline(), self.settled.deadline())

    # The whole

    @property
    def dead(self) -> Mapping[int, Task]:
        """The tasks whose last attempt failed, the oldest first."""
        return self.settled.dead

    def stats(self) -> TaskCounts:
        """Return the counters; accepted is always their sum."""
        return counts_of(self.counts, self.accepted)

    def check(self) -> None:
        """Assert that each task is in one place, and that all counts are right."""
        assert self.accepted == sum(self.counts.values()), "stats do not balance"
        states = Counter(task.state for task in self.tasks.values())
        states[State.WAITING] += self.line.total
        for state in (*OPEN, State.DEAD):
            assert states[state] == self.counts[state]
        self.line.check()
        results = self.results
        assert all(each.is_result and each.state is State.WAITING for each in results.values())
        behind = self._keys.waiting()
        for sequence, task in self.tasks.items():
            if task.state is State.WAITING:
                placed = self.line.has(task) + (sequence in behind) + (sequence in results)
                assert placed == 1 or (placed == 0 and sequence in self._schedule)
            assert (task.state is State.LEASED) or not task.receipt
        opened = [task for task in self.tasks.values() if not task.is_over]
        assert self.open_count == len(opened)
        assert self.size == sum(task.size + TASK_BYTES for task in opened)
        self._keys.check(opened)
        assert self.dead.keys() == {n for n, t in self.tasks.items() if t.state is State.DEAD}
        self.settled.check()

    # Inside

    def _shift(self, task: Task, event: Event) -> bool:
        state = LIFE[task.state].get(event)
        if state is None:
            return False
        self.counts[task.state] -= 1
        self.counts[state] += 1
        task.state = state
        return True

    def _open(self, task: Task, now: float) -> None:
        """Count a task as accepted, and have it wait."""
        self.accepted += 1
        self.counts[State.WAITING] += 1
        self._take_room(task)
        self._enter(task, now)

    def _take_room(self, task: Task) -> None:
        self.open_count += 1
        self.size += task.size + TASK_BYTES

    def _enter(self, task: Task, now: float) -> None:
        """Have a task wait that is new or was dead, behind its key if another task holds it."""
        self._schedule.limit(task, self.open_count)
        if not self._holds or self._keys.take(task):
            self._wait(task, now)

    def _wait(self, task: Task, now: float, *, first: bool = False) -> None:
        """Put a task that holds its key among the ready ones, or among the delayed ones."""
        if task.due_at > now and self._holds:
            self._schedule.delay(task, self.open_count)
        else:
            self._join(task, first=first)

    def _join(self, task: Task, *, first: bool = False) -> None:
        if task.is_result:
            self.results.join(task, first=first)
        else:
            self.line.join(task, first=first, crowded=self.is_crowded())

    def _leave(self, task: Task) -> None:
        """Take a task that ends out of wherever it waited."""
        if task.is_result:
            self.results.leave(task)
        elif not self.line.leave(task):
            self._keys.leave(task)

    def _close(self, task: Task, now: float) -> None:
        """Free what an open task held: its room, its unique key, its turn among its key."""
        self.open_count -= 1
        self.size -= task.size + TASK_BYTES
        self._free(task, now)

    def _free(self, task: Task, now: float) -> None:
        """Free the unique key of a task, and its turn among its key."""
        self.names.close(task)
        following = self._keys.free(task) if task.order_by is not None else None
        if following is not None:
            self._wait(following, now)

    def _bury(self, task: Task, now: float) -> None:
        """Keep a dead task; purge the oldest dead ones beyond the limits."""
        surplus = self.settled.bury(task)
        while surplus is not None:
            self.settle(surplus, Event.PURGED, now, error=surplus.error)
            surplus = self.settled.surplus()

    def _keep(self, task: Task, size: int, now: float) -> None:
        """Keep what became of a task; forget the oldest outcomes beyond the limits."""
        if self.settled.keep(task, size):
            self._forget(now)

    def _note(self, task: Task, reason: str) -> None:
        task.reasons = (*task.reasons, reason)[-REASONS_MAX:]

    def _forget(self, now: float) -> None:
        """Forget the oldest outcomes beyond the limits."""
        while (task := self.settled.surplus_outcome(now)) is not None:
            self.forget(task)
