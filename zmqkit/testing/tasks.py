"""Pushers and workers of a World."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.task import Task
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import PRIORITY
from zmqkit.roles.handlers import Handlers, check_concurrency
from zmqkit.roles.tasks import HandlesTasks, TaskOptions, TicketShown, make_task
from zmqkit.testing.calls import Serving
from zmqkit.testing.place import Seeking, Stage

RESULT_S = 3600.0
"""How much virtual time a wait for the end of a task takes at most by default."""


class WorldWorker(HandlesTasks, Serving):
    """A worker in virtual time, on a host of its own, and the faults that befall it."""

    _core: ServiceCore

    def __init__(
        self,
        stage: Stage,
        name: str,
        handler: Callable[..., object],
        concurrency: int,
        takes_s: float,
        **declared: Any,
    ) -> None:
        """declared: what `zmqkit.Worker.task` takes."""
        check_concurrency(concurrency)
        handlers = self._handlers = Handlers(plain=True)
        core = self._core = ServiceCore(
            stage.draw(), handlers.idempotent, concurrency, handlers.streams, shares=Share
        )
        self._about = core.about
        self.task(handler, **declared)
        super().__init__(stage, "worker", name, core, handlers, takes_s)

    def _report(self, request: Request, value: bytes) -> None:
        self._driver.command(partial(self._core.report, request, value))


class WorldTicket(TicketShown):
    """Tells what becomes of one task, and gives it up."""

    def __init__(self, pusher: WorldPusher, task: Task) -> None:
        self._pusher = pusher
        self._core = pusher.core
        self._task = task

    def result(self, timeout_s: float = RESULT_S) -> Any:
        """Let time pass until the task has ended; return what its handler returned.

        Raises what `zmqkit.Ticket.result` does.
        """
        self._pusher.wait(self._task, timeout_s)
        return self._outcome(closed=False)

    def cancel(self) -> bool:
        """Give the task up; return False if it has ended before."""
        if self._task.is_over:
            return False
        self._pusher.cancel(self._task)
        return True


class WorldPusher(Seeking):
    """A pusher in virtual time. Waiting for its tasks moves the clock of the world on."""

    def __init__(self, stage: Stage, name: str) -> None:
        jitter = partial(stage.timeline.random.uniform, 0.5, 1.5)
        self.core = self._core = PusherCore(name, stage.draw(), jitter)
        hooks = Hooks(settle=lambda outcomes: None)
        super().__init__(stage, "worker", name, hooks)
        self._driver.pace = self.core.pace

    def push(
        self,
        body: object,
        *,
        priority: int = PRIORITY,
        expires_s: float | None = None,
        delay_s: float = 0.0,
        id: str | None = None,
        unique: str | None = None,
        order_by: str | None = None,
    ) -> WorldTicket:
        """Accept a task, which one worker's handler gets; return its ticket. No time passes.

        The options are those of `zmqkit.Pusher.push`. Raises UsageError for a wrong one or a
        body that cannot travel, and QueueFull if there is no room.
        """
        options = TaskOptions(
            priority, expires_s, delay_s, id=id, unique=unique, order_by=order_by
        )
        task = make_task(body, options, now=self._stage.now)
        self._command(partial(self.core.push, task))
        return WorldTicket(self, task.twin or task)

    def cancel(self, task: Task) -> None:
        """Give a task up."""
        self._command(partial(self.core.cancel, task))

    def wait(self, task: Task, timeout_s: float) -> None:
        """Let time pass until a task has ended, or for `timeout_s`."""
        self._stage.run_until(lambda: task.is_over, timeout_s)
