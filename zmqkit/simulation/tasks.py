"""Pushers and workers under the simulated driver. Handlers take virtual time, or hang.

A device between pushers and workers is one more role here. It gives out tasks as a pusher does:
it has a `Queue`, its core recovers from the queue's file and is followed by it (`Following`).
The judge looks at it after each turn. It takes tasks as a worker does. The judge knows tasks by
the number in their bodies, which is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Protocol

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Append, Effect, News, Page, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.core.tasks.lease import SINK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.ready import Paged
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import State, Task
from zmqkit.disk.rows import PlainPage
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import JournalError
from zmqkit.links.profile import Profile
from zmqkit.model import Record
from zmqkit.roles.journaled import (
    Follows,
    changes_of,
    numbers_of,
    places_of,
    plain_task,
    tasks_of,
    without,
)  # fmt: skip
from zmqkit.roles.results import Results
from zmqkit.simulation.calls import AnsweringRole
from zmqkit.simulation.disk import JournalFile
from zmqkit.simulation.driver import SimulatedDriver
from zmqkit.simulation.process import BoundRole, Process, SeekingRole


@dataclass(slots=True, eq=False)
class Clock:
    """The time of day on a host, which somebody sets now and then."""

    # What virtual time lacks of the time of day.
    offset: float = 1e9
    # How far the clock was set, forth and back together.
    moved_s: float = 0.0

    def step(self, seconds: float) -> None:
        """Set the clock forth, or back."""
        self.offset += seconds
        self.moved_s += abs(seconds)


@dataclass(slots=True, eq=False)
class Queue:
    """The tasks of one pusher; with a journal, of all pushers that have opened it."""

    name: str
    # The incarnation that leases come from.
    id: int
    clock: Clock
    file: JournalFile | None = None
    # Whoever gives the tasks out now, or did so last.
    role: Giver | None = None
    # It is a streamer's. Its name has streamers, or had some.
    is_streamer: bool = False
    is_streamed: bool = False
    # By number: the tasks of a streamer, also those that it has forgotten.
    copies: dict[int, Pushed] = field(default_factory=dict)
    # The number of the last task that the judge has seen, and the first in this opening.
    seen: int = 0
    first: int = 0
    # When its journal was opened last, and the leases that it had from the process before.
    opened_at: float = 0.0
    inherited: set[int] = field(default_factory=set)
    # How many tasks its present role has accepted, and how many of these were in the file.
    accepted: int = 0
    recovered: int = 0
    # By number: all tasks ever pushed that may still be there.
    tasks: dict[int, Pushed] = field(default_factory=dict)
    # Those of them that are not over, or dead.
    open: dict[int, Pushed] = field(default_factory=dict)
    # By number: the token of the task that has it, or had it once.
    ids: dict[int, int] = field(default_factory=dict)
    # Counts the places behind a key.
    rank: int = 0

    @property
    def opening(self) -> int:
        """How often its journal was opened; 0 without one."""
        return self.file.opening if self.file is not None else 0


@dataclass(slots=True, eq=False)
class Pushed:
    """One push as the world remembers it."""

    token: int
    queue: Queue
    # What its handler does.
    way: str
    task: Task
    pushed_at: float
    order_by: str | None
    # When it may begin at first; how far its clock had been set when this was written down.
    due_at: float
    moved_s: float
    # When its next attempt may begin.
    next_at: float
    expires_at: float
    to_sink: bool = False  # a task that ended and was read again does not say so
    state: State = State.WAITING
    # The push returned.
    acknowledged: bool = False
    # The push raised; and perhaps the task is in the journal all the same.
    refused: bool = False
    doubtful: bool = False
    # It is on disk only, and nobody has its ticket: `task` is not the one that will be read.
    is_unread: bool = False
    # Nobody has it any more: it was refused, or its process is gone and no journal has it.
    void: bool = False
    # Another task had its unique key as it was requeued, so this one has it not.
    keyless: bool = False
    # A streamer's journal has it, and the lease that comes next then.
    journal: int = 0
    journal_receipt: int = 0
    # Its result has waited for a sink since then: the opening, and the next receipt.
    result: tuple[int, int] | None = None
    # How often a sink accepted its result.
    taken: int = 0
    # How many wait for its end.
    waits: int = 0
    # What its users ever asked for: cancel, purge, requeue. A streamer may know it alone.
    asked: set[str] = field(default_factory=set)
    # Its place among the tasks of its key.
    rank: int = 0
    # How many attempts have failed and count, and the append that has the last one of them.
    failed: int = 0
    failed_append: int = 0
    died: bool = False
    # If it is over: the opening, the next receipt then, and the append that has the end.
    end: tuple[int, int, int] | None = None
    # By receipt: when its leases were seen first.
    leases: dict[int, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    # The opening in which its result was accepted by a sink, and the receipt that came next.
    sunk: tuple[int, int] | None = None
    # Its body as it was pushed; a task that is over has it no longer.
    body: tuple[bytes, bytes | None] = (b"", None)
    # Its own id and its unique key, likewise.
    names: tuple[str | None, str | None] = (None, None)

    def __post_init__(self) -> None:
        """Keep the body and the names."""
        raw = self.task.raw
        self.names = (self.task.own_id, self.task.unique)
        self.body = (bytes(self.task.row), None if raw is None else bytes(raw))

    def __str__(self) -> str:
        return f"({self.way} {self.token}, task {self.task.sequence} of {self.queue.id:x})"


@dataclass(slots=True, eq=False)
class Run:
    """One run of a handler."""

    pushed: Pushed
    role: WorkerRole
    request: Request
    opening: int
    # How it ends: an answer's code, or nothing if it returns a value.
    code: str
    answer: Answer
    duration_s: float
    ended_at: float = inf

    @property
    def goes_on(self) -> bool:
        """Whether the handler has not returned, and its process lives."""
        return self.ended_at == inf and self.role.process.host.alive and not self.role.closed


class TaskJudge(Protocol):
    """A judge knows how tasks must end. It also decides what handlers do."""

    def begin(self, role: WorkerRole, request: Request) -> Run:
        """Judge the start of a handler; return what it does."""

    def ended(self, run: Run) -> None:
        """Note that a handler returned."""

    def delivered(self, role: SinkRole, request: Request) -> Pushed:
        """Judge that a result has come to a sink; return its task."""

    def settled(self, role: PusherRole, outcomes: Sequence[Outcome]) -> None:
        """Judge the ends of waits."""

    def paged(self, queue: Queue, numbers: list[int]) -> None:
        """Note that tasks were read from a journal, if they are still open."""

    def moved(self, role: Giver) -> None:
        """Look at all tasks of a role after its turn."""


class WorkerRole(AnsweringRole):
    """One worker.

    heeds: its handlers end when their tasks are given up, as those of `async def` do.
    """

    def __init__(
        self,
        process: Process,
        record: Record,
        core: ServiceCore,
        judge: TaskJudge,
        *,
        heeds: bool,
    ) -> None:
        self._judge = judge
        self._heeds = heeds
        # By ticket: the runs that have not ended.
        self.runs: dict[int, Run] = {}
        super().__init__(process, record, core, Hooks(handle=self._handle, abort=self._abort))

    def free(self) -> None:
        """Have the handlers that hang return."""
        for run in list(self.runs.values()):
            if run.duration_s == inf:
                self.driver.post(partial(self._return, run))

    def _handle(self, requests: list[Request]) -> None:
        for request in requests:
            run = self._judge.begin(self, request)
            if run.duration_s > 0.0:
                self.runs[request.ticket] = run
                if run.duration_s < inf:
                    self.driver.later(run.duration_s, partial(self._return, run))
            else:
                self._judge.ended(run)
                self.answer(request, run.answer, 0.0)

    def _return(self, run: Run, now: float) -> None:
        if self.runs.pop(run.request.ticket, None) is not None:
            self._judge.ended(run)
            self.handled(run.request, run.answer, now)

    def _abort(self, requests: list[Request]) -> None:
        for request in requests if self._heeds else ():
            run = self.runs.get(request.ticket)
            if run is not None:
                self.driver.post(partial(self._return, run))


OnPaged = Callable[[Queue, list[int]], None]


class Following:
    """Has the file of a queue follow the core that gives its tasks out."""

    def __init__(
        self, queue: Queue, core: PusherCore, paged: OnPaged, front: Follows | None = None
    ) -> None:
        """paged: hears of tasks that were read. front: hears the answers, if not the core."""
        self.driver: SimulatedDriver | None = None
        self._paged = paged
        self._queue = queue
        self._core = core
        self._front: Follows = front or core

    def recover(self, now: float) -> list[Task]:
        """Give the core the tasks of the file; return them. The file must be open."""
        file, offset = self._queue.file, self._queue.clock.offset
        assert file is not None
        rows, outcomes = sorted(file.rows.items()), sorted(file.outcomes.items())
        tasks = [*tasks_of((each for _, each in rows), (each for _, each in outcomes), offset)]
        held = [*file.held.values()]
        plain = [file.plain[at] for at in places_of(held) if at in file.plain]
        tasks += map(plain_task, plain)
        on_disk = without(file.plain_counts(), plain)
        self._core.recover(
            tasks, file.last, file.opening, now, on_disk=on_disk, size=file.size,
            leases=numbers_of(held),
        )  # fmt: skip
        return tasks

    def append(self, effect: Append) -> None:
        """Hand an append over to the file, with each task as it is now."""
        file, offset = self._queue.file, self._queue.clock.offset
        assert file is not None
        number, core = effect.number, self._front

        def tell(size: int, error: JournalError | None, now: float) -> list[Effect]:
            if error is None:
                return core.appended(number, size, now)
            return core.unwritten(number, error, now)

        file.append(
            number, changes_of(effect, offset), lambda *end: self._command(partial(tell, *end))
        )

    def page(self, effect: Page) -> None:
        """Have a page read."""
        file, core = self._queue.file, self._front
        assert file is not None

        def tell(found: PlainPage | None, now: float) -> list[Effect]:
            if found is None:
                return core.unpaged(JournalError("the disk failed"), now)
            tasks = [plain_task(each) for each in found.tasks]
            page = Paged(effect.priority, tasks, [], found.read, found.is_last)
            effects = core.paged(page, now)
            self._paged(self._queue, [task.sequence for task in tasks])
            return effects

        file.page(effect, lambda found: self._command(partial(tell, found)))

    def _command(self, command: Callable[[float], list[Effect]]) -> None:
        assert self.driver is not None
        self.driver.command(command)


class PusherRole(SeekingRole):
    """One pusher."""

    def __init__(
        self, process: Process, target: str, core: PusherCore, queue: Queue, judge: TaskJudge
    ) -> None:
        self.core: PusherCore = core
        self.queue = queue
        self.following = Following(queue, core, judge.paged)
        # By incarnation: when it last heard that a worker is out of reach, or gone, and when
        # it heard of the worker first.
        self.lost_at: dict[int, float] = {}
        self.found_at: dict[int, float] = {}
        self._judge = judge
        super().__init__(
            process,
            f"pusher-{core.incarnation:x}",
            core,
            ("worker", target),
            Profile.DATA,
            Hooks(
                settle=partial(judge.settled, self),
                append=self.following.append,
                page=self.following.page,
            ),
            also=SINK,
        )
        self.driver.pace = core.pace
        self.following.driver = self.driver
        queue.role = self

    @property
    def tasks(self) -> PusherCore:
        """The core that gives its tasks out."""
        return self.core

    def rested(self, now: float) -> None:
        """Have the judge look."""
        self._judge.moved(self)

    def hear(self, tell: Tell) -> None:
        """Have the core take membership's news."""
        note(self, tell)
        super().hear(tell)

    def close(self) -> None:
        """Close the role; its file is closed once all is written."""
        if not self.closed:
            super().close()
            self._judge.moved(self)
            if self.queue.file is not None:
                self.queue.file.close()


class StreamerRole(BoundRole):
    """One streamer. To pushers it is a worker, and to workers it is a pusher."""

    def __init__(
        self,
        process: Process,
        record: Record,
        core: StreamerCore,
        queue: Queue,
        judge: TaskJudge,
    ) -> None:
        self.core: StreamerCore = core
        self.queue = queue
        self.following = Following(queue, core.tasks, judge.paged, core)
        self.lost_at: dict[int, float] = {}
        self.found_at: dict[int, float] = {}
        self._judge = judge
        hooks = Hooks(finished=list, append=self.following.append, page=self.following.page)
        super().__init__(process, record, core, Profile.DATA, hooks)
        self.keys = (key_of("worker", record.name), key_of(SINK, record.name))
        self.following.driver = self.driver
        queue.role = self

    @property
    def tasks(self) -> PusherCore:
        """The core that gives its tasks out."""
        return self.core.tasks

    def rested(self, now: float) -> None:
        """Have the judge look."""
        self._judge.moved(self)

    def hear(self, tell: Tell) -> None:
        """Have the core take membership's news."""
        note(self, tell)
        self.driver.command(partial(self.core.hear, tell))

    def leave(self, now: float) -> list[Effect]:
        """Accept nothing more."""
        return self.core.leave(now)

    def close(self) -> None:
        """Close the role; its file is closed once all is written."""
        if not self.closed:
            super().close()
            self._judge.moved(self)
            if self.queue.file is not None:
                self.queue.file.close()


Giver = PusherRole | StreamerRole
"""Whoever gives tasks out to workers."""


def note(role: Giver, tell: Tell) -> None:
    """Note what somebody hears of a worker."""
    now = role.process.network.timeline.now
    if tell.news in (News.LOST, News.GONE):
        role.lost_at[tell.incarnation] = now
    elif tell.news is News.FOUND:
        role.found_at.setdefault(tell.incarnation, now)


class SinkRole(AnsweringRole):
    """One sink, whose reader takes a while with each result.

    pace_s: how long the reader takes at most.
    """

    def __init__(
        self,
        process: Process,
        record: Record,
        core: ServiceCore,
        judge: TaskJudge,
        pace_s: Callable[[], float],
    ) -> None:
        self.results = Results(core)
        self._judge = judge
        self._pace_s = pace_s
        self._is_reading = False
        self._holds: Pushed | None = None
        super().__init__(process, record, core, self.results.hooks())

    def rested(self, now: float) -> None:
        """Have the reader take what has come."""
        super().rested(now)
        if self.results.has_news and not self._is_reading and not self.leaving:
            self._is_reading = True
            self.driver.later(self._pace_s(), self._read)

    def leave(self, now: float) -> list[Effect]:
        """Take no more results, and give back the one that is not accepted."""
        self._holds = None
        return self.results.leave(now)

    def _read(self, now: float) -> None:
        """Accept the last result, and take the next one."""
        self._is_reading = False
        if self.closed or self.leaving:
            return
        self._accept()
        found, effects = self.results.take(now)
        self.driver.perform(effects)
        request = self.results._taken
        if found is not None and request is not None:
            self._holds = self._judge.delivered(self, request)
            self._is_reading = True
            self.driver.later(self._pace_s(), self._read)

    def _accept(self) -> None:
        if self._holds is not None:
            self._holds.taken += 1
            self._holds = None
