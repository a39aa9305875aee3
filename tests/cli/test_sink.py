"""`zmqkit sink`, and what `zmqkit push` leaves to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import LIMIT_S, Begin, Run
from tests.roles.kit import Kit
from zmqkit.cli.main import run as run_here

pytestmark = pytest.mark.slow


@pytest.fixture
def kit() -> Iterator[Kit]:
    kit = Kit()
    yield kit
    kit.close()


def test_results_are_printed_a_line_each(kit: Kit, begin: Begin, run: Run) -> None:
    kit.working(lambda body: {"a": 1} if body == "dict" else f"{body}\n!")
    sink = begin("sink", kit.name, "--count", "2")
    pushed = run("push", kit.name, "--results", "sink", stdin=b"dict\ntext\n")
    assert (pushed.returncode, pushed.stdout) == (0, b"")
    said = pushed.stderr.splitlines()
    assert all(line.startswith(b"waiting for a worker of ") for line in said)  # if it is late
    out, err = sink.communicate(timeout=LIMIT_S)
    assert sink.returncode == 0 and sorted(out.splitlines()) == [b"text\\n!", b'{"a": 1}']
    assert err.startswith(f"taking results of '{kit.name}' at tcp://127.0.0.1:".encode())


def test_a_result_that_was_printed_is_accepted(
    kit: Kit, run: Run, begin: Begin, tmp_path: Path
) -> None:
    kit.streamer(journal=str(tmp_path / "x.journal"))
    kit.working(lambda body: body + 1)
    pushed = run("push", kit.name, "41", "--id", "answer", "--results", "sink", "--no-wait")
    assert (pushed.returncode, pushed.stdout) == (0, b"answer\n")
    taken = run("sink", kit.name, "--count", "1", "--json", "--timeout", "20")
    assert json.loads(taken.stdout) == {"id": "answer", "attempt": 1, "value": 42}
    again = run("sink", kit.name, "--timeout", "0.5")
    assert (again.returncode, again.stdout) == (124, b"")
    assert f"no result of '{kit.name}' came for 0.5 s" in again.stderr.decode()


def test_tasks_are_left_at_a_durable_streamer(kit: Kit, run: Run, tmp_path: Path) -> None:
    done: list[Any] = []
    streamer = kit.streamer(journal=str(tmp_path / "x.journal"))
    pushed = run("push", kit.name, "--no-wait", "--json", stdin=b"1\n2\n")
    assert pushed.returncode == 0, pushed.stderr
    told = [json.loads(line) for line in pushed.stdout.splitlines()]
    assert [each["state"] for each in told] == ["leased"] * 2
    assert b"2 tasks left with a streamer" in pushed.stderr
    assert streamer.stats()["waiting"] == 2
    kit.working(done.append)
    assert run("push", kit.name, "3", "--wait").returncode == 0
    assert done == [1, 2, 3]


def test_tasks_are_left_in_a_journal(kit: Kit, run: Run, tmp_path: Path) -> None:
    journal = str(tmp_path / "x.journal")
    pushed = run("push", kit.name, "1", "--id", "one", "--no-wait", "--journal", journal)
    assert (pushed.returncode, pushed.stdout) == (0, b"one\n")
    assert f"`zmqkit queue run {journal}` gives what is left" in pushed.stderr.decode()
    kit.working(lambda body: body)
    assert run("queue", "run", journal).stdout == b"1 task done\n"


def test_tasks_that_nobody_would_keep_are_refused(kit: Kit, run: Run) -> None:
    pushed = run("push", kit.name, "1", "--no-wait", "--timeout", "0.1")
    assert (pushed.returncode, pushed.stdout) == (2, b"")
    said = f"nobody keeps the tasks of '{kit.name}' when this command ends; give --journal FILE"
    assert said in pushed.stderr.decode()


@pytest.mark.parametrize("other", [["--no-wait"], ["--results", "sink"]])
def test_wait_prints_what_the_command_gets(
    other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(["push", "x", "1", "--wait", *other]) == 2
    assert f"--wait prints results, and {other[0]}" in capsys.readouterr().err
