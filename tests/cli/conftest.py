"""The command line as people run it: processes of their own, all of them ended here."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests import spawning
from tests.spawning import Popen

HERE = Path(__file__).resolve().parent
LIMIT_S = 60.0
PATIENT = {
    "call": ("--wait", f"{LIMIT_S}", "--timeout", f"{LIMIT_S}"),
    "submit": ("--timeout", f"{LIMIT_S}"),
    "collect": ("--timeout", f"{LIMIT_S}"),
}
"""What those commands are given first that wait for a service; what a test says comes later."""

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., "Serving"]
Begin = Callable[..., "subprocess.Popen[bytes]"]


def environment() -> dict[str, str]:
    """This process's, in which children find the same zmqkit from any directory."""
    paths = [str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def zmqkit(*arguments: str) -> list[str]:
    """The command that runs zmqkit, without the current directory in front of its path."""
    return [sys.executable, "-P", "-m", "zmqkit", *arguments]


class Serving:
    """A `zmqkit serve` that listens: its first line was read."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        pipe = subprocess.PIPE
        self.process = Popen(
            zmqkit("serve", *arguments, "--name", name),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=HERE,
            env=environment(),
        )
        self.line = self.read_line()

    def read_line(self) -> str:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip()

    def write_line(self, text: str) -> None:
        """Give it a line on its standard input."""
        stdin = self.stdin
        stdin.write(f"{text}\n".encode())
        stdin.flush()

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input."""
        assert self.process.stdin is not None
        return self.process.stdin

    def wait(self) -> tuple[int, str]:
        """Wait for its end; the exit code and what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors.decode()

    def end(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def name() -> str:
    """A name of this module's own: other programs may announce on this machine."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def run() -> Run:
    """Run `zmqkit` to its end, within a time; `stdin` is what it reads."""

    def run(
        command: str, *arguments: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        return spawning.run(
            zmqkit(command, *PATIENT.get(command, ()), *arguments),
            input=stdin,
            capture_output=True,
            cwd=HERE,
            env=environment(),
            timeout=LIMIT_S,
        )

    return run


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start a `zmqkit` without waiting for it, to be ended with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = Popen(
            zmqkit(*arguments), stdout=pipe, stderr=pipe, cwd=HERE, env=environment()
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start `zmqkit serve` under a name of its own, to be ended with the test."""
    started: list[Serving] = []

    def serve(*arguments: str) -> Serving:
        serving = Serving(f"t{secrets.token_hex(6)}", *arguments)
        started.append(serving)
        return serving

    yield serve
    for serving in started:
        serving.end()


@pytest.fixture(scope="module")
def shop(name: str) -> Iterator[str]:
    """The name under which shop.py is served throughout the module."""
    serving = Serving(name, "shop", "--idempotent", "all")
    yield name
    serving.end()
