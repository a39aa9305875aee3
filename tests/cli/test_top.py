"""`zmqkit top`: on a terminal, with keys, and elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.cli.conftest import HERE, LIMIT_S, Begin, Run, Serve, environment, zmqkit
from tests.spawning import Popen
from zmqkit.cli import main

pytest.importorskip("rich")

Start = Callable[..., "Screen"]


class Screen:
    """A `zmqkit top` on a terminal of its own."""

    def __init__(self, *arguments: str, columns: int = 120) -> None:
        self._ours, self.theirs = pty.openpty()
        self.resize(columns)
        self.before = termios.tcgetattr(self.theirs)
        self.process = Popen(
            zmqkit("top", *arguments), cwd=HERE, env={**environment(), "TERM": "xterm"},
            stdin=self.theirs, stdout=self.theirs, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self.shown = ""

    def resize(self, columns: int) -> None:
        """Have so many columns, which the command is told of as by a terminal."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("4H", 20, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def await_text(self, text: str) -> str:
        """Read until it is shown; return all up to there since the last time."""
        end_at = time.monotonic() + LIMIT_S
        while text not in self.shown:
            assert time.monotonic() < end_at, self.shown[-4000:]
            assert select.select([self._ours], [], [], LIMIT_S)[0], self.shown
            self.shown += os.read(self._ours, 1 << 16).decode()
        before, _, self.shown = self.shown.partition(text)
        return before

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the rest that is shown."""
        process, end_at = self.process, time.monotonic() + LIMIT_S
        while process.poll() is None and time.monotonic() < end_at:
            if select.select([self._ours], [], [], 0.01)[0]:
                self.shown += os.read(self._ours, 1 << 16).decode()
        while select.select([self._ours], [], [], 0)[0]:
            self.shown += os.read(self._ours, 1 << 16).decode()
        return process.returncode, self.shown

    def close(self) -> None:
        """End the command, if it still runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        for each in (self._ours, self.theirs):
            with suppress(OSError):
                os.close(each)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `zmqkit top` on a terminal, to be ended with the test."""
    started: list[Screen] = []

    def start(*arguments: str, **options: int) -> Screen:
        started.append(Screen(*arguments, **options))
        return started[-1]

    yield start
    for screen in started:
        screen.close()


@pytest.mark.slow
def test_keys_show_what_they_are_for_and_q_leaves_the_terminal_as_it_was(
    serve: Serve, run: Run, start: Start
) -> None:
    serving = serve("math")
    assert run("call", serving.name, "sqrt", "4").returncode == 0
    screen = start(serving.name)
    screen.await_text(f"{serving.name}  service")
    screen.await_text("sqrt")
    screen.resize(40)
    os.kill(screen.process.pid, signal.SIGWINCH)
    screen.await_text(f"{'NAME':{len(serving.name)}}  ROLE     PART  ")
    screen.press("/sqrt\r")
    screen.await_text("filter: sqrt")
    screen.press("\x1b[B\r")
    screen.await_text(f"instances of {serving.name}")
    screen.press("\x1b")
    screen.await_text(" role in ")
    screen.press("q")
    code, shown = screen.end()
    assert code == 0
    assert shown.endswith("\x1b[?7h\x1b[?1049l\x1b[?25h")
    assert termios.tcgetattr(screen.theirs) == screen.before


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ctrl-c", signal.SIGTERM])
def test_it_ends_well_however_it_is_told_to(start: Start, name: str, way: object) -> None:
    screen = start(name)
    screen.await_text("is there")
    if way == "ctrl-c":
        screen.press("\x03")
    elif isinstance(way, signal.Signals):
        screen.process.send_signal(way)
    code, shown = screen.end()
    assert code == 0 and shown.endswith("\x1b[?25h")


@pytest.mark.slow
def test_without_a_terminal_the_table_is_printed_each_second(
    serve: Serve, begin: Begin
) -> None:
    serving = serve("math")
    process = begin("top", serving.name)
    assert process.stdout is not None
    for line in process.stdout:
        if b"/s" in line:
            break
    assert line.decode().split()[:3] == [serving.name, "service", "1"]
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 130


@pytest.mark.slow
def test_programs_get_one_array_of_all_instances_together(serve: Serve, run: Run) -> None:
    serving = serve("math")
    for wait_s in ("0.2", "2", "5"):  # a busy machine needs a longer wait
        done = run("top", serving.name, "--once", "--json", "--wait", wait_s)
        if done.returncode == 0:
            break
    [line] = json.loads(done.stdout)
    assert (line["name"], line["role"], line["instances"]) == (serving.name, "service", 1)


@pytest.mark.slow
def test_who_only_listens_is_found_too(begin: Begin, run: Run, name: str) -> None:
    begin("sub", name)
    done: Any = None
    for _ in range(20):  # until it has begun
        done = run("top", name, "--once", "--json", "--wait", "0.2")
        if done.returncode == 0:
            break
    assert [line["role"] for line in json.loads(done.stdout)] == ["subscriber"]


def test_without_rich_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zmqkit.cli.top.is_terminal", lambda: True)
    monkeypatch.setitem(sys.modules, "zmqkit.cli.screen", None)
    assert main.run(["top"]) == main.USAGE
    assert "needs rich; pip install 'zmqkit[top]'" in capsys.readouterr().err
