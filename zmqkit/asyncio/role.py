"""What every asyncio role has in common: one loop, one clock, one life.

Theory of operation. A role is made, opened and closed, each once. Making it checks its options,
and nothing else. Its `async with` block opens it, or else the first verb that needs that: from
then on it belongs to the running loop, listens and is announced, or looks for others. Closing
ends all waits; to use it after that is a UsageError.
"""

from __future__ import annotations

import asyncio
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
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError
from zmqkit.limits import CLOSE_S
from zmqkit.roles.handlers import end_of
from zmqkit.roles.role import Command, Place, Plan, Shown

Given = TypeVar("Given")


class Life(Generic[Place]):
    """A role's life: its core on its loop, from the first use to its close.

    driver: None before it is opened and once it is closed.
    """

    def __init__(self, plan: Plan[Place]) -> None:
        self.plan: Plan[Place] = plan
        self.driver: AioDriver | None = None
        self.process = current_process()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Future[int] | None = None

    @property
    def closed(self) -> bool:
        """Whether no verb works any more."""
        return self._closing is not None

    # Opening

    def open(self) -> AioDriver:
        """The driver, made on the running loop at the first use; UsageError elsewhere, and once
        the role is closed."""
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
        plan = self.plan
        link = plan.place.open()
        plan.hooks.settle = _settle
        self._loop = loop
        driver = self.driver = AioDriver(
            Driver(plan.core, link, plan.hooks, receive_all=plan.receive_all),
            loop,
            awake=plan.awake,
            holds=plan.holds,
            sent=plan.pace.sent if plan.holds is not None else None,
        )
        plan.prepare(driver)
        plan.appear(self.hear)
        return driver

    # Commands

    def command(self, command: Command, *values: object) -> None:
        """Have the core do this now, and perform what follows."""
        driver = self.open()
        driver.perform(command(*values, monotonic()))

    def submit(self, submit: Callable[..., Given], *values: object) -> Given:
        """What a command gives that leaves with all others of this turn."""
        driver = self.open()
        given = submit(*values, monotonic())
        driver.gathered()
        return given

    def post(self, gather: Callable[..., bool], *values: object) -> bool:
        """Have something gather, by the core's pace; whether so much did that it has left."""
        driver, pace = self.driver, self.plan.pace
        if driver is None or self._closing is not None or not driver.is_here():
            driver = self.open()
        if pace.due_at == inf:
            driver.soon()
        full, now = gather(*values), monotonic()
        if full or now >= pace.due_at:
            driver.driver.flush(now)
        return full

    def end(self, command: Command, *values: object) -> None:
        """Have the core end something, unless the role is closed, which ended it."""
        if self.driver is not None:
            self.driver.perform(command(*values, monotonic()))

    def perform(self, effects: list[Effect]) -> None:
        """Perform what follows from a part of a command; the caller is inside of one."""
        if self.driver is not None:
            self.driver.perform(effects)

    def soon(self) -> None:
        """Have what the core gathered leave at the end of this turn."""
        if self.driver is not None:
            self.driver.soon()

    def on_loop(self, work: Callable[..., object], *values: object) -> bool:
        """Have the loop do this, from any thread; false where no loop can."""
        if self._loop is None or self.process.forked:
            return False
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(work, *values)
            return True
        return False

    def hear(self, tell: Tell) -> None:
        """Take the node's news, from its thread to the loop."""
        self.on_loop(self.take, tell)

    def take(self, tell: Tell) -> None:
        """Take the node's news, on the loop."""
        driver = self.driver
        if driver is not None and self.plan.hear is not None:
            if self.plan.receive_all is None:  # what is to be read may wait where it is
                driver.driver.catch_up(monotonic())
            driver.perform(self.plan.hear(tell, monotonic()))

    # Waits

    def ask(
        self, submit: Callable[..., Given], *values: object
    ) -> tuple[asyncio.Future[Any], Given]:
        """Submit these values with a future and the time; the way of every call."""
        driver = self.driver
        if driver is None or self._closing is not None or not driver.is_here():
            driver = self.open()
        future: asyncio.Future[Any] = driver.loop.create_future()
        given = submit(*values, future, monotonic())
        driver.gathered()
        return future, given

    async def wait(self, done: Callable[[], bool], until: float) -> None:
        """Wait until it is done, or the time `until`."""
        if self.driver is not None:
            await self.driver.drive_until(done, until)

    def is_past(self, until: float) -> bool:
        """Whether that time has come."""
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
        """End the role, once; gives how much was `left` as its core was closed.

        leave: the core's command to begin with. drained: whether there is no more to wait for.
        linger_s: how long the link may send what it has, of the time left. over: what ends
        behind the core. says: what the log has of what was left. A second call waits for the
        first and gives 0.
        """
        if self._closing is not None:
            await asyncio.wait([self._closing])  # however it ended
            return 0
        self.process.check()
        until = end_of(timeout_s)

        async def finish() -> int:
            driver = self.driver
            if driver is None:
                return 0
            try:
                if leave is not None:
                    driver.perform(leave(monotonic()))
                self.plan.withdraw()
                if drained is not None:
                    await driver.drive_until(drained, until)
            finally:  # when it is cancelled, too
                lingers = linger_s(until - monotonic()) if linger_s is not None else 0.0
                count = await self._let_go(driver, left, close, over, lingers)
            if count and says is not None:
                log.warning("%s closed %s", self.plan.title, says(count))
            return count

        self._closing = asyncio.ensure_future(finish())
        return await asyncio.shield(self._closing)  # who ends the wait ends no close

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
            await _in_thread(self.plan.place.release)
        return count


def _settle(outcomes: Sequence[Outcome]) -> None:
    """End the futures of these waits."""
    future: Any
    for future, value, error in outcomes:
        if future.done():
            continue  # its task was cancelled
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


async def _in_thread(work: Callable[[], None]) -> None:
    """Wait for what would block the loop, on a thread that ends with it."""
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
    """A role: it opens with its block, and closes with that."""

    @abstractmethod
    async def close(self, timeout_s: float = CLOSE_S) -> int:
        """Let go; gives how much was left."""

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
