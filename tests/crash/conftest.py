"""Real processes for the crash tests, killed and paused as a scene needs."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import zmqkit

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 60.0


class Actor:
    """A role in another process: its events, orders to it, and signals."""

    def __init__(self, role: str, name: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("actor.py")), role, name,
             json.dumps(options)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self.process.pid
        self._text = b""
        self._events: deque[tuple[str, Any]] = deque()
        self.ready: Any = self.event("ready")

    def event(self, name: str, bound_s: float = BOUND_S) -> Any:
        """The value of the next event of this name; waits for it."""
        until = time.monotonic() + bound_s
        while True:
            self._read(max(0.0, until - time.monotonic()))
            for event in self._events:
                if event[0] == name:
                    self._events.remove(event)
                    return event[1]
            assert time.monotonic() < until, f"no {name!r} from {self.pid}"
            assert self.process.poll() is None, f"{self.pid} ended: {self.process.returncode}"

    def has(self, name: str) -> bool:
        """Whether there is such an event now."""
        self._read(0)
        return any(event[0] == name for event in self._events)

    def order(self, name: str, value: object = None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, value]).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, name: str) -> Any:
        """Order what is answered by an event of the same name."""
        self.order(name)
        return self.event(name)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        if self.alive():
            self.send(signal.SIGKILL)
            self.process.wait(BOUND_S)

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # an order that it did not live to read

    def _read(self, bound_s: float) -> None:
        """Take what it printed; waits for something unless an event waits already."""
        pipe = self.process.stdout
        assert pipe is not None
        new = b""
        if select.select([pipe], [], [], min(bound_s, 0.05))[0]:
            new = os.read(pipe.fileno(), 1 << 16)
        *lines, self._text = (self._text + new).split(b"\n")
        self._events.extend(tuple(json.loads(line)) for line in lines)


Start = Callable[..., Actor]


@pytest.fixture
def name() -> str:
    """A name that no other program on this machine serves."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def start(name: str) -> Iterator[Start]:
    """Starts an actor with a role of the test's name."""
    actors: list[Actor] = []

    def start(role: str, kind: str = "blocking", **options: Any) -> Actor:
        actors.append(Actor(role, name, kind=kind, **options))
        return actors[-1]

    yield start
    for actor in actors:
        actor.close()


@pytest.fixture
def client(name: str) -> Iterator[zmqkit.Client]:
    """A blocking client of the test's name in this process."""
    with zmqkit.Client(name, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        yield client
        client.close(0)


@pytest.fixture
def under_way() -> Iterator[ThreadPoolExecutor]:
    """Makes calls while the test goes on."""
    with ThreadPoolExecutor(8, thread_name_prefix="under-way") as pool:
        yield pool
