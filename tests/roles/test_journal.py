"""A pusher with a journal: what it promises, and what the next process finds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import zmqkit
import zmqkit.asyncio
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from tests.spawning import Popen
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes
from zmqkit.limits import PusherLimits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "thumbnails.journal")


def page_count(pusher: Any, count: int) -> None:
    """Let the journal's file have so many pages: a disk that is full, or has room again."""
    core = getattr(pusher, "inner", pusher)
    core._journaled.journal._connection.execute(f"PRAGMA max_page_count = {count}")


def test_tasks_that_were_left_are_done_by_the_next_pusher(kit: Kit, journal: str) -> None:
    first = kit.pusher(count=0, journal=journal)
    tickets = first.push_many(range(5), order_by="account")
    ids = [each.id for each in tickets]
    assert first.close(0.01) == 5
    with pytest.raises(zmqkit.CallCancelled, match="in its journal"):
        tickets[0].result(1)
    second = kit.pusher(count=0, journal=journal)
    order: list[int] = []
    kit.working(lambda body: order.append(body) or 2 * body)
    assert [second.ticket(each).result(BOUND_S) for each in ids] == [0, 2, 4, 6, 8]
    assert order == [0, 1, 2, 3, 4]
    second.close()
    assert kit.pusher(count=0, journal=journal).stats()["accepted"] == 0


def test_numbers_go_on_where_they_ended(kit: Kit, journal: str) -> None:
    kit.working(lambda body: body)
    first = kit.pusher(journal=journal)
    before = first.push(1)
    assert before.result(BOUND_S) == 1
    first.close()
    second = kit.pusher(journal=journal)
    after = second.push(2)
    assert after.result(BOUND_S) == 2
    assert before.id[:16] == after.id[:16] and after.id > before.id


def test_what_is_pushed_later_waits_behind_what_was_left(kit: Kit, journal: str) -> None:
    first = kit.pusher(count=0, journal=journal)
    first.push_many(range(3))
    first.close(0)
    second = kit.pusher(count=0, journal=journal)
    last = second.push(3)
    order: list[int] = []
    kit.working(order.append, concurrency=1)
    last.result(BOUND_S)
    until(lambda: len(order) == 4)
    assert order == [0, 1, 2, 3]


def test_a_second_pusher_is_told_who_has_the_file(kit: Kit, journal: str) -> None:
    kit.pusher(count=0, journal=journal).ready(timeout_s=0)
    with pytest.raises(zmqkit.JournalError, match="it is open already, in this process; have"):
        kit.pusher(count=0, journal=journal)


@pytest.mark.parametrize("wrong", ["", 7, b"x"])
def test_a_journal_is_a_path(kit: Kit, wrong: object) -> None:
    with pytest.raises(zmqkit.UsageError, match="journal is"):
        kit.pusher(count=0, journal=wrong)


def test_dead_tasks_and_attempts_stay(kit: Kit, journal: str) -> None:
    def fail(body: object) -> None:
        raise ValueError("no")

    worker = kit.working(fail, attempts=2, backoff_s=0.01)
    first = kit.pusher(journal=journal)
    ticket = first.push("cat", id="order-17")
    with pytest.raises(zmqkit.RemoteError):
        ticket.result(BOUND_S)
    first.close()
    worker.close()
    second = kit.pusher(count=0, journal=journal)
    [dead] = second.dead()
    assert (dead.id, dead.attempts, dead.reasons) == ("order-17", 2, ["ValueError: no"] * 2)
    with pytest.raises(zmqkit.RemoteError, match="ValueError: no"):
        dead.result(0)
    assert second.push("other", id="order-17").id == "order-17"
    assert second.stats()["accepted"] == 1
    assert dead.requeue()
    kit.working(lambda body: body)
    assert dead.result(BOUND_S) == "cat"


def test_a_delay_and_an_expiry_go_on_while_nobody_has_the_file(kit: Kit, journal: str) -> None:
    first = kit.pusher(count=0, journal=journal)
    brief = first.push(2, expires_s=0.05)
    pushed_at = time.monotonic()
    late = first.push(1, delay_s=0.6)
    first.close(0)
    until(lambda: time.monotonic() > pushed_at + 0.1)
    second = kit.pusher(count=0, journal=journal)
    kit.working(lambda body: body)
    assert second.ticket(late.id).result(BOUND_S) == 1
    assert time.monotonic() - pushed_at >= 0.5
    # A slow machine closes the first one only after that.
    assert first.stats()["expired"] + second.stats()["expired"] == 1
    assert brief.id != late.id


def test_a_full_disk_refuses_what_is_new_and_loses_nothing(kit: Kit, journal: str) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    kept = pusher.push(bytes(100))
    page_count(pusher, 10)
    with pytest.raises(zmqkit.JournalError, match="the disk is full"):
        pusher.push(bytes(1 << 20), id="large")
    assert pusher.stats()["dropped"] == 1
    page_count(pusher, 1 << 20)
    more = pusher.push(bytes(1 << 20), id="large")
    kit.working(len)
    assert (kept.result(BOUND_S), more.result(BOUND_S)) == (100, 1 << 20)
    pusher.close()
    assert kit.pusher(count=0, journal=journal).stats()["accepted"] == 0


def test_ends_that_a_full_disk_did_not_take_are_written_later(
    kit: Kit, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    ticket = pusher.push(7)
    commit, full = Journal.commit, threading.Event()
    refused: list[int] = []

    def refuse(self: Journal, changes: Changes) -> None:
        if full.is_set():
            refused.extend(changes.plain_over)
            raise zmqkit.JournalError("the disk is full", may_retry=True)
        commit(self, changes)

    monkeypatch.setattr(Journal, "commit", refuse)
    full.set()
    kit.working(lambda body: body)
    assert ticket.result(BOUND_S) == 7
    until(lambda: refused)
    full.clear()
    pusher.close()
    assert kit.pusher(count=0, journal=journal).stats()["accepted"] == 0


def test_nothing_is_written_to_a_disk_that_failed(
    kit: Kit, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync nobody knows what the disk has; a later success means nothing."""
    pusher = kit.pusher(count=0, journal=journal)
    kept = pusher.push(1)
    commits: list[object] = []

    def fail(self: object, changes: object) -> None:
        commits.append(changes)
        raise zmqkit.JournalError("the disk failed")

    monkeypatch.setattr("zmqkit.disk.journal.Journal.commit", fail)
    for _ in range(2):
        with pytest.raises(zmqkit.JournalError, match="the disk failed"):
            pusher.push(2)
    assert str(pusher.fault) == "the disk failed"
    kit.working(lambda body: body)
    assert kept.result(BOUND_S) == 1
    pusher.close()
    assert len(commits) == 1


def test_a_task_that_is_done_stays_done_for_the_next_pusher(kit: Kit, journal: str) -> None:
    worker = kit.working(lambda body: {"seen": body, "raw": bytes(10)})
    first = kit.pusher(journal=journal)
    tickets = [first.push(7, id="order-17"), first.push(8)]
    values = [each.result(BOUND_S) for each in tickets]
    first.close()
    worker.close()
    second = kit.pusher(count=0, journal=journal)
    again = second.push("another body", id="order-17")
    assert (again.id, again.state, again.attempts) == ("order-17", "done", 1)
    assert [second.ticket(each.id).result(0) for each in tickets] == values
    assert second.stats()["accepted"] == 0, "what had ended is not accepted again"


def test_a_long_result_is_kept_as_it_is(kit: Kit, journal: str) -> None:
    value = bytes(range(256)) * 1000
    kit.working(lambda body: value)
    first = kit.pusher(journal=journal)
    ticket = first.push(7)
    assert ticket.result(BOUND_S) == value
    first.close()
    found = kit.pusher(count=0, journal=journal).ticket(ticket.id).result(0)
    assert type(found) is bytes and found == value


def test_an_error_stays_as_it_was_raised(kit: Kit, journal: str) -> None:
    def fail(body: str) -> None:
        if body == "discard":
            raise zmqkit.Discard("no such picture")
        raise ValueError(f"cannot read {body}")

    kit.working(fail, attempts=1)
    first = kit.pusher(journal=journal)
    tickets = [
        first.push("discard", id="failed"),
        first.push("cat", id="dead"),
        first.push("late", delay_s=60.0, id="cancelled"),
    ]
    assert tickets[2].cancel()
    before = [raised_by(each, BOUND_S) for each in tickets]
    first.close()
    second = kit.pusher(count=0, journal=journal)
    after = [raised_by(second.push("x", id=each.id), 0) for each in tickets]
    for one, other in zip(before, after, strict=True):
        assert type(one) is type(other) and str(one) == str(other)
        assert one.may_have_run == other.may_have_run
    assert isinstance(after[1], zmqkit.RemoteError)
    assert (after[1].type, after[1].message) == ("ValueError", "cannot read cat")
    assert "in fail" in after[1].traceback
    states = [second.ticket(each.id).state for each in tickets]
    assert states == ["failed", "dead", "cancelled"]


def raised_by(ticket: Any, timeout_s: float) -> zmqkit.ZmqkitError:
    with pytest.raises(zmqkit.ZmqkitError) as raised:
        ticket.result(timeout_s)
    return raised.value


def test_what_is_forgotten_is_forgotten_on_disk_too(kit: Kit, journal: str) -> None:
    kit.working(lambda body: body)
    first = kit.pusher(journal=journal)
    getattr(first, "inner", first)._core.ledger.settled._limits = PusherLimits(outcomes_max=3)
    tickets = first.push_many(range(10))
    assert [each.result(BOUND_S) for each in tickets] == list(range(10))
    first.close()
    second = kit.pusher(count=0, journal=journal)
    for each in tickets[:7]:
        with pytest.raises(zmqkit.UsageError, match="no task"):
            second.ticket(each.id)
    assert [second.ticket(each.id).result(0) for each in tickets[7:]] == [7, 8, 9]


def test_a_task_that_the_disk_refused_may_be_pushed_again_with_its_id(
    kit: Kit, journal: str
) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    page_count(pusher, 10)
    with pytest.raises(zmqkit.JournalError, match="the disk is full"):
        pusher.push(bytes(1 << 20), id="order-17")
    page_count(pusher, 1 << 20)
    ticket = pusher.push(bytes(1 << 20), id="order-17")
    kit.working(len)
    assert ticket.result(BOUND_S) == 1 << 20


def test_what_the_disk_did_not_take_at_the_end_is_logged(
    kit: Kit, journal: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    ticket = pusher.push(1)

    def refuse(self: Journal, changes: Changes) -> None:
        raise zmqkit.JournalError("the disk is full", may_retry=True)

    monkeypatch.setattr(Journal, "commit", refuse)
    assert ticket.cancel()
    pusher.close()
    assert "the disk is full; what ended last is not written, and may run again" in caplog.text


def test_a_journal_may_be_opened_off_the_loop(blocking: Kit, journal: str) -> None:
    """To open a large one takes a while."""
    name = blocking.name

    async def main() -> tuple[int, str]:
        pusher = await asyncio.to_thread(zmqkit.asyncio.Pusher, name, journal=journal)
        ticket = await pusher.push(1)
        state = ticket.state
        await pusher.close(0)
        return await asyncio.to_thread(count), state

    def count() -> int:
        pusher = zmqkit.Pusher(name, journal=journal)
        left = pusher.stats()["waiting"]
        pusher.close(0)
        assert isinstance(left, int)
        return left

    assert asyncio.run(main()) == (1, "waiting")


def test_a_journal_is_closed_though_the_wait_for_the_close_is_cancelled(
    aio: AsyncKit, journal: str
) -> None:
    pusher = aio.pusher(count=0, journal=journal)
    pusher.push(1)

    async def close() -> None:
        closing = asyncio.ensure_future(pusher.inner.close(0.05))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        await pusher.inner.close()

    aio.submit(close()).result(BOUND_S)
    assert aio.pusher(count=0, journal=journal).stats()["waiting"] == 1


def short_rows(pusher: Any) -> Any:
    """Have all but four tasks wait on disk only; return the ledger."""
    ledger = getattr(pusher, "inner", pusher)._core.ledger
    ledger.line._window = 4
    return ledger


def test_tasks_beyond_a_number_wait_on_disk_and_are_done_in_order(
    kit: Kit, journal: str
) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    ledger = short_rows(pusher)
    tickets = pusher.push_many(range(50))
    assert ledger.open_count == 4 and pusher.stats()["waiting"] == 50
    assert tickets[40].cancel() and tickets[40].state == "cancelled"
    order: list[int] = []
    kit.working(lambda body: order.append(body) or 2 * body, concurrency=1)
    done = [each for each in range(50) if each != 40]
    assert [tickets[each].result(BOUND_S) for each in done] == [2 * each for each in done]
    assert order == done
    assert pusher.stats()["done"] == 49


def test_tasks_on_disk_have_tickets_by_their_ids(kit: Kit, journal: str) -> None:
    first = kit.pusher(count=0, journal=journal)
    short_rows(first)
    ids = [each.id for each in first.push_many(range(20))]
    first.close(0)
    second = kit.pusher(count=0, journal=journal)
    short_rows(second)
    ticket = second.ticket(ids[18])
    assert ticket.state == "waiting" and second.stats()["waiting"] == 20
    assert second.ticket(ids[17]).cancel()
    kit.working(lambda body: 2 * body)
    assert ticket.result(BOUND_S) == 36
    assert [second.ticket(each).result(BOUND_S) for each in ids[:3]] == [0, 2, 4]
    with pytest.raises(zmqkit.UsageError, match="no task"):
        second.ticket(ids[0][:16] + "f" * 16)


def test_a_journal_that_cannot_be_read_is_free_again(
    kit: Kit, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Journal) -> dict[int, int]:
        raise zmqkit.JournalError("it cannot be read")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "plain_counts", fail)
        with pytest.raises(zmqkit.JournalError, match="cannot be read"):
            kit.pusher(count=0, journal=journal)
    assert kit.pusher(count=0, journal=journal).stats()["accepted"] == 0


def test_a_damaged_task_on_disk_is_dropped_when_it_is_read(
    kit: Kit, journal: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = kit.pusher(count=0, journal=journal)
    first.push_many([f"picture {number}" for number in range(10, 30)])
    first.close(0)
    path = Path(journal)
    path.write_bytes(path.read_bytes().replace(b"picture 17", b"picturE 17"))
    done: list[str] = []
    kit.working(done.append)
    second = kit.pusher(journal=journal)
    until(lambda: len(done) == 19 and second.stats()["done"] == 19)
    stats = second.stats()
    assert (stats["accepted"], stats["dropped"], stats["waiting"]) == (20, 1, 0)
    assert sorted(done) == [f"picture {number}" for number in range(10, 30) if number != 17]
    assert "task 8: its checksum is wrong; it was set aside" in caplog.text


def test_what_was_on_disk_only_stays_there_when_the_pusher_is_closed(
    kit: Kit, journal: str
) -> None:
    first = kit.pusher(count=0, journal=journal)
    short_rows(first)
    tickets = first.push_many(range(20))
    assert first.close(0.01) == 20
    with pytest.raises(zmqkit.CallCancelled, match="in its journal"):
        tickets[19].result(1)
    second = kit.pusher(count=0, journal=journal)
    assert second.stats()["accepted"] == 20


def test_a_quota_of_the_journal_is_an_answer(kit: Kit, journal: str) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    ledger = short_rows(pusher)
    ledger._limits = PusherLimits(journal_bytes_max=200_000)
    tickets: list[Any] = []
    pushes = (pusher.push(bytes(10_000), timeout_s=0) for _ in range(100))
    with pytest.raises(zmqkit.QueueFull, match="in a journal"):
        tickets.extend(pushes)
    assert 10 < len(tickets) < 20
    kit.working(len)
    more = pusher.push(bytes(10_000), timeout_s=BOUND_S)
    assert [each.result(BOUND_S) for each in (*tickets, more)] == [10_000] * (len(tickets) + 1)


PUSHER = """
import sys, zmqkit
pusher = zmqkit.Pusher(sys.argv[1], journal=sys.argv[2])
pusher._core.ledger.line._window = 3
for line in map(str.strip, sys.stdin):
    pusher.push(line, id=line if sys.argv[3] == "id" else None)
    print(line, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("with_", ["id", "nothing"])
def test_what_a_killed_pusher_was_told_is_done_and_not_again_after_its_end(
    blocking: Kit, journal: str, with_: str
) -> None:
    """SIGKILL at any moment of pushing; the next one opens the file and goes on.

    Tasks with an id are all in memory, those without are on disk only but for three.
    """
    done: list[str] = []
    blocking.working(done.append)
    acknowledged: list[str] = []
    over: set[str] = set()
    for cycle in range(12):
        process = Popen(
            [sys.executable, "-c", PUSHER, blocking.name, journal, with_],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdin is not None and process.stdout is not None
        for number in range(10 + 3 * cycle):
            process.stdin.write(f"{cycle}.{number}\n")
        process.stdin.flush()
        acknowledged += [process.stdout.readline().strip() for _ in range(3 + cycle)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.communicate()[0].split()
        if cycle % 4 == 3:
            before = len(done)
            pusher = blocking.pusher(journal=journal)
            short_rows(pusher)
            until(
                lambda pusher=pusher: not pusher.stats()["waiting"] + pusher.stats()["leased"]
            )
            pusher.close()
            assert not over & set(done[before:]), "done again after its end was on disk"
            over |= set(done)
    assert set(acknowledged) <= set(done)
    assert len(acknowledged) > 50
