"""Whether a lease was given up whose handler goes on, so that another one may have the task.

A lease survives its pusher where a journal names it and its worker. It is then given up like
any other: its worker is lost or gone, or nobody finds the worker within `lease_s`. Else its
task is not run again, while the handler goes on or after it has returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from zmqkit.core.tasks.task import State, Task
from zmqkit.simulation.oracle import expect
from zmqkit.simulation.tasks import Pushed, Queue, Run


def note_inherited(queue: Queue, tasks: Iterable[Task], now: float) -> int:
    """Note which leases a queue has from the process before; return how many."""
    queue.opened_at = now
    queue.inherited = {task.receipt for task in tasks if task.state is State.LEASED}
    return len(queue.inherited)


def outlived(run: Run) -> bool:
    """Return whether a handler has a lease that survived whoever gave it out."""
    queue, receipt = run.pushed.queue, run.request.sequence
    return run.opening < queue.opening and receipt in queue.inherited


def is_given_up(run: Run, now: float) -> bool:
    """Return whether the lease of a run that goes on may have been given up."""
    pushed, queue = run.pushed, run.pushed.queue
    role, worker = queue.role, run.role.record.incarnation
    if role is None or pushed.task.state in (State.DROPPED, State.CANCELLED):
        return True
    leased_at = pushed.leases.get(run.request.sequence, 0.0)
    if run.opening < queue.opening:
        if not outlived(run):
            return True
        leased_at = queue.opened_at
        lapses_at = queue.opened_at + role.tasks.limits.lease_s
        if role.found_at.get(worker, inf) >= lapses_at and now >= lapses_at:
            return True
    return role.lost_at.get(worker, -inf) >= leased_at


def judge_again(pushed: Pushed, now: float) -> None:
    """Judge that a task may run again whose handler returned under a lease of before.

    Its answers may get lost so often that it does.
    """
    role = pushed.queue.role
    if role is None or role.process.network.weather.loss:
        return
    for run in pushed.runs:
        returned = not run.code and not run.request.cancelled
        if returned and outlived(run) and run.ended_at >= pushed.queue.opened_at:
            lost = is_given_up(run, now) or run.ended_at == inf
            expect(lost, "what outlives its pusher is taken", pushed, run.request.sequence)
