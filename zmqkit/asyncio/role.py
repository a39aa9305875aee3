"""What every asyncio role has in common: one loop, one clock, one life.

Theory of operation. A role is made, opened and closed, each once. Making a role only checks its
options. Its `async with` block opens it, or else the first verb that needs it open. An open
role belongs to the loop that ran then. It listens and is announced, or it looks for others.
Closing ends all waits; to use a closed role is a UsageError.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.effects import Effect, Tell
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver
from zmqkit.errors import CallTimeout, UsageError
from zmqkit.limits import CLOSE_S, LOOP_S
from zmqkit.roles.handlers import end_of
from zmqkit.roles.role import Command, Place, Plan, Shown
from zmqkit.statistics_limits import GLANCES

Given = TypeVar("Given")


class Life(Generic[Place]):
    """The life of a role from its first use to its close: its core on its loop."""

    def __init__(self, plan: Plan[Place]) -> None:
        self.plan: Plan[Place] = plan
        # None before the role is opened and after it is closed.
        self.driver: AioDriver | None = None
        self.process = current_process()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Future[int] | None = None

    @property
    def closed(self) -> bool:
        """Return whether the role is closed or about to be: no verb works any more."""
        return self._closing is not None

    @property
    def is_open(self) -> bool:
        """Whether the role is open, in the process that opened it."""
        return self.driver is not None and not self.closed and not self.process.forked

    # Opening

    def open(self) -> AioDriver:
        """Return the driver, which the first use makes on the running loop.

        Raises UsageError on another loop, and once the role is closed.
        """
        driver = self.driver
        if driver is not None and self._closing is None and driver.is_here():
            return driver
        if self._closing is not None:
            raise UsageError(f"the {self.plan.title} is closed; make a new one")
        self.process.check()
        loop = asyncio.get_running_loop()
        if driver is None:
            return self._begin(loop)
        if loop is not self._loop:
            raise UsageError(
                f"the {self.plan.title} belongs to another event loop; make one in each"
            )
        return driver

    def _begin(self, loop: asyncio.AbstractEventLoop) -> AioDriver:
        """Open the role; if that fails, nothing is left of it, and the next use tries again."""
        plan = self.plan
        link = plan.place.open()
        plan.hooks.settle = _settle
        driver: AioDriver | None = None
        try:
            driver = AioDriver(
                Driver(
                    plan.core,
                    link,
                    plan.hooks,
                    changed=plan.changed,
                    receive_all=plan.receive_all,
                ),
                loop,
                awake=plan.awake,
                holds=plan.holds,
                sent=plan.pace.sent if plan.holds is not None else None,
            )
            plan.prepare(driver)
            self._loop, self.driver = loop, driver
            plan.appear(self.hear, self.glance)
        except BaseException:
            self._loop = self.driver = None
            if driver is not None:
                driver.close()
            link.close(0)
            plan.withdraw()
            plan.release()
            raise
        return driver

    # Commands

    def command(self, command: Command, *values: object) -> None:
        """Have the core run this command now, and perform its effects."""
        driver = self.open()
        driver.perform(command(*values, monotonic()))

    def submit(self, submit: Callable[..., Given], *values: object) -> Given:
        """Run a command and return what it returns; what it sends leaves with this turn."""
        driver = self.open()
        given = submit(*values, monotonic())
        driver.gathered()
        return given

    def post(self, gather: Callable[..., bool], *values: object) -> bool:
        """Have a message gather; return whether what gathers became full, and so has left."""
        driver, pace = self.driver, self.plan.pace
        if driver is None or self._closing is not None or not driver.is_here():
            driver = self.open()
        if pace.due_at == inf:
            driver.soon()
        full, now = gather(*values), monotonic()
        if full or now >= pace.due_at:
            driver.driver.flush(now)
        return full

    def glance(self, question: Callable[[], Given]) -> Given | None:
        """Ask the core on any thread, even while the loop is held; None if it cannot be had.

        The loop may change a mapping under the question's eyes; then it is asked again.
        """
        for _ in range(GLANCES):
            with suppress(RuntimeError, LookupError):
                return question()
        return None

    def end(self, command: Command, *values: object) -> None:
        """Have the core run a command that ends something; a closed role has ended all."""
        if self.driver is not None:
            self.driver.perform(command(*values, monotonic()))

    def perform(self, effects: list[Effect]) -> None:
        """Perform effects of a part of a command; the caller is inside of that command."""
        if self.driver is not None:
            self.driver.perform(effects)

    def soon(self) -> None:
        """Send what the core gathered at the end of this turn."""
        if self.driver is not None:
            self.driver.soon()

    def on_loop(self, work: Callable[..., object], *values: object) -> bool:
        """Have the loop run `work`, from any thread; return false where no loop can."""
        if self._loop is None or self.process.forked:
            return False
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work, *values)
            return True
        return False

    def submit_from(self, submit: Callable[[float], Given]) -> Given:
        """Do what `submit` does, for another thread, which waits for it.

        Raises CallTimeout if the loop is held, and UsageError once the role is closed.
        """
        done: concurrent.futures.Future[Given] = concurrent.futures.Future()

        def work() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(self.submit(submit))
                except Exception as error:  # noqa: BLE001 - raised in the thread that waits
                    done.set_exception(error)

        if not self.on_loop(work):
            raise UsageError(f"the {self.plan.title} is closed; make a new one")
        try:
            return done.result(LOOP_S)
        except TimeoutError as error:
            late = "is held" if done.cancel() else "was held, and it may be done by now"
            text = f"the event loop of the {self.plan.title} {late} for {LOOP_S:g} s"
            raise CallTimeout(text, may_have_run=not done.cancelled()) from error

    def hear(self, tell: Tell) -> None:
        """Take news from the node on its thread, and pass it to the loop."""
        self.on_loop(self.take, tell)

    def take(self, tell: Tell) -> None:
        """Take news from the node, on the loop."""
        driver = self.driver
        if driver is not None and self.plan.hear is not None:
            if self.plan.reads_first(tell):
                driver.driver.catch_up(monotonic())
            driver.perform(self.plan.hear(tell, monotonic()))

    # Waits

    def ask(
        self, submit: Callable[..., Given], *values: object
    ) -> tuple[asyncio.Future[Any], Given]:
        """Submit these values with a future and the time.

        Returns the future, and what `submit` returned. Every call takes this way.
        """
        driver = self.driver
        if driver is None or self._closing is not None or not driver.is_here():
            driver = self.open()
        future: asyncio.Future[Any] = driver.loop.create_future()
        given = submit(*values, future, monotonic())
        driver.gathered()
        return future, given

    async def wait(self, done: Callable[[], bool], until: float) -> None:
        """Wait until `done` returns true, the time `until`, or the role's end."""
        if self.driver is not None:
            await self.driver.drive_until(done, until)

    def is_past(self, until: float) -> bool:
        """Return whether the time `until` has come."""
        return monotonic() >= until

    # Closing

    async def close(
        self,
        timeout_s: float,
        left: Callable[[], int],
        close: Callable[[], list[Effect]],
        *,
        leave: Callable[[float], list[Effect]] | None = None,
        drained: Callable[[], bool] | None = None,
        linger_s: Callable[[float], float] | None = None,
        over: Callable[[], Awaitable[object]] | None = None,
        says: Callable[[int], str] | None = None,
    ) -> int:
        """End the role, once; return how much was `left` when its core was closed.

        leave: the core's first command. drained: returns whether there is nothing to wait for.
        linger_s: takes the time that is left and returns how long the link may still send.
        over: is awaited after the core is closed, though nobody waits for the close. says:
        returns the text that the log shows about what was left. A second call waits for the
        first and returns 0.
        """
        if self._closing is not None:
            await asyncio.wait([self._closing])  # however it ended
            return 0
        self.process.check()
        until = end_of(timeout_s)

        async def finish() -> int:
            driver = self.driver
            if driver is None:
                if over is not None:
                    await over()
                return 0
            try:
                if leave is not None:
                    driver.perform(leave(monotonic()))
                self.plan.withdraw()
                if drained is not None:
                    await driver.drive_until(drained, until)
            finally:  # also when the close itself is cancelled
                lingers = linger_s(until - monotonic()) if linger_s is not None else 0.0
                count = await self._let_go(driver, left, close, over, lingers)
            if count and says is not None:
                notes = driver.driver.notes
                notes.add(logging.WARNING, "%s closed %s", self.plan.title, says(count))
                notes.tell()
            return count

        self._closing = asyncio.ensure_future(finish())
        return await asyncio.shield(self._closing)  # a cancelled wait cancels no close

    async def _let_go(
        self,
        driver: AioDriver,
        left: Callable[[], int],
        close: Callable[[], list[Effect]],
        over: Callable[[], Awaitable[object]] | None,
        linger_s: float,
    ) -> int:
        self.driver = None
        count = left()
        driver.driver.perform(close())
        driver.close()
        try:
            if over is not None:
                await over()
        finally:
            driver.driver.link.close(linger_s)
            await in_thread(self.plan.release)
        return count


def _settle(outcomes: Sequence[Outcome]) -> None:
    """Give each waiting future its value or error."""
    future: Any
    for future, value, error in outcomes:
        if future.done():
            continue  # its task was cancelled
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


async def in_thread(work: Callable[[], None]) -> None:
    """Run blocking work in a thread of its own, and wait until the thread has ended."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
                loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=run, name="zmqkit-close")
    thread.start()
    await done.wait()
    thread.join()


class Role(Shown, ABC):
    """A role, which opens at the start of its `async with` block and closes at its end."""

    @abstractmethod
    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Close the role; return how much was left."""

    async def __aenter__(self) -> Self:
        self._life.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
