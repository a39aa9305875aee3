"""What every blocking role has in common: one lock, one clock, one life.

Theory of operation. A role is made, opened and closed, each once. Making a role only checks its
options. Its `with` block opens it, or else the first verb that needs it open. An open role
listens and is announced, or it looks for others. The process's node drives it whenever no
thread does. Closing ends all waits; to use a closed role is a UsageError. So is the use of a
role that an interrupt broke (see `drivers/blocking.py`), except for `stats` and `close`. A role
that others may know of when its opening fails is closed; if they cannot, the next use tries to
open it again.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from zmqkit.blocking.changes import Changes
from zmqkit.blocking.ending import Ending
from zmqkit.core.effects import Effect, Tell
from zmqkit.drivers.blocking import BlockingDriver, Waiter
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.roles.handlers import end_of
from zmqkit.roles.role import Command, Place, Plan, Shown
from zmqkit.roles.scheme import acquire_node, release_node
from zmqkit.statistics_limits import GLANCE_S

if TYPE_CHECKING:
    from zmqkit.node.node import Node

Given = TypeVar("Given")


class Life(Generic[Place]):
    """The life of a role from its first use to its close: its core behind its lock."""

    def __init__(self, plan: Plan[Place]) -> None:
        self.plan: Plan[Place] = plan
        # Held while a thread decides or sends, never while it waits.
        self.lock = threading.Lock()
        self.process = current_process()
        self.driver: BlockingDriver | None = None
        # True once no verb works any more; it is set under the lock if the role was open.
        self.closed = False
        self._keeper: Node | None = None
        self._changes = Changes()
        self._postponed: Callable[[], int] | None = None  # a close that came while opening

    @property
    def is_open(self) -> bool:
        """Whether the role is open, in the process that opened it."""
        return self.driver is not None and not self.closed and not self.process.forked

    # Opening

    def open(self) -> BlockingDriver:
        """Return the driver, which the first use makes; UsageError once the role is closed."""
        self.process.check()
        if self.closed:
            raise self._is_closed()
        if self.driver is not None:
            if self.driver.broken:
                raise self._is_closed()
            return self.driver
        try:
            driver = self._changes.make(self._open, self._is_opening)
        finally:
            if self._postponed is not None:
                self._changes.make(self._postponed, int)
        if self.closed:
            raise self._is_closed()
        return driver

    def _open(self) -> BlockingDriver:
        if self.closed:
            raise self._is_closed()
        if self.driver is None:
            self.driver = self._begin()
        return self.driver

    def _is_opening(self) -> BlockingDriver:
        raise UsageError(
            f"the {self.plan.title} is just being opened, by what this code interrupted"
        )

    def _begin(self) -> BlockingDriver:
        plan = self.plan
        link = plan.place.open()
        try:
            inner = Driver(
                plan.core, link, plan.hooks,
                changed=plan.changed, receive_all=plan.receive_all,
            )  # fmt: skip
            driver = BlockingDriver(inner, self.lock, awake=plan.awake, pace=plan.pace)
        except BaseException:
            link.close(0)
            plan.release()
            raise
        plan.hooks.settle = driver.settle
        try:
            plan.prepare(driver)
            self._keeper = acquire_node(plan.place.space) if plan.kept else plan.place.node
            if self._keeper is not None:
                self._keeper.keep(driver)
            self.driver = driver
            plan.appear(self.hear, self.glance)
        except BaseException:
            # The core may have heard of others by now, and it begins only once.
            self.driver = driver
            plan.withdraw()
            try:
                self._retire(driver, 0.0, int, list)
            finally:
                self._let_go(driver, 0.0)
            raise
        return driver

    def _is_closed(self) -> UsageError:
        broken = self.driver is not None and self.driver.broken
        why = "was interrupted in the middle of its work" if broken else "is closed"
        return UsageError(f"the {self.plan.title} {why}; make a new one")

    # Commands

    def look(self, question: Callable[[], Given]) -> Given:
        """Ask the core under the lock and return its answer; works at any time."""
        self.process.check()
        with self.lock:
            return question()

    def glance(self, question: Callable[[], Given]) -> Given | None:
        """Ask the core as `look` does; return None if the lock is held for long."""
        if not self.lock.acquire(timeout=GLANCE_S):
            return None
        try:
            return question()
        finally:
            self.lock.release()

    def command(self, command: Command, *values: object) -> None:
        """Have the core run this command now, and perform its effects."""
        self._locked(lambda driver, now: driver.command(command(*values, now), now))

    def submit(self, submit: Callable[..., Given], *values: object) -> Given:
        """Run a command whose outcome comes later, such as a stream; return what it returns."""

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
        """Have the core run a command that nobody waits for; what it sends may gather."""
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
        driver.notes.tell()

    def decide(self, decision: Callable[[], tuple[Given, list[Effect]]]) -> Given:
        """Run a decision under the lock; perform its effects and return its value."""
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
        """Do what `command` does, but return false if the lock is held.

        It is for a finalizer, which may run in the middle of the role's own work.
        """
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
        driver.notes.tell()
        return True

    def perform(self, effects: list[Effect]) -> None:
        """Perform effects of a part of a command; the caller is inside of that command."""
        if self.driver is not None:
            self.driver.driver.perform(effects)

    def hear(self, tell: Tell) -> None:
        """Take news from the node, on any thread."""
        driver = self.driver
        assert driver is not None and self.plan.hear is not None
        with self.lock:  # on the node's thread, where no interrupt comes
            if not driver.retired:
                now = time.monotonic()
                if self.plan.reads_first(tell):
                    driver.driver.catch_up(now)
                driver.command(self.plan.hear(tell, now), now)
        driver.notes.tell()

    # Waits

    def ask(
        self,
        submit: Callable[..., object],
        give_up: Callable[[object, float], list[Effect]],
        *values: object,
    ) -> object:
        """Submit these values with a waiter and the time; wait for the outcome and return it.

        Raises the outcome's error, or UsageError once the role is closed. If the wait ends
        early, `give_up` tells the core. Every call takes this way, so the steps are written out
        here. Threads that one packet has released come back at about the same time. All but the
        last thread give way, and the last one sends for all of them.
        """
        taken = False
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
                    taken = True
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
                with self.lock:
                    driver.guarded(self._join, driver, waiter)
            driver.wait(waiter)
        except BaseException:
            if taken:  # else the core would look through all jobs for nothing
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
        """Return the value that `take` returns, and wait while it returns None.

        take: returns the value and whether to flush. listen: has the core end the wait once
        there is something to take. give_up: tells the core that the wait ended early.
        """
        self.process.check()
        driver = self.driver
        assert driver is not None
        waiter: Waiter | None = None
        try:
            while True:
                with self.lock:
                    if waiter is not None:
                        driver.is_last()  # this released thread is back
                    taken = take()  # not guarded: `give_up` ends all that this may cut short
                    if taken is None:
                        waiter = Waiter()
                        driver.guarded(self._listen, driver, waiter, listen)
                    elif taken[1]:
                        driver.guarded(driver.command, [], time.monotonic())
                if taken is not None:
                    driver.notes.tell()
                    return taken[0]
                assert waiter is not None
                driver.wait(waiter)
        except UsageError:
            # Another thread reads the stream and goes on, or an interrupt broke the role.
            if waiter is not None:
                driver.locked(driver.leave, waiter)
            raise
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
        """Run `give_up` where no thread waits; the role may be closed already."""
        self.process.check()
        self._give_up(None, give_up)

    def _give_up(
        self, waiter: Waiter | None, give_up: Callable[[object, float], list[Effect]]
    ) -> None:
        """End the wait, and have `give_up` tell the core."""
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
        """Wait until `done` returns true, the time `until`, or the role's end."""
        self.process.check()
        if self.driver is not None:
            self.driver.drive_until(done, until)

    def is_past(self, until: float) -> bool:
        """Return whether the time `until` has come."""
        return time.monotonic() >= until

    def wake(self) -> None:
        """Have waiting threads look again; takes no lock, so a signal's handler may call it."""
        if self.driver is not None and not self.closed:
            self.driver.wake()

    # Closing

    def close(self, timeout_s: float, ending: Ending) -> int:
        """End the role, once; return how much was left when its core was closed.

        A second call waits for the first and returns 0. If it interrupted the first, on the
        same thread, it returns 0 at once; if it interrupted `open`, the role is closed after
        that. While the interpreter ends, `close` does nothing: all other threads stand still
        for ever, and the system takes back what is open.
        """
        self.process.check()
        until = end_of(timeout_s)
        if sys.is_finalizing():
            return 0
        end = partial(self._end, until, ending)

        def postpone() -> int:
            self._postponed = end
            return 0

        return self._changes.make(end, postpone)

    def after_close(self, work: Callable[[], None]) -> None:
        """Do the rest of a close, once `close` has returned; it may be done twice.

        Does nothing while the role is not closed, or if this interrupted the rest of another
        close, on the same thread: that one goes on.
        """

        def leave_it() -> None:
            return

        if self.closed:
            self._changes.make(work, leave_it)

    def _end(self, until: float, ending: Ending) -> int:
        """Do what `close` says, unless it is done."""
        driver = self.driver
        if self.closed or driver is None:
            self.closed = True
            return 0
        driver.attentive = True  # waiting threads look again
        if ending.leave is not None and not driver.broken:
            self.command(ending.leave)
        self.plan.withdraw()
        if ending.drain is not None and not driver.broken:
            ending.drain(until)
        lingers = ending.linger_s(until - time.monotonic())
        try:
            count = self._retire(driver, until, ending.left, ending.close)
        finally:
            self._let_go(driver, lingers)
        if ending.over is not None:
            ending.over(count)
        if count and ending.says is not None:
            driver.notes.add(
                logging.WARNING, "%s closed %s", self.plan.title, ending.says(count)
            )
            driver.notes.tell()
        return count

    def _retire(
        self,
        driver: BlockingDriver,
        until: float,
        left: Callable[[], int],
        close: Callable[[], list[Effect]],
    ) -> int:
        """Close the core, and have all threads leave; return how much was left."""
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
            self.plan.release()
            if self.plan.kept and self._keeper is not None:
                release_node(self._keeper)


class Role(Shown, ABC):
    """A role, which opens at the start of its `with` block and closes at its end."""

    @abstractmethod
    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Close the role; return how much was left."""

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
