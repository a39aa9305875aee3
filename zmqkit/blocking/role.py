"""What every blocking role has in common: one lock, one clock, one life.

Theory of operation. A role is made, opened and closed, each once. Making it checks its options,
and nothing else. Its `with` block opens it, or else the first verb that needs that: it listens
and is announced, or looks for others, and the process's node drives it whenever no thread does.
Closing ends all waits; to use it after that is a UsageError. So it is to use a role that an
interrupt broke (see `drivers/blocking.py`), but for `stats` and `close`.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from zmqkit.core.effects import Effect, Tell
from zmqkit.drivers.blocking import BlockingDriver, Waiter
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, log
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.handlers import end_of
from zmqkit.roles.role import Command, Place, Plan, Shown
from zmqkit.roles.scheme import acquire_node, release_node

if TYPE_CHECKING:
    from zmqkit.node.node import Node

Given = TypeVar("Given")


class Life(Generic[Place]):
    """A role's life: its core behind its lock, from the first use to its close.

    lock: held while a thread decides or sends, never while it
    waits. closed: no verb works any more; it becomes so under the lock.
    """

    def __init__(self, plan: Plan[Place]) -> None:
        self.plan: Plan[Place] = plan
        self.lock = threading.Lock()
        self.process = current_process()
        self.driver: BlockingDriver | None = None
        self.closed = False
        self._keeper: Node | None = None
        self._changing = threading.Lock()

    # Opening

    def open(self) -> BlockingDriver:
        """The driver, made at the first use; UsageError once the role is closed."""
        self.process.check()
        if self.closed:
            raise self._is_closed()
        if self.driver is not None:
            if self.driver.broken:
                raise self._is_closed()
            return self.driver
        with self._changing:
            if self.closed:
                raise self._is_closed()
            if self.driver is None:
                self.driver = self._begin()
            return self.driver

    def _begin(self) -> BlockingDriver:
        plan = self.plan
        link = plan.place.open()
        try:
            inner = Driver(plan.core, link, plan.hooks, receive_all=plan.receive_all)
            driver = BlockingDriver(inner, self.lock, awake=plan.awake, pace=plan.pace)
        except BaseException:
            link.close(0)
            plan.place.release()
            raise
        plan.hooks.settle = driver.settle
        plan.prepare(driver)
        self._keeper = acquire_node() if plan.kept else plan.place.node
        if self._keeper is not None:
            self._keeper.keep(driver)
        self.driver = driver
        plan.appear(self.hear)
        return driver

    def _is_closed(self) -> UsageError:
        broken = self.driver is not None and self.driver.broken
        why = "was interrupted in the middle of its work" if broken else "is closed"
        return UsageError(f"the {self.plan.title} {why}; make a new one")

    # Commands

    def look(self, question: Callable[[], Given]) -> Given:
        """What the core answers; it may be asked at any time of the role's life."""
        self.process.check()
        with self.lock:
            return question()

    def command(self, command: Command, *values: object) -> None:
        """Have the core do this now, and perform what follows."""
        self._locked(lambda driver, now: driver.command(command(*values, now), now))

    def submit(self, submit: Callable[..., Given], *values: object) -> Given:
        """What a command gives that goes on."""

        def work(driver: BlockingDriver, now: float) -> Given:
            given = submit(*values, now)
            driver.command([], now)
            return given

        return self._locked(work)

    def _locked(self, work: Callable[[BlockingDriver, float], Given]) -> Given:
        driver = self.open()

        def check_and_work() -> Given:
            if driver.retired:
                raise self._is_closed()
            return work(driver, time.monotonic())

        return driver.locked(check_and_work)

    def post(self, command: Command, *values: object) -> None:
        """Have the core do something that nobody waits for: what follows may gather."""
        driver = self.driver or self.open()
        if driver.process.forked:
            driver.process.check()  # before the lock, which may be held for ever in a child
        with self.lock:
            if driver.retired:
                raise self._is_closed()
            try:
                now = time.monotonic()
                driver.post(command(*values, now), now)
            except ZmqkitError:
                raise
            except BaseException:
                driver.fail()
                raise

    def decide(self, decision: Callable[[], tuple[Given, list[Effect]]]) -> Given:
        """What a look at the core gives; what follows from having looked is performed."""
        self.process.check()
        driver = self.driver
        assert driver is not None

        def decide() -> Given:
            if driver.broken:
                raise self._is_closed()
            given, effects = decision()
            if effects and not driver.retired:
                driver.command(effects, time.monotonic())
            return given

        return driver.locked(decide)

    def try_command(self, command: Command, *values: object) -> bool:
        """The same as `command` for a finalizer, which may run in the middle of the role's own
        work: false if it would have to wait for the lock."""
        driver = self.driver
        if driver is None or self.process.forked:
            return True
        if not self.lock.acquire(blocking=False):
            return False
        try:
            if not driver.retired:
                now = time.monotonic()
                driver.guarded(driver.command, command(*values, now), now)
        finally:
            self.lock.release()
        return True

    def perform(self, effects: list[Effect]) -> None:
        """Perform what follows from a part of a command; the caller is inside of one."""
        if self.driver is not None:
            self.driver.driver.perform(effects)

    def hear(self, tell: Tell) -> None:
        """Take the node's news, on any thread."""
        driver = self.driver
        assert driver is not None and self.plan.hear is not None
        with self.lock:  # on the node's thread, where no interrupt comes
            if not driver.retired:
                now = time.monotonic()
                if self.plan.receive_all is None:  # what is to be read may wait where it is
                    driver.driver.catch_up(now)
                driver.command(self.plan.hear(tell, now), now)

    # Waits

    def ask(
        self,
        submit: Callable[..., object],
        give_up: Callable[[object, float], list[Effect]],
        *values: object,
    ) -> object:
        """The outcome of what is submitted with these values, a waiter and the time.

        UsageError once the role is closed, and for whom it ends: `give_up` tells the core.
        The way of every call, so it is written out. Threads that one packet has released come
        back at about the same time: all but the last give way, and the last sends for all.
        """
        driver = self.driver or self.open()
        if driver.process.forked:
            driver.process.check()
        waiter = Waiter()
        try:
            with self.lock:
                if driver.retired:
                    raise self._is_closed()
                try:
                    now = time.monotonic()
                    submit(*values, waiter, now)
                    if last := driver.is_last():
                        driver.command([], now)
                        driver.join(waiter)
                except ZmqkitError:
                    raise
                except BaseException:
                    driver.fail()
                    raise
            if not last:
                time.sleep(0)  # let the others come
                driver.locked(self._join, driver, waiter)
            driver.wait(waiter)
        except BaseException:
            self._give_up(waiter, give_up)
            raise
        if waiter.error is not None:
            raise waiter.error
        return waiter.value

    def _join(self, driver: BlockingDriver, waiter: Waiter) -> None:
        driver.command([], time.monotonic())
        driver.join(waiter)

    def pull(
        self,
        take: Callable[[], tuple[Given, bool] | None],
        listen: Callable[[object, float], None],
        give_up: Callable[[object, float], list[Effect]],
    ) -> Given:
        """What `take` gives; it says whether to flush. A waiter listens while it is None."""
        self.process.check()
        driver = self.driver
        assert driver is not None
        waiter: Waiter | None = None
        try:
            while True:
                with self.lock:
                    if waiter is not None:
                        driver.is_last()  # of those just released, this one is back
                    taken = take()  # not guarded: `give_up` ends all that this may cut short
                    if taken is None:
                        waiter = Waiter()
                        driver.guarded(self._listen, driver, waiter, listen)
                    elif taken[1]:
                        driver.guarded(driver.command, [], time.monotonic())
                if taken is not None:
                    return taken[0]
                assert waiter is not None
                driver.wait(waiter)
        except UsageError:
            raise  # whoever else reads it goes on
        except BaseException:
            self._give_up(waiter, give_up)
            raise

    def _listen(
        self, driver: BlockingDriver, waiter: Waiter, listen: Callable[[object, float], None]
    ) -> None:
        now = time.monotonic()
        listen(waiter, now)
        driver.command([], now)
        driver.join(waiter)

    def end(self, give_up: Callable[[object, float], list[Effect]]) -> None:
        """Give up what nobody waits for just now; the role may be closed already."""
        self.process.check()
        self._give_up(None, give_up)

    def _give_up(
        self, waiter: Waiter | None, give_up: Callable[[object, float], list[Effect]]
    ) -> None:
        """Wait no more, and have the core know."""
        driver = self.driver
        assert driver is not None

        def leave() -> None:
            now = time.monotonic()
            if waiter is not None:
                driver.leave(waiter)
            if not driver.broken:
                effects = give_up(waiter, now)
                if not driver.retired:
                    driver.command(effects, now)

        driver.locked(leave)

    def wait(self, done: Callable[[], bool], until: float) -> None:
        """Wait until it is done, or the time `until`."""
        self.process.check()
        if self.driver is not None:
            self.driver.drive_until(done, until)

    def is_past(self, until: float) -> bool:
        """Whether that time has come."""
        return time.monotonic() >= until

    def wake(self) -> None:
        """Have whoever waits look again. A signal's handler may call it: it takes no lock."""
        if self.driver is not None and not self.closed:
            self.driver.wake()

    # Closing

    def close(
        self,
        timeout_s: float,
        left: Callable[[], int],
        close: Callable[[], list[Effect]],
        *,
        leave: Callable[[float], list[Effect]] | None = None,
        drain: Callable[[float], object] | None = None,
        linger_s: Callable[[float], float] | None = None,
        over: Callable[[int], object] | None = None,
        says: Callable[[int], str] | None = None,
    ) -> int:
        """End the role, once; gives how much was `left` as its core was closed.

        leave: the core's command to begin with. drain: what may go on until the time is over.
        linger_s: how long the link may send what it has, of the time left. over: what ends
        behind the core. says: what the log has of what was left. A second call waits for the
        first and gives 0. As the interpreter ends, all other threads stand still for ever,
        whatever they hold, and the system takes back what is open.
        """
        self.process.check()
        until = end_of(timeout_s)
        if sys.is_finalizing():
            return 0
        with self._changing:
            driver = self.driver
            if self.closed or driver is None:
                self.closed = True
                return 0
            driver.attentive = True  # those that wait look again
            if leave is not None and not driver.broken:
                self.command(leave)
            self.plan.withdraw()
            if drain is not None and not driver.broken:
                drain(until)
            lingers = linger_s(until - time.monotonic()) if linger_s is not None else 0.0
            try:
                count = self._retire(driver, until, left, close)
            finally:
                self._let_go(driver, lingers)
            if over is not None:
                over(count)
        if count and says is not None:
            log.warning("%s closed %s", self.plan.title, says(count))
        return count

    def _retire(
        self,
        driver: BlockingDriver,
        until: float,
        left: Callable[[], int],
        close: Callable[[], list[Effect]],
    ) -> int:
        """Close the core, and have all threads leave."""
        count = 0

        def shut() -> list[Effect]:
            nonlocal count
            self.closed = True
            count = left()
            return [] if driver.broken else close()

        if self._keeper is not None:
            self._keeper.let_go(driver)
        driver.retire(shut, max(until, time.monotonic() + LEAVE_S))
        return count

    def _let_go(self, driver: BlockingDriver, linger_s: float) -> None:
        try:
            with self.lock:
                driver.driver.link.close(linger_s)
                driver.close()
        finally:
            self.plan.place.release()
            if self.plan.kept and self._keeper is not None:
                release_node(self._keeper)


class Role(Shown, ABC):
    """A role: it opens with its block, and closes with that."""

    @abstractmethod
    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Let go; gives how much was left."""

    def __enter__(self) -> Self:
        self._life.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
