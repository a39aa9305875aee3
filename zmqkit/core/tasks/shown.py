"""What a queue shows of its tasks to those that tap it: how attempts fail, and tasks end."""

from __future__ import annotations

from contextlib import suppress

from zmqkit.core.calls.request import Request
from zmqkit.core.tap import ENCODED_BYTES_MAX, Taps, of_raw, of_text
from zmqkit.core.tasks.task import Encoded, State, Task
from zmqkit.errors import RemoteError, ZmqkitError
from zmqkit.tap_limits import TAP_BODY_BYTES
from zmqkit.wire.encoding import array_head, encode
from zmqkit.wire.tapping import Passed

_PAIR = array_head(2)


def see_end(taps: Taps, task: Task, size: int) -> None:
    """Sample a task that has just ended. size: how many bytes its result has."""
    reply = b""
    if task.error is not None:
        reply = _text(task.error)
    elif task.state is State.DONE and not task.is_result:
        reply = _value(task.value, size)
    _see(taps, task, task.state.value, reply, task.settled_at, size=size)


def see_retry(taps: Taps, task: Task, reason: str, now: float) -> None:
    """Sample a task that gets another attempt. reason: why this one failed."""
    _see(taps, task, "retry", of_text(reason), now)


def see_return(taps: Taps, task: Task, row: bytes, now: float) -> None:
    """Sample a task whose result waits for a sink. row: that sink's arguments, encoded."""
    _see(taps, task, "returned", row[1:], now)


def _see(
    taps: Taps, task: Task, outcome: str, reply: bytes, now: float, *, size: int = 0
) -> None:
    """Show a task to those that want it. size: how many bytes the reply has in all."""
    what = "result" if task.is_result else "task"
    for tap in taps:
        if tap.wanted.only in ("", what) and tap.takes(1, now):
            tap.put(
                Passed(
                    at_us=int(now * 1e6),
                    what=what,
                    outcome=outcome,
                    took_us=max(0, int((now - task.pushed_at) * 1e6)),
                    source=_pusher_of(task),
                    size=task.size,
                    body=(_PAIR + task.row)[:TAP_BODY_BYTES] if task.row else b"",
                    reply_size=size or len(reply),
                    reply=reply[:TAP_BODY_BYTES],
                )
            )


def _pusher_of(task: Task) -> int:
    """Return the number of a pusher that waits for a task at a streamer; 0 if none does."""
    for waiter in task.waiters or ():
        if isinstance(waiter, Request):
            return waiter.client
    return 0


def _value(value: object, size: int) -> bytes:
    if isinstance(value, Encoded):
        return value.data
    if isinstance(value, bytes | memoryview):
        return of_raw(value)
    with suppress(ZmqkitError):
        return encode(value) if size <= ENCODED_BYTES_MAX else b""
    return b""


def _text(error: ZmqkitError) -> bytes:
    if isinstance(error, RemoteError) and error.type:
        return of_text(f"{error.type}: {error.message}")
    return of_text(str(error))
