"""`zmqkit push` and `zmqkit work`: tasks from the shell, done by commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import LIMIT_S, Begin, Run, environment, zmqkit

pytestmark = pytest.mark.slow

Work = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def work(begin: Begin, name: str) -> Work:
    """Start a `zmqkit work` of this module's name, and read its first line."""

    def work(*arguments: str) -> subprocess.Popen[bytes]:
        process = begin("work", name, *arguments)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"working on '{name}' at tcp://".encode())
        return process

    return work


def test_each_line_is_a_task_and_results_come_in_order(name: str, run: Run, work: Work) -> None:
    work("--concurrency", "3", "--", "tr", "a-z", "A-Z")
    done = run("push", name, "--wait", stdin=b"one\ntwo\nthree\n")
    assert (done.returncode, done.stdout) == (0, b"ONE\nTWO\nTHREE\n"), done.stderr


def test_json_goes_in_and_comes_out(name: str, run: Run, work: Work) -> None:
    work("--", "cat")
    done = run("push", name, '{"path": "cat.png"}', "--id", "order-17", "--json")
    assert json.loads(done.stdout) == {
        "id": "order-17", "state": "done", "attempts": 1, "result": {"path": "cat.png"},
    }  # fmt: skip


def test_the_environment_says_which_task_it_is(name: str, run: Run, work: Work) -> None:
    work("--", "sh", "-c", "echo $ZMQKIT_TASK_ID $ZMQKIT_TASK_ATTEMPT")
    assert run("push", name, "x", "--id", "a/b", "--wait").stdout == b"a/b 1\n"


@pytest.mark.parametrize(("code", "state", "attempts"), [("3", "dead", 2), ("65", "failed", 1)])
def test_the_exit_code_decides(
    name: str, run: Run, work: Work, code: str, state: str, attempts: int
) -> None:
    command = f"echo oops >&2; exit {code}"
    work("--attempts", "2", "--backoff", "0", "--", "sh", "-c", command)
    done = run("push", name, "x", "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 1
    assert (said["state"], said["attempts"]) == (state, attempts)
    assert said["error"].endswith(f"sh ended with {code}: oops")


def test_a_command_that_is_not_there_is_refused_at_once(name: str, run: Run) -> None:
    done = run("work", name, "--", "/nowhere/at-all")
    assert done.returncode == 2
    assert b"there is no command '/nowhere/at-all'" in done.stderr


def test_tasks_are_left_in_a_journal(name: str, run: Run, work: Work, tmp_path: Path) -> None:
    journal = str(tmp_path / "x.journal")
    given_up = run("push", name, "a", "--journal", journal, "--timeout", "1")
    assert given_up.returncode == 124 and b"left in its journal" in given_up.stderr
    work("--", "cat")
    done = run("push", name, "b", "--journal", journal, "--wait")
    assert (done.returncode, done.stdout) == (0, b"b\n")


def test_a_disk_that_fails_is_not_written_any_more(
    name: str, work: Work, tmp_path: Path
) -> None:
    """The system refuses to make the log longer: an error, and no lack of room."""
    work("--", "cat")
    command = zmqkit("push", name, "--journal", str(tmp_path / "x.journal"))
    failed = subprocess.run(
        ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *command],
        input=b"".join(b"%d" % number * 100_000 + b"\n" for number in range(10)),
        capture_output=True,
        env=environment(),
        timeout=LIMIT_S,
        check=False,
    )
    assert failed.returncode == 74 and b"the disk failed" in failed.stderr


def test_a_journal_whose_folder_is_not_there_is_wrong_usage(
    name: str, run: Run, tmp_path: Path
) -> None:
    done = run("push", name, "a", "--journal", str(tmp_path / "nowhere" / "x.journal"))
    assert done.returncode == 2 and b"nowhere; make it, or name another file" in done.stderr


@pytest.mark.parametrize("timeout_s", ["0.01", "1.5"])
def test_push_says_that_nobody_works(name: str, run: Run, timeout_s: str) -> None:
    done = run("push", name, "x", "--timeout", timeout_s)
    assert done.returncode == 124
    assert f"nobody works on '{name}'".encode() in done.stderr
    assert b"1 task not done in time" in done.stderr


def test_a_signal_ends_a_worker_once_its_task_is_done(
    name: str, work: Work, begin: Begin, tmp_path: Path
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    os.mkfifo(begun)
    os.mkfifo(go)
    working = work("--", "sh", "-c", f"echo >{begun}; read line <{go}; echo $line")
    pushing = begin("push", name, "x", "--wait")
    begun.read_text()  # returns once the command runs
    working.send_signal(signal.SIGTERM)
    assert working.stderr is not None
    assert working.stderr.readline() == b"finishing 1 task; interrupt again to stop now\n"
    go.write_text("done\n")
    assert pushing.communicate(timeout=LIMIT_S)[0] == b"done\n"
    assert working.wait(LIMIT_S) == 0


def test_id_is_for_a_single_task(name: str, run: Run) -> None:
    done = run("push", name, "--id", "x", stdin=b"a\nb\n")
    assert done.returncode == 2 and b"single task" in done.stderr
