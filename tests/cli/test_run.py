"""`zmqkit run`: a device from its first line to a clean end."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LIMIT_S, Begin, Run, environment, zmqkit
from zmqkit import Pusher
from zmqkit.device.files import find

pytestmark = pytest.mark.slow

Device = Callable[..., "Running"]
Popen = subprocess.Popen[bytes]
Work = Callable[..., Popen]

FINISHING = "finishing 1 task; interrupt again to stop now"


class Running:
    """A `zmqkit run` that listens: its first line was read."""

    def __init__(self, process: Popen, name: str) -> None:
        self.process = process
        self.name = name
        self.line = self.read_line()
        found = re.search(r"tcp://[\d.]+:\d+", self.line)
        self.address = found[0] if found else ""

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip()

    def read_error(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode().rstrip()

    def wait(self) -> tuple[int, str, str]:
        """Wait for its end; the exit code, and what it wrote that nobody has read."""
        output, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, output.decode(), errors.decode()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.wait()


@pytest.fixture
def device(begin: Begin) -> Device:
    """Starts `zmqkit run` under a name of its own, or the one given."""

    def device(which: str = "streamer", *arguments: str, name: str = "") -> Running:
        name = name or f"t{secrets.token_hex(6)}"
        return Running(begin("run", which, "--name", name, *arguments), name)

    return device


@pytest.fixture
def worker(begin: Begin) -> Iterator[Work]:
    """Starts `zmqkit work`, and reads its first line; it ends with its commands."""
    begun: list[Popen] = []

    def worker(name: str, *program: str) -> Popen:
        begun.append(begin("work", name, "--", *program))
        assert begun[-1].stdout is not None and begun[-1].stdout.readline()
        return begun[-1]

    yield worker
    for process in begun:
        process.terminate()
        process.communicate(timeout=LIMIT_S)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return f"journal.path={tmp_path / 'x.journal'}"


def test_it_says_where_it_listens_and_how_to_open(device: Device) -> None:
    running = device()
    there = f"streamer of {running.name!r} at tcp://127.0.0.1:"
    assert running.line.startswith(there)
    assert "this machine only; --insecure opens it" in running.line
    assert running.end() == (0, "", "")


def test_it_may_be_open_to_the_network(device: Device) -> None:
    running = device("streamer", "--insecure")
    assert "open to the network in plain text" in running.line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("which", ["streamer", "streamer-durable"])
def test_a_signal_ends_it_with_0(
    device: Device, journal: str, which: str, number: signal.Signals
) -> None:
    sets = ("--set", journal) if which == "streamer-durable" else ()
    assert device(which, *sets).end(number) == (0, "", "")


def test_tasks_pass_through_it(device: Device, run: Run, worker: Work) -> None:
    running = device()
    worker(running.name, "tr", "a-z", "A-Z")
    for target in (running.name, running.address, f"{running.address}/{running.name}"):
        done = run("push", target, "--wait", stdin=b"one\ntwo\n")
        assert (done.returncode, done.stdout) == (0, b"ONE\nTWO\n"), done.stderr
    rows = [line.split() for line in run("ls").stdout.decode().splitlines()]
    assert {row[1] for row in rows if row[0] == running.name} == {"streamer", "worker"}


def test_a_task_that_a_worker_has_is_finished_before_the_end(
    device: Device, begin: Begin, worker: Work, tmp_path: Path
) -> None:
    running = device()
    began, go_on = tmp_path / "began", tmp_path / "go-on"
    os.mkfifo(began)
    os.mkfifo(go_on)
    worker(running.name, "sh", "-c", f"echo x > {began}; cat {go_on}")
    pushing = begin("push", running.address, "a task", "--wait")
    assert began.read_text() == "x\n"
    running.process.send_signal(signal.SIGTERM)
    assert running.read_error() == FINISHING
    go_on.write_text("done all the same")
    assert pushing.communicate(timeout=LIMIT_S)[0] == b"done all the same\n"
    assert running.wait() == (0, "", "")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "error: interrupted\n"), (signal.SIGTERM, -signal.SIGTERM, "")],
)
def test_a_second_signal_does_not_wait(
    device: Device, begin: Begin, worker: Work, tmp_path: Path,
    number: signal.Signals, code: int, said: str,
) -> None:  # fmt: skip
    running = device()
    began, go_on = tmp_path / "began", tmp_path / "go-on"
    os.mkfifo(began)
    os.mkfifo(go_on)
    worker(running.name, "sh", "-c", f"echo x > {began}; cat {go_on}")
    begin("push", running.address, "a task", "--wait")
    assert began.read_text() == "x\n"
    running.process.send_signal(number)
    assert running.read_error() == FINISHING
    while running.process.poll() is None:
        running.process.send_signal(number)
        try:
            running.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    assert running.wait() == (code, "", said)
    go_on.write_text("")


def test_what_waits_stays_in_the_journal_for_the_next_one(
    device: Device, journal: str, worker: Work, tmp_path: Path
) -> None:
    first = device("streamer-durable", "--set", journal)
    with Pusher(first.address) as pusher:
        pusher.push("a task", durable=True, timeout_s=LIMIT_S)
        assert first.end() == (0, "", "")
        assert pusher.close(0) == 1
    second = device("streamer-durable", "--set", journal, name=first.name)
    done = tmp_path / "done"
    os.mkfifo(done)
    worker(second.name, "sh", "-c", f"cat > {done}")
    assert done.read_text() == "a task"
    assert second.end()[0] == 0


def test_check_reads_the_file_and_runs_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[device]\nkind = "streamer"\nname = "mine"\n[journal]\npath = "x"\n')
    done = run("run", str(file), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (
        0, b"streamer 'mine' is in order\n", b"",
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]
    file.write_text('[device]\nkind = "streamer"\nname = "mine"\nnome = 1\n')
    done = run("run", str(file), "--check")
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"{file}:4: device.nome is unknown; did you mean name?" in done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), b"missing argument 'DEVICE|FILE'"),
        (("brocker",), b"no device 'brocker'; there are streamer, streamer-durable"),
        (("./nowhere.toml",), b"there is no file './nowhere.toml'"),
        (("streamer", "--set", "limits"), b"use TABLE.KEY=VALUE"),
        (("streamer", "--set", "limits.tasks_max=0"), b"limit tasks_max is 0"),
        (("streamer", "--set", "frontend.bind=5560"), b"--set frontend.bind=5560: '5560'"),
        (("streamer", "--name", "tcp://127.0.0.1:5"), b"--name: 'tcp://127.0.0.1:5' is an add"),
        (("streamer", "--bind", "x"), b"no such option"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    run: Run, arguments: tuple[str, ...], said: bytes
) -> None:
    done = run("run", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.lower() or said in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("which", ["streamer", "streamer-durable"])
def test_an_address_that_is_taken_is_named(
    device: Device, run: Run, journal: str, which: str
) -> None:
    first = device()
    sets = ("--set", f"frontend.bind={first.address}", "--set", journal)
    taken = run("run", which, "--name", "other", *sets)
    assert (taken.returncode, taken.stdout) == (1, b"")
    assert first.address.encode() in taken.stderr and taken.stderr.count(b"\n") == 1


def test_a_journal_has_one_streamer_at_a_time(device: Device, run: Run, journal: str) -> None:
    first = device("streamer-durable", "--set", journal)
    second = run("run", "streamer-durable", "--name", first.name, "--set", journal)
    assert (second.returncode, second.stdout) == (74, b"")
    assert b"x.journal: it is open already" in second.stderr and second.stderr.count(b"\n") == 1
    assert first.end() == (0, "", "")
    # It belongs to the name.
    other = run("run", "streamer-durable", "--name", "other", "--set", journal)
    assert other.returncode == 74 and first.name.encode() in other.stderr


def test_a_name_may_have_two_streamers(device: Device, run: Run, worker: Work) -> None:
    first = device()
    second = device(name=first.name)
    worker(first.name, "cat")
    done = run("push", first.name, "--wait", stdin=b"1\n2\n3\n4\n")
    assert done.stdout == b"1\n2\n3\n4\n"
    assert first.end() == (0, "", "")
    assert run("push", first.name, "5", "--wait").stdout == b"5\n"
    assert second.end() == (0, "", "")


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment with this zmqkit as a command."""
    command = tmp_path / "bin" / "zmqkit"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexec " + " ".join(zmqkit()) + ' "$@"\n')
    command.chmod(0o755)
    made = environment()
    return {**made, "PATH": f"{command.parent}{os.pathsep}{made['PATH']}"}


def test_a_device_file_is_a_program(on_path: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text(find("streamer").read_text().replace('"tasks"', '"t-of-the-file"'))
    mine.chmod(0o755)
    process = subprocess.Popen(
        [mine, "--set", "limits.tasks_max=7"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=on_path,
    )  # fmt: skip
    try:
        running = Running(process, "t-of-the-file")
        assert running.line.startswith("streamer of 't-of-the-file' at tcp://127.0.0.1:")
        assert running.end() == (0, "", "")
    finally:
        process.kill()
        process.communicate()
