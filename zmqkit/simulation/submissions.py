"""Requests that brokers keep on disk, and what must hold of them whatever befalls the world.

A submission that was acknowledged is on the disk of a broker, and never lost. In the end it is
collected with its own value, or with an error that is true. A reply is told only when it is on
disk. What has ended, on a synced disk or to anybody's knowledge, is not given out again. A
method that is not idempotent runs at most once for an id at one broker, unless the request was
dead and somebody requeued it. Another broker may have the same id: it is another request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.tasks.task import OPEN, State, Task
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import (
    Busy,
    CallTimeout,
    PeerLost,
    QueueFull,
    RemoteError,
    UnknownRequest,
    ZmqkitError,
)
from zmqkit.links.profile import Profile
from zmqkit.simulation.calls import ClientRole, Serving
from zmqkit.simulation.oracle import (
    METHODS,
    SLACK_S,
    Oracle,
    answer_to,
    expect,
    token_of,
    value_of,
)
from zmqkit.simulation.process import Process, SeekingRole
from zmqkit.simulation.streams import Generator
from zmqkit.simulation.tasks import Queue
from zmqkit.simulation.timeline import Timeline
from zmqkit.wire.rows import request_row
from zmqkit.wire.submission import COLLECT, SUBMIT, submission

FIRST_TOKEN = 1 << 30
"""The argument of the first submission. Calls have smaller numbers."""
OPENING_BITS = 40
"""The number of a lease has that of the journal's opening above so many bits."""


class SubmittingRole(SeekingRole):
    """One client that submits requests and collects replies."""

    def __init__(self, process: Process, target: str, core: ClientCore, judge: Keeper) -> None:
        self.core: ClientCore = core
        name, sought = f"submitter-{core.incarnation:x}", ("service", target)
        hooks = Hooks(settle=partial(judge.settled, self))
        super().__init__(process, name, core, sought, Profile.DATA, hooks)


@dataclass(slots=True, eq=False)
class Kept:
    """A submission at one broker."""

    # Its task, as long as the broker lives and knows it.
    task: Task | None = None
    # It was on the synced disk.
    on_disk: bool = False
    # What became of it was forgotten, for want of space or after its time.
    forgotten: bool = False
    died: bool = False
    requeued: int = 0
    # Leases with this number, or a higher one, may not begin any more.
    sealed: float = inf
    # The numbers of the leases that ran.
    runs: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Submitted:
    """One submission as the world remembers it."""

    token: int
    target: str
    method: str
    id: str
    priority: int
    # When it is no longer worth to be begun, whichever attempt to submit it arrived.
    expires_at: float
    acknowledged: bool = False
    # How its last collection ended: nothing while it has not.
    end: ZmqkitError | None = None
    is_collected: bool = False
    # By the id of the journal.
    kept: dict[int, Kept] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"({self.method} {self.token}, submitted as {self.id!r})"

    @property
    def forgotten(self) -> bool:
        """Whether a broker may know it no longer."""
        return any(each.forgotten for each in self.kept.values())

    def at(self, queue: int) -> Kept:
        """Return what is known of it at a broker."""
        return self.kept.setdefault(queue, Kept())


@dataclass(slots=True, eq=False)
class Asked:
    """One request to submit or to collect."""

    what: str
    submitted: Submitted
    # Whether the submission had been acknowledged by then. Seed 307: a broker that was asked
    # before it had the request truly knew none, and said so while the request was on its way.
    was_acknowledged: bool = False


class Keeper:
    """Knows every submission of the world, and judges what becomes of each."""

    def __init__(self, timeline: Timeline, oracle: Oracle) -> None:
        """oracle: judges the calls, whose handlers are the same ones."""
        self.timeline = timeline
        self.by_token: dict[int, Submitted] = {}
        self.queues: dict[int, Queue] = {}
        self.ends: Counter[str] = Counter()
        # Whether brokers forget what has ended early.
        self.forgetful = False
        self._oracle = oracle
        # By queue: what its file had written when it was looked at last.
        self._seen: dict[int, tuple[int, int]] = {}

    # What users ask for

    def new(self, target: str, method: str, priority: int, left_s: float) -> Submitted:
        """Return a new submission, which nobody has sent yet."""
        token = FIRST_TOKEN + len(self.by_token)
        expires_at = self.timeline.now + left_s
        made = Submitted(token, target, method, f"order {token:x}", priority, expires_at)
        self.by_token[token] = made
        return made

    def submit(self, role: SubmittingRole, it: Submitted, timeout_s: float) -> None:
        """Submit a request, for the first time or again."""
        left_s = max(0.001, it.expires_at - self.timeline.now)
        headers: dict[str, object] = {SUBMIT: submission(it.method, it.id, left_s)}
        options = CallOptions(timeout_s, timeout_s, it.priority, id=it.id)
        body = request_row(SUBMIT, headers, (it.token,), {})
        role.process.trace(f"submits {it}")
        role.core.submit(
            SUBMIT, body, None, options, Asked("submit", it), self.timeline.now
        )  # fmt: skip
        role.driver.wake()

    def collect(self, role: SubmittingRole, it: Submitted, timeout_s: float) -> None:
        """Ask for the reply of a submission."""
        options = CallOptions(timeout_s, timeout_s, it.priority, id=it.id)
        body = request_row(COLLECT, None, (it.id,), {})
        role.process.trace(f"collects {it}")
        asked = Asked("collect", it, it.acknowledged)
        role.core.submit(COLLECT, body, None, options, asked, self.timeline.now)
        role.driver.wake()

    # What drivers ask for

    def settled(self, role: SubmittingRole | ClientRole, outcomes: Sequence[Outcome]) -> None:
        """Judge what users were told."""
        for asked, value, error in outcomes:
            assert isinstance(asked, Asked)
            it = asked.submitted
            role.process.trace(f"{asked.what} of {it} ends {error!r}")
            self.ends[f"{asked.what} {'done' if error is None else type(error).__name__}"] += 1
            if asked.what == "collect":
                self._collected(asked, value, error)
            elif error is None:
                expect(value == it.id, "a submission is answered with its id", it, value)
                known = it.forgotten or self._is_on_disk(it)
                expect(known, "what is acknowledged is on disk", it)
                it.acknowledged = True

    def _collected(self, asked: Asked, value: object, error: ZmqkitError | None) -> None:
        it = asked.submitted
        it.end, it.is_collected = error, True
        if error is None:
            expect(value == value_of(it.method, it.token), "a value is its own", it, value)
        elif isinstance(error, RemoteError):
            expect(it.method == "boom", "only boom raises", it, repr(error))
            expect(error.message == str(it.token), "an error's text travels", it, repr(error))
        elif isinstance(error, UnknownRequest):
            lost = asked.was_acknowledged and not it.forgotten
            # With several brokers the one that has it may be out of reach.
            expect(not lost or len(self.queues) > 1, "what is acknowledged is known", it)
        if error is None or isinstance(error, RemoteError):
            expect(any(each.runs for each in it.kept.values()), "what was answered ran", it)
            ended = it.forgotten or self._has_end_on_disk(it)
            expect(ended, "a reply is told once it is on disk", it)
            for number, each in it.kept.items():
                if self._end_in(number, it):
                    file = self.queues[number].file
                    assert file is not None
                    each.sealed = min(each.sealed, (file.opening + 1) << OPENING_BITS)

    def handle(self, role: Serving, request: Request) -> tuple[float, Answer]:
        """Judge a run of a handler. Return how many seconds it takes, and its answer."""
        it = self.by_token.get(token_of(request))
        if it is None:
            return self._oracle.handle(role, request)
        role.process.trace(f"runs {it} as {request.sequence:x} of {request.client:x}")
        expect(request.client in self.queues, "only brokers give it out", it, request.client)
        kept = it.at(request.client)
        expect(request.method == it.method, "a method's name travels", it, request.method)
        expect(request.priority == it.priority, "a priority travels", it, request.priority)
        in_time = self.timeline.now < request.deadline_at
        expect(in_time, "what expired does not run", it)
        expect(request.sequence not in kept.runs, "an attempt runs once", it)
        kept.runs.append(request.sequence)
        self._oracle.runs += 1
        ended = request.sequence >= kept.sealed
        expect(
            not ended or kept.forgotten,
            "what has ended does not begin again",
            it,
            f"{kept.sealed}",
        )
        allowed = METHODS[it.method] or len(kept.runs) <= 1 + kept.requeued
        expect(allowed or kept.forgotten, "what may not repeat runs once", it)
        return self._oracle.duration(it.method), answer_to(it.method, it.token)

    def begin(self, role: Serving, request: StreamRequest) -> Generator:
        """Judge the start of a generator."""
        return self._oracle.begin(role, request)

    # Brokers

    def opened(self, queue: Queue, back: DurableBack) -> None:
        """Judge what a broker has read from a journal."""
        self.queues[queue.id] = queue
        file, ledger = queue.file, back.core.ledger
        assert file is not None
        self._seen.pop(queue.id, None)
        for it in self.by_token.values():
            kept = it.kept.get(queue.id)
            if kept is None:
                continue
            kept.task = ledger.find(it.id, queue.id)
            lost = kept.on_disk and not kept.forgotten and kept.task is None
            kept.forgotten |= lost and self.forgetful and kept.sealed < inf
            expect(not lost or kept.forgotten, "what was on disk is there after a restart", it)
        self.look(queue, back)

    def look(self, queue: Queue, back: DurableBack) -> None:
        """Look at all submissions that a broker has, after its turn."""
        file = queue.file
        assert file is not None
        core = back.core
        stats = core.stats()
        states = sum(int(str(stats[state.value])) for state in State)
        expect(stats["accepted"] == states, "a ledger balances", queue.name, stats)
        limits = core.limits
        most = limits.tasks_max + limits.dead_max + limits.outcomes_max
        expect(len(core.ledger.tasks) <= most, "memory is bounded", queue.name, most)
        mark = (file.opening, file.counts["appends"])
        fresh, self._seen[queue.id] = self._seen.get(queue.id) != mark, mark
        next_receipt = core._workers.leases.count
        on_disk = _ids(queue) if fresh else {}
        for it in self.by_token.values():
            kept = it.kept.get(queue.id)
            task = core.ledger.find(it.id, queue.id)
            if kept is None and task is None and it.id not in on_disk:
                continue
            kept = it.at(queue.id)
            if it.id in on_disk:
                kept.on_disk = True
                if on_disk[it.id]:
                    kept.sealed = min(kept.sealed, next_receipt)
            if kept.task is not task and kept.task is not None and kept.task.is_forgotten:
                may_be = self.forgetful or kept.died or not kept.on_disk
                expect(may_be, "what has ended is kept", it)
                kept.forgotten = True
            if task is None:
                continue
            kept.task = task
            # Of many dead ones the oldest is purged at once.
            kept.died |= task.state in (State.DEAD, State.DROPPED)
            ended = kept.sealed < inf and task.state in OPEN
            expect(not ended or kept.forgotten, "what has ended stays so", it, task.state)

    def requeue(self, queue: Queue, back: DurableBack, it: Submitted, now: float) -> None:
        """Have a dead submission wait again; call it within a turn of its broker."""
        task = back.core.ledger.find(it.id, queue.id)
        if task is not None and task.state is State.DEAD:
            with suppress(QueueFull):
                back.core.requeue(task, now)
                it.at(queue.id).requeued += 1

    # The end

    def judge(self) -> None:
        """Judge, when all faults are over and all was collected, how each has ended."""
        for it in self.by_token.values():
            if not it.acknowledged:
                continue
            expect(it.is_collected, "what was acknowledged is collected", it)
            self._judge(it, it.end)

    def _judge(self, it: Submitted, error: ZmqkitError | None) -> None:
        known = it.kept.values()
        if error is None or isinstance(error, RemoteError) or it.forgotten:
            return
        if isinstance(error, CallTimeout):
            late = self.timeline.now >= it.expires_at - SLACK_S
            expect(late, "what is acknowledged ends", it, repr(error))
        elif isinstance(error, PeerLost):
            died = any(each.died for each in known)
            expired = self.timeline.now >= it.expires_at - SLACK_S
            expect(died or expired, "what is called dead has died", it, repr(error))
            expect(error.may_have_run, "what died may have run", it, repr(error))
        else:
            expect(
                isinstance(error, Busy), "what is acknowledged is collected", it, repr(error)
            )

    def _is_on_disk(self, it: Submitted) -> bool:
        return any(it.id in _ids(queue) for queue in self.queues.values())

    def _has_end_on_disk(self, it: Submitted) -> bool:
        return any(self._end_in(number, it) for number in self.queues)

    def _end_in(self, number: int, it: Submitted) -> bool:
        return _ids(self.queues[number]).get(it.id, False)


def _ids(queue: Queue) -> dict[str, bool]:
    """Return the ids in the file of a queue, and of each whether it has ended."""
    file = queue.file
    assert file is not None
    ids = {each.own_id: False for each in file.rows.values() if each.own_id is not None}
    over = [each for each in file.outcomes.values() if each.state != State.DEAD.value]
    ids.update((each.own_id, True) for each in over if each.own_id is not None)
    return ids
