"""A request as a task of a ledger, and one attempt at it.

The ledger and its journal know a task's arguments as bytes: the positional ones, then the
keyword ones. Behind these follows what a worker needs beside them, the method and the headers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import msgpack

from zmqkit.core.calls.request import Request
from zmqkit.core.tasks.lease import Lease, Policy
from zmqkit.core.tasks.task import Task
from zmqkit.limits import ATTEMPTS, CREDIT, TIMEOUT_S_MAX
from zmqkit.wire.encoding import Buffer, Malformed, decode, encode

_ROW = b"\x93"
_BOTH = b"\x92"


def task_of(request: Request, method: str, id: str) -> Task:
    """Return the task of a request, whose headers were read and whose arguments were not."""
    row, raw = cast("tuple[bytes, Buffer | None]", request.args)
    about = encode([method, request.headers])
    task = Task(row + about, raw if isinstance(raw, memoryview) else None, request.priority)
    task.own_id = id
    return task


class Errand(Lease):
    """One attempt at a request."""

    ends_at_errors = True

    def __init__(
        self, sequence: int, task: Task, now: float, pusher: int | None = None
    ) -> None:
        """pusher: not used; there is nobody to hand a request to."""
        arguments, about = parts(task.row)
        method, headers = cast("tuple[str, object]", decode(about))
        self.sequence = sequence
        self.method = method
        self.priority = task.priority
        self.row = _ROW + encode(headers) + arguments
        self.raw = task.raw
        self.deadline_at = min(task.expires_at, now + TIMEOUT_S_MAX)
        self.attempts = 0
        self.task = task
        self.begun_at = now

    @property
    def must_run_once(self) -> bool:
        """Whether its worker does not say that the method may run twice."""
        instance = self.instance
        return instance is None or self.method not in instance.idempotent

    @property
    def is_told(self) -> bool:
        """Whether the journal is told which worker has it; what may run twice is given anew."""
        return self.once

    def terms(self, declared: Policy) -> Policy:
        """Return what holds for this attempt: another one follows if the method may run twice.

        It follows at once, since somebody waits.
        """
        attempts = 1 if self.once else ATTEMPTS
        return replace(declared, attempts=attempts, backoff_s=0.0, places=CREDIT)


def parts(row: bytes) -> tuple[bytes, bytes]:
    """Return the arguments of a task, and what follows them. Raises Malformed."""
    scanner = msgpack.Unpacker(max_buffer_size=len(row), strict_map_key=False)
    scanner.feed(row)
    try:
        scanner.skip()
        scanner.skip()
    except (msgpack.UnpackException, ValueError) as error:
        raise Malformed("row") from error
    end = scanner.tell()
    return row[:end], row[end:]


def asks_for_same(one: Task, other: Task) -> bool:
    """Return whether two tasks have the same method and arguments, as far as is known.

    Of one that has ended the arguments are not kept.
    """
    if not (one.row and other.row):
        return True
    try:
        (arguments, about), (others, of_other) = parts(one.row), parts(other.row)
        if arguments == others and one.raw == other.raw:
            return _method(about) == _method(of_other)
        return shown(one.row, _bytes(one.raw)) == shown(other.row, _bytes(other.raw))
    except Malformed:
        return False  # unreadable arguments have to be the same to the byte


def _method(about: bytes) -> object:
    return cast("list[object]", decode(about))[0]


def _bytes(raw: Buffer | None) -> bytes | None:
    return None if raw is None else bytes(raw)


def shown(row: bytes, raw: bytes | None) -> dict[str, object] | None:
    """Return method and arguments of a request; None of a task that is none.

    Raises Malformed.
    """
    arguments, about = parts(row)
    if not about:
        return None
    both = cast("list[object]", decode(_BOTH + arguments))
    told = cast("list[object]", decode(about))
    if type(told) is not list or len(told) != 2 or type(both[0]) is not list:
        raise Malformed("request")
    args = both[0] if raw is None else [*both[0], raw]
    return {"method": told[0], "args": args, "kwargs": both[1]}
