"""What must hold of all tasks of a world. `Broken` says what did not hold.

At any moment the number of accepted tasks is the sum of the states. A pusher keeps no more than
its limits allow. A task ends once, and for a reason that the world has seen: it is done only if
a handler returned. What was acknowledged is on disk where there is a journal, and no crash
loses it. Once the world is well, it ends in time.

Each lease runs at most once. A handler may begin after its task has ended only by a lease that
was given out before the end. Two handlers have a task, or two tasks of a key, at the same time
only if the first one's lease was given up: its worker was out of reach or is gone, its task was
cancelled or dropped, or the process that leased it is gone and its journal does not name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from zmqkit.core.calls.outcome import DISCARD, RAISED, RETRY, Outcome
from zmqkit.core.calls.request import Request
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.task import OPEN, State, Task
from zmqkit.errors import CallCancelled, JournalError, QueueFull, UsageError
from zmqkit.roles.journaled import plain_task
from zmqkit.simulation.oracle import EARLY_S, expect
from zmqkit.simulation.task_bodies import (
    FINAL,
    answer_of,
    body_of,
    make_task,
    may_be,
    must_be,
    token_of,
)
from zmqkit.simulation.task_ends import judge_end
from zmqkit.simulation.task_leases import is_given_up, judge_again, note_inherited, outlived
from zmqkit.simulation.task_limits import judge_memory
from zmqkit.simulation.task_passing import Passing
from zmqkit.simulation.task_recovery import judge_forgotten, judge_outcome, judge_recovered
from zmqkit.simulation.tasks import (
    Giver,
    Pushed,
    PusherRole,
    Queue,
    Run,
    SinkRole,
    StreamerRole,
    WorkerRole,
)
from zmqkit.simulation.timeline import Timeline

_LEASE_BITS = 40


@dataclass(slots=True, eq=False)
class Wait:
    """Somebody waits for the end of a task."""

    pushed: Pushed


class TaskOracle:
    """An oracle that knows every task of the world and judges what becomes of it."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.timeline = timeline
        self.random = random
        # By token: every task that was pushed. By incarnation of the pusher: the queues.
        self.tasks: dict[int, Pushed] = {}
        self.queues: dict[int, Queue] = {}
        # By pusher and receipt: each lease that a handler was given.
        self.runs: dict[tuple[int, int], Run] = {}
        # By name: how many attempts its workers have declared.
        self.attempts: dict[str, set[int]] = {}
        self.active: Counter[WorkerRole] = Counter()
        self.ends: Counter[str] = Counter()
        self.slow = True
        self.passing = Passing(timeline, self.tasks, self.queues, self.ends, self.enter)

    # What users do

    def push(
        self, role: PusherRole, way: str, now: float, *, waits: bool = False, **options: object
    ) -> Pushed:
        """Push a task, whose body is a number that no other task has.

        options: attributes of the task. waits: somebody waits for its end.
        """
        token, queue, core = len(self.tasks) + 1, role.queue, role.core
        task = make_task(token, options)
        pushed = self.tasks[token] = Pushed(
            token, queue, way, task, now, task.order_by, task.due_at, queue.clock.moved_s,
            task.due_at, task.expires_at, task.to_sink,
        )  # fmt: skip
        there = [each for each in queue.open.values() if must_be(task, each)]
        try:
            if queue.file is not None:
                core.submit_safely(task, pushed, now)
            else:
                role.driver.perform(core.push(task, now))
        except QueueFull:
            expect(not core.ledger.has_room(task), "full means full", pushed)
            return self._refused(pushed)
        except JournalError:
            broken = queue.file is not None and queue.file.broken
            expect(broken, "a sound disk takes tasks", pushed)
            return self._refused(pushed)
        role.process.trace(f"{role.name} pushes {pushed} {options}")
        if task.twin is not None:
            expect(may_be(task, task.twin), "a twin is the same task", pushed)
            pushed.void = True
            self.ends["task twins"] += 1
            return pushed
        expect(not there, "no task is there twice", pushed, *there)
        queue.accepted += 1
        pushed.acknowledged = queue.file is None
        self.enter(pushed)
        if waits:
            pushed.waits += 1
            core.await_end(task, Wait(pushed), now)
        return pushed

    def ask(self, pushed: Pushed, what: str, now: float) -> None:
        """Cancel, purge or requeue a task, as its user does."""
        role = pushed.queue.role
        if not isinstance(role, PusherRole) or role.closed or pushed.void:
            return
        if pushed.task.state in FINAL:
            return
        if pushed.is_unread:
            # A ticket asks for it by its number, and finds it on disk only.
            number, line = pushed.task.sequence, role.core.ledger.line
            pushed.task = line.reveal(number, pushed.task.priority) or pushed.task
            pushed.is_unread = not pushed.task.is_shelved
            if pushed.is_unread:
                return
        role.process.trace(f"{role.name} is asked to {what} {pushed}")
        pushed.asked.add(what)
        if what == "cancel":
            role.driver.perform(role.core.cancel(pushed.task, now))
        elif what == "purge":
            role.driver.perform(role.core.purge(pushed.task, now))
        elif pushed.task.state is State.DEAD and role.core.ledger.has_room(pushed.task):
            try:
                role.driver.perform(role.core.requeue(pushed.task, now))
            except UsageError:
                died = pushed.queue.is_streamed and pushed.task.state is State.DEAD
                expect(died, "what died here is requeued here", pushed)
                return
            pushed.queue.rank += 1
            pushed.rank = pushed.queue.rank
            pushed.keyless = any(
                each is not pushed
                and each.task.unique == pushed.task.unique
                and each.task.state in OPEN
                for each in pushed.queue.open.values()
            )
            pushed.end, pushed.failed, pushed.state = None, 0, State.WAITING
            pushed.due_at = pushed.next_at = now
            pushed.expires_at = inf
            self.ends["task requeued"] += 1

    def _refused(self, pushed: Pushed) -> Pushed:
        pushed.refused = pushed.void = True
        self.ends["task refused"] += 1
        return pushed

    def enter(self, pushed: Pushed) -> None:
        """Note that a pusher or a streamer has a task, perhaps from its journal."""
        queue, number = pushed.queue, pushed.task.sequence
        known = queue.ids.setdefault(number, pushed.token)
        expect(known == pushed.token, "an id names one task", pushed, known)
        queue.rank += 1
        pushed.rank = queue.rank
        queue.tasks[number] = queue.open[number] = pushed
        if not queue.is_streamer:
            self.passing.entered(pushed)

    # Crash and recovery

    def recovered(self, role: Giver, tasks: list[Task]) -> None:
        """Judge what a pusher found in its journal. What is not there is lost, or was over."""
        queue = role.queue
        before, queue.tasks, queue.open = queue.tasks, {}, {}
        assert queue.file is not None
        there = {task.sequence for task in tasks}
        plain = [each for each in queue.file.plain.values() if each.sequence not in there]
        tasks = [*tasks, *map(plain_task, plain)]
        left = [task for task in tasks if task.state not in FINAL]
        left.sort(key=lambda task: task.state is not State.LEASED)  # these hold their keys
        queue.accepted = queue.recovered = len(left)
        self.ends["task inherited"] += note_inherited(queue, left, self.timeline.now)
        queue.rank = 0
        queue.first = queue.seen = role.tasks.ledger.last
        found = {task.sequence: task for task in tasks}
        for number, pushed in before.items():
            if number not in found:
                lost = pushed.acknowledged and pushed.state not in FINAL
                lost = lost and not self.passing.is_kept(pushed)
                expect(not lost, "what was acknowledged is not lost", pushed, pushed.state)
                judge_forgotten(role, pushed)
                pushed.void = True
            elif found[number].state in FINAL:
                judge_outcome(pushed, found[number])
                queue.tasks[number] = pushed
        bodies = {each.body: each for each in self.tasks.values() if each.queue is queue}
        keys: dict[str, Pushed] = {}
        for task in left:
            known = bodies.get(body_of(task))
            if task.is_result or queue.is_streamer or (queue.is_streamed and not task.row):
                known = before.get(task.sequence) or queue.copies.get(task.sequence)
            expect(known is not None, "a journal has what was pushed", task.sequence)
            assert known is not None
            judge_recovered(known, task)
            known.task, known.state, known.end = task, task.state, None
            known.is_unread = task.is_plain and task.sequence not in there
            known.acknowledged = True
            known.refused = known.doubtful = known.void = False
            known.waits, known.failed, known.failed_append = 0, task.failures, 0
            known.journal, known.sunk = 0, None
            known.result = known.result if task.is_result else None
            known.next_at = task.due_at
            # It was due when it was leased, whatever the clock says now.
            known.due_at = task.due_at if task.state is not State.LEASED else 0.0
            known.expires_at, known.moved_s = task.expires_at, queue.clock.moved_s
            self.enter(known)
            known.keyless = False
            if task.unique is not None and task.state in OPEN:
                if task.unique in keys:
                    keys[task.unique].keyless = True
                keys[task.unique] = known
            self.ends["task recovered"] += 1
            if task.state is State.DEAD:
                self._note_end(role, known)

    # What workers do

    def begin(self, role: WorkerRole, request: Request) -> Run:
        """Judge the start of a handler; return what it does."""
        now, queue = self.timeline.now, self.queues[request.client]
        token = token_of(request.args[0])
        assert request.headers is not None
        about = request.headers[TASK]
        assert isinstance(about, list)
        attempt, pushed = about[1], self.passing.named(queue, about, token)
        opening = request.sequence >> _LEASE_BITS
        run = self._run(role, request, pushed, opening)
        role.process.trace(f"{role.name} runs {pushed} {about} by {request.sequence}")
        expect(attempt >= 1, "attempts count from 1", pushed, attempt)
        lease = (request.client, request.sequence)
        expect(lease not in self.runs, "a lease runs once", pushed, lease)
        self.runs[lease] = run
        self.active[role] += 1
        expect(
            self.active[role] <= role.core.concurrency, "a worker runs what it can", role.name
        )
        expect(now < request.deadline_at, "what expired does not run", pushed)
        moved_s = queue.clock.moved_s - pushed.moved_s
        expect(now >= pushed.due_at - moved_s - EARLY_S, "what is delayed waits", pushed)
        if pushed.end is not None:
            ended, receipt, _ = pushed.end
            late = (opening, request.sequence) >= (ended, receipt)
            expect(not late, "what has ended is not leased", pushed, lease)
        self.passing.begun(pushed, request.sequence)
        judge_again(pushed, now)
        for other in self._others(pushed):
            given_up = is_given_up(other, now) or is_given_up(run, now)
            expect(given_up, "one has a task at a time", pushed, other.pushed)
        pushed.runs.append(run)
        return run

    def ended(self, run: Run) -> None:
        """Note that a handler returned."""
        run.ended_at = self.timeline.now
        self.ends["task outlived its pusher"] += outlived(run)
        self.active[run.role] -= 1

    def _run(self, role: WorkerRole, request: Request, pushed: Pushed, opening: int) -> Run:
        """Return what a handler does: how long it takes, and its answer."""
        code, again = "", len(pushed.runs) < 1
        if pushed.way == "raise" or (pushed.way == "flaky" and again):
            code = RAISED
        elif pushed.way == "retry" and again:
            code = RETRY
        elif pushed.way == "discard":
            code = DISCARD
        random, duration_s = self.random, 0.0
        if self.slow and random.random() < 0.7:
            duration_s = random.uniform(0.0, 0.03)
        if self.slow and pushed.way == "slow":
            duration_s = random.uniform(0.0, 1.3) ** 3
        elif self.slow and pushed.way == "hang":
            duration_s = inf
        answer = answer_of(pushed, code, random.choice(("", "0.1", "1.0")))
        return Run(pushed, role, request, opening, code, answer, duration_s)

    def _others(self, pushed: Pushed) -> list[Run]:
        """Return the runs that go on of this task, and of the tasks with its key."""
        key, queue = pushed.order_by, pushed.queue
        tasks = [pushed]
        if key is not None and queue.is_streamer:
            tasks = [p for p in queue.copies.values() if p.order_by == key]
        elif key is not None and not queue.is_streamed:
            tasks = [p for p in self.tasks.values() if p.queue is queue and p.order_by == key]
        return [run for each in tasks for run in each.runs if run.goes_on]

    # What pushers are told, and what they know

    def settled(self, role: PusherRole, outcomes: Sequence[Outcome]) -> None:
        """Judge the ends of waits: of pushes, and for the ends of tasks."""
        for waiter, value, error in outcomes:
            if isinstance(waiter, Wait):
                self._judge_wait(role, waiter.pushed, value, error)
                continue
            assert isinstance(waiter, Pushed)
            role.process.trace(f"{role.name} settles the push of {waiter} {error!r}")
            expect(not waiter.refused, "a push returns once", waiter)
            if error is None:
                self._judge_acknowledged(waiter, value)
            elif isinstance(error, JournalError):
                waiter.refused, waiter.doubtful = True, not error.may_retry
                self.ends["task refused"] += 1
            else:
                closed = isinstance(error, CallCancelled) and role.core._closed
                expect(closed, "a push ends by the disk's word", waiter, repr(error))
                waiter.refused = waiter.doubtful = True

    def _judge_acknowledged(self, waiter: Pushed, there: object) -> None:
        file = waiter.queue.file
        assert isinstance(there, Task) and file is not None
        twin = waiter.task.twin
        expect(there is (twin or waiter.task), "a push returns its task", waiter)
        known = waiter.queue.tasks[there.sequence]
        expect(not waiter.acknowledged, "a push returns once", waiter)
        refused = known.refused or isinstance(there.error, JournalError)
        expect(not refused, "what is refused is not there", waiter, known)
        on_disk = there.sequence in file.numbers or there.state in FINAL
        on_disk = on_disk or (there.journal > 0 and self.passing.is_kept(known))
        expect(on_disk, "what is acknowledged is on disk", waiter, known)
        waiter.acknowledged = known.acknowledged = True

    def _judge_wait(
        self, role: PusherRole, pushed: Pushed, value: object, error: object
    ) -> None:
        expect(pushed.waits == 1, "a wait ends once", pushed)
        expect(pushed.queue.role is role, "a pusher ends its own waits", pushed)
        pushed.waits = 0
        task = pushed.task
        if isinstance(error, CallCancelled) and role.core._closed and not task.is_over:
            return  # the journal has the task, or a streamer
        expect(task.is_over and error is task.error, "a wait ends with its task", pushed)
        if error is None:
            self.passing.expect_value(pushed, value)

    def paged(self, queue: Queue, numbers: list[int]) -> None:
        """Note that tasks were read from a journal, if they are still open."""
        assert queue.role is not None
        tasks = queue.role.tasks.ledger.tasks
        for number in numbers:
            if queue.tasks[number].is_unread and number in tasks:
                queue.tasks[number].task = tasks[number]
                queue.tasks[number].is_unread = False

    def delivered(self, role: SinkRole, request: Request) -> Pushed:
        """Judge that a result has come to a sink; return its task."""
        return self.passing.delivered(role, request)

    def moved(self, role: Giver) -> None:
        """Look at all tasks of a role after its turn: its counters, its limits, each task."""
        queue, core = role.queue, role.tasks
        if queue.role is not role:
            return
        if isinstance(role, StreamerRole):
            self.passing.look(role)
        stats = core.stats()
        sums = sum(core.ledger.counts[state] for state in State)
        expect(stats["accepted"] == queue.accepted == sums, "accepted is the sum", role.name)
        judge_memory(role)
        holders: dict[str, Pushed] = {}
        leased: list[Pushed] = []
        for pushed in list(queue.open.values()):
            state = self._look(role, pushed)
            if pushed.task.is_result:
                continue
            if state is State.LEASED:
                leased.append(pushed)
            if state in OPEN and pushed.order_by is not None:
                first = holders.setdefault(pushed.order_by, pushed)
                if pushed.rank < first.rank:
                    holders[pushed.order_by] = pushed
        self.passing.judge_leases(role)
        for pushed in leased if queue.is_streamer or not queue.is_streamed else ():
            holder = holders.get(pushed.order_by or "", pushed)
            expect(holder is pushed, "the first of a key is leased", pushed, holder)

    def _look(self, role: Giver, pushed: Pushed) -> State:
        """Judge what became of a task since the last look."""
        task, queue = pushed.task, pushed.queue
        state, before = task.state, pushed.state
        attempts = self.attempts.get(queue.name, {1})
        if task.journal and not pushed.journal:
            self.passing.handed(role, pushed)
        if task.is_result:
            if pushed.result is None:
                receipt = role.tasks._workers.instances.dispatcher.next
                pushed.result, pushed.end, pushed.failed = (queue.opening, receipt), None, 0
        else:
            self._look_at_attempts(role, pushed, attempts)
        pushed.state = state
        if state is before:
            return state
        if before is State.DEAD:
            waits = state in OPEN and not task.is_result
            expect(not waits, "what is dead waits for its user", pushed, state)
        if state not in OPEN:
            role.process.trace(f"{role.name} ends {pushed} {state.value} {task.error!r}")
            self.ends[f"task {state.value}"] += 1
            judge_end(self.passing, role, pushed, attempts, self.timeline.now)
            self._note_end(role, pushed)
        return state

    def _look_at_attempts(self, role: Giver, pushed: Pushed, attempts: set[int]) -> None:
        """Judge what is leased, and how many attempts it had."""
        now, task, queue, state = (
            self.timeline.now,
            pushed.task,
            pushed.queue,
            pushed.task.state,
        )
        failed = task.attempt - task.spared - (state is State.LEASED)
        if state is State.LEASED and task.receipt and task.receipt not in pushed.leases:
            pushed.leases[task.receipt] = now
            passed_on = self.passing.is_passed_on(role, task)
            is_due = task.due_at <= now or passed_on or role.closed  # it has no leases then
            expect(is_due, "what is leased is due", pushed)
            expect(failed < max(attempts), "attempts are bounded", pushed, failed, attempts)
        if state in OPEN and failed > pushed.failed:
            file = queue.file
            pushed.failed_append = file.handed + 1 if file is not None else 0
        if state in OPEN:
            expect(failed >= pushed.failed, "attempts are counted", pushed, failed)
            pushed.failed = failed
            pushed.next_at = task.due_at

    def _note_end(self, role: Giver, pushed: Pushed) -> None:
        queue, file, core = pushed.queue, pushed.queue.file, role.tasks
        append = file.handed + 1 if file is not None else 0
        pushed.end = (queue.opening, core._workers.instances.dispatcher.next, append)
        pushed.died = pushed.died or pushed.state is State.DEAD
        if pushed.state in FINAL:
            pushed.sunk = (queue.opening, core._sinks.instances.dispatcher.next)
            del queue.open[pushed.task.sequence]

    # Ends

    @property
    def in_flight(self) -> int:
        """How many tasks are still to be done, as seen by whoever is there."""
        there = [q.role for q in self.queues.values() if q.role and not q.role.closed]
        return sum(role.tasks.in_flight for role in there if role.process.host.alive)

    def judge_all(self) -> None:
        """Judge that every task has ended, as seen by whoever has it."""
        for queue in self.queues.values():
            role = queue.role
            if role is None or role.closed or not role.process.host.alive:
                self._judge_gone(queue)
                continue
            self.moved(role)
            for pushed in queue.tasks.values():
                about = pushed, pushed.state, role.name
                expect(pushed.state not in OPEN, "healed, a task ends", *about)
                told = pushed.acknowledged or pushed.refused or queue.is_streamer
                expect(told, "a push returns", *about)
                expect(not pushed.waits, "a wait ends", *about)
                expect(pushed.task.state is pushed.state, "a task ends once", *about)
            if queue.file is not None:
                settled = role.tasks.ledger.settled
                dead, over = settled.dead.keys(), settled.over.keys()
                wrong = dead ^ queue.file.numbers
                wrong |= (dead | over) ^ queue.file.outcomes.keys()
                right = all(map(role.tasks._appends.is_pending, wrong))
                expect(right, "at rest, the journal is right", role.name)

    def _judge_gone(self, queue: Queue) -> None:
        """Judge that nothing is left of a queue without a journal."""
        expect(queue.file is None, "somebody has the journal", queue.name)
        for pushed in queue.tasks.values():
            alive = queue.role is not None and queue.role.process.host.alive
            ended = pushed.state not in ({State.WAITING} if queue.is_streamed else OPEN)
            expect(not alive or ended, "closed, a task ends", pushed)
