"""What the pusher of a task is told of its end, once a streamer has it."""

from __future__ import annotations

from zmqkit.core.calls.answers import DONE
from zmqkit.core.calls.outcome import CANCELLED, DEAD, EXPIRED, FAILED
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.tasks.task import Encoded, State, Task
from zmqkit.errors import CallCancelled, PeerError, RemoteError, ZmqkitError
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

_CODES = {
    State.FAILED: FAILED,
    State.DEAD: DEAD,
    State.EXPIRED: EXPIRED,
    State.CANCELLED: CANCELLED,
    State.DROPPED: CANCELLED,
}
_NIL = b"\xc0"


def answer_of(task: Task, value: object, error: ZmqkitError | None) -> Answer:
    """Return what the pusher of a task is told of its end."""
    if task.state is State.DONE:
        if isinstance(value, Encoded):
            return Answer(wire.REPLY, value.data)
        if value is None:
            return DONE  # a sink has the result
        assert isinstance(value, memoryview)
        return Answer(wire.REPLY, _NIL, value)
    code = _CODES[task.state]
    if task.state is State.DROPPED and not isinstance(error, CallCancelled):
        code = DEAD  # it was, until too many were
    if isinstance(error, RemoteError):
        said = [code, error.type, error.message, error.traceback, True]
    else:
        began = isinstance(error, PeerError) and error.may_have_run
        said = [code, "", str(error), "", began]
    return Answer(wire.ERROR, encode(said))
