"""What must hold of tasks that pass through streamers, and of results that go to sinks.

A streamer has a task of its own for each one that it accepts: a copy, with its own life. The
copy and the pusher's task are done by the same handler, and a task with their id or their
unique key stands for both: these are kin, and each may have the end of the other.

What a streamer has told its pusher that it has (ACCEPT) is in its file, or has ended there.
From then on the pusher gives it to nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zmqkit.core.calls.request import Request
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.task import State, Task
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.task_bodies import body_of, result_of, value_of
from zmqkit.simulation.tasks import Giver, Pushed, Queue, SinkRole, StreamerRole
from zmqkit.simulation.timeline import Timeline

_LEASE_BITS = 40


class Passing:
    """The copies that streamers have of tasks."""

    def __init__(
        self,
        timeline: Timeline,
        tasks: dict[int, Pushed],
        queues: dict[int, Queue],
        ends: Counter[str],
        enter: Callable[[Pushed], None],
    ) -> None:
        """tasks, queues, ends: those of the oracle. enter: notes that somebody has a task."""
        self._timeline = timeline
        self._tasks = tasks
        self._queues = queues
        self._ends = ends
        self._note = enter
        self.copies: list[Pushed] = []
        # By what pushers call it, and by its body: the task as it was pushed.
        self._by_id: dict[str, Pushed] = {}
        self._by_body: dict[tuple[bytes, bytes | None], Pushed] = {}

    def entered(self, pushed: Pushed) -> None:
        """Know a task by its id, and by its body."""
        task, queue = pushed.task, pushed.queue
        self._by_id[task.own_id or f"{queue.id:016x}{task.sequence:016x}"] = pushed
        self._by_body[pushed.body] = pushed

    def kin(self, pushed: Pushed) -> list[Pushed]:
        """Return the tasks whose end this one may have."""
        if not pushed.queue.is_streamed:
            return [pushed]
        name, (own_id, unique) = pushed.queue.name, pushed.names
        return [
            each
            for each in (*self._tasks.values(), *self.copies)
            if each.queue.name == name
            and (
                each.token == pushed.token
                or (own_id is not None and each.names[0] == own_id)
                or (unique is not None and each.names[1] == unique)
            )
        ]

    def expect_value(self, pushed: Pushed, value: object) -> None:
        """Judge the value of a task that is done."""
        family = self.kin(pushed)
        values: list[object] = [result_of(each) for each in family if not each.to_sink]
        values += [None] * any(each.to_sink for each in family)
        if pushed.queue.is_streamer or len(family) > 1:
            values += [result_of(each) for each in family]
        expect(value_of(value) in values, "a value is that task's own", pushed, value)

    def look(self, role: StreamerRole) -> None:
        """Find the tasks that a streamer has accepted since the last look."""
        queue, ledger = role.queue, role.tasks.ledger
        for number in range(queue.seen + 1, ledger.last + 1):
            task = ledger.tasks.get(number)
            if task is not None:
                self._enter(queue, task)
        queue.seen = ledger.last
        queue.accepted = queue.recovered + ledger.last - queue.first

    def _enter(self, queue: Queue, task: Task) -> None:
        origin = self._by_body.get(body_of(task)) or self._by_id.get(task.own_id or "")
        expect(origin is not None, "a streamer has what was pushed", task.own_id)
        assert origin is not None
        copy = Pushed(
            origin.token, queue, origin.way, task, self._timeline.now, origin.order_by,
            task.due_at, queue.clock.moved_s, task.due_at, task.expires_at, task.to_sink,
        )  # fmt: skip
        copy.body, copy.names = origin.body, (task.own_id, task.unique)
        queue.copies[task.sequence] = copy
        self.copies.append(copy)
        self._note(copy)
        self._ends["task passed on"] += 1

    def handed(self, role: Giver, pushed: Pushed) -> None:
        """Judge that what a streamer says it has is in its file, or has ended there.

        It may have another one with this id or key, which is not in its file yet.
        """
        pushed.journal = pushed.task.journal
        pushed.journal_receipt = role.tasks._workers.instances.dispatcher.next
        expect(self.is_kept(pushed), "what is accepted is on disk", pushed)
        for copy in self._copies_of(pushed):
            copy.acknowledged = copy.acknowledged or self._is_in_file(copy)
        self._ends["task handed over"] += 1

    def is_kept(self, pushed: Pushed) -> bool:
        """Return whether the streamer that a task was handed over to has it, or had its end."""
        return any(
            self._is_in_file(copy) or (copy.queue.file is not None and copy.task.is_over)
            for copy in self._copies_of(pushed)
        )

    def _is_in_file(self, copy: Pushed) -> bool:
        file = copy.queue.file
        return file is not None and copy.task.sequence in file.numbers

    def _copies_of(self, pushed: Pushed) -> list[Pushed]:
        id_ = pushed.names[0] or f"{pushed.queue.id:016x}{pushed.task.sequence:016x}"
        unique = pushed.names[1]
        return [
            each
            for each in self.copies
            if each.queue.id == (pushed.journal or pushed.task.journal)
            and not each.refused  # those that have ended are void once they are forgotten
            and (each.names[0] == id_ or (unique is not None and each.names[1] == unique))
        ]

    def is_passed_on(self, role: Giver, task: Task) -> bool:
        """Return whether a streamer has the present lease of a task."""
        leases = role.tasks._workers.leases
        return any(
            leases.policy_of(lease.instance).is_streamer
            for lease in leases.all()
            if lease.sequence == task.receipt
        )

    def named(self, queue: Queue, about: list[Any], token: int) -> Pushed:
        """Return the task that a worker begins; judge its number and its id."""
        sequence, _, own_id = about
        origin = self._tasks[token]
        pushed = queue.copies.get(sequence)
        if pushed is None:
            pushed = (
                self._refused(queue, sequence, own_id, origin) if queue.is_streamer else origin
            )
        expect(pushed.queue is queue, "a task is its pusher's", pushed)
        # A copy that ended as it came had no body any more, so it was taken for one of its kin.
        named = queue.ids.get(sequence) == token
        named = named or (queue.is_streamer and origin in self.kin(pushed))
        expect(named, "an id names one task", pushed, sequence)
        expect(own_id == pushed.names[0], "an id travels", pushed, own_id)
        return pushed

    def _refused(self, queue: Queue, sequence: int, own_id: str, origin: Pushed) -> Pushed:
        """Return the copy of a task that a streamer refused as it came: its disk failed."""
        copy = replace(
            origin,
            queue=queue,
            refused=True,
            void=True,
            end=None,
            leases={},
            runs=[],
            journal=0,
        )
        copy.names = (own_id, origin.names[1])
        queue.copies[sequence] = copy
        queue.ids[sequence] = origin.token
        self.copies.append(copy)
        return copy

    def begun(self, pushed: Pushed, receipt: int) -> None:
        """Judge a lease that a handler begins: the task was neither done nor handed over."""
        done = pushed.result is not None and receipt >= pushed.result[1]
        expect(not done, "what was done is not leased", pushed, receipt)
        late = pushed.journal and receipt >= pushed.journal_receipt
        expect(not late, "what a streamer has is its own", pushed, receipt)

    def judge_leases(self, role: Giver) -> None:
        """Judge that what a streamer has on its disk is given to nobody else."""
        leases = role.tasks._workers.leases
        for lease in leases.all():
            task = lease.task
            if task.journal and not lease.lapsed:
                there = leases.policy_of(lease.instance).journal
                expect(there == task.journal, "what a streamer has is its own", task.sequence)
        for number, pushed in role.queue.open.items():
            waits = pushed.task.journal and pushed.task.state is State.WAITING
            expect(not waits, "what a streamer has does not wait here", pushed, number)

    def delivered(self, role: SinkRole, request: Request) -> Pushed:
        """Judge that a result has come to a sink; return its task."""
        queue = self._queues[request.client]
        assert request.headers is not None
        about = request.headers[TASK]
        assert isinstance(about, list)
        sequence, attempt, own_id = about
        known = queue.copies.get(sequence) or self._tasks[queue.ids[sequence]]
        role.process.trace(f"{role.name} has the result of {known} by {request.sequence}")
        expect(known.task.to_sink, "a sink has what is for sinks", known)
        expect(own_id == known.task.own_id, "an id travels", known, own_id)
        expect(attempt >= 1, "attempts count from 1", known, attempt)
        value = request.args[0] if request.args else None
        values = [result_of(each) for each in self.kin(known)]
        expect(value_of(value) in values, "a result is that task's own", known, value)
        if known.sunk is not None:
            opening = request.sequence >> _LEASE_BITS
            late = (opening, request.sequence) >= known.sunk
            expect(not late, "what a sink accepted does not come again", known)
        self._ends["task result delivered"] += 1
        return known
