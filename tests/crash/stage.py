"""Actors: roles in real processes, which are ordered about, paused and killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.spawning import Popen

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 60.0
SCRIPTS = {
    **dict.fromkeys(("publisher", "subscriber", "forwarder"), "topics_actor.py"),
    **dict.fromkeys(("worker", "pusher", "outbox", "streamer"), "tasks_actor.py"),
    **dict.fromkeys(
        ("broker", "router", "answering", "caller", "collector"), "broker_actor.py"
    ),
    **dict.fromkeys(("rfc_worker", "rfc_client"), "mdp_actor.py"),
}


def until(holds: Callable[[], object]) -> None:
    """Look again and again, for what nothing tells of."""
    end = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def balance(stats: dict[str, Any]) -> int:
    """What the counters leave unexplained; 0 when they balance."""
    ended = stats["delivered"] + stats["failed"] + stats["expired"]
    left: int = stats["accepted"] - ended - sum(stats["dropped"].values()) - stats["in_flight"]
    return left


class Actor:
    """A role in another process: its events, orders to it, and signals."""

    def __init__(self, role: str, name: str, **options: Any) -> None:
        self.process = Popen(
            [sys.executable, str(Path(__file__).with_name(SCRIPTS.get(role, "actor.py"))), role,
             name, json.dumps(options)],
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
            ended = not self.alive()  # asked first, as what it printed last is still to come
            came = self._read(max(0.0, until - time.monotonic()))
            for event in self._events:
                if event[0] == name:
                    self._events.remove(event)
                    return event[1]
            assert time.monotonic() < until, f"no {name!r} from {self.pid}"
            assert came or not ended, f"{self.pid} ended: {self.process.returncode}"

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

    def _read(self, bound_s: float) -> bool:
        """Take what it printed, and return whether that was anything; waits for a moment."""
        pipe = self.process.stdout
        assert pipe is not None
        new = b""
        if select.select([pipe], [], [], min(bound_s, 0.05))[0]:
            new = os.read(pipe.fileno(), 1 << 16)
        *lines, self._text = (self._text + new).split(b"\n")
        self._events.extend(tuple(json.loads(line)) for line in lines)
        return bool(new)


Start = Callable[..., Actor]
