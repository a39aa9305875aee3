"""Clients and services under the simulated driver. Their handlers take virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Protocol

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.endings import Result
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import ClientLimits
from zmqkit.links.profile import Profile
from zmqkit.model import MAJORDOMO, Record
from zmqkit.simulation.process import BoundRole, Process, Role, SeekingRole
from zmqkit.simulation.streams import Generator


class Judge(Protocol):
    """A judge knows how calls must end. It also decides what handlers answer."""

    def settled(self, role: ClientRole, outcomes: Sequence[Outcome]) -> None:
        """Judge the ends of calls."""

    def handle(self, role: Serving, request: Request) -> tuple[float, Answer]:
        """Judge a run of a handler. Return how many seconds it takes, and its answer."""

    def begin(self, role: Serving, request: StreamRequest) -> Generator:
        """Judge the start of a generator, and make the generator."""


class ClientRole(SeekingRole):
    """One client: it calls the services of a name, or the service behind a URL."""

    def __init__(
        self,
        process: Process,
        target: str,
        incarnation: int,
        window: tuple[int, int],
        judge: Judge,
    ) -> None:
        items, size = window
        limits = ClientLimits(stream_items_max=items, stream_bytes_max=size)
        self.core: ClientCore = ClientCore(target, incarnation, limits)
        hooks = Hooks(settle=partial(judge.settled, self))
        name, sought = f"client-{incarnation:x}", ("service", target)
        super().__init__(process, name, self.core, sought, Profile.DATA, hooks)


class Answering(Role):
    """A role on a `ServiceCore`. Answers of its quick handlers leave at the end of the turn."""

    core: ServiceCore
    leaving: bool

    def answers(self, hooks: Hooks) -> Hooks:
        """Have the driver collect the answers; return its hooks."""
        self._results: list[Result] = []
        hooks.finished = self._finished
        return hooks

    def rested(self, now: float) -> None:
        """Have another turn if a handler finished after the driver last collected answers."""
        if self._results:
            self.driver.wake()

    def leave(self, now: float) -> list[Effect]:
        """Accept nothing more."""
        return self.core.leave()

    def answer(self, request: Request, answer: Answer, duration_s: float) -> None:
        """Have a handler answer after a while, or by the end of the turn."""
        if duration_s > 0.0:
            self.driver.later(duration_s, partial(self.handled, request, answer))
        else:
            self._results.append((request, answer))

    def handled(self, request: Request, answer: Answer, now: float) -> None:
        """Take the answer of a handler now, unless the role is closed."""
        if not self.closed:
            self.driver.perform(self.core.handled([(request, answer)], now))

    def _finished(self) -> list[Effect]:
        results, self._results = self._results, []
        now = self.process.network.timeline.now
        return self.core.handled(results, now) if results else []


class AnsweringRole(Answering, BoundRole):
    """A role on a `ServiceCore` that others find."""

    def __init__(
        self, process: Process, record: Record, core: ServiceCore, hooks: Hooks
    ) -> None:
        self.core: ServiceCore = core
        super().__init__(process, record, core, Profile.DATA, self.answers(hooks))


class Serving(Answering):
    """A service. A judge decides how long its handlers take, and what they answer."""

    name_served: str

    def handlers(self, judge: Judge) -> Hooks:
        """Return the hooks that run the handlers."""
        self._judge = judge
        # The handlers that hang, with their answers.
        self._hanging: list[tuple[Request, Answer]] = []
        return Hooks(handle=self._handle, advance=self._advance, abort=self._abort)

    def free(self) -> None:
        """Have the handlers that hang return."""
        hanging, self._hanging = self._hanging, []
        for request, answer in hanging:
            self.driver.post(partial(self.handled, request, answer))

    def _handle(self, requests: list[Request]) -> None:
        for request in requests:
            duration_s, answer = self._judge.handle(self, request)
            if duration_s == inf:
                self._hanging.append((request, answer))
            else:
                self.answer(request, answer, duration_s)

    def _advance(self, requests: list[StreamRequest]) -> None:
        for stream in requests:
            if stream.running is None:
                stream.running = self._judge.begin(self, stream)
            assert isinstance(stream.running, Generator)
            stream.running.go_on()

    def _abort(self, requests: list[Request]) -> None:
        """Do nothing: generators notice the end at their next step."""


class ServiceRole(Serving, AnsweringRole):
    """One service that clients find."""

    def __init__(
        self, process: Process, record: Record, core: ServiceCore, judge: Judge
    ) -> None:
        self.name_served = record.name
        super().__init__(process, record, core, self.handlers(judge))


class RegisteredRole(Serving, SeekingRole):
    """One service that registers with the brokers of a name."""

    def __init__(self, process: Process, via: str, core: DiallingCore, judge: Judge) -> None:
        self.core: DiallingCore = core
        self.name_served = core.name
        self.leaving = False
        name, hooks = f"registered-{core.incarnation:x}", self.answers(self.handlers(judge))
        super().__init__(process, name, core, (MAJORDOMO, via), Profile.DATA, hooks)
