"""`zmqkit queue`: what one sees of queues, and does to their tasks, from a shell."""

from __future__ import annotations

import inspect
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import LIMIT_S, Begin, Run, environment
from tests.cli.conftest import zmqkit as command_line
from tests.roles.kit import Kit, until
from tests.spawning import Popen
from zmqkit.cli import queue
from zmqkit.cli.main import run
from zmqkit.cli.tasks_shown import described, size, task_lines
from zmqkit.roles.asking import opened, running

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Run `zmqkit queue` in this process; the exit code and what it wrote."""

    def shell(*arguments: str) -> tuple[int, str, str]:
        code = run(["queue", *arguments])
        return code, *capsys.readouterr()

    return shell


@pytest.fixture
def kit() -> Any:
    kit = Kit()
    yield kit
    kit.close()


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "x.journal")


def left(kit: Kit, journal: str, *bodies: object, **options: Any) -> None:
    """Leave a task for each body in a journal at rest."""
    pusher = kit.pusher(count=0, journal=journal)
    pusher.push_many(bodies, **options)
    pusher.close(0)


def dead(kit: Kit, journal: str, count: int) -> None:
    """Leave dead tasks in a journal at rest."""

    def fail(body: object) -> None:
        raise ValueError(f"no {body}")

    worker = kit.working(fail, attempts=1)
    pusher = kit.pusher(journal=journal)
    tickets = pusher.push_many(range(count))
    until(lambda: all(each.state == "dead" for each in tickets))
    pusher.close()
    worker.close()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_ls_shows_a_row_for_each_queue(kit: Kit, journal: str, shell: Shell) -> None:
    left(kit, journal, 1, 2)
    code, out, _ = shell("ls", journal)
    head, row, below = out.splitlines()
    assert code == 0 and head.split() == [
        "NAME", "STATE", "WAITING", "OLDEST", "LEASED", "LONGEST", "WORKERS", "FAILED", "DEAD",
    ]  # fmt: skip
    assert re.fullmatch(rf"{kit.name} at rest 2 \d+ s 0 - 0 0 0", " ".join(row.split()))
    assert below.startswith(f"    {journal} of ")
    [told] = json.loads(shell("ls", journal, "--json")[1])
    assert (told["name"], told["waiting"], told["process"]) == (kit.name, 2, None)


def test_the_folder_of_a_broker_has_a_queue_for_each_file(
    kit: Kit, tmp_path: Path, shell: Shell
) -> None:
    for name in ("tea", "bread"):
        left(kit, str(tmp_path / f"{name}.journal"), {"n": 1})
    code, out, _ = shell("ls", str(tmp_path), "--json")
    assert code == 0 and [each["waiting"] for each in json.loads(out)] == [1, 1]
    code, _, err = shell("dead", str(tmp_path))
    assert code == 2
    assert f"is a folder of journals; name one of them: {tmp_path}/bread.journal, " in err


def test_the_folder_of_a_broker_may_have_no_queue_yet(tmp_path: Path, shell: Shell) -> None:
    code, out, err = shell("ls", str(tmp_path))
    assert (code, out) == (0, "") and err == f"{tmp_path} has no journal yet\n"
    assert shell("ls", str(tmp_path), "--json")[:2] == (0, "[]\n")


def test_ls_shows_all_queues_of_a_name(
    kit: Kit, journal: str, tmp_path: Path, shell: Shell
) -> None:
    other = str(tmp_path / "y.journal")
    for each in (journal, other):
        kit.pusher(count=0, journal=each).push(1)
    code, out, _ = shell("ls", kit.name, "--json")
    assert code == 0 and {each["journal"] for each in json.loads(out)} == {journal, other}
    code, _, err = shell("peek", kit.name)
    assert code == 2 and f"2 queues are called {kit.name!r}; name the file: " in err
    assert journal in err and other in err


def test_ls_lists_all_that_run(kit: Kit, journal: str, shell: Shell) -> None:
    gate = kit.gate()
    worker = kit.working(gate.hold)
    ticket = kit.pusher(journal=journal).push(1)
    gate.came()
    _, out, _ = shell("ls")
    assert f"    process {os.getpid()}, {journal} of " in out
    assert f"    longest: {ticket.id}, attempt 1, at {worker.endpoint}" in out
    assert kit.name in [each["name"] for each in json.loads(shell("ls", "--json")[1])]


def test_ls_says_that_none_runs(shell: Shell) -> None:
    assert not running()
    code, out, err = shell("ls")
    assert (code, out) == (0, "") and err.startswith("no streamer runs here")


def test_peek_shows_tasks_with_what_there_is_to_say(
    kit: Kit, journal: str, shell: Shell
) -> None:
    left(kit, journal, {"path": "\x1bcat.png"}, priority=9, id="order-17", delay_s=7300,
         expires_s=9000, unique="cat", order_by="animals")  # fmt: skip
    left(kit, journal, *range(20))
    code, out, _ = shell("peek", journal, "-n", "2")
    assert code == 0
    assert out.splitlines()[0].split() == [
        "ID", "STATE", "PRIORITY", "ATTEMPTS", "AGE", "BYTES", "BODY",
    ]  # fmt: skip
    assert "order-17" in out and '{"path": "\\u001bcat.png"}' in out
    for text in ("due in: 2 h", "expires in: 2 h", "unique: cat", "order by: animals"):
        assert f"    {text}\n" in out
    assert len(lines(shell("peek", journal, "--json", "-n", "15")[1])) == 15
    [first] = lines(shell("peek", journal, "--json", "-n", "1")[1])
    assert (first["id"], first["body"]) == ("order-17", {"path": "\x1bcat.png"})
    assert shell("peek", journal, "--state", "dead") == (0, "", "no task is dead\n")


def test_dead_shows_all_reasons(kit: Kit, journal: str, shell: Shell) -> None:
    dead(kit, journal, 2)
    code, out, err = shell("dead", journal)
    assert (code, err) == (0, "2 dead tasks\n")
    assert re.search(r"1 attempt, pushed \d+ s ago: 1\n    ValueError: no 1\n", out)
    assert [each["reasons"] for each in lines(shell("dead", journal, "--json")[1])] == [
        ["ValueError: no 0"], ["ValueError: no 1"],
    ]  # fmt: skip


def test_dead_tasks_are_requeued(kit: Kit, journal: str, shell: Shell) -> None:
    dead(kit, journal, 3)
    id = lines(shell("dead", journal, "--json")[1])[0]["id"]
    assert shell("requeue", journal, id)[:2] == (0, "1 task requeued\n")
    code, out, err = shell("requeue", journal, id, "nope")
    assert (code, out) == (1, "")
    assert f"task {id} was not requeued: it is waiting" in err
    assert "task nope was not requeued: it is not here" in err
    assert shell("requeue", journal, "--all")[:2] == (0, "2 tasks requeued\n")
    assert json.loads(shell("requeue", journal, "--all", "--json")[1]) == {
        "changed": 0, "missed": {}, "full": None,
    }  # fmt: skip
    kit.working(lambda body: body)
    pusher = kit.pusher(journal=journal)
    until(lambda: pusher.stats()["done"] == 3)


def test_requeue_says_that_there_is_no_room(
    kit: Kit, journal: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead(kit, journal, 2)
    monkeypatch.setattr("zmqkit.core.tasks.ledger.Ledger.has_room", lambda self, size: False)
    code, out, err = shell("requeue", journal, "--all")
    assert (code, out) == (1, "0 tasks requeued\n") and "there is no room" in err


def test_more_tasks_than_a_page_are_changed(
    kit: Kit, journal: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqkit.core.tasks.administration.PAGE_TASKS", 2)
    monkeypatch.setattr(queue, "_IDS", 2)
    left(kit, journal, *range(5))
    ids = [each["id"] for each in lines(shell("export", journal)[1])]
    assert len(ids) == 5
    assert shell("cancel", journal, *ids[:3])[1] == "3 tasks cancelled\n"
    assert shell("purge", journal, "--all", "--yes")[1] == "2 tasks purged\n"


def test_purge_wants_a_yes(kit: Kit, journal: str, shell: Shell) -> None:
    left(kit, journal, 1, 2)
    code, _, err = shell("purge", journal, "--state", "waiting")
    assert code == 2 and f"to throw 2 tasks of '{kit.name}' away, add --yes" in err
    assert shell("purge", journal, "--state", "waiting", "--yes")[1] == "2 tasks purged\n"


def test_purge_of_nothing_needs_no_yes(kit: Kit, journal: str, shell: Shell) -> None:
    left(kit, journal, 1)
    assert shell("purge", journal, "--state", "dead") == (0, "0 tasks purged\n", "")


@pytest.mark.parametrize(("answer", "code", "waiting"), [("y", 0, 0), ("n", 1, 1)])
def test_purge_asks_a_terminal(
    kit: Kit, journal: str, answer: str, code: int, waiting: int
) -> None:
    left(kit, journal, 1)
    ours, theirs = pty.openpty()
    try:
        process = Popen(
            command_line("queue", "purge", journal, "--all"),
            stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        os.write(ours, f"{answer}\n".encode())
        _, err = process.communicate(timeout=LIMIT_S)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"for good? [y/N]" in err
    assert process.returncode == code
    with opened(journal) as there:
        assert there.ask({"do": "ls"})["waiting"] == waiting


def test_a_pause_is_shown_and_ended(kit: Kit, journal: str, shell: Shell) -> None:
    left(kit, journal, 1)
    assert shell("pause", journal)[:2] == (0, "paused\n")
    assert shell("pause", journal)[1] == "it was paused already\n"
    assert "at rest, paused" in shell("ls", journal)[1]
    assert json.loads(shell("resume", journal, "--json")[1]) == {"changed": 1}


def test_export_has_each_body_as_it_was(kit: Kit, journal: str, shell: Shell) -> None:
    at = datetime(2026, 11, 27, tzinfo=UTC)
    left(kit, journal, {"a": [1, None]}, b"\0x", bytes(5000), {"at": at, 7: b"x"}, 1e400)
    told = lines(shell("export", journal)[1])
    assert [each.get("body_base64") for each in told[1:3]] == ["AHg=", "A" * 6667 + "="]
    assert told[0]["body"] == {"a": [1, None]} and "body_base64" not in told[0]
    assert told[3]["body"] == {"at": at.isoformat(), "7": "eA=="}
    assert told[3]["body_msgpack_base64"] and told[4]["body_msgpack_base64"]


def test_a_body_that_cannot_be_read_is_told_of() -> None:
    task = {
        "id": "x", "state": "waiting", "priority": 4, "attempts": 0, "age_s": 1.0, "bytes": 3,
        "due_s": 0.0, "is_result": False, "expires_s": None, "unique": None, "order_by": None,
        "reasons": [], "row": b"\xc1", "raw": None,
    }  # fmt: skip
    assert "unreadable" in described(task) and "unreadable: " in task_lines([task])[1]
    assert task_lines([{**task, "row": b"\x90\x80"}])[1].endswith("unreadable: body")
    del task["row"]
    assert task_lines([task])[1].endswith("…") and "body" not in described(task)


def test_a_copy_is_made_at_rest(kit: Kit, journal: str, shell: Shell, tmp_path: Path) -> None:
    left(kit, journal, 1)
    copy = str(tmp_path / "copy.journal")
    code, out, _ = shell("backup", journal, copy)
    assert code == 0 and out.startswith(f"{copy} has a copy of ")
    assert len(lines(shell("export", copy)[1])) == 1
    code, _, err = shell("backup", journal, copy, "--json")
    assert code == 2 and "is there already" in err


def test_a_journal_is_compacted_at_rest_alone(kit: Kit, journal: str, shell: Shell) -> None:
    left(kit, journal, bytes(100_000))
    assert shell("purge", journal, "--all", "--yes")[0] == 0
    sizes = json.loads(shell("compact", journal, "--json")[1])
    assert sizes["bytes"] < 50_000 < sizes["bytes_before"]
    kit.pusher(count=0, journal=journal).push(1)
    code, _, err = shell("compact", journal)
    assert code == 2 and f"is in use by process {os.getpid()}; end that one" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("ls", "nowhere.journal"), "there is no journal at nowhere.journal"),
        (("peek", "/proc"), "/proc is a folder without journals; name the file of one"),
        (("ls", "nobody"), "no streamer 'nobody' runs here, and no pusher or broker"),
        (("requeue", "x.journal"), "give the IDs of dead tasks, or --all"),
        (("requeue", "x.journal", "id", "--all"), "give the IDs of dead tasks, or --all"),
        (("purge", "x.journal"), "give the IDs of tasks, or --state, or --all"),
        (("cancel", "x.journal"), "missing argument 'ID...'"),
        (("explode",), "no such command 'explode'"),
    ],
)
def test_wrong_usage_has_a_remedy(shell: Shell, arguments: tuple[str, ...], text: str) -> None:
    code, out, err = shell(*arguments)
    assert (code, out) == (2, "") and text in err


def test_each_command_has_an_example() -> None:
    for name, command in queue.command.commands.items():
        text = inspect.cleandoc(command.help or "")  # Python 3.13 has done that already
        assert f"\nzmqkit queue {name}" in text


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 byte"), (812, "812 bytes"), (6 << 20, "6.0 MiB")]
)
def test_bytes_are_told_for_people(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.slow
def test_a_killed_push_leaves_what_a_shell_can_look_after(
    name: str, run: Run, begin: Begin, journal: str
) -> None:
    pushing = begin("push", name, "cat", "--id", "order-17", "--journal", journal)
    assert pushing.stderr is not None
    assert b"waiting for a worker" in pushing.stderr.readline()
    [there] = json.loads(run("queue", "ls", name, "--json").stdout)
    assert (there["process"], there["waiting"]) == (pushing.pid, 1)
    assert run("queue", "pause", journal).stdout == b"paused\n"
    pushing.send_signal(signal.SIGKILL)
    pushing.wait(LIMIT_S)
    assert b"at rest, paused" in run("queue", "ls", journal).stdout
    begin("work", name, "--", "tr", "a-z", "A-Z")
    again = begin("push", name, "cat", "--id", "order-17", "--journal", journal, "--wait")
    assert again.stderr is not None
    until(lambda: b"the queue is paused" in again.stderr.readline())  # type: ignore[union-attr]  # a pipe
    assert run("queue", "resume", name).stdout == b"resumed\n"
    assert again.communicate(timeout=LIMIT_S)[0] == b"CAT\n"
    assert b"  0        -       0 " in run("queue", "ls", journal).stdout
