"""Streamers that come, leave and die while tasks flow: nobody's code changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import BOUND_S, Kit, Started, until
from tests.roles.test_streamer import EVERYTHING, MIB, double, running
from tests.spawning import Popen
from zmqkit.limits import TURN_S

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


class Flow:
    """Tasks that are pushed all the time, and a record of what ran."""

    def __init__(self, kit: Kit) -> None:
        self.ran: Counter[str] = Counter()
        self.pushed: list[Any] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._kit = kit
        self._started: Started | None = None

    def work(self, body: int) -> int:
        with self._lock:
            self.ran[zmqkit.current_task().id] += 1
        return 2 * body

    def start(self, pusher: Any) -> None:
        def push() -> None:
            while not self._over.is_set():
                self.pushed.append(pusher.push(len(self.pushed)))
                self._over.wait(0.002)

        self._started = self._kit.start(push)

    def go_on(self, count: int = 50) -> None:
        """Let so many more be done."""
        before = len(self.ran)
        until(lambda: len(self.ran) >= before + count)

    def end(self) -> None:
        """Push no more; every task must be done."""
        self._over.set()
        assert self._started is not None
        self._started.result()
        values = [each.result(BOUND_S) for each in self.pushed]
        assert values == [2 * n for n in range(len(values))]
        assert self.ran.keys() == {each.id for each in self.pushed}


@pytest.fixture
def flow(kit: Kit) -> Flow:
    """Tasks that flow from a pusher to two workers."""
    flow = Flow(kit)
    for _ in range(2):
        kit.working(flow.work)
    flow.start(kit.pusher(count=2))
    flow.go_on()
    return flow


def test_a_streamer_comes_and_leaves_while_tasks_flow(
    kit: Kit, flow: Flow, tmp_path: Path
) -> None:
    for options in ({}, {"journal": tmp_path / "x.journal"}):
        streamer = running(kit, **options)
        until(lambda streamer=streamer: streamer.stats()["done"] >= 50)
        streamer.stop()
        assert streamer.close(BOUND_S) == 0
        assert kit.balanced(streamer)["waiting"] == 0
        flow.go_on(100)
    flow.end()
    assert set(flow.ran.values()) == {1}


def test_a_streamer_is_replaced_while_tasks_flow(kit: Kit, flow: Flow) -> None:
    first = running(kit)
    until(lambda: first.stats()["done"] >= 20)
    second = running(kit)
    until(lambda: second.stats()["done"] >= 20)
    assert first.close(BOUND_S) == 0
    done = second.stats()["done"]
    until(lambda: second.stats()["done"] >= done + 50)
    flow.end()
    assert set(flow.ran.values()) == {1}


def test_a_pusher_turns_after_a_moment_and_a_new_one_at_once(kit: Kit) -> None:
    kit.working(double)
    pusher = kit.pusher()
    assert pusher.push(1).result(BOUND_S) == 2
    settled_at = time.monotonic() + TURN_S
    until(lambda: time.monotonic() > settled_at)
    streamer = running(kit)
    pusher.ready(1, timeout_s=BOUND_S)
    came_at = time.monotonic()
    pushed = 0
    while not streamer.stats()["done"]:
        pusher.push(1).result(BOUND_S)
        pushed += 1
        assert time.monotonic() < came_at + BOUND_S
    assert pushed > 1
    assert time.monotonic() - came_at >= TURN_S / 2


class Process:
    """`zmqkit run` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self._process = Popen(
            [sys.executable, "-P", "-m", "zmqkit", "run", *arguments],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        found = re.search(r"tcp://[\d.]+:\d+", line)
        assert found is not None, line
        self.address = found[0]

    def kill(self) -> None:
        """End it as the kernel does when memory is short, if it still runs."""
        self._process.kill()
        self._wait()

    def end(self) -> int:
        """Tell it to end; its exit code."""
        self._process.terminate()
        return self._wait()

    def _wait(self) -> int:
        code = self._process.wait(BOUND_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@pytest.fixture
def process(blocking: Kit) -> Iterator[Callable[..., Process]]:
    """Starts streamers of the blocking kit's name in processes of their own."""
    begun: list[Process] = []

    def start(device: str = "streamer", *arguments: str) -> Process:
        begun.append(Process(device, "--name", blocking.name, *arguments))
        return begun[-1]

    yield start
    for each in begun:
        each.kill()


@pytest.mark.parametrize("durable", [False, True])
def test_nothing_is_lost_when_a_streamer_dies_while_tasks_flow(
    blocking: Kit, process: Callable[..., Process], tmp_path: Path, durable: bool
) -> None:
    device = (
        ("streamer-durable", "--set", f"journal.path={tmp_path / 'x.journal'}")
        if durable
        else ("streamer",)
    )
    flow = Flow(blocking)
    for _ in range(2):
        blocking.working(flow.work)
    pusher = blocking.pusher(count=2)
    flow.start(pusher)
    through = blocking.core(pusher)._workers.leases
    for _ in range(3):
        streamer = process(*device)
        until(lambda: through.passes_on)
        flow.go_on()
        streamer.kill()
        until(lambda: not through.passes_on)
        flow.go_on()
    if durable:  # what it had on its disk waits for whoever opens the file
        process(*device)
    flow.end()
    # What a worker had as the streamer died may run once more.
    assert max(flow.ran.values()) <= 1 + 3


def test_a_streamer_in_another_process_passes_everything_on(kit: Kit, tmp_path: Path) -> None:
    journal = f"journal.path={tmp_path / 'x.journal'}"
    process = Process("streamer-durable", "--name", kit.name, "--set", journal)
    try:
        pusher = kit.pusher()
        kit.working(lambda body: body, concurrency=4)
        assert kit.mapped(pusher, EVERYTHING, window=10) == EVERYTHING
        body = bytes(MIB)
        assert kit.mapped(pusher, [body] * 5) == [body] * 5
        tickets = [pusher.push(n, priority=n % 10, id=f"t{n}") for n in range(200)]
        assert [each.result(BOUND_S) for each in tickets] == list(range(200))
        assert process.end() == 0
    finally:
        process.kill()
