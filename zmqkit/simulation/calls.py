"""Clients and services under the simulated driver; handlers take virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import Result, ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import ClientLimits
from zmqkit.links.profile import Profile
from zmqkit.model import Record
from zmqkit.simulation.process import BoundRole, Process, SeekingRole
from zmqkit.simulation.streams import Generator


class Judge(Protocol):
    """Whoever knows how calls are to end, and says what handlers answer."""

    def settled(self, role: ClientRole, outcomes: Sequence[Outcome]) -> None:
        """Judge the ends of calls."""

    def handle(self, role: ServiceRole, request: Request) -> tuple[float, Answer]:
        """Judge a run; gives how long it takes, and its answer."""

    def begin(self, role: ServiceRole, request: StreamRequest) -> Generator:
        """Judge the beginning of a generator, and make it."""


class ClientRole(SeekingRole):
    """One client: calls to a name, or to whoever is behind a URL."""

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


class ServiceRole(BoundRole):
    """One service: what its quick handlers answer leaves at the end of the turn."""

    def __init__(
        self, process: Process, record: Record, core: ServiceCore, judge: Judge
    ) -> None:
        self.core: ServiceCore = core
        self._judge = judge
        self._results: list[Result] = []
        hooks = Hooks(
            handle=self._handle,
            advance=self._advance,
            abort=self._abort,
            finished=self._finished,
        )
        super().__init__(process, record, core, Profile.DATA, hooks)

    def rested(self, now: float) -> None:
        """What finished behind the last look is answered after the next."""
        if self._results:
            self.driver.wake()

    def _handle(self, requests: list[Request]) -> None:
        for request in requests:
            duration_s, answer = self._judge.handle(self, request)
            if duration_s > 0.0:
                self.driver.later(duration_s, partial(self._handled, request, answer))
            else:
                self._results.append((request, answer))

    def _handled(self, request: Request, answer: Answer, now: float) -> None:
        if not self.closed:
            self.driver.perform(self.core.handled([(request, answer)], now))

    def _finished(self) -> list[Effect]:
        results, self._results = self._results, []
        now = self.process.network.timeline.now
        return self.core.handled(results, now) if results else []

    def _advance(self, requests: list[StreamRequest]) -> None:
        for stream in requests:
            if stream.running is None:
                stream.running = self._judge.begin(self, stream)
            assert isinstance(stream.running, Generator)
            stream.running.go_on()

    def _abort(self, requests: list[Request]) -> None:
        """Nothing to do: generators see it at their next step."""
