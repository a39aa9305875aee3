"""Runs what a blocking service accepted: in the thread that serves, or in a pool."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, TypeVar

from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.calls.stream import StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Request
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import QUICK_RUNS_MIN, QUICK_S, STEP_S, TURN_MESSAGES
from zmqkit.roles.failures import error_answer
from zmqkit.roles.handlers import Handler, Handlers, run_plain
from zmqkit.roles.streams import close_generator, is_value, next_value

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

AnyRequest = TypeVar("AnyRequest", bound=Request)
Given = TypeVar("Given")


class Runner:
    """Requests in hand, and generators under way.

    stopping: whoever serves is to return. closed: nothing is answered any more; it becomes so
    under the driver's lock.
    """

    def __init__(self, core: ServiceCore, handlers: Handlers) -> None:
        self.stopping = False
        self.closed = False
        self._core = core
        self._handlers = handlers
        self._made_driver: BlockingDriver | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._todo: deque[Request] = deque()
        self._steps: deque[StreamRequest] = deque()
        self._generators: dict[int, StreamRequest] = {}
        self._quick_runs: dict[str, int] = {}
        self._interrupted: list[tuple[Request, Answer]] = []
        self._may_lack = False

    def hooks(self) -> Hooks:
        """What the driver asks for."""
        return Hooks(handle=self._handle, advance=self._advance, abort=self._abort)

    def begin(self, driver: BlockingDriver, threads: int, name: str) -> None:
        """Work for this driver; with so many threads of a pool, or in those that serve."""
        self._made_driver = driver
        if threads:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(threads, name)

    def serve(self, until: float) -> None:
        """Wait for requests and run them."""
        driver = self._driver
        self._tell_of_interrupted()
        self._may_lack = True  # an interrupt may keep something from being run or answered
        while not self.stopping and time.monotonic() < until:
            driver.lead(lambda: bool(self._todo or self._steps or self.stopping), until)
            self._work(inf)
            if self._steps and not self.stopping:
                self._step(self._steps.popleft())
        self._may_lack = False

    def drain(self, until: float) -> None:
        """Answer what was accepted, while time is left.

        Not after an interrupt: what waits for the one place that it holds moves on sooner.
        """

        def due() -> bool:
            return bool(self._todo or self._steps) or not self._core.in_flight

        with self._driver.lock:
            self._find_lacking()
        self._may_lack = True
        while self._core.in_flight and time.monotonic() < until and not self._interrupted:
            self.stopping = False  # a stop is for whoever serves
            self._driver.drive_until(due, until)
            self._work(until)
            if self._steps:
                self._step(self._steps.popleft())
        self._may_lack = False

    def close(self, *, wait: bool) -> None:
        """Close all generators, and the pool; wait for its threads, or leave them to run on."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=True)
        for ticket in list(self._generators):
            request = self._generators.pop(ticket, None)
            if request is not None:  # a thread of the pool was not sooner
                close_generator(request)

    def _handle(self, requests: list[Request]) -> None:
        """Run the requests in the pool, or leave them to the serving thread."""
        if self._pool is None:
            self._todo.extend(requests)
        else:
            for request in requests:
                self._pool.submit(self._answer, request)

    def _advance(self, requests: list[StreamRequest]) -> None:
        """The same for generators."""
        for request in requests:
            self._generators[request.ticket] = request
            if self._pool is None:
                self._steps.append(request)
            else:
                self._pool.submit(self._step, request)

    def _abort(self, requests: list[Request]) -> None:
        """Nothing to do: a running handler sees `current_request().cancelled`."""

    def _work(self, until: float) -> None:
        """Run the requests in hand; the answers of quick handlers leave together.

        An answer waits only for another request of the same method, which was quick many times
        in a row and just now. Should it take longer this time, the keeper sends what waits, so
        none waits while the keeper does not look often.
        """
        driver, todo, begun, held = self._driver, self._todo, time.monotonic(), 0
        while todo and begun < until and not self.stopping:
            request = todo.popleft()
            answer = self._run(run_plain, request)
            now = time.monotonic()
            with driver.lock:
                if self.closed:
                    return
                driver.driver.perform(self._core.handled([(request, answer)], now))
                runs = 0
                if now - begun < QUICK_S:
                    runs = self._quick_runs.get(request.method, 0) + 1
                self._quick_runs[request.method] = runs
                holds = runs > QUICK_RUNS_MIN and driver.watched and not self.stopping
                alike = todo and todo[0].method == request.method
                held += 1
                if not (holds and alike and held < TURN_MESSAGES):
                    driver.command([], now)
                    held = 0
            begun = now

    def _answer(self, request: Request) -> None:
        answer = self._run(run_plain, request)
        with self._driver.lock:
            if not self.closed:
                now = time.monotonic()
                self._driver.command(self._core.handled([(request, answer)], now), now)

    def _step(self, request: StreamRequest) -> None:
        """Run a generator on for a moment, or as far as its caller's credit reaches.

        Its values leave at once, unless it was quick many times in a row: see `_work`.
        """
        driver, begun, held = self._driver, time.monotonic(), 0
        until = begun + STEP_S
        while not (request.cancelled or self.closed):
            answer = self._run(next_value, request)
            now = time.monotonic()
            runs = self._quick_runs.get(request.method, 0) + 1 if now - begun < QUICK_S else 0
            self._quick_runs[request.method] = runs
            with driver.lock:
                if self.closed:
                    break
                if answer is None or not is_value(answer):
                    del self._generators[request.ticket]
                    driver.command(self._core.ended(request, answer, now), now)
                    return
                driver.driver.perform(self._core.yielded(request, answer, now))
                if not request.goes_on or now >= until:
                    driver.command(self._core.paused(request, now), now)
                    return
                held += 1
                if not (runs > QUICK_RUNS_MIN and driver.watched and held < TURN_MESSAGES):
                    driver.command([], now)
                    held = 0
            begun = now
        self._run(_close, request)
        with driver.lock:
            self._generators.pop(request.ticket, None)
            if not self.closed:
                now = time.monotonic()
                driver.command(self._core.ended(request, None, now), now)

    def _run(self, work: Callable[[Handler, AnyRequest], Given], request: AnyRequest) -> Given:
        """Have a handler work; what interrupts this program ends it."""
        try:
            return work(self._handlers.by_name[request.method], request)
        except KeyboardInterrupt as interrupt:
            self._generators.pop(request.ticket, None)
            self._interrupted.append((request, error_answer(interrupt)))
            raise

    def _tell_of_interrupted(self) -> None:
        """Answer what was interrupted, now that this program goes on nevertheless.

        Had it ended, callers would turn to other instances, as far as that is safe.
        """
        driver, now = self._driver, time.monotonic()
        suspended: list[StreamRequest] = []
        with driver.lock:
            self._find_lacking()
            while self._interrupted and not self.closed:
                request, answer = self._interrupted[-1]
                if isinstance(request, StreamRequest):
                    if self._generators.pop(request.ticket, None) is not None:
                        suspended.append(request)
                    driver.command(self._core.ended(request, answer, now), now)
                else:
                    driver.command(self._core.handled([(request, answer)], now), now)
                del self._interrupted[-1]
        for request in suspended:
            close_generator(request)

    def _find_lacking(self) -> None:
        """Count what an interrupt kept from being run or answered as interrupted too.

        The caller holds the lock, and nobody serves.
        """
        if self._may_lack and self._pool is None:
            told = [request for request, _ in self._interrupted]
            known = {each.ticket for each in (*self._todo, *self._steps, *told)}
            answer = error_answer(KeyboardInterrupt("the service was interrupted"))
            lacking = [each for each in self._core.running() if each.ticket not in known]
            self._interrupted += [(request, answer) for request in lacking]

    @property
    def _driver(self) -> BlockingDriver:
        assert self._made_driver is not None
        return self._made_driver


def _close(_: Handler, request: StreamRequest) -> None:
    close_generator(request)
