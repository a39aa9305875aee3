"""What the blocking and the asyncio sinks share: results in hand, and what was taken."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from zmqkit.core.calls.answers import DONE, refuse
from zmqkit.core.calls.outcome import RECALLED
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect
from zmqkit.core.tasks.lease import TASK
from zmqkit.core.tasks.share import Share
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import ATTEMPTS_MAX
from zmqkit.roles.tasks import CurrentTask, about_of

_GIVEN_BACK = refuse(RECALLED)


class Result(NamedTuple):
    """What a worker returned for a task that was pushed with results="sink".

    value: what the handler returned. id: the id of the task, see `Ticket.id`. attempt: which
    attempt at delivery this is, from 1; a later one may be a copy of what was taken before.
    """

    value: Any
    id: str
    attempt: int


class Results:
    """The results that came to a sink, and the one that its reader has now."""

    def __init__(self, core: ServiceCore) -> None:
        self.stopping = False
        self._core = core
        self._waiting: deque[Request] = deque()
        self._taken: Request | None = None
        core.about[TASK] = {"attempts": ATTEMPTS_MAX, "backoff_s": 0.0, "places": 1}

    def hooks(self) -> Hooks:
        """Return the functions that the driver calls."""
        return Hooks(handle=self._waiting.extend, abort=lambda requests: None)

    @property
    def has_news(self) -> bool:
        """Whether a reader that waits has something to do."""
        return bool(self._waiting) or self.stopping

    def acknowledge(self, now: float) -> list[Effect]:
        """Accept the result that was taken last; it is not delivered again."""
        taken, self._taken = self._taken, None
        return self._core.handled([(taken, DONE)], now) if taken is not None else []

    def take(self, now: float) -> tuple[Result | None, list[Effect]]:
        """Accept the last result, and return the next one, or None if none is there now."""
        effects = self.acknowledge(now)
        while self._waiting and not self.stopping:
            request = self._waiting.popleft()
            if request.cancelled:
                effects += self._core.handled([(request, _GIVEN_BACK)], now)
                continue
            self._taken = request
            return _result_of(request), effects
        return None, effects

    def leave(self, now: float) -> list[Effect]:
        """Take no more results; hand back those that were not accepted."""
        effects = self._core.leave()
        held = [*self._waiting, *([self._taken] if self._taken is not None else [])]
        self._waiting.clear()
        self._taken = None
        answers = [(request, _GIVEN_BACK) for request in held]
        return effects + self._core.handled(answers, now) if answers else effects


def sink_core(incarnation: int) -> ServiceCore:
    """Return the core of a sink: a service of one result at a time."""
    return ServiceCore(incarnation, {TASK: False}, 1, shares=Share)


def _result_of(request: Request) -> Result:
    task = CurrentTask(request, about_of(request))
    value = request.args[0] if request.args else None
    if type(value) is memoryview:
        value = bytes(value)
    return Result(value, task.id, task.attempt)
