"""Runs the requests of a blocking service: in the thread that serves, or in a pool."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, TypeVar

from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.misuse import check_loop
from zmqkit.drivers.perform import Hooks
from zmqkit.errors import UsageError
from zmqkit.limits import QUICK_RUNS_MIN, QUICK_S, STEP_S, TURN_MESSAGES
from zmqkit.roles.failures import error_answer
from zmqkit.roles.handlers import Handler, Handlers, run_plain
from zmqkit.roles.streams import close_generator, is_value, next_value

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

AnyRequest = TypeVar("AnyRequest", bound=Request)
Given = TypeVar("Given")


class Runner:
    """Holds the requests in hand and the generators under way, and runs them.

    threads: how many threads the pool has. With 0 there is no pool, and the handlers run in the
    thread that serves.
    """

    def __init__(self, core: ServiceCore, handlers: Handlers, threads: int, name: str) -> None:
        self.stopping = False  # true: the serving thread is to return
        self._core = core
        self._handlers = handlers
        self._threads = threads
        self._name = name
        self._seat: dict[str, object] = {}
        self._made_driver: BlockingDriver | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._todo: deque[Request] = deque()
        self._steps: deque[StreamRequest] = deque()
        self._generators: dict[int, StreamRequest] = {}
        self.quick_s = QUICK_S
        self.quick_runs_min = QUICK_RUNS_MIN
        self._quick_runs: dict[str, int] = {}
        self._begun: Request | None = None

    def hooks(self) -> Hooks:
        """Return the functions that the driver calls."""
        return Hooks(handle=self._handle, advance=self._advance, abort=self._abort)

    def begin(self, driver: BlockingDriver) -> None:
        """Work for this driver."""
        self._made_driver = driver
        if self._threads:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._threads, self._name)

    @property
    def has_threads(self) -> bool:
        """Whether handlers run in threads of their own."""
        return self._pool is not None

    def serve(self, until: float) -> None:
        """Wait for requests and run them; UsageError while another thread serves."""
        check_loop()
        if not self._seated(self._serve, until):
            raise UsageError("another thread serves already; use concurrency= for more at once")

    def drain(self, until: float) -> None:
        """Answer the accepted requests while time is left, in place of the serving thread."""
        self.stopping = True
        self._driver.wake()
        if self._core.in_flight:  # else the seat may be a handler's that took too long
            self._seated(self._drain, until, until)

    def _seated(
        self, work: Callable[[float], None], until: float, seated_by: float = -inf
    ) -> bool:
        """Take the seat and work; return false if another thread keeps the seat for too long.

        Only the thread in the seat may work. An interrupt may come right after the seat was
        taken, so the seat records who took it.
        """
        me, seat = object(), self._seat
        try:
            self._driver.drive_until(lambda: seat.setdefault("taken", me) is me, seated_by)
            if seat != {"taken": me}:
                return False
            work(until)
        finally:
            if seat == {"taken": me}:  # no call between, in which an interrupt may come
                self.stopping = False
                del seat["taken"]
                self._driver.wake()
        return True

    def _serve(self, until: float) -> None:
        driver = self._driver
        self._tell_of_interrupted()
        while not (self._is_over() or driver.retired) and time.monotonic() < until:
            driver.lead(lambda: bool(self._todo or self._steps or self._is_over()), until)
            self._work(inf)
            if self._steps and not self.stopping:
                self._step(self._steps[0])
        if driver.broken:
            driver.check_open()

    def _is_over(self) -> bool:
        return self.stopping or self._core.is_spent

    def _drain(self, until: float) -> None:
        """Answer the accepted requests, except after an interrupt.

        The interrupted request holds the one place. The requests that wait for that place move
        on sooner if nothing is answered.
        """

        def due() -> bool:
            return bool(self._todo or self._steps) or not self._core.in_flight

        while self._core.in_flight and time.monotonic() < until and self._begun is None:
            self.stopping = False  # `stop` is meant for the thread that serves
            self._driver.drive_until(due, until)
            self._work(until)
            if self._steps:
                self._step(self._steps[0])

    def close(self, *, wait: bool) -> None:
        """Close the pool and all generators.

        wait: wait for the pool's threads; otherwise they run on.
        """
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=True)
        for ticket in list(self._generators):
            request = self._generators.pop(ticket, None)
            if request is not None:  # unless a thread of the pool took it first
                close_generator(request)

    def _handle(self, requests: list[Request]) -> None:
        """Run the requests in the pool, or leave them to the serving thread."""
        if self._pool is None:
            self._todo.extend(requests)
        else:
            for request in requests:
                self._pool.submit(self._answer, request)

    def _advance(self, requests: list[StreamRequest]) -> None:
        """Run generators in the pool, or leave them to the serving thread."""
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

        A request stays in hand until it is answered. So an interrupt leaves it in hand, and
        begun. An answer waits only if the next request is of the same method, and that method
        was quick many times in a row and just now. Should the method take longer this time, the
        keeper sends the answers that wait. So no answer waits while the keeper looks seldom.
        """
        driver, todo, begun, held = self._driver, self._todo, time.monotonic(), 0
        while todo and begun < until and not (self.stopping or driver.retired):
            request = self._begun = todo[0]
            answer = self._run(run_plain, request)
            now = time.monotonic()
            runs = (
                self._quick_runs.get(request.method, 0) + 1 if now - begun < self.quick_s else 0
            )
            self._quick_runs[request.method] = runs
            holds = runs > self.quick_runs_min and driver.watched and not self.stopping
            held = driver.locked(self._answered, request, answer, now, held if holds else -1)
            begun = now

    def _answered(self, request: Request, answer: Answer, now: float, held: int) -> int:
        """Give the core an answer, and send it with those held unless it may wait.

        Returns how many answers are held now. held: how many were held, or -1 to send at once.
        """
        driver, todo = self._driver, self._todo
        if driver.retired:
            return 0
        todo.popleft()
        self._begun = None
        driver.driver.perform(self._core.handled([(request, answer)], now))
        alike = todo and todo[0].method == request.method
        if held >= 0 and alike and held + 1 < TURN_MESSAGES:
            return held + 1
        driver.command([], now)
        return 0

    def _answer(self, request: Request) -> None:
        answer = self._run(run_plain, request)
        self._driver.locked(self._tell, request, answer)

    def _step(self, request: StreamRequest) -> None:
        """Run a generator on for a moment, or as far as its caller's credit reaches.

        Its values leave at once, unless the generator was quick many times in a row: see
        `_work`.
        """
        driver, begun, held = self._driver, time.monotonic(), 0
        until = begun + STEP_S
        if self._pool is None:
            self._begun = request
        while not (request.cancelled or driver.retired):
            answer = self._run(next_value, request)
            now = time.monotonic()
            runs = (
                self._quick_runs.get(request.method, 0) + 1 if now - begun < self.quick_s else 0
            )
            self._quick_runs[request.method] = runs
            if answer is None or not is_value(answer):
                driver.locked(self._tell, request, answer)
                return
            held = held + 1 if runs > self.quick_runs_min and driver.watched else TURN_MESSAGES
            over = now >= until
            if not driver.locked(self._yielded, request, answer, now, held, over):
                return
            held %= TURN_MESSAGES
            begun = now
        close_generator(request)
        driver.locked(self._tell, request, None)

    def _yielded(
        self, request: StreamRequest, answer: Answer, now: float, held: int, over: bool
    ) -> bool:
        """Give a value, which leaves once so many are held; whether the generator goes on."""
        driver = self._driver
        if driver.retired:
            return True  # it is closed
        driver.driver.perform(self._core.yielded(request, answer, now))
        if over or not request.goes_on:
            self._forget(request)
            driver.command(self._core.paused(request, now), now)
            return False
        if held >= TURN_MESSAGES:
            driver.command([], now)
        return True

    def _tell(self, request: Request, answer: Answer | None) -> None:
        """Tell the core that a request is over, with its last answer if there is one."""
        driver, now = self._driver, time.monotonic()
        self._forget(request)
        if isinstance(request, StreamRequest):
            self._generators.pop(request.ticket, None)
            if not driver.retired:
                driver.command(self._core.ended(request, answer, now), now)
        elif answer is not None and not driver.retired:
            driver.command(self._core.handled([(request, answer)], now), now)
            if self._core.is_spent:
                driver.wake()  # the thread that serves is to return

    def _forget(self, request: Request) -> None:
        """Remove a request from the requests in hand."""
        self._begun = None
        for hand in (self._todo, self._steps):
            if hand and hand[0] is request:
                hand.popleft()

    def _run(self, work: Callable[[Handler, AnyRequest], Given], request: AnyRequest) -> Given:
        return work(self._handlers.by_name[request.method], request)

    def _tell_of_interrupted(self) -> None:
        """Answer the request that was interrupted, as this program went on after that.

        Had the program ended, callers would turn to other instances, as far as that is safe.
        """
        request = self._begun
        if request is not None:
            answer = error_answer(KeyboardInterrupt("the service was interrupted"))
            self._driver.locked(self._tell, request, answer)
            if isinstance(request, StreamRequest):
                close_generator(request)

    @property
    def _driver(self) -> BlockingDriver:
        assert self._made_driver is not None
        return self._made_driver
