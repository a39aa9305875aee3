"""The store that zmqkit has itself: a ledger, and a journal where that is asked for.

    store = LedgerStore("thumbnails", journal="thumbnails.store")
    await store.open(Needs(durable=True))
    await store.add([NewTask(b"cat.png", id="order-17")])
    for task in await store.take(10, lease_s=60, wait_s=5):
        await store.settle([Settlement(task.receipt, End.DONE, value=resize(task.body))])
    await store.close()

Nothing runs between two verbs but the thread that writes the journal. Each verb first brings
the ledger up to the present, so leases that are over have ended whenever somebody looks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path

from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.task import Event, State, Task
from zmqkit.disk.journal import Journal
from zmqkit.errors import (
    CallCancelled,
    ConfigError,
    JournalError,
    PeerError,
    PeerLost,
    QueueFull,
    UsageError,
    ZmqkitError,
)
from zmqkit.limits import (
    ATTEMPTS,
    ATTEMPTS_MAX,
    BODY_BYTES_MAX,
    OLDEST_EVERY,
    PRIORITY_MAX,
    STORE_BATCH,
    TIMEOUT_S_MAX,
    PusherLimits,
)
from zmqkit.roles.journaled import open_journal
from zmqkit.roles.scheme import draw_incarnation
from zmqkit.roles.tasks import TaskOptions
from zmqkit.stores.contract import (
    Alteration,
    Answer,
    End,
    Evidence,
    Found,
    Look,
    Needs,
    NewTask,
    Settlement,
    Store,
    Taken,
)
from zmqkit.stores.disk import Disk
from zmqkit.stores.leases import Lease, Leases

_DEFAULTS = PusherLimits()
_PREFIX_BYTES = 8
_REASON_CHARS = 16_000


class LedgerStore(Store):
    """Keeps the tasks of a queue in this process, or in a file of this machine as well.

    name: the name of the queue. journal: the path of the file, which one store at a time has
    open; it is made if it is not there. A pusher's journal is another one: its bodies are
    encoded values. limits: how many tasks there may be, and how long outcomes are kept.
    """

    def __init__(
        self,
        name: str,
        *,
        journal: str | Path | None = None,
        limits: PusherLimits = _DEFAULTS,
    ) -> None:
        self.name = name
        self._path = journal
        self._limits = limits
        self._id = draw_incarnation()
        self._ledger = Ledger(limits)
        self._leases = Leases(os.urandom(_PREFIX_BYTES))
        self._disk: Disk | None = None
        self._takers: set[asyncio.Future[bool]] = set()
        self._is_open = self._is_closed = False

    async def open(self, needs: Needs) -> Evidence:
        """Begin, with what the journal has; see `Store.open`."""
        if self._is_open or self._is_closed:
            raise UsageError(f"the store of {self.name!r} is opened once; make another one")
        if needs.durable and self._path is None:
            raise ConfigError(
                f"durable is needed, and the store of {self.name!r} is in memory; "
                "give it journal=PATH, a file on a local disk"
            )
        facts = _facts(self._limits)
        if self._path is not None:
            # The name keeps a pusher from reading bodies that it did not write.
            journal = await _opened(self._path, f"store:{self.name}")
            try:
                self._disk = Disk(journal, self._ledger, self._limits, self._tell)
            except BaseException:
                journal.close()
                raise
            self._id = journal.id
            facts["durable"] = (
                f"{journal.path}: {journal.safety()}; an answer follows the commit, which "
                "lasts as far as the disk keeps what it has synced"
            )
        self._is_open = True
        return Evidence({name: facts[name] for name in needs.names()})

    async def add(self, tasks: Sequence[NewTask]) -> list[Answer]:
        """Accept tasks; see `Store.add`."""
        now = self._begin(tasks)
        if self._disk is not None and self._disk.fault is not None:
            raise self._disk.fault
        added = [self._add(each, now) for each in tasks]
        there = [each for each in added if isinstance(each, Task)]
        self._tell()
        doubt = None
        if self._disk is not None and there:
            new = [each for each in there if each.twin is None]
            known = [each.twin for each in there if each.twin is not None]
            doubt = await self._disk.written(new=new, known=known)
        return [self._accepted(each, doubt) for each in added]

    async def take(
        self,
        count_max: int,
        *,
        lease_s: float,
        wait_s: float = 0.0,
        attempts_max: int = ATTEMPTS,
    ) -> list[Taken]:
        """Return the next tasks, each on a lease; see `Store.take`."""
        _check_lease(lease_s)
        if type(count_max) is not int or not 1 <= count_max <= STORE_BATCH:
            raise UsageError(f"count_max is {count_max!r}; use 1 to {STORE_BATCH}")
        if type(attempts_max) is not int or not 1 <= attempts_max <= ATTEMPTS_MAX:
            raise UsageError(f"attempts_max is {attempts_max!r}; use 1 to {ATTEMPTS_MAX}")
        if not _is_duration(wait_s):
            raise UsageError(f"wait_s is {wait_s!r}; use seconds, 0 or more")
        until, woken = time.monotonic() + wait_s, False
        while True:
            now = self._begin(())
            taken = self._lease(count_max, now, lease_s, attempts_max)
            if self._disk is not None:
                self._disk.write()
            is_coming = self._disk is not None and self._disk.is_reading
            if taken or woken or (now >= until and not is_coming):
                return taken
            woken = await self._told(inf if is_coming else min(until, self._deadline()))

    async def renew(self, receipts: Sequence[bytes], *, lease_s: float) -> list[Answer]:
        """Have leases go on; see `Store.renew`."""
        _check_lease(lease_s)
        now = self._begin(receipts)
        answers: list[Answer] = []
        for receipt in receipts:
            lease = self._leases.find(receipt)
            if lease is None:
                answers.append(Answer(changed=False))
            else:
                self._leases.renew(lease, now + lease_s)
                answers.append(Answer(changed=True, id=self._id_of(lease.task)))
        return answers

    async def settle(self, settlements: Sequence[Settlement]) -> list[Answer]:
        """End attempts; see `Store.settle`."""
        now = self._begin(settlements)
        ended: list[Task] = []
        answers: list[Answer] = []
        for each in settlements:
            error = _wrong(each)
            lease = self._leases.find(each.receipt) if error is None else None
            if lease is None:
                answers.append(Answer(changed=False, error=error))
                continue
            self._settle(lease, each, now)
            if each.end is not End.RELEASED:
                ended.append(lease.task)
            answers.append(Answer(changed=True, id=self._id_of(lease.task)))
        return await self._written(ended, answers)

    async def alter(self, alteration: Alteration, ids: Sequence[str]) -> list[Answer]:
        """Change tasks by their ids; see `Store.alter`."""
        self._begin(ids)
        changed: list[Task] = []
        answers: list[Answer] = []
        for id in ids:
            task = await self._find(id)
            now = self._begin(())
            if task is None:
                answers.append(Answer(changed=False))
                continue
            error = None
            try:
                has_changed = self._alter(alteration, task, now)
            except QueueFull as full:
                has_changed, error = False, full
            if has_changed:
                changed.append(task)
            answers.append(Answer(has_changed, self._id_of(task), error))
        return await self._written(changed, answers)

    async def look(self, ids: Sequence[str] = (), *, dead_max: int = 0) -> Look:
        """Return the counts and some tasks; see `Store.look`."""
        self._begin(ids)
        tasks = [await self._find(id) for id in ids]
        self._begin(())
        ledger = self._ledger
        dead = [*ledger.dead.values()][:dead_max]
        return Look(
            ledger.accepted,
            {state: ledger.counts[state] for state in State},
            tuple(self._found(task) if task is not None else None for task in tasks),
            tuple(map(self._found, dead)),
        )

    async def wake(self) -> None:
        """Have each take that waits return; see `Store.wake`."""
        self._begin(())
        self._tell(woken=True)

    async def close(self) -> None:
        """End every wait, and close the file; see `Store.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._tell()
        if self._disk is not None:
            await self._disk.close()

    # Inside

    def _begin(self, batch: Sequence[object]) -> float:
        """Bring the tasks up to the present; return that. Raises UsageError."""
        if self._is_closed or not self._is_open:
            state = "closed" if self._is_closed else "not open yet; await its open() first"
            raise UsageError(f"the store of {self.name!r} is {state}")
        if len(batch) > STORE_BATCH:
            raise UsageError(f"{len(batch)} items in one batch; use {STORE_BATCH} at most")
        now = time.monotonic()
        self._ledger.tick(now)
        for lease in self._leases.lapse(now):
            self._lose(lease, now)
        return now

    def _deadline(self) -> float:
        return min(self._ledger.deadline(), self._leases.deadline())

    def _add(self, new: NewTask, now: float) -> Task | ZmqkitError:
        """Return the task that was accepted or is there already, or why there is none."""
        try:
            TaskOptions(
                priority=new.priority, expires_s=new.expires_s, delay_s=new.delay_s, id=new.id,
                unique=new.unique, order_by=new.order_by,
            )  # fmt: skip
            if type(new.body) is not bytes or len(new.body) > BODY_BYTES_MAX:
                raise UsageError(f"a body is bytes, {BODY_BYTES_MAX} at most")
            task = Task(new.body, None, new.priority)
            task.pushed_at = now
            if new.delay_s:
                task.due_at = now + new.delay_s
            if new.expires_s is not None:
                task.expires_at = now + new.expires_s
            task.own_id, task.unique, task.order_by = new.id, new.unique, new.order_by
            task.twin = self._ledger.names.known(task)
            if task.twin is None:
                self._ledger.add(task, now)
        except (UsageError, QueueFull) as error:
            return error
        return task

    def _accepted(self, added: Task | ZmqkitError, doubt: ZmqkitError | None) -> Answer:
        if not isinstance(added, Task):
            return Answer(changed=False, error=added)
        if added.twin is not None:
            return Answer(changed=False, id=self._id_of(added.twin), error=doubt)
        # One that was taken and has ended before the disk refused it needs no disk.
        refused = added.error if isinstance(added.error, JournalError) else None
        return Answer(refused is None, self._id_of(added), refused)

    def _lease(
        self, count_max: int, now: float, lease_s: float, attempts_max: int
    ) -> list[Taken]:
        taken: list[Taken] = []
        while len(taken) < count_max and (task := self._ledger.lease(now)) is not None:
            receipt = self._leases.give(task, now + lease_s, attempts_max)
            taken.append(
                Taken(self._id_of(task), bytes(task.row), task.attempt, receipt, lease_s)
            )
        return taken

    def _lose(self, lease: Lease, now: float) -> None:
        """End an attempt whose lease is over."""
        task = lease.task
        reason = f"the lease of attempt {task.attempt} was over, and nobody had settled it"
        if task.failures + 1 >= lease.attempts_max:
            error = PeerLost(reason, may_have_run=True)
            self._ledger.settle(task, Event.EXHAUSTED, now, error=error)
        else:
            self._ledger.retry(task, reason, 0.0, now)

    def _settle(self, lease: Lease, settlement: Settlement, now: float) -> None:
        ledger, task = self._ledger, lease.task
        reason = settlement.reason[:_REASON_CHARS] or "the attempt failed"
        self._leases.end(lease)
        match settlement.end:
            case End.DONE:
                value = settlement.value
                ledger.done(task, memoryview(value), len(value), now)
            case End.RETRY:
                ledger.retry(task, reason, settlement.delay_s, now)
            case End.DEAD:
                error = PeerError(reason, may_have_run=True)
                ledger.settle(task, Event.EXHAUSTED, now, error=error)
            case End.RELEASED:
                ledger.release(task, now)

    def _alter(self, alteration: Alteration, task: Task, now: float) -> bool:
        if alteration is Alteration.REQUEUE:
            return self._ledger.requeue(task, now)
        is_purge = alteration is Alteration.PURGE
        text = "the task was purged" if is_purge else "the task was cancelled"
        error = CallCancelled(text, may_have_run=task.attempt > 0)
        event = Event.PURGED if is_purge else Event.CANCELLED
        return self._ledger.settle(task, event, now, error=error)

    async def _written(self, changed: list[Task], answers: list[Answer]) -> list[Answer]:
        """Return the answers once the disk has what changed, or with the reason why not."""
        self._tell()
        if self._disk is None or not changed:
            return answers
        error = await self._disk.written(changed)
        if error is None:
            return answers
        return [Answer(a.changed, a.id, error if a.changed else a.error) for a in answers]

    async def _find(self, id: str) -> Task | None:
        if self._disk is not None:
            return await self._disk.find(id)
        return self._ledger.find(id, self._id)

    def _id_of(self, task: Task) -> str:
        return task.own_id or f"{self._id:016x}{task.sequence:016x}"

    def _found(self, task: Task) -> Found:
        value = bytes(task.value) if isinstance(task.value, memoryview) else b""
        return Found(self._id_of(task), task.state, task.attempt, task.reasons, value)

    def _tell(self, *, woken: bool = False) -> None:
        """Have those who wait for tasks look again."""
        takers, self._takers = self._takers, set()
        for taker in takers:
            taker.set_result(woken)

    async def _told(self, until: float) -> bool:
        """Wait until there may be tasks, or until then; return whether `wake` was called."""
        taker = asyncio.get_running_loop().create_future()
        self._takers.add(taker)
        timeout_s = max(0.0, until - time.monotonic()) if until < inf else None
        try:
            await asyncio.wait([taker], timeout=timeout_s)
        finally:
            self._takers.discard(taker)
        return taker.done() and taker.result()


async def _opened(path: str | Path, queue: str) -> Journal:
    """Open a journal in another thread, for its file is checked first."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_journal, path, queue))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: asyncio.Future[Journal]) -> None:
    """Close a journal that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _facts(limits: PusherLimits) -> dict[str, str]:
    return {
        "ordered": "one ledger has all tasks, and a key is held until its task has ended",
        "unique": (
            "one ledger has all names; an id is known while its task is open or dead, or among "
            f"the last {limits.outcomes_max} that ended, for {limits.outcomes_s:g} s"
        ),
        "priority": f"0 to {PRIORITY_MAX}; every {OLDEST_EVERY}th lease is that of the oldest",
        "delay": "measured by the monotonic clock, kept in the journal as a time of day",
        "expiry": "measured by the monotonic clock, kept in the journal as a time of day",
    }


def _wrong(settlement: Settlement) -> UsageError | None:
    """Return what is wrong with a settlement."""
    if not isinstance(settlement.end, End):
        return UsageError(f"end is {settlement.end!r}; use one of End")
    if type(settlement.value) is not bytes or len(settlement.value) > BODY_BYTES_MAX:
        return UsageError(f"a value is bytes, {BODY_BYTES_MAX} at most")
    if not _is_duration(settlement.delay_s):
        return UsageError(f"delay_s is {settlement.delay_s!r}; use seconds, 0 or more")
    return None


def _check_lease(lease_s: float) -> None:
    if not _is_duration(lease_s) or not lease_s:
        raise UsageError(f"lease_s is {lease_s!r}; use seconds above 0")


def _is_duration(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= TIMEOUT_S_MAX  # type: ignore[operator]  # a number
