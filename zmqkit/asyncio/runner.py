"""Runs the requests of an asyncio service: on its loop, in tasks, or in threads."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from functools import partial

from zmqkit.asyncio.threads import Threads
from zmqkit.core.calls.endings import Result
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.perform import Hooks
from zmqkit.limits import BATCH_BYTES, LEAVE_S, STEP_S, TURN_MESSAGES
from zmqkit.roles.failures import error_answer, failed, held_loop
from zmqkit.roles.handlers import Handler, Handlers, is_interrupt, run_plain, run_waiting
from zmqkit.roles.streams import (
    close_generator,
    close_waiting,
    is_value,
    next_value,
    next_waiting,
)
from zmqkit.warning_limits import LOOP_HELD_S


class Runner:
    """Runs requests and generators, and keeps those that are under way.

    threads: how many threads there are for handlers that want one.
    """

    def __init__(self, core: ServiceCore, handlers: Handlers, threads: int, name: str) -> None:
        self._core = core
        self._handlers = handlers
        self._threads = Threads(threads, name)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AioDriver | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        # The requests that `_handle` has to run or to start, and whether it is at it.
        self._at_hand: deque[Request] = deque()
        self._handles = False
        self._results: list[Result] = []
        self._waiting: dict[int, asyncio.Future[None]] = {}
        # Generators that ended while the core had them parked, until the core asks for more.
        self._over: dict[int, Answer | None] = {}
        # The methods whose handlers were said to hold the loop.
        self._slow: set[str] = set()

    def hooks(self) -> Hooks:
        """Return the functions that the driver calls."""
        return Hooks(
            handle=self._handle,
            advance=self._advance,
            abort=self._abort,
            finished=self._finished,
        )

    @property
    def has_threads(self) -> bool:
        """Whether a handler still runs in a thread."""
        return self._threads.are_busy

    def begin(self, driver: AioDriver) -> None:
        """Work for this driver, on its loop."""
        self._driver = driver
        self._loop = driver.loop

    def stop(self) -> None:
        """Answer no more requests; the core is about to be closed."""
        self._driver = None

    async def close(self) -> None:
        """Wait a moment for the tasks that were cancelled, and let the threads end."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=LEAVE_S)
        self._threads.close()

    # What the driver asks for

    def _handle(self, requests: list[Request]) -> None:
        """Run plain handlers now and answer them together; start the others.

        Answers that leave before the end may bring further requests, in a call from within this
        one. That call only adds them to those at hand. So the stack stays as it is, however
        many requests follow each other, and each has its turn after those before it.
        """
        driver, at_hand = self._driver, self._at_hand
        if driver is None:
            return  # it was closed after an interrupt
        at_hand.extend(requests)
        if self._handles:
            return
        self._handles = True
        begun = time.monotonic()
        try:
            while at_hand:
                request = at_hand.popleft()
                handler = self._handlers.by_name[request.method]
                if handler.waits or handler.thread:
                    self._start(request, self._run(handler, request))
                    continue
                try:
                    answer = run_plain(handler, request)
                except KeyboardInterrupt as interrupt:
                    self._interrupted(driver.loop, request, interrupt)
                    return
                now = time.monotonic()
                if now - begun > LOOP_HELD_S:
                    self._held_loop(handler, request, now - begun)
                begun = now
                self._results.append((request, answer))
                is_large = answer.size > BATCH_BYTES
                if is_large or len(self._results) >= TURN_MESSAGES:
                    driver.driver.finish(now)
                    begun = time.monotonic()
                if is_large and at_hand:
                    kept = self._core.postpone(list(at_hand))
                    at_hand.clear()
                    at_hand.extend(kept)
        finally:
            self._handles = False

    def _held_loop(self, handler: Handler, request: Request, took_s: float) -> None:
        """Log that a plain handler held the loop for so long, once for each method."""
        if request.method not in self._slow and self._driver is not None:
            self._slow.add(request.method)
            self._driver.driver.notes.note(held_loop(handler.function, request, took_s))

    def _interrupted(
        self, loop: asyncio.AbstractEventLoop, request: Request, interrupt: KeyboardInterrupt
    ) -> None:
        """Have the interrupt end the loop, once the driver's step is over.

        Should the loop run again, the caller gets an answer and the requests left have their
        turn.
        """
        left = list(self._at_hand)
        self._at_hand.clear()
        loop.call_soon(_interrupt, interrupt)
        loop.call_soon(self._answered, request, error_answer(interrupt))
        loop.call_soon(self._handle, left)
        loop.call_soon(self._finish)

    def _finished(self) -> list[Effect]:
        """Give the core the answers of this turn, and return its effects."""
        if not self._results:
            return []
        results, self._results = self._results, []
        return self._core.handled(results, time.monotonic())

    def _advance(self, requests: list[StreamRequest]) -> None:
        """Run generators on; each has one task from its beginning to its end."""
        assert self._loop is not None
        for request in requests:
            if request.ticket in self._waiting:
                self._go_on(request)
            elif request.ticket in self._over:
                self._loop.call_soon(self._ended, request, self._over.pop(request.ticket))
            else:
                handler = self._handlers.by_name[request.method]
                self._start(request, self._stream(handler, request))

    def _abort(self, requests: list[Request]) -> None:
        """Cancel the tasks of these requests; plain generators stop at their next value.

        A thread cannot be ended, so one that takes too long keeps its place.
        """
        for request in requests:
            task = self._tasks.get(request.ticket)
            handler = self._handlers.by_name[request.method]
            if request.overdue and handler.thread:
                continue
            if task is not None and (handler.waits or not handler.streams):
                task.add_done_callback(partial(self._never_began, request))
                task.cancel()
            else:
                self._go_on(request)

    # Tasks

    def _start(self, request: Request, work: Coroutine[object, object, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        if not task.done():  # a loop may begin a task at once, and end it
            self._tasks[request.ticket] = task

    def _never_began(self, request: Request, task: asyncio.Task[None]) -> None:
        """Answer for a task that was cancelled before its first step."""
        if self._tasks.get(request.ticket) is task:
            answer = error_answer(asyncio.CancelledError())
            if isinstance(request, StreamRequest):
                self._ended(request, answer)
            else:
                self._answered(request, answer)

    async def _run(self, handler: Handler, request: Request) -> None:
        try:
            answer = await self._answer(handler, request)
        except BaseException as raised:
            if self._is_abandoned(raised):
                raise
            self._answered(request, _ended_by(handler, request, raised))
            if is_interrupt(raised):
                raise
        else:
            self._answered(request, answer)

    async def _answer(self, handler: Handler, request: Request) -> Answer:
        if handler.waits:
            return await run_waiting(handler, request)
        return await self._threads.run(run_plain, handler, request)

    def _answered(self, request: Request, answer: Answer) -> None:
        """Take a task's answer; it leaves at the end of the turn with all others of the turn.

        The core gets a large answer at once: it sends the answer or has it wait.
        """
        self._tasks.pop(request.ticket, None)
        if not self._results and self._loop is not None:
            self._loop.call_soon(self._finish)
        self._results.append((request, answer))
        if answer.size > BATCH_BYTES:
            self._finish()

    def _finish(self) -> None:
        if self._driver is not None:
            self._driver.driver.finish(time.monotonic())
            self._driver.soon()

    def _is_abandoned(self, raised: BaseException) -> bool:
        """Return whether a task ends because its loop is gone, and nobody waits."""
        assert self._loop is not None
        return isinstance(raised, GeneratorExit) and not self._loop.is_running()

    # Generators

    async def _stream(self, handler: Handler, request: StreamRequest) -> None:
        """Send a generator's values as its caller's credit allows; close it at the end."""
        try:
            error = await self._send_values(handler, request)
        except BaseException as raised:
            if self._is_abandoned(raised):
                raise
            await self._end(handler, request, _ended_by(handler, request, raised))
            if is_interrupt(raised):
                raise
        else:
            await self._end(handler, request, error)

    async def _send_values(self, handler: Handler, request: StreamRequest) -> Answer | None:
        """Send values until the generator ends, raises or is unwanted; return its error."""
        until = time.monotonic() + STEP_S
        while not request.cancelled:
            answer = await self._next(handler, request)
            if answer is None or not is_value(answer):
                return answer
            now = time.monotonic()
            self._core.yielded(request, answer, now)
            if self._driver is not None:
                self._driver.gathered()
            if not request.goes_on or now >= until:
                await self._pause(request)
                until = time.monotonic() + STEP_S
        return None

    async def _next(self, handler: Handler, request: StreamRequest) -> Answer | None:
        if handler.waits:
            return await next_waiting(handler, request)
        if not handler.thread:
            begun = time.monotonic()
            answer = next_value(handler, request)
            took_s = time.monotonic() - begun
            if took_s > LOOP_HELD_S:
                self._held_loop(handler, request, took_s)
            return answer
        return await self._threads.run(next_value, handler, request)

    async def _pause(self, request: StreamRequest) -> None:
        """Wait for credit and for the turn of this stream."""
        if self._driver is not None and self._loop is not None:
            waiting = self._waiting[request.ticket] = self._loop.create_future()
            self._perform(self._core.paused(request, time.monotonic()))
            await waiting

    def _go_on(self, request: Request) -> None:
        waiting = self._waiting.pop(request.ticket, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _end(
        self, handler: Handler, request: StreamRequest, error: Answer | None
    ) -> None:
        try:
            if handler.waits:
                await close_waiting(request)
            else:
                close_generator(request)
        finally:
            self._ended(request, error)

    def _ended(self, request: StreamRequest, error: Answer | None) -> None:
        self._tasks.pop(request.ticket, None)
        if self._waiting.pop(request.ticket, None) is not None:
            self._over[request.ticket] = error  # cancelled from within while it was parked
        else:
            self._perform(self._core.ended(request, error, time.monotonic()))

    def _perform(self, effects: list[Effect]) -> None:
        """Have the driver perform effects; send the answers of plain handlers that this ran."""
        if self._driver is not None:
            self._driver.perform(effects)
            if self._results:
                self._driver.driver.finish(time.monotonic())


def _interrupt(interrupt: KeyboardInterrupt) -> None:
    raise interrupt


def _ended_by(handler: Handler, request: Request, raised: BaseException) -> Answer:
    """Return what ended a task as an answer; log it unless it came from outside."""
    task = asyncio.current_task()
    if is_interrupt(raised) or (task is not None and task.cancelling()):
        return error_answer(raised)
    return failed(handler.function, request, raised)
