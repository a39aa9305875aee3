"""For what reasons tasks end. Each must be seen in the world."""

from __future__ import annotations

from zmqkit.core.calls.outcome import DISCARD, RAISED, RETRY
from zmqkit.core.tasks.task import OPEN, State
from zmqkit.errors import JournalError, RemoteError
from zmqkit.simulation.oracle import EARLY_S, expect
from zmqkit.simulation.task_passing import Passing
from zmqkit.simulation.task_recovery import LONG_S, MANY
from zmqkit.simulation.tasks import Giver, Pushed, StreamerRole


def judge_end(
    passing: Passing, role: Giver, pushed: Pushed, attempts: set[int], now: float
) -> None:
    """Judge that a task ended for a reason that is seen in the world."""
    task, state = pushed.task, pushed.state
    family = passing.kin(pushed)
    codes = {run.code for each in family for run in each.runs if run.ended_at <= now}
    asked = {what for each in family for what in each.asked}
    expect(state is State.DONE or task.error, "what has ended says why", pushed, state)
    if state is State.DONE:
        expect("" in codes, "what is done was done", pushed, codes)
        passing.expect_value(pushed, task.value)
        taken = any(each.taken or not each.to_sink for each in family)
        expect(taken, "a sink accepted what it was to have", pushed)
    elif state is State.FAILED:
        discarded = DISCARD in codes or _is_unknown(role, pushed)
        expect(discarded, "what has failed was discarded", pushed, codes)
    elif state is State.DEAD:
        # A streamer may have purged its copy at once, to keep no more dead ones than it may.
        counted = [each.task.attempt - each.task.spared for each in family]
        died = any(each.died for each in family if each is not pushed)
        died = died or max(counted) >= min(attempts)
        expect(died, "what is dead had its attempts", pushed, counted)
        raised = isinstance(task.error, RemoteError)
        expect(not raised or codes & {RAISED, RETRY}, "what raised ran", pushed)
    elif state is State.EXPIRED:
        early_s = min(each.expires_at for each in family) - now
        expect(early_s <= EARLY_S, "what has expired is over", pushed, early_s)
    elif state is State.CANCELLED:
        others = [each for each in family if each is not pushed]
        # Where the result waits for a sink, nobody wants it done any more.
        gone = any(each.state not in OPEN or each.task.is_result for each in others)
        known = "cancel" in asked or "purge" in asked or role.closed
        if isinstance(role, StreamerRole):
            # Without a journal, it cancels what its pusher no longer names, too.
            known = known or gone or role.queue.file is None
        expect(known, "somebody cancelled it", pushed)
    else:
        # A streamer may have had all attempts.
        counted = [each.task.attempt - each.task.spared for each in family]
        died = any(each.died for each in family) or max(counted) >= min(attempts)
        # Some of the dead were perhaps requeued since then, in the same turn.
        crowded = died and len(role.tasks.ledger.dead) >= role.tasks.limits.dead_max // 2
        refused = isinstance(task.error, JournalError)
        handed_back = isinstance(role, StreamerRole) and role.core._leaving
        known = "purge" in asked or crowded or refused or handed_back
        expect(known, "somebody dropped it", pushed)
        pushed.refused = pushed.refused or refused
        pushed.void = pushed.void or refused
        if isinstance(role, StreamerRole) and refused and role.queue.file is not None:
            pushed.doubtful = role.queue.file.broken


def _is_unknown(role: Giver, pushed: Pushed) -> bool:
    """Return whether a streamer may have forgotten what became of a task."""
    limits = role.tasks.limits
    few = limits.outcomes_max < MANY or limits.outcomes_s < LONG_S or limits.dead_max < MANY
    # It knows the end of a task by the id that it was accepted with, and not by its unique key.
    few = few or pushed.names[1] is not None
    return pushed.queue.is_streamed and few and "no longer knows" in str(pushed.task.error)
