"""What a journal must have of the tasks that were pushed, when it is opened again."""

from __future__ import annotations

from math import inf

from zmqkit.core.tasks.task import State, Task
from zmqkit.simulation.oracle import EARLY_S, expect
from zmqkit.simulation.task_bodies import FINAL, value_of
from zmqkit.simulation.tasks import Giver, Pushed

MANY = 1000
LONG_S = 1000.0
"""With limits above these, no world forgets an outcome."""


def judge_outcome(known: Pushed, task: Task) -> None:
    """Judge that what a journal says of a task that has ended is what became of it."""
    expect(known.state is task.state, "an outcome is kept as it was", known, task.state)
    expect(task.own_id == known.task.own_id, "an outcome is kept as it was", known)
    same = value_of(task.value) == value_of(known.task.value)
    expect(same, "an outcome is kept as it was", known, task.value)
    same = repr(task.error) == repr(known.task.error)
    expect(same, "an outcome is kept as it was", known, task.error)
    known.task, known.acknowledged, known.waits = task, True, 0
    known.refused = known.doubtful = known.void = False


def judge_forgotten(role: Giver, known: Pushed) -> None:
    """Judge that what became of a task is on disk, unless the limits say otherwise."""
    limits, file = role.tasks.limits, role.queue.file
    few = limits.outcomes_max > MANY and limits.outcomes_s > LONG_S
    if known.end is not None and known.state in FINAL and few and file is not None:
        opening, _, append = known.end
        kept = opening == file.opening - 1 and append <= file.synced_before
        expect(known.refused or not kept, "what became of a task is kept", known)


def judge_recovered(known: Pushed, task: Task) -> None:
    """Judge that a task in a journal is the one that was pushed, as far as it got."""
    file, earlier = known.queue.file, known.task
    assert file is not None
    expect(not known.void or known.doubtful, "what is gone stays gone", known)
    if known.end is not None and known.state in FINAL:
        opening, _, append = known.end
        done = opening == file.opening - 1 and append <= file.synced_before
        expect(not done, "what has ended on disk has ended", known)
    if task.is_result:
        kept = task.to_sink and task.own_id == earlier.own_id
        expect(kept and known.result, "a journal keeps what was returned", known)
        return
    for name in ("sequence", "priority", "own_id", "unique"):
        if name == "unique" and known.result:
            continue  # a result has no key any more
        same = getattr(task, name) == getattr(earlier, name)
        expect(same, "a journal keeps what was pushed", known, name)
    expect(task.order_by == known.order_by, "a journal keeps what was pushed", known)
    dead = task.state is State.DEAD
    expect(known.died or not dead, "what is dead in a journal has died", known)
    if dead or known.died or known.result:
        return
    expect(task.failures <= known.failed, "only failed attempts count", known, task.failures)
    if known.failed_append <= file.synced_before:
        expect(task.failures >= known.failed, "failed attempts are kept", known)
    moved_s = known.queue.clock.moved_s - known.moved_s + EARLY_S
    if task.failures == known.failed:
        late_s = abs(task.due_at - known.next_at) if known.next_at else task.due_at
        expect(late_s <= moved_s, "a time of day is kept", known, late_s, moved_s)
    if task.expires_at < inf or known.expires_at < inf:
        late_s = abs(task.expires_at - known.expires_at)
        expect(late_s <= moved_s, "a time of day is kept", known, late_s, moved_s)
