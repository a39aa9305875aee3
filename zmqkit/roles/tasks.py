"""What the blocking and the asyncio sides of the pipeline share: tasks in and out, handlers."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from math import inf
from typing import Any, Literal, TypedDict, TypeVar, overload

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.request import Request as CoreRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.tasks.lease import STREAMER, TASK, About, about
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.task import Encoded, State, Task
from zmqkit.errors import CallTimeout, ConfigError, UsageError
from zmqkit.limits import (
    ATTEMPTS,
    ATTEMPTS_MAX,
    BACKOFF_S,
    BACKOFF_S_MAX,
    PRIORITY,
    PRIORITY_MAX,
    PROGRESS_BYTES_MAX,
    TIMEOUT_S_MAX,
    PusherLimits,
)
from zmqkit.node.time_of_day import seconds_until
from zmqkit.roles.handlers import AnyFunction, Function, Handlers, call_body, current
from zmqkit.roles.scheme import Binding, Dialling, Lookup
from zmqkit.wire.encoding import decode, encode

_CALL = CallOptions()
_TEXT_CHARS_MAX = 200
_LONGER = "wait longer with timeout_s"


@dataclass(slots=True, frozen=True)
class TaskOptions:
    """How a task is pushed; `Pusher.push` tells of each option.

    Raises UsageError for a wrong value.
    """

    priority: int = PRIORITY
    expires_s: float | None = None
    delay_s: float = 0.0
    deliver_at: datetime | None = None
    id: str | None = None
    unique: str | None = None
    order_by: str | None = None
    results: Literal["ticket", "sink"] = "ticket"

    def __post_init__(self) -> None:
        if type(self.priority) is not int or not 0 <= self.priority <= PRIORITY_MAX:
            raise UsageError(f"priority is {self.priority!r}; use 0 to {PRIORITY_MAX}, 9 first")
        if self.expires_s is not None and not _is_seconds(self.expires_s):
            raise UsageError(f"expires_s is {self.expires_s!r}; use seconds above 0, or None")
        if self.delay_s != 0 and not _is_seconds(self.delay_s):
            raise UsageError(f"delay_s is {self.delay_s!r}; use seconds, 0 or more")
        if self.deliver_at is not None:
            if type(self.deliver_at) is not datetime or self.deliver_at.utcoffset() is None:
                raise UsageError(f"deliver_at is {self.deliver_at!r}; use a datetime with zone")
            if self.delay_s:
                raise UsageError("a task has a delay_s or a deliver_at, not both")
        if self.results not in ("ticket", "sink"):
            raise UsageError(f"results is {self.results!r}; use 'ticket' or 'sink'")
        for name in ("id", "unique", "order_by"):
            value = getattr(self, name)
            if value is not None and not _is_key(value):
                raise UsageError(
                    f"{name} is {value!r}; use text of 1 to {_TEXT_CHARS_MAX} characters"
                )

    def delay(self) -> float:
        """Return how many seconds from now the task may begin."""
        if self.deliver_at is None:
            return self.delay_s
        return seconds_until(self.deliver_at)


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 < value <= TIMEOUT_S_MAX  # type: ignore[operator]  # a number


def _is_key(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= _TEXT_CHARS_MAX and value.isprintable()


DEFAULTS = TaskOptions()
PLAIN = astuple(DEFAULTS)
"""The values of a push without options. To compare them is quicker than to make options."""


class PushOptions(TypedDict, total=False):
    """The options of `Pusher.push` that `push_many` and `map` pass on."""

    durable: bool | None
    priority: int
    expires_s: float | None
    delay_s: float
    deliver_at: datetime | None
    id: str | None
    unique: str | None
    order_by: str | None
    results: Literal["ticket", "sink"]


AnyTicket = TypeVar("AnyTicket", bound="TicketShown")


def limits_at(place: Lookup) -> PusherLimits:
    """Return a pusher's limits: at an address nobody else is looked for, so nobody waits."""
    return PusherLimits(choice_s=0) if place.url is not None else PusherLimits()


def jitter() -> float:
    """Return a factor from 0.5 to 1.5, so that what waits together does not end together."""
    return random.uniform(0.5, 1.5)


def what_was_left(core: PusherCore, count: int, *, journaled: bool) -> str:
    """Return what became of the tasks that were left when a pusher was closed."""
    here = count - core.passed_on
    kept = "left in its journal" if journaled else "cancelled"
    said = [f"{_tasks(here)} {kept}"] if here else []
    if core.passed_on:
        said.append(f"{_tasks(core.passed_on)} left with a streamer")
    return "with " + " and ".join(said)


def _tasks(count: int) -> str:
    return f"{count} {'task' if count == 1 else 'tasks'}"


def check_durable(durable: object) -> None:
    """Raise UsageError unless `durable` is True, False or None."""
    if durable is not None and type(durable) is not bool:
        raise UsageError(f"durable is {durable!r}; use True or False, or None for the default")


def check_keys(core: PusherCore, task: Task) -> None:
    """Raise UsageError if a task has a key that several streamers would each keep by itself."""
    if task.unique is None and task.order_by is None:
        return
    if core.streamer_count > 1:
        name = "order_by" if task.unique is None else "unique"
        raise UsageError(
            f"{core.streamer_count} streamers of {core.name!r} are there, and {name}= holds "
            "within one of them; run one, or push without it"
        )


def not_durable(name: str) -> ConfigError:
    """Return the error of a push that nobody can put on a disk."""
    return ConfigError(
        f"durable=True, and no streamer of {name!r} with a journal is there; give the pusher a "
        f"journal=PATH, or run `zmqkit run streamer-durable --name {name}`"
    )


def not_accepted(task: Task) -> CallTimeout:
    """Return the error of a push that was given up before a streamer had it on its disk."""
    text = f"no streamer had the task on its disk in time; {_LONGER}"
    return CallTimeout(text, may_have_run=task.attempt > 0)


def make_task(body: object, options: TaskOptions, now: float | None = None) -> Task:
    """Return a task that no core has accepted yet. Raises UsageError for what cannot travel.

    now: the time of the pusher's clock, if that is not the monotonic one.
    """
    try:
        row, raw = call_body(TASK, (body,), {}, _CALL)
    except UsageError as error:
        raise UsageError(str(error).replace("args[0]", "the body")) from None
    task = Task(row[2:], raw, options.priority)  # without the array's head and the headers
    if options is not DEFAULTS:
        now = time.monotonic() if now is None else now
        delay_s = options.delay()
        if delay_s > 0:
            task.due_at = now + delay_s
        if options.expires_s is not None:
            task.expires_at = now + options.expires_s
        task.own_id, task.unique = options.id, options.unique
        task.order_by = options.order_by
        task.to_sink = options.results == "sink"
    return task


class TicketShown:
    """What a ticket shows of its task."""

    _core: PusherCore
    _task: Task

    def __repr__(self) -> str:
        return f"<zmqkit.Ticket {self.id}, {self.state}>"

    @property
    def id(self) -> str:
        """The id that was pushed with the task, or 32 hexadecimal digits."""
        return self._core.id_of(self._task)

    @property
    def state(self) -> str:
        """waiting, leased, done, failed, dead, expired, cancelled or dropped."""
        return self._task.state.value

    @property
    def attempts(self) -> int:
        """How often a worker was given the task; see `current_task().attempt`."""
        return self._task.attempt

    @property
    def reasons(self) -> list[str]:
        """Why attempts failed, the last reasons only."""
        return list(self._task.reasons)

    def progress(self) -> Any:
        """Return what the task's handler said last of its progress; None if it said nothing."""
        return self._task.progress

    def _outcome(self, *, closed: bool) -> Any:
        """Return the task's value, or raise what ended it.

        Raises CallTimeout if it is open, and CallCancelled if the pusher was closed then.
        """
        task = self._task
        if task.state is State.DONE:
            value = task.value
            if type(value) is Encoded:
                return decode(value.data)
            return bytes(value) if type(value) is memoryview else value
        if task.error is not None:
            raise task.error
        if closed:
            raise self._core.left_behind(task)
        raise CallTimeout(self._why_open(), may_have_run=task.attempt > 0)

    def _why_open(self) -> str:
        core, task = self._core, self._task
        if task.is_result:
            return "its handler has returned; the result waits for a zmqkit.Sink to take it"
        if task.journal:
            return f"a streamer has the task on its disk; {_LONGER}, or start it if it is gone"
        if task.state is State.LEASED:
            return f"a worker has the task, attempt {task.attempt}; {_LONGER}"
        if core.ledger.line.paused:
            return "the queue is paused; `zmqkit queue resume` has workers go on"
        if not core.ready_count:
            hint = core.hint or "start one with zmqkit.Worker"
            return f"nobody works on {core.name!r}: {hint}"
        if task.reasons:
            return (
                f"the task waits for its next attempt; the last one failed: {task.reasons[-1]}"
            )
        return f"the task still waits; {_LONGER}, or start more workers"


def first_done(tickets: Iterable[AnyTicket]) -> AnyTicket | None:
    """Return the first of these tickets whose task has ended, if there is one."""
    return next((each for each in tickets if each._task.is_over), None)


class HandlesTasks:
    """The `task` method of both workers, which registers the handler."""

    _core: ServiceCore
    _handlers: Handlers
    _about: dict[str, object]
    _task_timeout_s: float | None = None

    @property
    def task_timeout_s(self) -> float | None:
        """How long an attempt may take, as the handler declares it; None without a limit."""
        return self._task_timeout_s

    @overload
    def task(
        self, function: AnyFunction, /, *, attempts: int = ATTEMPTS,
        backoff_s: float = BACKOFF_S, task_timeout_s: float | None = None, copy: bool = True,
        thread: bool = False,
    ) -> AnyFunction: ...  # fmt: skip

    @overload
    def task(
        self, function: None = None, /, *, attempts: int = ATTEMPTS,
        backoff_s: float = BACKOFF_S, task_timeout_s: float | None = None, copy: bool = True,
        thread: bool = False,
    ) -> Callable[[AnyFunction], AnyFunction]: ...  # fmt: skip

    def task(
        self,
        function: AnyFunction | None = None,
        /,
        *,
        attempts: int = ATTEMPTS,
        backoff_s: float = BACKOFF_S,
        task_timeout_s: float | None = None,
        copy: bool = True,
        thread: bool = False,
    ) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
        """Have a function do the tasks; a decorator, bare or called. A worker has one handler.

        The function takes what was pushed, and what it returns is the task's result. An
        exception, or the worker's death, costs an attempt. attempts: how many there are before
        the task is dead. backoff_s: the pause before the second attempt; each further pause is
        twice as long, give or take half. task_timeout_s: how long an attempt may take; then it
        has failed, an `async def` is cancelled, and a plain function sees
        `current_task().cancelled` and keeps its place until it returns. None sets no limit.
        copy=False: a bytes body of 4096 bytes or more is a
        read-only memoryview. thread: run a plain function in a thread, off the loop; for
        zmqkit.asyncio. Raise zmqkit.Retry for another attempt at a time of your own, or
        zmqkit.Discard for none.
        """
        if type(attempts) is not int or not 1 <= attempts <= ATTEMPTS_MAX:
            raise UsageError(f"attempts is {attempts!r}; use 1 to {ATTEMPTS_MAX}")
        if type(backoff_s) not in (int, float) or not 0 <= backoff_s <= BACKOFF_S_MAX:
            raise UsageError(f"backoff_s is {backoff_s!r}; use 0 to {BACKOFF_S_MAX:g} seconds")
        if task_timeout_s is not None and not _is_seconds(task_timeout_s):
            raise UsageError(
                f"task_timeout_s is {task_timeout_s!r}; use seconds above 0, or None"
            )

        def add(function: AnyFunction) -> AnyFunction:
            self._add(function, copy=copy, thread=thread)
            declared = {
                "attempts": attempts,
                "backoff_s": float(backoff_s),
                "places": self._core.concurrency,
            }
            if task_timeout_s is not None:
                self._task_timeout_s = declared["task_timeout_s"] = float(task_timeout_s)
                self._core.limit_time(float(task_timeout_s))
            self._about[TASK] = declared
            return function

        return add if function is None else add(function)

    def _add(self, function: Function, *, copy: bool, thread: bool) -> None:
        if self._handlers.by_name:
            raise UsageError("this worker has a handler already; make another worker")
        self._handlers.add(
            function, TASK, idempotent=False, copy=copy, thread=thread, report=self._report
        )
        if self._handlers.streams:
            self._handlers.by_name.clear()
            self._handlers.streams.clear()
            raise UsageError("a task's handler returns one result, and this is a generator")

    @abstractmethod
    def _report(self, request: CoreRequest, value: bytes) -> None:
        """Give the core what a handler says of its progress, from any thread."""

    def _check_handler(self) -> None:
        if not self._handlers.by_name:
            raise UsageError(
                "this worker has no handler; decorate a function with @worker.task"
            )


def check_tasks_max(count: object) -> None:
    """Raise UsageError unless this is a number of tasks to do, 1 or more, or None."""
    if count is not None and (type(count) is not int or count < 1):
        raise UsageError(f"tasks_max is {count!r}; use a whole number, 1 or more, or None")


def worker_core(
    place: Binding | Dialling, handlers: Handlers, concurrency: int
) -> ServiceCore | DiallingCore:
    """Return the core of a worker: a service of leases that shares its places."""
    if isinstance(place, Dialling):
        assert place.url is not None
        return DiallingCore(
            place.incarnation, handlers.idempotent, concurrency, device=STREAMER,
            name=place.url.name, shares=Share,
        )  # fmt: skip
    return ServiceCore(
        place.incarnation, handlers.idempotent, concurrency, handlers.streams, shares=Share
    )


class CurrentTask:
    """The task that a handler works on."""

    __slots__ = ("_about", "_request")

    def __init__(self, request: CoreRequest, about: About) -> None:
        self._request = request
        self._about = about

    def __repr__(self) -> str:
        return f"<zmqkit.CurrentTask {self.id}, attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The id of the task, the same on each attempt; see `Ticket.id`."""
        return self._about.id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._about.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the task was given up; the result will then be thrown away."""
        return self._request.cancelled

    def progress(self, value: object) -> None:
        """Tell the pusher how far the task is; `Ticket.progress` returns the latest value.

        value: whatever can travel and takes 4096 bytes at most, encoded. However often this is
        called, ten values a second leave, the latest ones, and the last one before the result.
        One may get lost where a connection breaks. Raises UsageError for what cannot travel.
        """
        row = encode(value, "the progress")
        if len(row) > PROGRESS_BYTES_MAX:
            raise UsageError(
                f"the progress takes {len(row)} bytes; {PROGRESS_BYTES_MAX} at most"
            )
        assert self._request.report is not None
        self._request.report(self._request, row)

    def time_left_s(self) -> float:
        """Return the seconds until the task expires; infinite if it does not."""
        left_s = self._request.deadline_at - time.monotonic()
        return inf if left_s > TIMEOUT_S_MAX / 2 else max(0.0, left_s)


def current_task() -> CurrentTask:
    """Return the task that the calling handler works on; UsageError outside a handler."""
    request = current.get()
    if request is None or TASK not in (request.headers or {}):
        raise UsageError("there is no task here; call this inside a task's handler")
    return CurrentTask(request, about_of(request))


def about_of(request: CoreRequest) -> About:
    """Return what a lease says of its task; UsageError if it says that wrongly."""
    task = about(request)
    if task is None:
        raise UsageError("the task came without its number; its pusher is not zmqkit's")
    return task
