"""Queues that are asked while they run, and journals that are asked at rest."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.device.streamer import Streamer
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import DEAD, Changes, Entry, Outcome, Plain
from zmqkit.node.time_of_day import offset_s
from zmqkit.roles import queues
from zmqkit.roles.administration import Administration, bytes_of
from zmqkit.roles.asking import (
    QueueAtRest,
    body_of,
    opened,
    pages,
    running,
    tasks_of,
)
from zmqkit.roles.queues import entries, listen_for, socket_beside
from zmqkit.wire.encoding import decode, encode


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the entries of this test's queues, whose path is short."""
    with tempfile.TemporaryDirectory(prefix="z", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "zmqkit")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails.journal"


def ask(target: object, do: str, **keys: object) -> Any:
    with opened(str(target)) as queue:
        return queue.ask({"do": do, **keys})


def bodies(target: object, *states: str) -> list[object]:
    with opened(str(target)) as queue:
        return [body_of(each) for each in tasks_of(queue, [*states], 1 << 20)]


def fail(body: object) -> None:
    raise ValueError(f"no {body}")


def test_a_running_queue_is_asked_by_its_file_and_by_its_name(kit: Kit, journal: Path) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push_many([{"path": "cat.png"}, bytes(5000)])
    for target in (journal, kit.name):
        told = ask(target, "ls")
        assert (told["name"], told["waiting"], told["process"]) == (kit.name, 2, os.getpid())
        assert told["journal"] == str(journal) and told["journal_bytes"] > 5000
    assert bodies(journal, "waiting") == [{"path": "cat.png"}, bytes(5000)]
    [(entry, told)] = running()
    assert entry.resolve() == socket_beside(journal) and told["name"] == kit.name


def test_a_journal_at_rest_is_asked_in_the_same_way(kit: Kit, journal: Path) -> None:
    kit.pusher(count=0, journal=journal).push({"path": "cat.png"}, id="order-17")
    kit.roles[-1].close(0)
    told = ask(journal, "ls")
    assert (told["name"], told["waiting"], told["process"]) == (kit.name, 1, None)
    assert bodies(journal, "waiting") == [{"path": "cat.png"}]
    assert ask(journal, "cancel", ids=["order-17"])["changed"] == 1
    assert kit.pusher(count=0, journal=journal).stats()["accepted"] == 0


def test_only_what_is_open_can_be_asked_and_nothing_is_left(kit: Kit, journal: Path) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push(1)
    assert socket_beside(journal).exists() and len(entries()) == 1
    pusher.close(0)
    assert not socket_beside(journal).exists() and not entries()


def test_dead_tasks_are_requeued_and_done(kit: Kit, journal: Path) -> None:
    worker = kit.working(fail, attempts=1)
    pusher = kit.pusher(journal=journal)
    ticket = pusher.push("cat", id="order-17")
    until(lambda: ticket.state == "dead")
    worker.close()
    [told] = ask(journal, "peek", states=["dead"])["tasks"]
    assert (told["id"], told["reasons"]) == ("order-17", ["ValueError: no cat"])
    assert ask(journal, "requeue", all=True)["changed"] == 1
    kit.working(lambda body: body)
    assert ticket.result(BOUND_S) == "cat"


def test_a_pause_outlives_the_pusher(
    kit: Kit, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[object] = []
    kit.working(done.append)
    pusher = kit.pusher(journal=journal)
    assert ask(journal, "pause") == {"changed": 1}
    ticket = pusher.push(1)
    with pytest.raises(zmqkit.CallTimeout, match="the queue is paused"):
        ticket.result(0)
    pusher.close(0)
    assert ask(journal, "ls")["paused"] and "is paused" not in caplog.text
    second = kit.pusher(journal=journal)
    assert second.stats()["paused"] and not done
    assert f"`zmqkit queue resume {journal}` ends that" in caplog.text
    assert ask(kit.name, "resume") == {"changed": 1}
    until(lambda: done == [1])


def test_a_journal_is_paused_at_rest(kit: Kit, journal: Path) -> None:
    kit.pusher(count=0, journal=journal).push(1)
    kit.roles[-1].close(0)
    assert ask(journal, "pause") == {"changed": 1}
    assert kit.pusher(count=0, journal=journal).stats()["paused"]


def test_a_handler_that_hangs_is_shown_with_its_worker(kit: Kit, journal: Path) -> None:
    gate = kit.gate()
    worker = kit.working(gate.hold)
    pusher = kit.pusher(journal=journal)
    ticket = pusher.push(1)
    gate.came()
    longest = ask(journal, "ls")["longest"]
    assert (longest["id"], longest["worker"]) == (ticket.id, worker.endpoint)
    assert ask(journal, "cancel", ids=[ticket.id])["changed"] == 1
    assert ticket.state == "cancelled"
    gate.open()


def test_a_change_is_on_disk_once_it_is_answered(
    kit: Kit, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push_many(range(3))
    order: list[str] = []
    commit = Journal.commit

    def slow(self: Journal, *values: Any) -> None:
        commit(self, *values)
        order.append("written")

    monkeypatch.setattr(Journal, "commit", slow)
    assert ask(journal, "purge", states=["waiting"])["changed"] == 3
    assert order == ["written"]


def test_a_change_that_the_disk_refuses_is_told_of(
    kit: Kit, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.pusher(count=0, journal=journal).push(1)

    def refuse(self: Journal, *values: object) -> None:
        raise zmqkit.JournalError("the disk failed")

    monkeypatch.setattr(Journal, "commit", refuse)
    with pytest.raises(zmqkit.PeerError, match="the disk failed"):
        ask(journal, "purge", states=["waiting"])


def test_a_copy_is_made_while_tasks_come(kit: Kit, journal: Path, tmp_path: Path) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push_many(range(20))
    to = tmp_path / "copy.journal"
    with opened(str(journal)) as queue:
        told = queue.ask({"do": "backup", "to": str(to), "begins": True})
        until(lambda: queue.ask({"do": "backup", "to": str(to)})["done"])
        assert told.keys() == {"done"}
        with pytest.raises(zmqkit.PeerError, match="there already"):
            made(queue, str(to))
        with pytest.raises(zmqkit.UsageError, match="no copy to"):
            queue.ask({"do": "backup", "to": "/elsewhere"})
    assert bodies(to, "waiting") == [*range(20)]


def made(queue: Any, to: str) -> None:
    queue.ask({"do": "backup", "to": to, "begins": True})
    until(lambda: queue.ask({"do": "backup", "to": to})["done"])


def test_wrong_questions_are_answered_with_what_is_wrong(kit: Kit, journal: Path) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push(1)
    with pytest.raises(zmqkit.UsageError, match="knows no 'explode'"):
        ask(journal, "explode")
    with pytest.raises(zmqkit.UsageError, match="absolute path"):
        ask(journal, "backup", to="copy", begins=True)
    entry = socket_beside(journal)
    for garbage in (b"", b"\xc1", encode([1]), b"\xdf\xff\xff\xff\xff"):
        assert decode(queues.ask_at(entry, garbage, BOUND_S)).keys() == {"error", "usage"}  # type: ignore[attr-defined]  # a dict
    assert pusher.stats()["waiting"] == 1


def test_a_queue_that_is_closed_says_so(kit: Kit, journal: Path) -> None:
    pusher = kit.pusher(count=0, journal=journal)
    core, life = kit.core(pusher), getattr(pusher, "inner", pusher)._life
    run: Callable[..., Any] = getattr(life, "submit_from", life.submit)
    desk = Administration(core, run, life.perform, None)
    pusher.push(1)
    pusher.close(0)
    with pytest.raises(zmqkit.UsageError, match="is closed"):
        desk.ask({"do": "ls"})


def test_a_loop_that_is_held_is_told_of(
    aio: AsyncKit, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqkit.asyncio.role.LOOP_S", 0.05)
    pusher = aio.pusher(count=0, journal=journal)
    pusher.push(1)
    held = threading.Event()
    aio.loop.call_soon_threadsafe(held.wait, BOUND_S)
    with pytest.raises(zmqkit.PeerError, match=r"the event loop of the pusher .* is held"):
        ask(socket_beside(journal), "ls")
    held.set()


def test_a_device_without_a_journal_is_found_by_its_name(blocking: Kit) -> None:
    pusher = blocking.pusher(count=0)
    pusher.push(1)
    life = pusher._life
    desk = Administration(pusher._core, life.submit, life.perform, None)
    listening = listen_for(blocking.name, desk.answer)
    told = ask(blocking.name, "ls")
    assert (told["name"], told["waiting"], told["journal"]) == (blocking.name, 1, None)
    with pytest.raises(zmqkit.UsageError, match="has no journal"):
        ask(blocking.name, "backup", to="/x", begins=True)
    [(entry, _)] = running()
    assert ask(entry, "ls")["name"] == blocking.name
    listening.close()
    with pytest.raises(zmqkit.UsageError, match="none runs here"):
        ask(blocking.name, "ls")
    assert not entries()


def test_a_streamer_is_asked_by_its_name(blocking: Kit) -> None:
    streamer = Streamer(blocking.name)
    streamer.start()
    pusher = blocking.pusher(journal=None)  # connected to the streamer
    tickets = pusher.push_many(["cat", "dog"], id=None)
    until(lambda: ask(blocking.name, "ls")["waiting"] == 2)
    told = ask(blocking.name, "peek", states=["waiting"], bodies=100)["tasks"]
    assert [body_of(each) for each in told] == ["cat", "dog"]
    assert ask(blocking.name, "cancel", ids=[told[0]["id"]])["changed"] == 1
    with pytest.raises(zmqkit.CallCancelled):
        tickets[0].result(BOUND_S)
    streamer.close(0)
    assert not entries()


def test_a_streamer_with_a_journal_is_asked_by_its_file(blocking: Kit, journal: Path) -> None:
    streamer = Streamer(blocking.name, journal=journal)
    streamer.start()
    pusher = blocking.pusher()
    pusher.push("cat")
    assert ask(journal, "pause") == {"changed": 1}
    until(lambda: ask(journal, "ls")["waiting"] == 1)
    pusher.close(0)
    streamer.close(0)
    assert ask(journal, "ls")["paused"]


def test_a_result_that_waits_for_a_sink_is_shown(kit: Kit, journal: Path) -> None:
    kit.working(lambda body: 2 * body)
    pusher = kit.pusher(journal=journal)
    pusher.push(21, results="sink")
    until(lambda: ask(journal, "ls")["results"] == 1)
    with opened(str(journal)) as queue:
        [told] = tasks_of(queue, ["waiting"], 100)
    assert told["is_result"] and body_of(told) == 42
    pusher.close(0)
    with opened(str(journal)) as queue:
        [told] = tasks_of(queue, ["waiting"], 100)
    assert told["is_result"] and body_of(told) == 42


@pytest.mark.parametrize("data", [b"", b"hello", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.journal"
    path.write_bytes(data)
    with pytest.raises(zmqkit.JournalError, match=r"no journal|another program"):
        ask(path, "ls")
    assert path.read_bytes() == data and [*tmp_path.glob("x*")] == [path]


def test_a_database_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.journal"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(zmqkit.JournalError, match=r"no journal|another program"):
        ask(path, "ls")
    assert path.read_bytes() == before


def test_what_is_in_the_journal_alone_is_shown_and_changed(kit: Kit, journal: Path) -> None:
    """Memory has the first 10,000 tasks of a priority."""
    file = Journal(journal, kit.name, 77)
    rows = [Plain(number, 4, b"\x91\x07\x80", None) for number in range(1, 12_001)]
    file.commit(Changes(12_000, at=1000.0, plain=rows))
    file.close()
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push("last", priority=9)
    until(lambda: ask(journal, "ls")["on_disk"] == 2000)
    with opened(str(journal)) as queue:
        numbers = [each["number"] for each in tasks_of(queue, ["waiting"], 100)]
        assert sorted(numbers)[:-1] == [*range(1, 12_001)]
        assert ask(journal, "ls")["on_disk"] == 2000
        id = f"{77:016x}{11_999:016x}"
        assert queue.ask({"do": "cancel", "ids": [id]})["changed"] == 1
        assert queue.ask({"do": "cancel", "ids": [id]})["missed"] == {id: "cancelled"}
        told = [*pages(queue, {"do": "purge", "states": ["waiting"]})]
        assert sum(each["changed"] for each in told) == 12_000
    kit.core(pusher).check()
    assert pusher.stats()["waiting"] == 0
    pusher.close()
    assert ask(journal, "ls")["waiting"] == 0


def test_a_look_at_a_journal_drops_nothing(kit: Kit, journal: Path) -> None:
    """Its owner may have larger limits than those that a pusher has."""
    file = Journal(journal, kit.name, 77)
    dead = Entry(1, DEAD, 4, 0.0, None, 1, None, None, None, "no", b"\x91\x07\x80", None)
    rows = [replace(dead, sequence=number) for number in range(1, 10_003)]
    done = Outcome(1, "done", 0.0, 1, None, "", b"\x07", None, None)
    ends = [replace(done, sequence=number) for number in range(20_001, 30_003)]
    file.commit(Changes(30_002, entries=rows, outcomes=ends))
    file.close()
    for _ in range(2):
        assert ask(journal, "ls")["dead"] == 10_002
    file = Journal(journal, None)
    assert len([*file.outcomes()]) == 10_002
    file.close()
    assert ask(journal, "requeue", all=True)["changed"] == 1000


def test_ages_go_on_while_nobody_has_the_file(kit: Kit, journal: Path) -> None:
    file = Journal(journal, kit.name, 77)
    at = time.monotonic() + offset_s() - 3600
    file.commit(Changes(1, at=at, plain=[Plain(1, 4, b"\x91\x07\x80", None)]))
    file.close()
    assert 3600 <= ask(journal, "ls")["oldest_s"] < 3700
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push("other", id="x")
    until(lambda: ask(journal, "ls")["ready"] == 2)
    with opened(str(journal)) as queue:
        old, new = tasks_of(queue, ["waiting"], 0)
    assert old["age_s"] >= 3600 > 100 > new["age_s"]
    pusher.close(0)
    with opened(str(journal)) as queue:
        ages = {each["number"]: each["age_s"] for each in tasks_of(queue, ["waiting"], 0)}
    assert ages[min(ages)] >= 3600 > 100 > ages[max(ages)]


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(zmqkit.UsageError, match="there is no journal at"):
        ask(tmp_path / "nowhere.journal", "ls")


def test_the_bytes_of_a_journal_are_those_on_disk(blocking: Kit, journal: Path) -> None:
    assert bytes_of(journal) == 0
    blocking.pusher(count=0, journal=journal).push(bytes(10_000))
    assert bytes_of(journal) > 10_000
    blocking.roles[-1].close(0)
    with opened(str(journal)) as queue:
        assert isinstance(queue, QueueAtRest)
        told = [*pages(queue, {"do": "purge", "states": ["waiting"]})]
        assert sum(each["changed"] for each in told) == 1
        before, after = queue.journal.compact()
    assert bytes_of(journal) == after < before
