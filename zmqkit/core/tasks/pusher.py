"""The pusher's side of the pipeline: it accepts tasks, and says what becomes of each.

The ledger has the tasks, and `Workers` gives them to the workers. Where there is a journal, it
follows the ledger, and a push is acknowledged once its task is on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from math import inf

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.dispatch.job import Instance
from zmqkit.core.dispatch.window import IsGone
from zmqkit.core.effects import Effect, News, Note, Page, Settle, Tell
from zmqkit.core.pace import Pace
from zmqkit.core.tap import Taps
from zmqkit.core.tasks.appends import Appends
from zmqkit.core.tasks.figures import queue_rows
from zmqkit.core.tasks.held import Held, Numbers, at_work
from zmqkit.core.tasks.lease import SINK, Lease, MakeLease
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.paging import Paging
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.task import Event, State, Task
from zmqkit.core.tasks.workers import ReadReplies, Workers
from zmqkit.errors import CallCancelled, JournalError, UsageError, ZmqkitError
from zmqkit.limits import BATCH_BYTES, PusherLimits
from zmqkit.model import Frames, PeerId
from zmqkit.types import PusherStats
from zmqkit.wire.rows import read_replies
from zmqkit.wire.statistics import Figures

_DEFAULTS = PusherLimits()
_SINKS = f"{SINK}/"
_OPENING_BITS = 40
_PAGE_PART = 16
"""One page may have such a part of the bytes that all tasks may have in memory."""

_NONE: Mapping[int, int] = {}
_NO_LEASES: Numbers = {}


class PusherCore:
    """Gives the tasks of one name to the workers that membership tells of."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        jitter: Callable[[], float],
        limits: PusherLimits = _DEFAULTS,
        *,
        passes_on: bool = True,
        read: ReadReplies = read_replies,
        make_lease: MakeLease = Lease,
    ) -> None:
        """Begin without tasks and workers.

        jitter: returns a factor about 1 for each pause, so that not all tasks whose worker was
        lost come back at the same moment. passes_on: hand tasks to a streamer of the name while
        there is one. read: reads the values of replies; a streamer leaves them bytes.
        make_lease: makes the attempts, which may be at something else than a task of ours.
        """
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self.ledger = Ledger(limits)
        self.pace = Pace(limits.follow_s, limits.hold_s)
        # Why no worker was found, in membership's words.
        self.hint = ""
        self._workers = Workers(
            name, incarnation, self.ledger, jitter, limits, passes_on=passes_on, read=read,
            make_lease=make_lease,
        )  # fmt: skip
        self._sinks = Workers(
            name, incarnation, self.ledger, jitter, limits, passes_on=False, are_sinks=True
        )
        self._sides = (self._workers, self._sinks)
        self._held = Held([side.leases for side in self._sides])
        self._appends = Appends(self.ledger, self._held)
        self._paging = Paging(self.ledger, 2 * limits.tasks_max)
        # Waits that were over as they began.
        self._outcomes: list[Outcome] = []
        self._pushed = 0
        self._passed_on = 0
        self._closed = False

    # Commands

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process."""
        for side in self._sides:
            side.instances.at_home(process, is_gone)

    def tap(self, taps: Taps) -> None:
        """Have these see what becomes of tasks; any thread may call this."""
        self.ledger.settled.taps = taps

    def submit(self, task: Task, now: float) -> None:
        """Accept a task; `flush` leases it.

        If another task has its id or its unique key, that one becomes its `twin`, and it is not
        accepted. Raises QueueFull when there is no room.
        """
        task.twin = self.ledger.names.known(task)
        if task.twin is None:
            self.ledger.add(task, now)
            task.pushed_at = now
            task.append = self._appends.next

    def push(self, task: Task, now: float) -> list[Effect]:
        """Accept a task as `submit` does; it gathers with others if it follows them closely.

        Then `pace` says when `flush` is due.
        """
        self.submit(task, now)
        self._pushed += 1
        if self.pace.gathers(now) and task.size >= BATCH_BYTES:
            self.pace.fill()
        return []

    def recover(
        self,
        tasks: Iterable[Task],
        last: int,
        opening: int,
        now: float,
        *,
        on_disk: Mapping[int, int] = _NONE,
        size: int = 0,
        leases: Numbers = _NO_LEASES,
    ) -> None:
        """Begin with the tasks of a journal, which follows the ledger from now on.

        tasks: as `Ledger.restore` takes them. last: the highest number that was ever accepted.
        opening: how often the journal was opened. Leases have other numbers each time. on_disk:
        how many plain tasks of each priority there are besides; `Page` asks for them. size: the
        bytes of the journal. leases: what workers have, whose tasks are among the tasks.
        """
        self.ledger.begin(on_disk)
        self.ledger.journal_bytes = size
        tasks, below = list(tasks), opening << _OPENING_BITS
        had = at_work(tasks, leases, below=below, workers_max=self.limits.instances_max)
        # A task that a worker has holds its key, whatever its number is.
        for task in sorted(tasks, key=lambda each: each.state is not State.LEASED):
            self.ledger.restore(task, now)
        self.ledger.last = self._appends.last = max(self.ledger.last, last)
        for side in self._sides:
            side.begin(below)
        for worker, theirs in had.items():
            for side, are_results in ((self._workers, False), (self._sinks, True)):
                fit = [each for each in theirs if each[1].is_result is are_results]
                if fit:
                    side.inherit(worker, fit, now)
        self._held.begin(leases)

    def submit_safely(self, task: Task, waiter: object, now: float) -> None:
        """Accept a task as `submit` does; the wait ends once the journal has it on disk.

        The outcome is the task, or JournalError if it cannot be written. Then it was dropped.
        Raises JournalError once the disk has failed, for nothing is written any more.
        """
        if self._appends.fault is not None:
            raise self._appends.fault
        self.submit(task, now)
        there = task.twin or task
        if not self._appends.wait(there, waiter):
            self._outcomes.append((waiter, there, None))

    def await_append_no_more(self, waiter: object, now: float) -> list[Effect]:
        """Forget who waits for an append; the task stays accepted."""
        self._appends.forget(waiter)
        return []

    def appended(self, number: int, size: int, now: float) -> list[Effect]:
        """Learn that an append is on disk, and how many bytes the journal has now."""
        waits = self._appends.written(number, size)
        self._paging.written(number)
        return [Settle(waits)] if waits else []

    def unwritten(self, number: int, error: JournalError, now: float) -> list[Effect]:
        """Learn that an append failed, and changed nothing on disk.

        The new tasks in it are dropped, and those who pushed them are told. The other changes
        are appended later.
        """
        waits: list[Outcome] = []
        told: list[Effect] = []
        for waiter, task in self._appends.failed(number, error, now):
            # A worker may have been quicker than the disk; what has ended needs no journal.
            if (not task.is_over or task.state is State.DEAD) and not task.journal:
                leases = self._leases_of(task)
                kept = sum(each.waits for each in chain(*leases))
                begun = error.with_doubt(may_have_run=task.attempt > kept)
                self.ledger.refuse(task, begun, now)
                told += self._abandon(leases, now)
            refused = task.error if isinstance(task.error, JournalError) else None
            waits.append((waiter, task, refused))
        note = Note("journal-failed", {"name": self.name, "error": str(error)})
        return [note, *([Settle(waits)] if waits else []), *told, *self._told()]

    def paged(self, page: Paged, now: float) -> list[Effect]:
        """Learn what a page has; damaged tasks in it are dropped."""
        lost = self._paging.take_in(page, self._appends.is_pending, now)
        notes: list[Effect] = []
        if lost:
            what = f"tasks that were damaged on disk, and are lost: {lost}"
            notes = [Note("journal-failed", {"name": self.name, "error": what})]
        return notes + self._told()

    def unpaged(self, error: JournalError, now: float) -> list[Effect]:
        """Learn that a page cannot be read; what is on disk only stays there."""
        self.ledger.line.fail()
        return [Note("journal-failed", {"name": self.name, "error": str(error)})]

    def trace(self, task: Task, now: float) -> None:
        """Ask a streamer what became of a task that an earlier process handed to it.

        task: of its body nothing is kept.
        """
        task.row, task.raw, task.size = b"", None, 0
        task.sequence, task.state, task.attempt = self.ledger.last + 1, State.LEASED, 1
        self.ledger.restore(task, now)
        self.ledger.names.close(task)  # perhaps another one has the key over there
        self._workers.leases.trace(task, now)

    def take_reports(self) -> list[Task]:
        """Return the tasks whose handlers said something since the last time, to a streamer."""
        reported, self._workers.reported = self._workers.reported or {}, {}
        return list(reported.values())

    def await_end(self, task: Task, waiter: object, now: float) -> None:
        """End the wait once the task has ended, with its value or its error.

        The task must not have ended. `await_no_more` forgets the waiter.
        """
        task.waiters = [*(task.waiters or ()), waiter]

    def await_no_more(self, task: Task, waiter: object, now: float) -> list[Effect]:
        """Forget a waiter, which has given up."""
        task.waiters = [each for each in task.waiters or () if each is not waiter]
        return []

    def cancel(self, task: Task, now: float) -> list[Effect]:
        """Give a task up; a handler that works on it is told."""
        error = CallCancelled("the task was cancelled", may_have_run=task.attempt > 0)
        return self._give_up(task, Event.CANCELLED, error, now) + self._told()

    def purge(self, task: Task, now: float) -> list[Effect]:
        """Throw away a task that waits or is dead, or give up one that is at work."""
        error = CallCancelled("the task was purged", may_have_run=task.attempt > 0)
        return self._give_up(task, Event.PURGED, error, now) + self._told()

    def requeue(self, task: Task, now: float) -> list[Effect]:
        """Have a dead task wait again, with all of its attempts.

        Raises QueueFull, and UsageError for one that died at a streamer: that has the task, and
        would answer at once that it is dead.
        """
        if task.died_away or not task.row:
            raise UsageError(
                "the task died at a streamer; requeue it there, with `zmqkit queue requeue`"
            )
        self.ledger.requeue(task, now)
        return []

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a worker and decide what follows."""
        if self._closed:
            return []
        is_sink = tell.key.startswith(_SINKS)
        if tell.news is News.HINT:
            self.hint = self.hint if is_sink else tell.text
            return []
        side = self._sinks if is_sink else self._workers
        return side.hear(tell, now) + self._told()

    def close(self) -> list[Effect]:
        """Cancel all tasks that have not ended, and close every connection.

        What a streamer has it keeps, and such a task stays leased: this side learns no more
        what becomes of it.
        """
        self._passed_on, away = self.passed_on, self._workers.leases.tasks_away()
        self._closed = True
        error = CallCancelled("the pusher was closed", may_have_run=True)
        waits: list[Outcome] = [(each, None, error) for each in self._appends.waiting()]
        left = list(self.ledger.opened())
        told = [side.leave_off() for side in self._sides]
        last = self._appends.take_last()
        ends: list[Effect] = []
        for side, theirs in zip(self._sides, told, strict=True):
            ends += [*theirs, *side.close(lingers=bool(theirs))]
        if self.ledger.changes is None:
            for task in left:
                if task in away:
                    gone = self.left_behind(task)
                    waits += [(waiter, None, gone) for waiter in task.waiters or ()]
                    continue
                gone = CallCancelled("the pusher was closed", may_have_run=task.attempt > 0)
                self.ledger.settle(task, Event.CANCELLED, task.due_at, error=gone)
        else:  # they stay in the journal
            waits += [
                (waiter, None, self.left_behind(task))
                for task in left
                for waiter in task.waiters or ()
            ]
        settled: list[Effect] = [Settle(waits)] if waits else []
        return [*self._told(), *settled, *last, *ends]

    def left_behind(self, task: Task) -> CallCancelled:
        """Return what those are told who ask for an open task once this pusher is closed."""
        has_it = "a streamer has the task, and goes on with it"
        if self.ledger.changes is not None and not task.journal:
            has_it = "the task is in its journal"
        return CallCancelled(f"the pusher was closed; {has_it}", may_have_run=True)

    def stats(self) -> PusherStats:
        """Return the counters; accepted is the sum of the states."""
        malformed = sum((side.instances.malformed for side in self._sides), Counter[str]())
        return {
            **self.ledger.stats(),
            "paused": self.ledger.line.paused,
            "passed_on": self.passed_on,
            "malformed": dict(malformed),
        }

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the pusher and one of its queue; any thread may ask."""
        return self.figures(self.stats(), now)

    def figures(self, stats: Mapping[str, object], now: float) -> list[Figures]:
        """Return what `statistics` does, for a device that has these counters."""
        return queue_rows(self.name, stats, self.ledger, self._workers, now)

    def id_of(self, task: Task) -> str:
        """Return the id of a task: the one that was pushed with it, or its number here."""
        return task.own_id or f"{self.incarnation:016x}{task.sequence:016x}"

    def met(self, row: Task) -> Task | None:
        """Return the task that a row of the journal stands for; None if it has ended."""
        number, line = row.sequence, self.ledger.line
        if self._appends.is_pending(number):
            return self.ledger.tasks.get(number)
        return (
            self.ledger.tasks.get(number)
            or line.stub(number)
            or line.reveal(number, row.priority)
        )

    @property
    def change(self) -> int:
        """The number of the append that has all changes so far; 0 if there is none to come."""
        return self._appends.next if self.ledger.changes else 0

    def change_of(self, task: Task) -> int:
        """Return the append that has the last change of a task; 0 if it is on disk."""
        return self._appends.of(task.sequence)

    def append_of(self, task: Task) -> int:
        """Return the append that has a task as it was pushed; 0 if it is on disk."""
        return self._appends.due(task)

    @property
    def fault(self) -> JournalError | None:
        """Why nothing is written to the journal any more; None while it is."""
        return self._appends.fault

    @property
    def in_flight(self) -> int:
        """How many tasks are still to be done."""
        return self.ledger.in_flight

    def knows(self, peer: PeerId) -> bool:
        """Return whether a peer is a worker or a sink that the pusher is connected to."""
        return any(peer in side.instances.connections.by_peer for side in self._sides)

    def place_of(self, incarnation: int) -> str:
        """Return where a worker or a sink is known to be; nothing if it is not known."""
        known = [side.instances.connections.known for side in self._sides]
        return next((each[incarnation] for each in known if incarnation in each), "")

    @property
    def passed_on(self) -> int:
        """How many of these tasks a streamer has, or had when the pusher was closed."""
        return self._passed_on if self._closed else self._workers.leases.passed_on

    @property
    def streamer_count(self) -> int:
        """How many streamers tasks may go to now; 0 while they go to workers."""
        return self._workers.leases.streamer_count

    @property
    def is_durable(self) -> bool:
        """Whether a streamer puts the tasks that are pushed now on its disk."""
        return self._workers.leases.accepts_durably()

    @property
    def ready_count(self) -> int:
        """How many workers may get tasks now."""
        return self._workers.ready_count

    @property
    def instances(self) -> list[Instance]:
        """The workers that are connected, or were connected and may return."""
        return list(self._workers.instances.connections.by_incarnation.values())

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a worker. Never raises for what it sent."""
        if self._closed:
            return []
        # A thread that waits flushes nothing by itself.
        return self._side_of(peer).receive(peer, frames, now) + self.flush(now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; its leases are sent again soon."""
        self._side_of(peer).unsent(peer, frames, now)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Look after tasks that are delayed or expire, leases that lapse, and the workers."""
        self.ledger.tick(now)
        return [*self._workers.tick(now), *self._sinks.tick(now), *self._told()]

    def flush(self, now: float) -> list[Effect]:
        """Lease what is ready to workers with credit, and return the packets."""
        if self.pace.due_at < inf:
            self.pace.left(self._pushed, now)
        self._pushed = 0
        sends = self._workers.flush(now) if not self._closed else []
        if self.ledger.results or self._sinks.is_used:
            sends = [*sends, *self._sinks.flush(now)]
        return [*self._told(), *sends, *self._appends.take(now), *self._pages()]

    def deadline(self) -> float:
        """Return when `tick`, and `flush` after it, are due next."""
        return min(
            self._appends.due_at(),
            self.ledger.deadline(),
            self._workers.deadline(),
            self._sinks.deadline(),
            self.pace.due_at,
        )

    def check(self) -> None:
        """Assert that the tasks and the leases are consistent."""
        self.ledger.check()
        for side in self._sides:
            side.check()
        leases = [*self._workers.leases.all(), *self._sinks.leases.all()]
        current = {lease.sequence for lease in leases if not lease.lapsed}
        if not self._closed:
            leased = [t for t in self.ledger.tasks.values() if t.state is State.LEASED]
            here = {task.receipt for task in leased if task.receipt or not task.journal}
            assert current == here, "each leased task has a lease, or a streamer has it"

    # Inside

    def _pages(self) -> list[Effect]:
        """Return the page to read next, if there is need of one."""
        wanted = self._paging.wanted() if not self._closed else None
        return [Page(*wanted, self.limits.tasks_bytes_max // _PAGE_PART)] if wanted else []

    def _give_up(
        self, task: Task, event: Event, error: ZmqkitError, now: float
    ) -> list[Effect]:
        """End a task, unless it has ended before; workers that have it are told."""
        leases = self._leases_of(task)
        if not self.ledger.settle(task, event, now, error=error):
            return []
        return self._abandon(leases, now)

    def _leases_of(self, task: Task) -> list[list[Lease]]:
        """Return the leases of a task, by side."""
        return [side.leases.of(task) for side in self._sides]

    def _abandon(self, leases: list[list[Lease]], now: float) -> list[Effect]:
        """Give up leases whose tasks are settled; who has them is told."""
        told: list[Effect] = []
        for side, theirs in zip(self._sides, leases, strict=True):
            told += side.leases.abandon(theirs, now)
        return told

    def _side_of(self, peer: PeerId) -> Workers:
        is_sink = peer in self._sinks.instances.connections.by_peer
        return self._sinks if is_sink else self._workers

    def _told(self) -> list[Effect]:
        """End the waits for tasks that have ended."""
        ended, self.ledger.awaited = self.ledger.awaited, []
        waits, self._outcomes = self._outcomes, []
        for task in ended:
            waits += [(waiter, task.value, task.error) for waiter in task.waiters or ()]
            task.waiters = None
        return [Settle(waits)] if waits else []
