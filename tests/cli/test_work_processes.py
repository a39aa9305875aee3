"""`zmqkit work MODULE:WORKER`: processes that are started, replaced, stopped and never left."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.cli.conftest import LIMIT_S, Begin, Run, environment
from tests.cli.conftest import zmqkit as zmqkit_command
from tests.spawning import Popen

pytestmark = pytest.mark.slow

MODULE = """
import ctypes, os, pathlib, signal, threading
import zmqkit

worker = zmqkit.Worker({name!r}, concurrency={concurrency})
other = 7

@worker.task(attempts=3, backoff_s=0, task_timeout_s={task_timeout_s})
def work(body):
    first = zmqkit.current_task().attempt == 1
    if body == "die" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if body == "hang" and first:
        threading.Event().wait()
    if body == "seize" and first:
        ctypes.PyDLL(None).sleep(1000)  # it holds the interpreter meanwhile
    if isinstance(body, dict):
        meet(pathlib.Path(body["meet"]))
    return os.getpid()

def meet(folder):
    (folder / f"{{os.getpid()}}.begun").touch()
    with open(folder / "gate") as gate:
        gate.read()
"""

Jobs = Callable[..., str]
Start = Callable[..., "Working"]


@pytest.fixture
def jobs(tmp_path: Path, name: str) -> Jobs:
    """Write a module with a worker; return what names the worker."""

    def jobs(text: str = MODULE, **options: object) -> str:
        values = {"name": name, "task_timeout_s": None, "concurrency": 1, **options}
        path = tmp_path / "jobs.py"
        path.write_text(text.format(**values))
        return f"{path}:worker"

    return jobs


def read(descriptor: int) -> bytes:
    """What comes next, within a time."""
    assert select.select([descriptor], [], [], 2 * LIMIT_S)[0], "nothing came"
    return os.read(descriptor, 4096)


class Working:
    """A `zmqkit work` that says what its processes do."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None and process.stderr is not None
        self._streams = process.stdout.fileno(), process.stderr.fileno()
        self._texts = dict.fromkeys(self._streams, b"")

    def line(self, part: str) -> str:
        """The next line of standard error that has this part."""
        while part not in (line := self._next(self._streams[1])):
            pass
        return line

    def ready(self) -> list[int]:
        """Wait until all work; return the pids that it told until then."""
        line = self._next(self._streams[0])
        assert line.startswith("working on "), line
        count = int(line.split()[-2])
        return [int(self.line("works at").split()[1]) for _ in range(count)]

    def _next(self, descriptor: int) -> str:
        while b"\n" not in self._texts[descriptor]:
            block = read(descriptor)
            assert block, "it ended and never said so"
            self._texts[descriptor] += block
        line, _, self._texts[descriptor] = self._texts[descriptor].partition(b"\n")
        return line.decode()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end; return the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=2 * LIMIT_S)
        return self.process.returncode


@pytest.fixture
def start(begin: Begin) -> Iterator[Start]:
    """Start `zmqkit work`, to be ended with the test, its processes too."""
    started: list[Working] = []

    def start(*arguments: str) -> Working:
        started.append(Working(begin("work", *arguments)))
        return started[-1]

    yield start
    for working in started:
        if working.process.poll() is None:
            working.end()


@pytest.fixture
def pusher(name: str) -> Iterator[zmqkit.Pusher]:
    with zmqkit.Pusher(name) as pusher:
        yield pusher


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return False
    # A zombie waits for its new parent, and does nothing any more.
    return stat.rpartition(")")[2].split()[0] != "Z"


def until(holds: Callable[[], object]) -> None:
    """Look again and again, for what nothing tells of."""
    pause = threading.Event()
    for _ in range(1000):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError("it never came true")


def test_as_many_processes_work_as_are_wanted(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher, tmp_path: Path
) -> None:
    working = start(jobs(), "--processes", "2")
    pids = working.ready()
    os.mkfifo(tmp_path / "gate")
    tickets = [pusher.push({"meet": str(tmp_path)}) for _ in range(2)]
    until(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
    (tmp_path / "gate").write_text("")
    assert sorted(each.result(LIMIT_S) for each in tickets) == sorted(pids)
    assert working.end() == 0
    until(lambda: not any(map(is_alive, pids)))


def test_a_process_that_dies_is_replaced_and_its_task_done_elsewhere(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher
) -> None:
    working = start(jobs())
    [pid] = working.ready()
    ticket = pusher.push("die")
    assert working.line("SIGKILL").startswith(f"process {pid} was killed by SIGKILL; another")
    again = int(working.line("works at").split()[1])
    assert ticket.result(2 * LIMIT_S) == again
    assert ticket.attempts == 2 and ticket.reasons[0].startswith("the worker is ")


def test_metrics_tell_what_the_workers_of_all_processes_count(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher
) -> None:
    pytest.importorskip("prometheus_client")
    working = start(jobs(), "--processes", "2", "--health", "tcp://127.0.0.1:0")
    url = working.line("health of ").split()[-1]
    working.ready()
    for number in range(20):
        pusher.push(number)

    def counted(outcome: str) -> float:
        with urllib.request.urlopen(f"{url}/metrics", timeout=LIMIT_S) as answer:
            text = answer.read().decode()
        counts = re.findall(rf'zmqkit_messages_total{{.*outcome="{outcome}".*}} (.+)', text)
        return float(counts[0]) if counts else 0.0

    until(lambda: counted("delivered") == 20)
    pusher.push("die")  # it may have said that it began the task, or not
    until(lambda: counted("delivered") == 21)
    until(lambda: counted("accepted") - counted("dropped") == 21)
    assert working.end() == 0


def test_a_process_is_replaced_after_so_many_tasks(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher
) -> None:
    working = start(jobs(), "--max-tasks", "2")
    pids = [ticket.result(2 * LIMIT_S) for ticket in pusher.push_many(range(4))]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert working.line("after 2 tasks") == (
        f"process {pids[0]} ended after 2 tasks; another one begins"
    )


def test_a_process_says_that_it_is_open_to_the_network(jobs: Jobs, start: Start) -> None:
    text = MODULE.replace("concurrency={concurrency}", "insecure=True")
    assert start(jobs(text)).line("works at").endswith(", open to the network in plain text")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_each_process_finish(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher, tmp_path: Path, number: int
) -> None:
    working = start(jobs(), "--processes", "2")
    working.ready()
    os.mkfifo(tmp_path / "gate")
    ticket = pusher.push({"meet": str(tmp_path)})
    until(lambda: list(tmp_path.glob("*.begun")))
    working.process.send_signal(number)
    assert working.line("stopping") == "stopping 2 processes"
    working.line("finishing 1 task")
    (tmp_path / "gate").write_text("")
    assert isinstance(ticket.result(LIMIT_S), int)
    assert working.process.wait(LIMIT_S) == 0


def test_a_second_signal_stops_now(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher, tmp_path: Path
) -> None:
    working = start(jobs())
    [pid] = working.ready()
    os.mkfifo(tmp_path / "gate")
    pusher.push({"meet": str(tmp_path)})
    until(lambda: list(tmp_path.glob("*.begun")))
    working.process.send_signal(signal.SIGINT)
    working.line("finishing 1 task")
    until(lambda: working.process.send_signal(signal.SIGINT) or working.process.poll())
    assert working.process.returncode == 130
    until(lambda: not is_alive(pid))


def test_no_process_outlives_a_parent_that_is_killed(jobs: Jobs, start: Start) -> None:
    working = start(jobs(), "--processes", "2")
    pids = working.ready()
    working.process.kill()
    until(lambda: not any(map(is_alive, pids)))


def test_processes_that_cannot_begin_are_given_up(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher, tmp_path: Path
) -> None:
    once = f"import os\nif os.path.exists({str(tmp_path / 'once')!r}): os._exit(3)\n"
    text = once + MODULE + f"\nopen({str(tmp_path / 'once')!r}, 'w').close()\n"
    working = start(jobs(text), "--max-tasks", "1")
    working.ready()
    pusher.push(1).result(LIMIT_S)
    assert "another one begins in 0.1 s" in working.line("ended with exit code 3")
    assert "another one begins in 0.2 s" in working.line("ended with exit code 3")
    assert "before it could work, 5 in a row" in working.line("error: ")
    assert working.process.wait(LIMIT_S) == 1


@pytest.mark.parametrize("asyncio", [False, True])
def test_an_attempt_that_takes_too_long_ends_its_process(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher, asyncio: bool
) -> None:
    text = MODULE
    if asyncio:  # in a thread, which nothing cancels
        text = text.replace("zmqkit.Worker", "zmqkit.asyncio.Worker")
        text = text.replace("import zmqkit\n", "import zmqkit.asyncio\n")
        text = text.replace("@worker.task(", "@worker.task(thread=True, ")
    working = start(jobs(text, task_timeout_s=1.0))
    [pid] = working.ready()
    ticket = pusher.push("hang")
    assert working.line("took longer") == (
        f"process {pid}: a task took longer than task_timeout_s=1; it ends"
    )
    again = int(working.line("works at").split()[1])
    assert ticket.result(2 * LIMIT_S) == again
    assert ticket.reasons == ["TimeoutError: took longer than task_timeout_s=1"]
    assert not is_alive(pid)


def test_other_tasks_of_such_a_process_cost_no_attempt(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher, tmp_path: Path
) -> None:
    working = start(jobs(task_timeout_s=3.0, concurrency=2))
    working.ready()
    os.mkfifo(tmp_path / "gate")
    hanging = pusher.push("hang")
    until(lambda: hanging.reasons)
    other = pusher.push({"meet": str(tmp_path)})
    until(lambda: list(tmp_path.glob("*.begun")))
    working.line("took longer")
    (tmp_path / "gate").write_text("")
    assert isinstance(other.result(2 * LIMIT_S), int) and other.attempts == 1
    assert isinstance(hanging.result(2 * LIMIT_S), int) and hanging.attempts == 2


def test_a_handler_that_seizes_the_interpreter_is_killed(
    jobs: Jobs, start: Start, pusher: zmqkit.Pusher
) -> None:
    working = start(jobs(task_timeout_s=1.0))
    [pid] = working.ready()
    ticket = pusher.push("seize")
    assert working.line("says nothing").startswith(f"process {pid} says nothing")
    working.line("was killed by SIGKILL")
    assert ticket.result(3 * LIMIT_S) != pid
    assert ticket.reasons[0].endswith("perhaps took longer than task_timeout_s=1")


@pytest.mark.parametrize(
    ("text", "target", "code", "said"),
    [
        (MODULE, ":nobody", 2, "has no worker 'nobody'; there are worker"),
        (MODULE, ":other", 2, "is a int and no zmqkit.Worker; there are worker"),
        ("x = 1", ":worker", 2, "has no worker 'worker'; make one there"),
        ("import zmqkit\nworker = zmqkit.Worker({name!r})", ":worker", 2, "has no handler"),
        ("raise ValueError('no')", ":worker", 1, "importing 'jobs' failed: ValueError: no"),
        ("", "x.py:worker", 2, "there is no file"),
    ],
)
def test_what_is_no_worker_is_refused_with_a_remedy(
    jobs: Jobs, run: Run, text: str, target: str, code: int, said: str
) -> None:
    path = jobs(text).rpartition(":")[0]
    done = run("work", path + target, "--processes", "3")
    assert done.returncode == code
    assert done.stderr.decode().count(said) == 1, done.stderr
    assert done.stderr.decode().count("error: ") == 1, done.stderr


def test_a_terminal_shows_how_far_a_task_is(
    jobs: Jobs, start: Start, name: str, tmp_path: Path
) -> None:
    text = MODULE.replace(
        "    first =", "    zmqkit.current_task().progress([0.5])\n    first ="
    )
    [pid] = start(jobs(text)).ready()
    os.mkfifo(tmp_path / "gate")
    ours, theirs = pty.openpty()
    body = json.dumps({"meet": str(tmp_path)})
    command = zmqkit_command("push", name, body, "--id", "cat", "--wait")
    process = Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment())
    os.close(theirs)
    shown = b""
    while b"\r\x1b[Ktask cat: [0.5]" not in shown:
        shown += read(ours)
    (tmp_path / "gate").write_text("")
    assert process.communicate(timeout=LIMIT_S)[0] == f"{pid}\n".encode()
    os.close(ours)


def test_a_module_that_is_not_there_is_refused(run: Run) -> None:
    done = run("work", "nowhere.at_all:worker")
    assert done.returncode == 2 and b"there is no module 'nowhere.at_all'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shop",), "give -- COMMAND, or MODULE:WORKER"),
        (("shop:worker", "--attempts", "2"), "--attempts is for a COMMAND"),
        (("shop:worker", "--insecure"), "--insecure is for a COMMAND"),
        (("shop", "--processes", "2", "--", "cat"), "--processes is for MODULE:WORKER"),
        (("shop", "--max-tasks", "2", "--", "cat"), "--max-tasks is for MODULE:WORKER"),
    ],
)
def test_options_of_the_other_way_are_refused(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = run("work", *arguments)
    assert done.returncode == 2 and said.encode() in done.stderr, done.stderr


def test_a_command_is_killed_that_takes_too_long(
    name: str, start: Start, run: Run, tmp_path: Path
) -> None:
    script = f"echo $$ >> {tmp_path}/pids; sleep 1000; echo"  # the shell starts another process
    working = start(name, "--task-timeout", "2", "--attempts", "1", "--", "sh", "-c", script)
    done = run("push", name, "x", "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["state"] == "dead"
    assert said["error"] == "TimeoutError: took longer than task_timeout_s=2"
    pid = int((tmp_path / "pids").read_text())
    until(lambda: not is_alive(pid))
    assert working.end() == 0


def test_no_command_outlives_a_worker_that_is_killed(
    name: str, start: Start, begin: Begin, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    # The worker tells its watchdog of a command just after it has started it.
    script = f"sleep 1000 & sleep 1; echo $$ $! > {pids}; wait"
    working = start(name, "--", "sh", "-c", script)
    begin("push", name, "x")
    begun = [int(pid) for pid in pids.read_text().split()]
    assert len(begun) == 2 and all(map(is_alive, begun))
    working.process.kill()
    until(lambda: not any(map(is_alive, begun)))
