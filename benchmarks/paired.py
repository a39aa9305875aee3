"""Processes of a paired measurement: start, readiness, answers and end.

A script names its parts: functions that run in a child process. Parent and child exchange JSON
lines over the child's stdin and stdout. A child whose stdin ends exits, so nothing is left
behind even when the parent is killed.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from figures import Message

ROOT = Path(__file__).resolve().parent.parent
BODY = bytes(range(100))
"""The body of 100 bytes that every figure but `large` sends."""

ANSWER_S = 60.0
"""How long a parent waits for one line of a child before it gives up."""

END_S = 3.0
"""How long a child may take to end by itself before it is killed."""


class BenchmarkError(Exception):
    """A child ended early or stayed silent; its own stderr says more."""


# The child's half.


class Parent:
    """What a part sees of its parent: lines out, lines in, and the end.

    on_end: called by a thread of its own when no more lines can come; exits unless replaced. A
    process that then goes on for END_S is ended all the same.
    """

    def __init__(self) -> None:
        self.on_end: Callable[[], object] = lambda: os._exit(0)
        self._lines: deque[Message | None] = deque()
        self._arrived = threading.Semaphore(0)
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, **message: Any) -> None:
        """Hand one line to the parent."""
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def result(self, **message: Any) -> None:
        """Hand over the last line; from now on the process ends by itself."""
        self.on_end = lambda: None
        self.send(**message)

    def receive(self) -> Message:
        """The parent's next line; SystemExit after `leave`."""
        self._arrived.acquire()
        line = self._lines.popleft()
        if line is None:
            raise SystemExit
        return line

    def leave(self) -> None:
        """An `on_end` that ends the process in its next `receive`, in good order."""
        self._lines.append(None)
        self._arrived.release()

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.append(json.loads(line))
            self._arrived.release()
        self.on_end()
        time.sleep(END_S)
        os._exit(1)


Part = Callable[[Parent, Message], None]


def run(main: Callable[[], None], parts: Mapping[str, Part]) -> None:
    """Be the script itself or, when the arguments say so, one of its parts."""
    if sys.argv[1:2] == ["--part"]:
        config: Message = json.loads(sys.argv[3])
        if config["cpus"]:
            os.sched_setaffinity(0, config["cpus"])
        parts[sys.argv[2]](Parent(), config)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends children as Ctrl-C does
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BenchmarkError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def echo_server(parent: Parent, config: Message) -> None:
    """Serve `echo` in a blocking service; `copy` of the config is the handler's."""
    import zmqkit

    with zmqkit.Service(config["name"]) as service:

        @service.handler(copy=config.get("copy", True))
        def echo(body: bytes) -> bytes:
            return body

        parent.on_end = service.stop
        parent.send(address=service.name)
        service.serve()


# The parent's half.


class Child:
    """One process that runs a part of the calling script."""

    def __init__(self, part: str, config: Message) -> None:
        self.part = part
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--part", part, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children
        )
        assert self._process.stdin and self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def send(self, **message: Any) -> None:
        """Hand one line to the child."""
        try:
            self._stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self, timeout_s: float = ANSWER_S) -> Message:
        """The child's next line; BenchmarkError when it ends or is silent for too long."""
        until = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left_s = until - time.monotonic()
            if left_s <= 0 or not select.select([self._stdout], [], [], left_s)[0]:
                raise BenchmarkError(f"{self.part} said nothing for {timeout_s:g} s")
            chunk = os.read(self._stdout.fileno(), 1 << 16)
            if not chunk:
                raise self._ended()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Message = json.loads(line)
        return message

    def kill(self) -> None:
        """End the child at once with SIGKILL."""
        self._process.kill()

    def end(self) -> None:
        """Let the child end by itself, and kill it when it does not within END_S."""
        self._stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            print(f"{self.part} did not end within {END_S:g} s", file=sys.stderr)
        finally:
            self._process.kill()
            self._process.wait()
            self._stdout.close()

    def _ended(self) -> BenchmarkError:
        code = self._process.wait(END_S)
        return BenchmarkError(f"{self.part} ended early with exit code {code}")


class Family:
    """The child processes of one measurement, ended last first whatever happens."""

    def __init__(self, pin: str = "no") -> None:
        self._pin = pin
        self._count = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def start(self, part: str, **config: Any) -> Child:
        """Start a part; it finds the options in its configuration."""
        child = Child(part, config | {"cpus": self._cpus()})
        self._stack.callback(child.end)
        self._count += 1
        return child

    def _cpus(self) -> list[int]:
        """The processors of the next child: all (empty), the first, or one after the other."""
        if self._pin == "no":
            return []
        cpus = sorted(os.sched_getaffinity(0))
        return [cpus[0 if self._pin == "one" else self._count % len(cpus)]]


def environment() -> dict[str, str]:
    """This process's environment without options of ours, so roles stay on loopback."""
    dropped = ("ZMQKIT_", "PYTHONDONTWRITEBYTECODE")  # installed packages are compiled
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)}


def unique_name() -> str:
    """A service name that no other measurement uses."""
    return f"bench-{secrets.token_hex(6)}"


def serve_and_call(side: str, pin: str, **config: Any) -> Message:
    """One sample of a client part that calls a server part, both of them fresh processes."""
    with Family(pin) as family:
        server = family.start(f"{side}_server", name=unique_name(), **config)
        address = server.receive()["address"]
        return family.start(f"{side}_client", address=address, **config).receive()
