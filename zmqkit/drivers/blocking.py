"""The blocking driver: one of the threads that wait in a verb drives; the others wait for it.

Theory of operation. One lock guards all of a role's state. A thread holds the lock only while
it drains, decides or sends, never while it waits. One of the threads that wait leads: it waits
on the link's descriptor and settles the waits of all. When its own wait is over, it passes the
lead on to one of the others. When no thread leads for some 20 ms, the process's keeper thread
drives until a thread leads again. A thread that settles something for the resting leader, or
brings the leader's deadline forward, wakes the leader (see `waker`).

A signal's handler may raise between any two steps of the main thread; Ctrl-C does. A thread
that waits holds no lock, so it just leaves, and all goes on. Under the lock, which is held for
microseconds, such an interrupt cuts a decision short, and nobody can tell how far the decision
went. No core can go on from there. So the interrupt breaks the role, and `fail` tells every
thread.
"""

from __future__ import annotations

import _thread
import select
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import TypeVar

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.effects import Effect
from zmqkit.core.pace import Pace
from zmqkit.drivers.busypoll import BusyPoll, give_way
from zmqkit.drivers.flusher import Flusher
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.misuse import check_loop
from zmqkit.drivers.perform import Driver
from zmqkit.drivers.waker import Waker
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.limits import REST_S_MAX

_POSTS = 64
Given = TypeVar("Given")

_REST_MS_MAX = int(REST_S_MAX * 1000)


class Waiter:
    """One thread's wait for one outcome."""

    # These defaults of the class spare each wait the call of an `__init__`.
    done = False
    value: object = None
    error: ZmqkitError | None = None
    gate: _thread.LockType | None = None  # the thread waits at it while another thread leads
    nominated = False  # the thread was woken to take the lead
    timeout_ms = 0  # how long the thread may rest first, if it leads
    told: Callable[[Waiter], None] | None = None  # is called under the lock with the outcome
    sequence = 0  # of the call that the thread waits for; 0 before the call is sent


class BlockingDriver:
    """Drives a core from the threads that use its role.

    lock: the lock of the role. awake: a wait may begin awake, which pays where somebody waits
    for an answer. pace: the pace of the core, if messages may gather in it that nobody waits
    for.
    """

    def __init__(
        self,
        driver: Driver,
        lock: threading.Lock,
        *,
        awake: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self.driver = driver
        self.lock = lock
        self._pace = pace or Pace()
        self.notes = driver.notes
        self._flusher = Flusher(self.lock, self._flush_due, self.notes.tell)
        self._news = threading.Condition(self.lock)
        self.retired = False  # true: no thread drives any more
        self.broken = False  # true: retired because of an interrupt
        self.turns = 0
        self.attentive = False  # true: the leader looks around after each command of others
        self.watched = False  # true: the keeper looks within KEEPER_S whether a thread drives
        self._released = 0
        self._busy = BusyPoll(wanted=awake)
        self.process = current_process()
        self._followers: dict[Waiter, None] = {}
        self._leader: object = None
        self._resting = False
        self._rest_until = inf
        self._waker = Waker()
        self._watched: tuple[int, ...] = ()
        self._poll = self._watch()

    @property
    def led(self) -> bool:
        """Whether a thread leads, and so drives."""
        return self._leader is not None

    def check_open(self) -> None:
        """Raise UsageError once the role is closed or broken."""
        if self.broken:
            raise UsageError(
                "the role was interrupted in the middle of its work; make a new one"
            )
        if self.retired:
            raise UsageError("the role is closed; make a new one")

    def locked(self, work: Callable[..., Given], *values: object) -> Given:
        """Do this work under the lock, and log what it noted after that.

        An exception that cuts the work short breaks the role. Who may take the lead calls
        `guarded` instead, since a thread that leads does not log.
        """
        try:
            with self.lock:
                return self.guarded(work, *values)
        finally:
            self.notes.tell()

    def guarded(self, work: Callable[..., Given], *values: object) -> Given:
        """Do what `locked` does, for a caller that holds the lock."""
        try:
            return work(*values)
        except ZmqkitError:
            raise  # the core refused the command
        except BaseException:
            self.fail()
            raise

    def fail(self) -> None:
        """Break the role and have all threads leave: one was interrupted under the lock."""
        self.broken = self.retired = True
        for follower in list(self._followers):
            self._release(follower)
        self.wake()
        self._news.notify_all()

    def command(self, effects: list[Effect], now: float) -> None:
        """Perform a command's effects, and send what gathered. The caller holds the lock."""
        if effects:
            self.driver.perform(effects)
        self._released = 0
        self.driver.flush(now)
        if self.driver.link.pending():
            self.turn()
        if self._resting and (
            self.attentive
            or self.driver.core.deadline() < self._rest_until
            or self._watched is not self.driver.link.descriptors
        ):
            self.wake()

    def post(self, effects: list[Effect], now: float) -> None:
        """Perform a command that nobody waits for, or see that what gathers leaves in time.

        A look at the link takes longer than sending, so this looks only now and then. The next
        look, or the keeper, sees what comes meanwhile. The caller holds the lock.
        """
        if now < self._pace.due_at < inf:
            if not self._flusher.awake:
                self._flusher.wake()
            return
        gathered = self._pace.due_at < inf
        if gathered or not effects:
            self.driver.flush(now)
        self.driver.perform(effects)
        self._pace.sent(time.monotonic())
        self.turns += 1
        if (gathered or not self.turns % _POSTS) and self.driver.link.pending():
            self.turn()
        if self._resting and self.driver.core.deadline() < self._rest_until:
            self.wake()

    def is_last(self) -> bool:
        """Return whether all other threads that were just released are back.

        If some are not, the caller lets them come, so that their commands leave together. The
        caller holds the lock.
        """
        self._released -= 1
        return self._released <= 0

    def turn(self) -> float:
        """Drain, decide and send; return when this began. The caller holds the lock."""
        self.turns += 1
        now = time.monotonic()
        self.driver.pump(now)
        if now >= self._rest_until:
            self.driver.tick(now)
        if self.attentive:
            self._news.notify_all()
        return now

    def join(self, waiter: Waiter) -> None:
        """Have the waiter lead, or follow the leader, in `wait`. The caller holds the lock.

        While there is something to log, the waiter does neither: `wait` logs it first.
        """
        if waiter.done or self.notes.due:
            return
        if self._leader is not None:
            waiter.gate = _thread.allocate_lock()
            waiter.gate.acquire()
            self._followers[waiter] = None
        else:
            self._leader = waiter
            waiter.timeout_ms = self._timeout_ms(inf)

    def wait(self, waiter: Waiter) -> None:
        """Drive, or wait for the thread that drives, until the outcome is there.

        A thread that is interrupted in `join`, here or in between has to call `leave`.
        """
        if not waiter.done:
            check_loop()
        while not waiter.done:
            if self.retired and not waiter.done:
                self.check_open()  # raises, as the role is broken
            if waiter.gate is not None:
                self._follow(waiter, waiter.gate)
            elif self._leader is waiter:
                self._lead(waiter.timeout_ms, lambda: waiter.done, inf)
            else:
                self.notes.tell()
                with self.lock:
                    self.guarded(self.join, waiter)
        if self._leader is waiter:  # another thread settled the wait before it could drive
            self.locked(self.leave, waiter)

    def leave(self, waiter: object) -> None:
        """Give up a wait, and the lead if it has that. The caller holds the lock."""
        if isinstance(waiter, Waiter):
            self._followers.pop(waiter, None)
        if self._leader is waiter:
            self._drop_lead()
        elif self._leader is None:
            self._pass_on()

    def lead(self, done: Callable[[], bool], until: float = inf) -> None:
        """Drive until `done` or the time `until`, or until something was logged.

        Returns at once if another thread drives.
        """
        me = object()
        try:
            with self.lock:
                timeout_ms = self.guarded(self._take_lead, me, done, until)
            if timeout_ms is not None:
                self._lead(timeout_ms, done, until)
            else:
                self.notes.tell()
        except BaseException:
            self.locked(self.leave, me)
            raise

    def _take_lead(self, me: object, done: Callable[[], bool], until: float) -> int | None:
        if self._leader is not None or self.retired or done() or time.monotonic() >= until:
            return None
        if self.notes.due:
            return None
        self._leader = me
        return self._timeout_ms(until)

    def _lead(self, timeout_ms: int, done: Callable[[], bool], until: float) -> None:
        """Rest without the lock and take a turn with it, again and again.

        Returns also when there is something to log; then it has left the lead and logged it.
        The role may be closed while this rests, if a signal's handler runs in between or
        closes the role itself. What this polls may be other files' descriptors then. So it
        reads nothing before it has the lock and knows that the role lives.
        Every call takes this way, so it takes the lock only once a round.
        """
        while True:
            ready = self._rest(timeout_ms)
            with self.lock:
                try:
                    self._resting = False
                    if not self.retired:
                        for descriptor, _ in ready:
                            if descriptor == self._waker.descriptor:
                                self._waker.clear()
                    over = self.retired or self.turn() >= until or done()
                    if over or self.notes.due:
                        self._drop_lead()
                        break
                    timeout_ms = self._timeout_ms(until)
                except BaseException:
                    self.fail()
                    raise
        self.notes.tell()

    def _rest(self, timeout_ms: int) -> list[tuple[int, int]]:
        """Wait for a descriptor to be readable; stay awake for a moment if that pays."""
        poll = self._poll.poll
        busy = self._busy
        now = time.monotonic()
        busy.begin(now)
        if busy.pays and timeout_ms:
            while now < busy.until:
                if ready := poll(0):
                    busy.end(now)
                    return ready
                give_way()
                begun, now = now, time.monotonic()
                busy.gave_way(begun, now)
        ready = poll(timeout_ms)
        busy.end(time.monotonic())
        return ready

    def _drop_lead(self) -> None:
        """Let another waiting thread drive. The caller holds the lock."""
        self._leader = None
        self._resting = False
        if self._followers:
            self._pass_on()
        if self.attentive:
            self._news.notify_all()

    def drive_until(self, done: Callable[[], bool], until: float) -> None:
        """Drive, or watch another thread drive, until `done` or the time `until`.

        Returns once the role is closed, too: nobody drives then. Raises UsageError if it broke.
        """
        self.attentive = True
        while not done() and time.monotonic() < until:
            check_loop()
            if self.broken:
                self.check_open()
            if self.retired:
                return
            self.lead(done, until)
            with self._news:
                if self.led and not done():
                    left_s = max(0.0, until - time.monotonic())
                    self._news.wait(min(left_s, REST_S_MAX))

    def retire(self, close: Callable[[], list[Effect]], until: float) -> None:
        """Close the core, stop all driving, and wait until `until` for the leader to leave.

        This is one step under the lock. A thread that comes later learns that the role is
        closed; the wait of a thread that came before is settled.
        """
        with self._news:
            self.driver.perform(close())
            self.retired = True
            self.wake()
            for follower in list(self._followers):
                self._release(follower)
            while self.led and time.monotonic() < until:
                self._news.wait(min(until - time.monotonic(), REST_S_MAX))
        self.notes.tell()

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """End the waits of these threads. The caller holds the lock."""
        self._released += len(outcomes)
        for waiter, value, error in outcomes:
            assert isinstance(waiter, Waiter)
            waiter.value = value
            waiter.error = error
            waiter.done = True
            if waiter in self._followers:
                self._release(waiter)
            elif waiter is self._leader and self._resting:
                self.wake()
            elif waiter.told is not None:
                self._released -= 1  # no thread comes back
                waiter.told(waiter)

    def wake(self) -> None:
        """Have the leading thread look around at once."""
        self._waker.wake()

    def step(self) -> float | None:
        """Drive once for the keeper; return None when a thread leads or holds the lock.

        Otherwise returns when to do so next at the latest; minus infinity means at once.
        """
        if not self.lock.acquire(blocking=False):
            return None
        try:
            if self.led or self.retired:
                return None
            self._rest_until = self.driver.core.deadline()
            self.driver.flush(self.turn())
            return -inf if self.driver.link.pending() else self.driver.core.deadline()
        finally:
            self.lock.release()
            self.notes.tell()

    def prod(self) -> int:
        """Have a thread take a turn soon, or take it here; return how many there were.

        It never waits, so whoever asks again can tell from the number whether anybody drives.
        """
        self.wake()
        self.step()
        return self.turns

    def close(self) -> None:
        """Close the waker, after the role was retired and its core and link were closed."""
        self._flusher.close()
        self._waker.close()

    def _flush_due(self, now: float) -> bool:
        """Send what gathers if it is due; return whether to look again. Needs the lock."""
        if self.retired or self._pace.due_at == inf:
            return False
        if now >= self._pace.due_at:
            self.driver.flush(now)
        return True

    def _follow(self, waiter: Waiter, gate: _thread.LockType) -> None:
        """Wait until the outcome is there or the lead is free; take the lead, or pass it on."""
        while not gate.acquire(timeout=REST_S_MAX):
            pass  # a signal's handler may run in between
        if not self.retired and (waiter.nominated or not waiter.done):
            with self.lock:
                self.guarded(self._follow_on, waiter)

    def _follow_on(self, waiter: Waiter) -> None:
        waiter.gate = None
        if not self.led and waiter.done:
            self._pass_on()
        else:
            self.join(waiter)

    def _pass_on(self) -> None:
        """Have one of the followers take the lead; it passes the lead on when it is done."""
        follower = next(iter(self._followers), None)
        if follower is not None:
            follower.nominated = True
            self._release(follower)

    def _release(self, follower: Waiter) -> None:
        del self._followers[follower]
        assert follower.gate is not None
        follower.gate.release()

    def _watch(self) -> select.poll:
        """Return a poll of what the leader rests on: the link, and what wakes the leader."""
        self._watched = self.driver.link.descriptors
        poll = select.poll()
        for descriptor in (*self._watched, self._waker.descriptor):
            poll.register(descriptor, select.POLLIN)
        return poll

    def _timeout_ms(self, until: float) -> int:
        """Return how many milliseconds, rounded up, the leader may rest."""
        if self.driver.link.pending():
            self._rest_until = -inf
            return 0
        if self._watched is not self.driver.link.descriptors:
            self._poll = self._watch()
        self._resting = True
        deadline = self.driver.core.deadline()
        self._rest_until = min(until, deadline)
        rest_s = self._rest_until - time.monotonic()
        if rest_s >= REST_S_MAX:
            return _REST_MS_MAX
        return int(rest_s * 1000) + 1 if rest_s > 0 else 0
