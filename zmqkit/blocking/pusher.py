"""The blocking pusher: tasks out, and tickets for what becomes of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life, Role
from zmqkit.core.effects import Effect
from zmqkit.core.tasks.lease import SINK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.task import Task
from zmqkit.errors import JournalError, QueueFull, UsageError
from zmqkit.limits import CLOSE_S, PRIORITY, WAIT_S
from zmqkit.roles.handlers import check_count, end_of, instance_rows
from zmqkit.roles.role import Command, Plan
from zmqkit.roles.scheme import Lookup, draw_incarnation
from zmqkit.roles.tasks import (
    DEFAULTS,
    PLAIN,
    PushOptions,
    TaskOptions,
    TicketShown,
    check_durable,
    check_keys,
    first_done,
    jitter,
    limits_at,
    make_task,
    not_accepted,
    not_durable,
    what_was_left,
)
from zmqkit.types import Instance, PusherStats

if TYPE_CHECKING:
    from zmqkit.roles.journaled import Journaled
    from zmqkit.roles.queues import Listening


class Ticket(TicketShown):
    """Tells what becomes of one task, and gives it up."""

    def __init__(self, life: Life[Lookup], core: PusherCore, task: Task) -> None:
        self._life = life
        self._core = core
        self._task = task

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the task's end; return what its handler returned.

        Raises RemoteError if the handler ended the task, or its last attempt raised. Raises
        PeerLost if the worker of the last attempt was lost, CallCancelled for a task that was
        cancelled or purged, or whose pusher was closed. Raises CallTimeout for a task that has
        expired, or that is still open after `timeout_s`; then it goes on.
        """
        life, task = self._life, self._task
        if not life.closed:
            life.open()  # a task from a journal may be the first that is asked for
        life.wait(lambda: task.is_over or life.closed, end_of(timeout_s))
        return self._outcome(closed=life.closed)

    def cancel(self) -> bool:
        """Give the task up; return False if it has ended before.

        A task that waits never runs then. A handler that runs can see that in
        `current_task().cancelled`, and its result is thrown away.
        """
        if self._task.is_over:
            return False
        self._life.command(self._core.cancel, self._task)
        return True

    def requeue(self) -> bool:
        """Have a dead task tried again, with all of its attempts; False if it is not dead.

        Raises UsageError for a task that died at a streamer, which has it.
        """
        if self.state != "dead":
            return False
        self._life.command(self._core.requeue, self._task)
        return True

    def purge(self) -> None:
        """Throw the task away if it waits or is dead; give it up if a worker has it."""
        self._life.command(self._core.purge, self._task)


class Pusher(Role):
    """Pushes tasks under a name; one of the name's workers does each task.

    name: the name of the workers, `tcp://host:port[/name]` or `memory://name`. journal: the
    path of a file on this machine's disk, which one pusher at a time has open; it is made if it
    is not there. insecure: use workers on other machines, in plain text. space: the space that
    it is in, in place of that of ZMQKIT_SPACE. statistics: tell other machines that reach it
    what it counts. Raises UsageError, ConfigError or JournalError for a wrong value. A task
    that was pushed is done, or the ticket tells why not, as long as this process lives. With a
    journal a push returns once the task is on disk, and whoever opens the file next goes on
    with what is left. While a streamer of the name is there, it gets the tasks. durable:
    whether a push returns once its task is on a disk, the journal's or a streamer's; without a
    journal that has to be asked for. The pusher looks for workers once it is opened: by its
    `with` block, or else by the first push.
    """

    _kind = "zmqkit.Pusher"

    def __init__(
        self,
        name: str,
        *,
        journal: str | Path | None = None,
        durable: bool | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
    ) -> None:
        place = Lookup("worker", name, insecure=insecure, space=space, also=SINK)
        check_durable(durable)
        self._durable = journal is not None if durable is None else durable
        self._journaled: Journaled | None = None
        self._listening: Listening | None = None
        if journal is None:
            core = self._core = PusherCore(name, draw_incarnation(), jitter, limits_at(place))
        else:
            from zmqkit.roles.journaled import Journaled, open_journal

            opened = open_journal(journal, place.name)
            core = self._core = PusherCore(name, opened.id, jitter, limits_at(place))
            self._journaled = Journaled(opened, core, self._heard)
        plan = Plan(
            f"pusher of {name!r}",
            place,
            core,
            hear=core.hear,
            pace=core.pace,
            kept=True,
            statistics=statistics,
        )
        if self._journaled is not None:
            plan.hooks.append = self._journaled.append
            plan.hooks.page = self._journaled.page
            plan.opened = self._listen
        self._life: Life[Lookup] = Life(plan)

    def push(
        self,
        body: object,
        *,
        timeout_s: float | None = None,
        durable: bool | None = None,
        priority: int = PRIORITY,
        expires_s: float | None = None,
        delay_s: float = 0.0,
        deliver_at: datetime | None = None,
        id: str | None = None,
        unique: str | None = None,
        order_by: str | None = None,
        results: Literal["ticket", "sink"] = "ticket",
    ) -> Ticket:
        """Accept a task, which one worker's handler gets; return its ticket.

        body: what the handler is called with. timeout_s: how long to wait while the queue is
        full; None waits for ever, and 0 raises QueueFull at once. durable: return once the task
        is on a disk, the journal's or a streamer's; None follows the constructor. priority: 0
        to 9, 9 first. expires_s: after that a task that no handler began has expired. delay_s,
        or deliver_at with an aware datetime: when it may begin. id: the task's own id; unique:
        a key of yours. While a task with that id is known, or one with that key is open, a push
        returns its ticket and adds no task. order_by: tasks with the same key run one at a
        time, in order. results: who has the result, the ticket or a `Sink` of the name. Raises
        UsageError for a wrong option or a body that cannot travel, and ConfigError if nobody
        can put the task on a disk.
        """
        core, life = self._core, self._life
        given = (priority, expires_s, delay_s, deliver_at, id, unique, order_by, results)
        options = DEFAULTS if given == PLAIN else TaskOptions(*given)
        task = there = make_task(body, options)
        check_keys(core, task)
        until = end_of(timeout_s) if timeout_s is not None else inf
        durable = self._durable if durable is None else durable
        if durable and self._journaled is None:
            self._await_durable(until)
        while True:
            try:
                if durable and self._journaled is not None:
                    found = life.ask(core.submit_safely, core.await_append_no_more, task)
                    assert isinstance(found, Task)
                    there = found
                else:
                    life.post(core.push, task)
                break
            except QueueFull:
                if life.is_past(until):
                    raise
                life.wait(lambda: core.ledger.has_room(task), until)
        there = there.twin or there
        if durable and self._journaled is None:
            life.wait(lambda: bool(there.journal) or there.is_over, until)
            if not there.journal and not there.is_over:
                life.command(core.cancel, there)
                raise not_accepted(there)
        return Ticket(life, core, there)

    def push_many(
        self,
        bodies: Iterable[object],
        *,
        timeout_s: float | None = None,
        **options: Unpack[PushOptions],
    ) -> list[Ticket]:
        """Push a task for each body, with the same options of `push`; return their tickets."""
        return [self.push(body, timeout_s=timeout_s, **options) for body in bodies]

    def map(
        self,
        bodies: Iterable[object],
        *,
        window: int = 100,
        ordered: bool = True,
        timeout_s: float | None = None,
        **options: Unpack[PushOptions],
    ) -> Iterator[Any]:
        """Push a task for each body, and yield the results.

        window: how many tasks are under way at a time. ordered: yield the results in the order
        of the bodies, otherwise as they come. timeout_s: how long to wait for each result.
        options: those of `push`.
        Raises what `Ticket.result` does at the first task without a result; the tasks that are
        under way then, or when the loop is left, are cancelled.
        """
        check_count(window)
        left = iter(bodies)
        under_way: deque[Ticket] = deque()
        try:
            while True:
                while len(under_way) < window and (each := next(left, left)) is not left:
                    under_way.append(self.push(each, **options))
                if not under_way:
                    return
                ticket = under_way[0] if ordered else self._first(under_way, timeout_s)
                value = ticket.result(timeout_s)
                under_way.remove(ticket)
                yield value
        except GeneratorExit:
            # A finalizer may be here, in the middle of this pusher's own work: it never waits.
            if under_way and not self._life.try_command(self._give_up, under_way):
                threading.Thread(target=self._drop, args=(under_way,)).start()
            raise
        except BaseException:
            self._drop(under_way)
            raise

    def ticket(self, id: str) -> Ticket:
        """Return the ticket of a task that this pusher knows by its id; UsageError if none."""
        if self._journaled is not None:
            task = self._journaled.find(id, self._life.look)
        else:
            task = self._life.look(lambda: self._core.ledger.find(id, self._core.incarnation))
        if task is None:
            raise UsageError(f"no task {id!r} here, or its outcome is forgotten")
        return Ticket(self._life, self._core, task)

    def dead(self) -> list[Ticket]:
        """Return the tickets of the tasks whose last attempt failed, the oldest first."""
        tasks = self._life.look(lambda: list(self._core.ledger.dead.values()))
        return [Ticket(self._life, self._core, task) for task in tasks]

    def flush(self) -> None:
        """Send what gathers now."""
        self._life.command(self._core.flush)

    def ready(self, count: int = 1, timeout_s: float | None = None) -> int:
        """Wait until `count` workers can be given tasks; return how many can be."""
        check_count(count)
        core = self._core
        self._life.open()
        self._life.wait(lambda: core.ready_count >= count, end_of(timeout_s))
        return core.ready_count

    def instances(self) -> list[Instance]:
        """Return a row for each worker in use: label, address, state, outstanding."""
        return self._life.look(lambda: instance_rows(self.name, self._core.instances))

    def stats(self) -> PusherStats:
        """Return the counters; accepted is the sum of the states."""
        return self._life.look(self._core.stats)

    @property
    def fault(self) -> JournalError | None:
        """Why nothing is written to the journal any more; None while it is, or without one."""
        return self._core.fault

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` until all tasks have ended, then close the pusher.

        Returns how many tasks were left. They are cancelled, stay in the journal, or are with a
        streamer, which goes on with them: such a ticket stays `leased`.
        """
        core, life = self._core, self._life
        left = life.close(
            timeout_s,
            Ending(
                lambda: core.in_flight,
                core.close,
                leave=core.flush,
                drain=lambda until: life.wait(lambda: not core.in_flight, until),
                says=partial(what_was_left, core, journaled=self._journaled is not None),
            ),
        )
        life.after_close(self._close_journal)
        return left

    def _close_journal(self) -> None:
        if self._listening is not None:
            self._listening.close()
        if self._journaled is not None:
            self._journaled.close()

    def _await_durable(self, until: float) -> None:
        """Wait for a streamer that has a journal. Raises ConfigError if none is there."""
        core, life = self._core, self._life
        if not core.is_durable:
            life.open()
            life.wait(lambda: core.is_durable, min(until, end_of(WAIT_S)))
            if not core.is_durable:
                raise not_durable(self.name)

    def _listen(self, driver: object) -> None:
        """Answer `zmqkit queue` while the pusher is open."""
        from zmqkit.roles.administration import Administration

        life = self._life
        desk = Administration(self._core, life.submit, life.perform, self._journaled)
        self._listening = desk.listen(self.name)

    def _heard(self, command: Command, *values: object) -> None:
        """Have the core run a command, on the journal's thread."""
        with suppress(UsageError):  # it is closed
            self._life.command(command, *values)

    def _drop(self, tickets: deque[Ticket]) -> None:
        """Cancel the tasks of a map."""
        with suppress(UsageError):  # it is closed, or an interrupt broke it
            if tickets:
                self._life.command(self._give_up, tickets)

    def _give_up(self, tickets: Iterable[Ticket], now: float) -> list[Effect]:
        open_tasks = [each._task for each in tickets if not each._task.is_over]
        return [effect for task in open_tasks for effect in self._core.cancel(task, now)]

    def _first(self, tickets: Iterable[Ticket], timeout_s: float | None) -> Ticket:
        """Wait for the first of these tasks to end, and return its ticket."""
        self._life.wait(lambda: first_done(tickets) is not None, end_of(timeout_s))
        return first_done(tickets) or next(iter(tickets))
