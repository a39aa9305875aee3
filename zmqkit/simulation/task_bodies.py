"""Bodies of simulated tasks, what their handlers return, and which tasks are the same.

A body is a number that no other task has, or stands for one.
"""

from __future__ import annotations

from zmqkit.core.calls.outcome import DISCARD, RAISED, RETRY
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.task import OPEN, Encoded, State, Task
from zmqkit.limits import RAW_BYTES_MIN
from zmqkit.simulation.tasks import Pushed
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.packet import ERROR, REPLY
from zmqkit.wire.rows import request_row

WAYS = ("return", "blob", "slow", "raise", "flaky", "retry", "discard", "hang")
"""What handlers do. One that is flaky, or asks for another attempt, does so at first only."""

FINAL = frozenset(State) - OPEN - {State.DEAD}
"""The states that nothing follows."""

_RAW_EVERY = 8
_NIL = b"\xc0"


def make_task(token: int, options: dict[str, object]) -> Task:
    """Return the task of a token. options: attributes of the task."""
    raw = None
    if token % _RAW_EVERY == 0:
        raw = token.to_bytes(8, "big") * (RAW_BYTES_MIN // 8)
    row = request_row(TASK, None, () if raw is not None else (token,), {})[2:]
    task = Task(row, raw, 4)
    for name, value in options.items():
        setattr(task, name, value)
    return task


def body_of(task: Task) -> tuple[bytes, bytes | None]:
    """Return the body of a task as bytes."""
    return bytes(task.row), None if task.raw is None else bytes(task.raw)


def token_of(argument: object) -> int:
    """Return the number that a body stands for."""
    if isinstance(argument, memoryview | bytes):
        return int.from_bytes(argument[:8], "big")
    assert isinstance(argument, int)
    return argument


def must_be(task: Task, pushed: Pushed) -> bool:
    """Return whether a push of `task` has to return this one."""
    other = pushed.task
    same_id = task.own_id is not None and task.own_id == other.own_id
    same_key = task.unique is not None and task.unique == other.unique and not pushed.keyless
    return (same_id and other.state not in FINAL) or (same_key and other.state in OPEN)


def may_be(task: Task, other: Task) -> bool:
    """Return whether a push of `task` may return `other`, which perhaps has ended."""
    same_id = task.own_id is not None and task.own_id == other.own_id
    same_key = task.unique is not None and task.unique == other.unique
    return same_id or (same_key and other.state in OPEN)


def value_of(value: object) -> object:
    """Return the value of a task as its ticket does."""
    if isinstance(value, Encoded):
        return decode(value.data)
    return bytes(value) if isinstance(value, memoryview) else value


def result_of(pushed: Pushed) -> object:
    """Return the value that the handler of a task returns."""
    if pushed.way == "blob":
        return pushed.token.to_bytes(8, "big") * (RAW_BYTES_MIN // 8)
    return ["done", pushed.token]


def answer_of(pushed: Pushed, code: str, pause: str) -> Answer:
    """Return the answer of a handler, by an answer's code; pause: for another attempt."""
    if code == RAISED:
        return Answer(ERROR, encode([RAISED, "ValueError", str(pushed.token), "", True]))
    if code == RETRY:
        return Answer(ERROR, encode([RETRY, pause, str(pushed.token), "", True]))
    if code == DISCARD:
        return Answer(ERROR, encode([DISCARD, "zmqkit.Discard", "never", "", True]))
    value = result_of(pushed)
    if isinstance(value, bytes):
        return Answer(REPLY, _NIL, value)
    return Answer(REPLY, encode(value))
