"""How processes that serve behave: what a service manager, a scraper and a log reader see."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

import zmqkit
from tests.cli.conftest import HERE, LIMIT_S, environment
from tests.cli.conftest import zmqkit as zmqkit_command
from tests.spawning import Popen
from zmqkit.cli.manners import STUCK_S, Attended, Manners
from zmqkit.device.bridge import Bridge
from zmqkit.device.files import Shipped, shipped
from zmqkit.device.place import HealthPlace
from zmqkit.device.spec import kind_in

WORKER = """
import zmqkit
worker = zmqkit.Worker("{name}")
@worker.task
def shout(text):
    return text.upper()
"""


class Manager:
    """A service manager that starts one process, and hears it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.settimeout(LIMIT_S)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, watchdog_s: float = 0.4) -> subprocess.Popen[bytes]:
        self.process = Popen(
            zmqkit_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=HERE,
            env={
                **environment(),
                "NOTIFY_SOCKET": str(self.folder / "notify"),
                "WATCHDOG_USEC": str(int(watchdog_s * 1e6)),
            },
        )  # fmt: skip
        return self.process

    def await_word(self, word: str) -> list[str]:
        """Wait for a datagram with this word."""
        while True:
            words = self.socket.recv(4096).decode().split("\n")
            if word in words:
                return words

    def close(self) -> None:
        self.socket.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def ask(url: str) -> tuple[int, str]:
    """The answer to a GET."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "serve", "serve-async", "work", "processes"])
def test_a_manager_hears_when_it_is_ready_lives_and_ends(
    manager: Manager, tmp_path: Path, what: str
) -> None:
    name = f"t{secrets.token_hex(6)}"
    module = tmp_path / "tasks.py"
    module.write_text(WORKER.format(name=name))
    command = {
        "run": ("run", "streamer", "--name", name),
        "serve": ("serve", "math", "--name", name),
        "serve-async": ("serve", "waiting", "--name", name),
        "work": ("work", name),
        "processes": ("work", f"{module}:worker", "--processes", "2"),
    }[what]
    options = ("--health", "tcp://127.0.0.1:0", "--drain", "7")
    rest = ("--", "cat") if what == "work" else ()
    process = manager.start(*command, *options, *rest)
    assert process.stderr is not None
    found = None
    while found is None:
        found = re.search(r"health of '.+' at (http://\S+)", process.stderr.readline().decode())
    words = manager.await_word("READY=1")
    assert name in words[1] and words[1].startswith("STATUS=")
    manager.await_word("WATCHDOG=1")
    manager.await_word("WATCHDOG=1")
    assert ask(f"{found[1]}/livez") == (200, "live\n")
    assert ask(f"{found[1]}/readyz") == (200, "ready\n")
    assert ask(f"{found[1]}/metrics")[0] in (200, 501)
    process.send_signal(signal.SIGTERM)
    assert manager.await_word("STOPPING=1") == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=12000000"]
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_process_drains_for_as_long_as_it_is_told(manager: Manager, tmp_path: Path) -> None:
    name = f"t{secrets.token_hex(6)}"
    began, go_on = tmp_path / "began", tmp_path / "go-on"
    os.mkfifo(began)
    os.mkfifo(go_on)
    process = manager.start(
        "work", name, "--drain", "0", "--log-format", "json",
        "--", "sh", "-c", f"echo x > {began}; cat {go_on}",
    )  # fmt: skip
    manager.await_word("READY=1")
    with zmqkit.Pusher(name) as pusher:
        pusher.push("a task")
        assert began.read_text() == "x\n"
        process.send_signal(signal.SIGTERM)
        manager.await_word("STOPPING=1")
        _, errors = process.communicate(timeout=LIMIT_S)
        pusher.close(0)
    assert process.returncode == 1
    lines = [json.loads(line) for line in errors.splitlines()]
    assert "1 task left unfinished" in {line["message"] for line in lines}
    at = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    assert all(at.fullmatch(line["at"]) for line in lines)


@pytest.mark.slow
def test_no_time_to_drain_is_enough_for_a_process_without_work(manager: Manager) -> None:
    process = manager.start(
        "serve", "math", "--name", f"t{secrets.token_hex(6)}", "--drain", "0"
    )
    manager.await_word("READY=1")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=LIMIT_S)[1] == b""
    assert process.returncode == 0


class Hanging:
    """A role whose loop may hang."""

    def __init__(self) -> None:
        self.turns = True
        self.looks = threading.Semaphore(0)

    def beat(self) -> bool:
        self.looks.release()
        return self.turns

    def stats(self) -> dict[str, object]:
        return {"in_flight": 3}


@pytest.fixture
def attended(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Attended]]:
    """A process that a manager watches, without signals."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.folder / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    with ExitStack() as ends:
        wanted = Manners(health=HealthPlace("127.0.0.1", 0))
        yield lambda: ends.enter_context(Attended(wanted, "service", "shop", service=None))


def test_a_loop_that_hangs_gives_no_sign_of_life(
    manager: Manager, attended: Callable[[], Attended], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, role = attended(), Hanging()
    assert (process.livez(), process.readyz()) == ("", "it is about to start")
    with pytest.raises(TimeoutError):
        process.stats()
    process.ready("serving 'shop'", role)
    manager.await_word("WATCHDOG=1")
    assert (process.livez(), process.readyz()) == ("", "")
    assert process.stats() == {"in_flight": 3}
    role.turns = False
    for _ in range(3):
        role.looks.acquire(timeout=LIMIT_S)
    manager.socket.setblocking(False)
    with suppress(BlockingIOError):
        while manager.socket.recv(4096):
            pass
    for _ in range(3):
        role.looks.acquire(timeout=LIMIT_S)
    with pytest.raises(BlockingIOError):
        manager.socket.recv(4096)
    later = time.monotonic() + 2 * STUCK_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert re.fullmatch(r"its loop has not turned for \d+ s", process.livez())
    assert process.readyz() == process.livez()


def test_a_manager_reads_how_much_is_under_way(
    manager: Manager, attended: Callable[[], Attended]
) -> None:
    process = attended()
    process.ready("serving 'shop'", Hanging())
    manager.await_word("STATUS=serving 'shop'; 3 requests in flight")
    process.end()
    process.end()
    manager.await_word("STATUS=finishing 3 requests")
    assert process.readyz() == "it is about to end"


def carry_a_task(name: str, address: str) -> None:
    """Push a task through a streamer to a worker that finds it."""
    worker = zmqkit.Worker(name)
    worker.task(str.upper)
    with zmqkit.Pusher(f"{address}/{name}") as pusher:
        working = threading.Thread(target=worker.work)
        working.start()
        assert pusher.push("one").result(LIMIT_S) == "ONE"
        worker.close()
        working.join()


def carry_a_call(name: str, address: str) -> None:
    """Call a service through a device that it dials."""
    service = zmqkit.Service(name, via=address)
    service.handler(str.upper, name="shout")
    serving = threading.Thread(target=service.serve)
    serving.start()
    with zmqkit.Client(f"{address}/{name}") as client:
        assert client.options(timeout_s=LIMIT_S).call("shout", "one") == "ONE"
    service.close()
    serving.join()


def carry_a_message(name: str, address: str) -> None:
    """Publish a message to a subscriber that hears the forwarder."""
    with zmqkit.Publisher(name) as publisher, zmqkit.Subscriber(f"{address}/{name}") as heard:
        assert heard.ready(timeout_s=LIMIT_S) == publisher.ready(timeout_s=LIMIT_S) == 1
        publisher.publish("one", 1)
        message = heard.receive(LIMIT_S)
        assert message is not None and (message.topic, message.body) == ("one", 1)


def carry_over_a_bridge(name: str, address: str) -> None:
    """Publish a message at another end of the bridge."""
    there = f"{name}-2"
    with (
        Bridge(there, connect=address),
        zmqkit.Publisher(there) as publisher,
        zmqkit.Subscriber(name) as heard,
    ):
        assert heard.ready(timeout_s=LIMIT_S) == publisher.ready(timeout_s=LIMIT_S) == 1
        publisher.publish("one", 1)
        message = heard.receive(LIMIT_S)
        assert message is not None and (message.topic, message.body) == ("one", 1)


CARRY = {
    "streamer": carry_a_task,
    "majordomo": carry_a_call,
    "router": carry_a_call,
    "forwarder": carry_a_message,
    "bridge": carry_over_a_bridge,
}


@pytest.mark.slow
@pytest.mark.parametrize("device", shipped(), ids=lambda device: device.name)
def test_each_device_file_starts_carries_a_message_and_drains(
    manager: Manager, tmp_path: Path, device: Shipped
) -> None:
    name = f"t{secrets.token_hex(6)}"
    kind, about = kind_in(device.path)
    where = f"journal.path={tmp_path / 'journal'}"
    sets = ("--set", where) if "durable" in device.name else ()
    process = manager.start("run", device.name, "--name", name, *sets)
    words = manager.await_word("READY=1")
    found = re.search(r"tcp://[\d.]+:\d+", words[1])
    assert found is not None and words[1].startswith(f"STATUS={about.title} '{name}' at ")
    CARRY[kind](name, found[0])
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=LIMIT_S)[1] == b""
    assert process.returncode == 0
