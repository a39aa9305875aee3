"""`zmqkit work URL`: workers that dial a streamer, and the death of either."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import LIMIT_S, Begin, Run
from tests.ports import quiet_endpoint
from tests.roles.kit import until

pytestmark = pytest.mark.slow


class Stage:
    """A streamer with a journal, workers that dial it, and a gate for their commands."""

    def __init__(self, begin: Begin, name: str, folder: Path) -> None:
        self.name = name
        self.began = folder / "began"
        self._begin = begin
        self._gate = folder / "gate"
        self._journal = folder / "journal"
        self.streamer, self.endpoint = self.stream(quiet_endpoint())

    def stream(self, bind: str) -> tuple[subprocess.Popen[bytes], str]:
        """Run a streamer; return its process and its endpoint."""
        sets = (f"frontend.bind={bind}", f"journal.path={self._journal}")
        options = [word for each in sets for word in ("--set", each)]
        process = self._begin("run", "streamer-durable", "--name", self.name, *options)
        line = first_line(process)
        assert line.startswith(f"streamer of '{self.name}' at tcp://"), line
        return process, line.split(" at ")[1].split(",")[0]

    def work(self) -> subprocess.Popen[bytes]:
        """Run a worker whose command says that it began, and waits for the gate."""
        began, gate = shlex.quote(str(self.began)), shlex.quote(str(self._gate))
        script = f"echo $$ >> {began}; until [ -e {gate} ]; do sleep 0.02; done; tr a-z A-Z"
        process = self._begin("work", f"{self.endpoint}/{self.name}", "--", "sh", "-c", script)
        assert first_line(process) == f"working for the streamer at {self.endpoint}"
        return process

    def push(self, body: str) -> subprocess.Popen[bytes]:
        """Push a task, and wait for its result."""
        return self._begin("push", self.name, body, "--wait")

    def runs(self) -> int:
        """How many commands have begun."""
        return len(self.began.read_text().split()) if self.began.exists() else 0

    def open(self) -> None:
        """Let the commands go on."""
        self._gate.touch()


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().rstrip()


def output(process: subprocess.Popen[bytes]) -> bytes:
    """What a process has written once it has ended well."""
    written, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    return written


@pytest.fixture
def stage(begin: Begin, name: str, tmp_path: Path) -> Stage:
    return Stage(begin, name, tmp_path)


def test_a_command_does_the_tasks_of_a_streamer(stage: Stage, run: Run) -> None:
    stage.open()
    worker = stage.work()
    done = run("push", stage.name, "--wait", stdin=b"one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, b"ONE\nTWO\n"), done.stderr
    worker.send_signal(signal.SIGTERM)
    assert output(worker) == b""


def test_the_task_at_hand_outlives_its_streamer(stage: Stage) -> None:
    stage.work()
    pushed = stage.push("one")
    until(lambda: stage.runs() == 1)
    stage.streamer.kill()
    stage.streamer.wait(LIMIT_S)
    stage.stream(stage.endpoint)
    stage.open()
    assert output(pushed) == b"ONE\n"


def test_the_task_of_a_worker_that_died_is_done_by_another(stage: Stage) -> None:
    doomed = stage.work()
    pushed = stage.push("one")
    until(lambda: stage.runs() == 1)
    doomed.kill()
    doomed.wait(LIMIT_S)
    stage.work()
    until(lambda: stage.runs() == 2)
    stage.open()
    assert output(pushed) == b"ONE\n"


def test_a_url_that_is_wrong_is_told_with_the_remedy(run: Run) -> None:
    done = run("work", "tcp://10.0.0.5:5560/thumbnails", "--", "cat")
    assert (done.returncode, done.stdout) == (78, b"")
    assert b"reaches beyond this machine; pass insecure=True, or --insecure" in done.stderr
