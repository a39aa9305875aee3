"""What follows for a call from an error of its instance: another one may try it, or it ends."""

from __future__ import annotations

from zmqkit.core.calls.outcome import BUSY, LEAVING, NO_METHOD, RECALLED, UNKNOWN, UNRUN
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.wire.submission import COLLECT, SUBMIT


def moves(dispatcher: Dispatcher, call: Job, instance: Instance, code: str, now: float) -> bool:
    """Move a call that an instance refused; return False if the refusal ends the call."""
    if code == NO_METHOD:
        if call.method == COLLECT and instance.journal:
            return False  # it is how the request ended
        if not dispatcher.lacks(call, instance):
            return False
        return dispatcher.refused(call, instance, now, free=True, waits=True)
    if code == UNKNOWN:
        tried = (instance.incarnation, *call.refused_by)
        known = dispatcher.connections.by_incarnation.values()
        others = [each for each in known if each.incarnation not in tried]
        call.misses_one |= any(not each.answers for each in others)
        waits = any(each.chosen and each.journal for each in others)
        return dispatcher.refused(call, instance, now, free=True, waits=waits)
    if code not in UNRUN:
        return False
    call.misses_one = True
    if code == BUSY and call.method == SUBMIT:
        return False  # to another broker, it would be another request
    recalled = code == RECALLED
    return dispatcher.refused(
        call, instance, now, free=recalled, waits=recalled or code == LEAVING
    )
