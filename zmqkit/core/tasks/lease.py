"""One attempt at a task, and what the other side declares about attempts.

A streamer takes tasks as a worker does. For it a lease says in addition how the task is to be
done, for the streamer sees to attempts, delays and keys itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TypeGuard

from zmqkit.core.calls.request import Request
from zmqkit.core.dispatch.instances import journal_of
from zmqkit.core.dispatch.job import Job
from zmqkit.core.tasks.task import Task
from zmqkit.limits import (
    ATTEMPTS,
    ATTEMPTS_MAX,
    BACKOFF_S,
    BACKOFF_S_MAX,
    CREDIT,
    TIMEOUT_S_MAX,
)
from zmqkit.wire.encoding import pack_plain
from zmqkit.wire.passing import PUSH, handover

TASK = "task"
"""The one method of a worker, the header of a lease, and what WELCOME calls the policy."""

SINK = "sink"
"""The role of a sink, which takes results as a worker takes tasks."""

STREAMER = "streamer"
"""The role of a streamer, and what its WELCOME calls the device."""

_ROW = b"\x93"
_NO_BODY = b"\x90\x80"


@dataclass(slots=True, frozen=True)
class Policy:
    """What a worker's handler declares about its attempts."""

    attempts: int = ATTEMPTS
    # The pause before the second attempt; each further pause is twice as long.
    backoff_s: float = BACKOFF_S
    # How many tasks the worker runs at once.
    places: int = CREDIT
    # How long an attempt may take before the worker ends it.
    task_timeout_s: float = inf
    # It is a streamer, which hands tasks on to workers; and the id of its journal, 0 for none.
    is_streamer: bool = False
    journal: int = 0

    def pause_s(self, attempt: int, jitter: float) -> float:
        """Return how long to wait after this attempt; jitter: a factor about 1."""
        pause_s = min(self.backoff_s * 2.0 ** min(attempt - 1, 60), BACKOFF_S_MAX)
        return pause_s * jitter


class Lease(Job):
    """One attempt at a task."""

    # The worker was out of reach for too long, so the task does not wait for it any more.
    lapsed = False
    # Its task must not run twice, as far as is known where it goes.
    once = False
    # Whether an error that the handler raised ends the task; else another attempt may follow.
    ends_at_errors = False
    # An earlier process gave it out, of whose end its worker may know.
    is_inherited = False

    def __init__(
        self, sequence: int, task: Task, now: float, pusher: int | None = None
    ) -> None:
        """pusher: the incarnation of the pusher that hands the task to a streamer."""
        self.sequence = sequence
        self.method = TASK
        self.priority = task.priority
        about: dict[str, object] = {TASK: (task.sequence, task.attempt, task.own_id)}
        row = task.row
        if pusher is not None:
            about[PUSH] = handover(
                id=task.own_id or f"{pusher:016x}{task.sequence:016x}",
                unique=task.unique,
                order_by=task.order_by,
                delay_ms=max(0, int((task.due_at - now) * 1000)) if task.due_at else 0,
                is_known=task.journal != 0,
                to_sink=task.to_sink,
            )
            row = row or _NO_BODY
        self.row = _ROW + pack_plain(about) + row
        self.raw = task.raw
        self.deadline_at = min(task.expires_at, now + TIMEOUT_S_MAX)
        self.attempts = 0
        self.task = task
        self.begun_at = now

    @property
    def must_run_once(self) -> bool:
        """Whether its task must not run twice; a plain task may."""
        return False

    @property
    def is_told(self) -> bool:
        """Whether the journal is told which worker has it."""
        return True

    def terms(self, declared: Policy) -> Policy:
        """Return what holds for this attempt. declared: by the worker that has it."""
        return declared


MakeLease = Callable[[int, Task, float, "int | None"], Lease]
"""Makes a lease, as the arguments of `Lease` say."""


@dataclass(slots=True, frozen=True)
class About:
    """What a lease says of its task: the id, and which attempt this is, from 1."""

    id: str
    attempt: int


def about(request: Request) -> About | None:
    """Return what a request says of its task; None if it is no lease of a pusher of ours."""
    value = (request.headers or {}).get(TASK)
    if type(value) is not list or [type(each) for each in value[:2]] != [int, int]:
        return None
    sequence, attempt, own_id, *_ = *value, None
    return About(str(own_id) if own_id else f"{request.client:016x}{sequence:016x}", attempt)


def policy_of(value: object) -> Policy:
    """Return what a WELCOME declares; the defaults for what it leaves out."""
    if type(value) is not dict:
        return Policy()
    attempts, backoff_s = value.get("attempts"), value.get("backoff_s")
    if type(attempts) is not int or not 1 <= attempts <= ATTEMPTS_MAX:
        attempts = ATTEMPTS
    if not _is_pause(backoff_s):
        backoff_s = BACKOFF_S
    places = value.get("places")
    if type(places) is not int or places < 1:
        places = CREDIT
    timeout_s = value.get("task_timeout_s")
    if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= TIMEOUT_S_MAX:
        timeout_s = inf
    if value.get("device") != STREAMER:
        return Policy(attempts, float(backoff_s), places, float(timeout_s))
    return Policy(
        attempts, float(backoff_s), places, float(timeout_s), is_streamer=True,
        journal=journal_of(value.get("journal")),
    )  # fmt: skip


def _is_pause(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value <= BACKOFF_S_MAX


def pause_of(text: str) -> float | None:
    """Return the pause that a handler asked for; None if it left that to the policy."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if _is_pause(seconds) else None
