"""The store that zmqkit has itself, in memory and with a journal, keeps the contract."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import zmqkit
from tests.stores.contract import DURABLE_RULES, RULES
from tests.stores.stage import ALL, ALL_DURABLE, LONG_S, Rule, accepted, name_of, only, prove
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes
from zmqkit.errors import ConfigError, JournalError, QueueFull, UsageError
from zmqkit.limits import PusherLimits
from zmqkit.stores.contract import Alteration, End, Needs, NewTask, Settlement, State
from zmqkit.stores.ledger_store import LedgerStore

DURABLE = Needs(durable=True)
KILLS = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails.journal"


class Checked(LedgerStore):
    """Sees whether its ledger is consistent before it closes."""

    async def close(self) -> None:
        self._ledger.check()
        await super().close()


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_in_memory(rule: Rule) -> None:
    prove(rule, lambda: Checked("thumbnails"))


@pytest.mark.parametrize("rule", [*RULES, *DURABLE_RULES], ids=name_of)
def test_with_a_journal(rule: Rule, path: Path) -> None:
    prove(rule, lambda: Checked("thumbnails", journal=path), ALL_DURABLE)


def run(
    use: Callable[[LedgerStore], Awaitable[None]],
    journal: Path | None = None,
    limits: PusherLimits | None = None,
) -> None:
    """Open a store, use it and close it."""

    async def main() -> None:
        store = Checked("thumbnails", journal=journal, limits=limits or PusherLimits())
        await store.open(ALL)
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(main())


# What it has


def test_a_store_in_memory_is_not_durable() -> None:
    store = LedgerStore("thumbnails")
    with pytest.raises(ConfigError, match="give it journal=PATH"):
        asyncio.run(store.open(DURABLE))


def test_the_evidence_says_how_the_disk_is_synced(path: Path) -> None:
    async def main() -> None:
        store = LedgerStore("thumbnails", journal=path)
        fact = (await store.open(DURABLE)).facts["durable"]
        assert str(path) in fact
        assert "journal_mode=wal, synchronous=FULL" in fact
        assert "locking_mode=exclusive" in fact
        await store.close()

    asyncio.run(main())


def test_one_store_at_a_time_has_a_file(path: Path) -> None:
    async def second(first: LedgerStore) -> None:
        other = LedgerStore("thumbnails", journal=path)
        with pytest.raises(JournalError, match="open already"):
            await other.open(DURABLE)
        with pytest.raises(UsageError, match="opened once"):
            await first.open(DURABLE)
        accepted(await first.add([NewTask(b"x")]))

    run(second, path)


def test_a_pusher_reads_no_bodies_that_it_did_not_write(path: Path) -> None:
    async def add(store: LedgerStore) -> None:
        accepted(await store.add([NewTask(b"x")]))

    run(add, path)
    with pytest.raises(JournalError, match="has the tasks of 'store:thumbnails'"):
        zmqkit.Pusher("thumbnails", journal=path)


def test_a_store_reads_no_values_of_a_pusher(path: Path) -> None:
    with zmqkit.Pusher("memory://thumbnails", journal=path) as pusher:
        pusher.push(1)
        pusher.close(0)
    with pytest.raises(JournalError, match="not of 'store:thumbnails'"):
        asyncio.run(LedgerStore("thumbnails", journal=path).open(DURABLE))


def test_an_opening_that_is_cancelled_leaves_the_file_free(path: Path) -> None:
    async def main() -> None:
        opening = asyncio.ensure_future(LedgerStore("q", journal=path).open(DURABLE))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(main())
    asyncio.run(opened_and_closed(path))


async def opened_and_closed(path: Path) -> None:
    store = LedgerStore("q", journal=path)
    await store.open(DURABLE)
    await store.close()


# Room


def test_a_full_queue_refuses_what_has_no_room() -> None:
    async def fill(store: LedgerStore) -> None:
        answers = await store.add([NewTask(b"%d" % n) for n in range(3)])
        assert [each.changed for each in answers] == [True, True, False]
        assert isinstance(answers[2].error, QueueFull)
        task = (await store.take(1, lease_s=LONG_S))[0]
        await store.settle([Settlement(task.receipt, End.DEAD)])
        accepted(await store.add([NewTask(b"3")]))
        [answer] = await store.alter(Alteration.REQUEUE, [task.id])
        assert (answer.changed, type(answer.error)) == (False, QueueFull)

    run(fill, limits=PusherLimits(tasks_max=2))


def test_tasks_on_disk_only_are_read_in_order(path: Path) -> None:
    limits = PusherLimits(window_tasks=4)
    bodies = [b"%d" % n for n in range(100)]

    async def add(store: LedgerStore) -> None:
        accepted(await store.add([NewTask(each) for each in bodies[:50]]))
        ids = accepted(await store.add([NewTask(each) for each in bodies[50:]]))
        found = (await store.look(ids)).found
        assert {each and each.state for each in found} == {State.WAITING}
        cancelled = await store.alter(Alteration.CANCEL, ids[-1:])
        assert cancelled[0].changed

    async def take(store: LedgerStore) -> None:
        seen = []
        while taken := await store.take(7, lease_s=LONG_S):
            seen += [each.body for each in taken]
            await store.settle([Settlement(each.receipt, End.DONE) for each in taken])
        assert seen == bodies[:-1]

    run(add, path, limits)
    run(take, path, limits)


# Disks that fail


class Fault:
    """Has the next commits fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: list[JournalError] = []
        commit = Journal.commit

        def commit_or_fail(journal: Journal, changes: Changes) -> None:
            if self.errors:
                raise self.errors.pop()
            commit(journal, changes)

        monkeypatch.setattr(Journal, "commit", commit_or_fail)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


@pytest.mark.slow
def test_a_full_disk_refuses_what_is_new(path: Path, fault: Fault) -> None:
    async def use(store: LedgerStore) -> None:
        fault.errors.append(JournalError("the disk is full", may_retry=True))
        answers = await store.add([NewTask(b"1"), NewTask(b"2", id="b")])
        assert [(each.changed, type(each.error)) for each in answers] == [
            (False, JournalError), (False, JournalError),
        ]  # fmt: skip
        assert (await store.take(1, lease_s=LONG_S)) == []
        again = await store.add([NewTask(b"2", id="b")])
        assert accepted(again) == ["b"]

    run(use, path)


@pytest.mark.slow
def test_a_settlement_that_the_disk_did_not_take_says_so(path: Path, fault: Fault) -> None:
    async def use(store: LedgerStore) -> None:
        accepted(await store.add([NewTask(b"1"), NewTask(b"2")]))
        first, second = await store.take(2, lease_s=LONG_S)
        fault.errors.append(JournalError("the disk is full", may_retry=True))
        doubtful = only(await store.settle([Settlement(first.receipt, End.DONE)]))
        assert (doubtful.changed, type(doubtful.error)) == (True, JournalError)
        sure = only(await store.settle([Settlement(second.receipt, End.DONE)]))
        assert (sure.changed, sure.error) == (True, None)

    run(use, path)

    async def nothing_left(store: LedgerStore) -> None:
        assert await store.take(1, lease_s=LONG_S) == []

    run(nothing_left, path)


def test_a_disk_that_failed_ends_all_waits(path: Path, fault: Fault) -> None:
    async def use(store: LedgerStore) -> None:
        fault.errors.append(JournalError("the disk failed"))
        batches = await asyncio.gather(*[store.add([NewTask(b"x")]) for _ in range(5)])
        assert {type(only(each).error) for each in batches} == {JournalError}
        with pytest.raises(JournalError, match="the disk failed"):
            await store.add([NewTask(b"x")])
        look = await store.look()
        assert look.accepted == look.counts[State.DROPPED] == 5

    with pytest.raises(JournalError, match="the disk failed"):
        run(use, path)


# Ends


def test_what_was_under_way_at_the_close_is_kept(path: Path) -> None:
    async def use(store: LedgerStore) -> None:
        adding = [asyncio.ensure_future(store.add([NewTask(b"x")])) for _ in range(3)]
        await asyncio.sleep(0)
        await store.close()
        for each in adding:
            accepted(await each)

    run(use, path)

    async def all_there(store: LedgerStore) -> None:
        assert len(await store.take(10, lease_s=LONG_S)) == 3

    run(all_there, path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_nothing_acknowledged_is_lost_to_sigkill(path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.stores.killed", str(path)]
    said: list[list[str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        count = random.Random(seed).randint(100, 3000)
        said += [process.stdout.readline().split() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        said += [line.split() for line in process.stdout.read().splitlines()]
    assert process.returncode == -signal.SIGKILL
    added = {id for word, id in filter(is_whole, said) if word == "added"}
    done = {id for word, id in filter(is_whole, said) if word == "done"}
    assert len(added) >= 50

    async def look(store: LedgerStore) -> None:
        there = set()
        while taken := await store.take(1000, lease_s=LONG_S):
            there |= {each.id for each in taken}
        assert not there & done, "settled tasks are taken again"
        lost = added - done - there
        # Some were settled, and the answer was not printed any more.
        for start in range(0, len(lost), 1000):
            ids = sorted(lost)[start : start + 1000]
            found = (await store.look(ids)).found
            assert {each and each.state for each in found} == {State.DONE}
        assert len(lost) <= 10

    run(look, path)


def is_whole(words: list[str]) -> bool:
    """Whether a line was written to its end: the last one may be cut."""
    return len(words) == 2 and len(words[1]) == 32
