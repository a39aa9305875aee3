"""The blocking driver: whichever thread waits in a verb drives; the others wait for it.

Theory of operation. All of a role's state is behind one lock that is held only while a thread
drains, decides or sends, never while it waits. Of the threads that wait, one leads: it waits on
the link's descriptor and settles the waits of all. When its own wait is over it passes the
lead on to one of the others. When nobody leads for some 20 ms, the process's keeper thread
drives until somebody does again. A thread that settles something for the resting leader, or
brings its deadline forward, wakes it through a pipe.
"""

from __future__ import annotations

import _thread
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from math import inf

from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.effects import Effect
from zmqkit.core.pace import Pace
from zmqkit.drivers.busypoll import BusyPoll, give_way
from zmqkit.drivers.flusher import Flusher
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver
from zmqkit.errors import UsageError, ZmqkitError
from zmqkit.limits import REST_S_MAX

_POSTS = 64
_REST_MS_MAX = int(REST_S_MAX * 1000)


class Waiter:
    """One thread's wait for one outcome.

    gate: what it waits at while another thread leads. nominated: it was woken to take the lead.
    timeout_ms: how long it may rest first if it leads. sequence: of the call that it waits for,
    0 before that is sent. Each begins with what stands here, so that none costs a function.
    """

    done = False
    value: object = None
    error: ZmqkitError | None = None
    gate: _thread.LockType | None = None
    nominated = False
    timeout_ms = 0
    sequence = 0


class BlockingDriver:
    """Drives a core from the threads that use its role.

    awake: a wait may begin awake, which pays where somebody waits for an answer. pace: the
    core's, if something may gather in it that nobody waits for. attentive: the
    leader wants to look around after each command of another thread. watched:
    the keeper is about to look whether a thread drives, within KEEPER_S.
    """

    def __init__(self, driver: Driver, *, awake: bool = True, pace: Pace | None = None) -> None:
        self.driver = driver
        self.lock = threading.Lock()
        self._pace = pace or Pace()
        self._flusher = Flusher(self.lock, self._flush_due)
        self._news = threading.Condition(self.lock)
        self.retired = False
        self.turns = 0
        self.attentive = False
        self.watched = False
        self._released = 0
        self._busy = BusyPoll(wanted=awake)
        self.process = current_process()
        self._followers: dict[Waiter, None] = {}
        self._leader: object = None
        self._resting = False
        self._rest_until = inf
        self._wake_read, waker = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(waker, False)
        # A file knows when it is closed; a descriptor may be somebody else's by then.
        self._waker = open(waker, "wb", buffering=0)  # noqa: SIM115 - until `close`
        self._watched: tuple[int, ...] = ()
        self._poll = self._watch()

    @property
    def led(self) -> bool:
        """Whether a thread drives."""
        return self._leader is not None

    def check_open(self) -> None:
        """Raise UsageError after close; the caller holds the lock."""
        if self.retired:
            raise UsageError("the role is closed; make a new one")

    def command(self, effects: list[Effect], now: float) -> None:
        """Perform a command's effects, send what it gathered; the caller holds the lock."""
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

        To look around takes longer than to send does, so that is done now and then; what comes
        meanwhile is seen at the next look, or by the keeper. The caller holds the lock.
        """
        if now < self._pace.due_at < inf:
            if not self._flusher.awake:
                self._flusher.wake()
            return
        gathered = self._pace.due_at < inf
        if gathered or self.driver.unsent:
            self.driver.flush(now)
        self.driver.perform(effects)
        self._pace.sent(time.monotonic())
        self.turns += 1
        if (gathered or not self.turns % _POSTS) and self.driver.link.pending():
            self.turn()
        if self._resting and self.driver.core.deadline() < self._rest_until:
            self.wake()

    def is_last(self) -> bool:
        """Whether no other thread that was just released is about to come with a command.

        If one is, let it come and have all of them leave together. The caller holds the lock.
        """
        self._released -= 1
        return self._released <= 0

    def turn(self) -> float:
        """Drain, decide and send; gives when it began. The caller holds the lock."""
        self.turns += 1
        now = time.monotonic()
        self.driver.pump(now)
        if now >= self._rest_until:
            self.driver.tick(now)
        if self.attentive:
            self._news.notify_all()
        return now

    def join(self, waiter: Waiter) -> None:
        """Lead, or follow whoever leads, until the outcome is there: `wait` does what this
        decides. The caller holds the lock."""
        if waiter.done:
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

        Whoever is interrupted, here or in `join` or between them, is to `leave`.
        """
        while not waiter.done:
            if self.retired and not waiter.done:
                self.check_open()  # an interrupt lost the outcome
            if waiter.gate is None:
                self._lead(waiter.timeout_ms, lambda: waiter.done, inf)
            else:
                self._follow(waiter, waiter.gate)
        if self._leader is waiter:  # another thread settled it before it could drive
            with self.lock:
                self.leave(waiter)

    def leave(self, waiter: object) -> None:
        """Give a wait up, and the lead with it. The caller holds the lock."""
        if isinstance(waiter, Waiter):
            self._followers.pop(waiter, None)
        if self._leader is waiter:
            self._drop_lead()
        elif self._leader is None:
            self._pass_on()

    def lead(self, done: Callable[[], bool], until: float = inf) -> None:
        """Drive until `done`, or the time `until`; at once over when another thread drives."""
        me = object()
        try:
            with self.lock:
                if self._leader is not None or self.retired or done():
                    return
                if time.monotonic() >= until:
                    return
                self._leader = me
                timeout_ms = self._timeout_ms(until)
            self._lead(timeout_ms, done, until)
        except BaseException:
            with self.lock:
                self.leave(me)
            raise

    def _lead(self, timeout_ms: int, done: Callable[[], bool], until: float) -> None:
        """Rest without the lock, turn with it; the way of every call, so the lock is taken
        once a round."""
        while True:
            for descriptor, _ in self._rest(timeout_ms):
                if descriptor == self._wake_read:
                    os.read(self._wake_read, 4096)
            with self.lock:
                self._resting = False
                if self.retired or self.turn() >= until or done():
                    self._drop_lead()
                    return
                timeout_ms = self._timeout_ms(until)

    def _rest(self, timeout_ms: int) -> list[tuple[int, int]]:
        """Wait for something to look at, awake for a moment if that pays."""
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
        """Let another waiting thread drive; the caller holds the lock."""
        self._leader = None
        self._resting = False
        if self._followers:
            self._pass_on()
        if self.attentive:
            self._news.notify_all()

    def drive_until(self, done: Callable[[], bool], until: float) -> None:
        """Drive, or watch another thread drive, until `done` or the time `until`."""
        self.attentive = True
        while not done() and time.monotonic() < until:
            self.lead(done, until)
            with self._news:
                if self.led and not done():
                    left_s = max(0.0, until - time.monotonic())
                    self._news.wait(min(left_s, REST_S_MAX))

    def retire(self, close: Callable[[], list[Effect]], until: float) -> None:
        """Close the core, and have no thread drive any more; those that wait leave by `until`.

        In one step under the lock: whoever comes later is told, whoever came before is settled.
        """
        with self._news:
            self.driver.perform(close())
            self.retired = True
            self.wake()
            for follower in list(self._followers):
                self._release(follower)
            while self.led and time.monotonic() < until:
                self._news.wait(min(until - time.monotonic(), REST_S_MAX))

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """End these threads' waits; the caller holds the lock."""
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

    def wake(self) -> None:
        """Have the leading thread look around at once."""
        try:
            self._waker.write(b"\0")  # does nothing if it was woken often enough
        except ValueError:
            return  # closed: nobody drives any more

    def step(self) -> float | None:
        """Drive once on behalf of nobody; None when a thread leads or holds the lock.

        Gives when to do so next at the latest, minus infinity for at once.
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

    def close(self) -> None:
        """Give the pipe back; the role is retired, its core and link are closed."""
        self._flusher.close()
        os.close(self._wake_read)
        self._waker.close()

    def _flush_due(self, now: float) -> bool:
        """Send what gathers if it is due; whether anything gathers. With the lock."""
        if self.retired or self._pace.due_at == inf:
            return False
        if now >= self._pace.due_at:
            self.driver.flush(now)
        return True

    def _follow(self, waiter: Waiter, gate: _thread.LockType) -> None:
        """Wait until the outcome is there or the lead is free; then take it, or pass it on."""
        while not gate.acquire(timeout=REST_S_MAX):  # a signal's handler runs in between
            if not self.led or waiter not in self._followers:
                break  # an interrupt kept another thread from opening the gate
        if waiter.done and not waiter.nominated:
            return
        with self.lock:
            self._followers.pop(waiter, None)
            waiter.gate = None
            if not self.led and waiter.done:
                self._pass_on()
            else:
                self.join(waiter)

    def _pass_on(self) -> None:
        """Have one of the followers take the lead; it passes it on when its wait is over."""
        follower = next(iter(self._followers), None)
        if follower is not None:
            follower.nominated = True
            self._release(follower)

    def _release(self, follower: Waiter) -> None:
        del self._followers[follower]
        assert follower.gate is not None
        follower.gate.release()

    def _watch(self) -> select.poll:
        """What the leader rests on: the link, and the pipe that wakes it."""
        self._watched = self.driver.link.descriptors
        poll = select.poll()
        for descriptor in (*self._watched, self._wake_read):
            poll.register(descriptor, select.POLLIN)
        return poll

    def _timeout_ms(self, until: float) -> int:
        """How long the leader may rest; milliseconds, rounded up."""
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
