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

from tests.cli.conftest import LIMIT_S, Begin, Run, Serve, environment, zmqkit
from tests.ports import quiet_endpoint
from tests.roles.kit import until
from zmqkit import Publisher, Pusher, Subscriber, Worker
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


LISTENS = "link.listen=tcp://127.0.0.1:0"


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
@pytest.mark.parametrize("which", ["streamer", "streamer-durable", "forwarder", "bridge"])
def test_a_signal_ends_it_with_0(
    device: Device, journal: str, which: str, number: signal.Signals
) -> None:
    settings = {"streamer-durable": journal, "bridge": LISTENS}
    sets = ("--set", settings[which]) if which in settings else ()
    assert device(which, *sets).end(number) == (0, "", "")


def roles(run: Run, name: str) -> set[str]:
    """The roles of a name that are listed now."""
    rows = [line.split() for line in run("ls").stdout.decode().splitlines()]
    return {row[1] for row in rows if row[0] == name}


def test_tasks_pass_through_it(device: Device, run: Run, worker: Work) -> None:
    running = device()
    worker(running.name, "tr", "a-z", "A-Z")
    for target in (running.name, running.address, f"{running.address}/{running.name}"):
        done = run("push", target, "--wait", stdin=b"one\ntwo\n")
        assert (done.returncode, done.stdout) == (0, b"ONE\nTWO\n"), done.stderr
    until(lambda: roles(run, running.name) == {"streamer", "worker"})


def test_calls_pass_through_a_router_and_are_finished_before_its_end(
    device: Device, begin: Begin, run: Run, serve: Serve, tmp_path: Path
) -> None:
    serving = serve("shop")
    running = device("router", name=serving.name)
    assert running.line.startswith(f"router {running.name!r} at tcp://127.0.0.1:")
    done = run("call", f"{running.address}/{running.name}", "echo", "tea", "--json")
    assert (done.returncode, done.stdout) == (0, b'[["tea"], {}]\n'), done.stderr
    until(lambda: f"service via {running.name}" in run("ls").stdout.decode())
    assert running.end() == (0, "", "")


def test_messages_pass_through_a_forwarder(device: Device, run: Run) -> None:
    running = device("forwarder")
    there = f"forwarder of {running.name!r} at tcp://127.0.0.1:"
    assert running.line.startswith(there)
    with (
        Publisher(running.name, policy="block") as publisher,
        Subscriber(f"{running.address}/{running.name}") as subscriber,
    ):
        assert publisher.ready(timeout_s=LIMIT_S) == 1
        publisher.publish("kitchen.celsius", 21.5)
        message = subscriber.receive(LIMIT_S)
        assert message is not None and message.body == 21.5
        assert message.publisher.endswith(f"{publisher.incarnation:016x}"[:8])
        until(lambda: roles(run, running.name) == {"forwarder", "publisher"})
        assert running.end() == (0, "", "")


def test_a_forwarder_with_a_history_has_what_was_published_before(device: Device) -> None:
    running = device("forwarder-history")
    with Subscriber(f"{running.address}/{running.name}") as witness:
        with Publisher(running.name) as publisher:
            assert publisher.ready(timeout_s=LIMIT_S) == 1
            publisher.publish("kitchen.celsius", 21.5)
            assert witness.receive(LIMIT_S) is not None
        with Subscriber(running.name, history=1) as late:  # its publisher is gone
            message = late.receive(LIMIT_S)
    assert message is not None and message.recovered
    assert (message.topic, message.body) == ("kitchen.celsius", 21.5)
    assert running.end() == (0, "", "")


def test_a_forwarder_behind_another_is_told_of_it(device: Device) -> None:
    first = device("forwarder")
    connect = f'backend.connect=["{first.address}/{first.name}"]'
    second = device("forwarder", "--set", connect)
    with (
        Publisher(first.name) as publisher,
        Subscriber(f"{second.address}/{second.name}") as subscriber,
    ):
        assert publisher.ready(timeout_s=LIMIT_S) == 1
        publisher.publish("t", "x")
        message = subscriber.receive(LIMIT_S)
        assert message is not None and message.body == "x"


def numbers_done(name: str) -> list[int]:
    """Do twenty tasks; the numbers in them."""
    done: list[int] = []
    with Worker(name) as worker:

        @worker.task
        def note(number: int) -> int:
            done.append(number)
            return number

        worker.work(tasks_max=20, timeout_s=LIMIT_S)
    return sorted(done)


def test_tasks_pass_to_another_streamer_which_may_be_killed(
    device: Device, tmp_path: Path
) -> None:
    journal = f"journal.path={tmp_path / 'far.journal'}"
    bind = f"frontend.bind={quiet_endpoint()}"
    far = device("streamer-durable", "--set", journal, "--set", bind)
    near = device("streamer", "--set", f'backend.connect=["{far.address}/{far.name}"]')
    with Pusher(near.name) as pusher:
        tickets = [pusher.push(number) for number in range(20)]
        assert pusher.ready(timeout_s=LIMIT_S) == 1
        far.process.kill()
        far.wait()
        again = device("streamer-durable", "--set", journal, "--set", bind, name=far.name)
        assert numbers_done(far.name) == list(range(20))
        assert [ticket.result(LIMIT_S) for ticket in tickets] == list(range(20))
    assert near.end()[:2] == again.end()[:2] == (0, "")


def test_tasks_that_a_streamer_has_on_disk_pass_to_another_one_once_it_comes(
    device: Device, journal: str
) -> None:
    address = quiet_endpoint()
    connect = f'backend.connect=["{address}"]'
    near = device("streamer-durable", "--set", journal, "--set", connect)
    with Pusher(near.name) as pusher:
        for number in range(20):
            pusher.push(number, durable=True)
    far = device("streamer", "--set", f"frontend.bind={address}")
    assert numbers_done(far.name) == list(range(20))
    assert near.end()[:2] == far.end()[:2] == (0, "")


def test_messages_pass_over_a_bridge_and_one_that_stops_has_carried_them(
    device: Device, run: Run
) -> None:
    near = device("bridge", "--set", LISTENS)
    assert near.line.startswith(f"bridge of {near.name!r} at tcp://127.0.0.1:")
    far = device("bridge", "--set", f"link.connect={near.address}/{near.name}")
    with (
        Publisher(near.name, policy="block") as publisher,
        Subscriber(far.name) as subscriber,
    ):
        assert publisher.ready(timeout_s=LIMIT_S) == 1
        assert subscriber.ready(timeout_s=LIMIT_S) == 1
        publisher.publish("kitchen.celsius", 21.5)
        message = subscriber.receive(LIMIT_S)
        assert message is not None and message.body == 21.5
        assert message.publisher.endswith(f"{publisher.incarnation:016x}"[:8])
        for number in range(1000):
            publisher.publish("t", number)
        assert publisher.close() == 0
        assert near.end()[:2] == (0, "")
        messages = [subscriber.receive(LIMIT_S) for _ in range(1000)]
        assert [each.body for each in messages if each] == list(range(1000))
    assert far.end() == (0, "", "")


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
    # What comes at once belongs to the first.
    until(lambda: running.process.send_signal(number) or running.process.poll() is not None)
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


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, b"missing argument 'DEVICE|FILE'"),
        (
            ("brocker",), 78,
            b"no device 'brocker'; there are bridge, forwarder, forwarder-history, majordomo, ",
        ),
        (("streamer",), 2, b"--name is missing; say with it under which name tasks are pushed"),
        (("./nowhere.toml",), 78, b"there is no file './nowhere.toml'"),
        (("streamer", "--set", "limits"), 78, b"use TABLE.KEY=VALUE"),
        (("streamer", "--name", "x", "--set", "limits.tasks_max=0"), 78,
         b"limits.tasks_max is 0"),
        (
            ("streamer", "--name", "x", "--set", "frontend.bind=5560"), 78,
            b"--set frontend.bind=5560: '5560'",
        ),
        (("streamer", "--name", "tcp://127.0.0.1:5"), 78,
         b"--name: 'tcp://127.0.0.1:5' is an add"),
        (("streamer", "--name", "x", "--health", "tcp://*:1"), 78, b"reaches beyond this mach"),
        (("streamer", "--name", "x", "--drain", "-1"), 2, b"invalid value for '--drain'"),
        (("streamer", "--bind", "x"), 2, b"no such option"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_78_and_a_wrong_command_2_in_one_line(
    run: Run, arguments: tuple[str, ...], code: int, said: bytes
) -> None:
    done = run("run", *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.lower() or said in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("which", ["streamer", "streamer-durable"])
def test_an_address_that_is_taken_is_named(
    device: Device, run: Run, journal: str, which: str
) -> None:
    first = device()
    sets = ("--set", f"frontend.bind={first.address}", "--set", journal)
    taken = run("run", which, "--name", "other", *sets)
    assert (taken.returncode, taken.stdout) == (69, b"")
    assert first.address.encode() in taken.stderr and taken.stderr.count(b"\n") == 1


def test_a_journal_has_one_streamer_at_a_time(device: Device, run: Run, journal: str) -> None:
    first = device("streamer-durable", "--set", journal)
    second = run("run", "streamer-durable", "--name", first.name, "--set", journal)
    assert (second.returncode, second.stdout) == (74, b"")
    said = f"x.journal: it is open already, in process {first.process.pid}; have that one"
    assert said in second.stderr.decode() and second.stderr.count(b"\n") == 1
    assert first.end() == (0, "", "")
    # It belongs to the name.
    other = run("run", "streamer-durable", "--name", "other", "--set", journal)
    assert other.returncode == 74 and first.name.encode() in other.stderr


def test_a_streamer_that_is_stopped_is_told_of(device: Device, run: Run, journal: str) -> None:
    for running in (device(), device("streamer-durable", "--set", journal)):
        running.process.send_signal(signal.SIGSTOP)
        done = run("queue", "ls", running.name)
        assert (done.returncode, done.stdout) == (124, b"")
        assert f"process {running.process.pid} does not answer" in done.stderr.decode()
        running.process.send_signal(signal.SIGCONT)
        assert running.end() == (0, "", "")


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
    mine.write_text(
        find("streamer").read_text().replace('# name = "thumbnails"', 'name = "t-of-the-file"')
    )
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
