"""Kills the commands of a process that ended without them, as when it was killed itself.

A process that starts commands runs this file as a program of its own, and keeps a pipe to it.
Each command has a process group, whose number goes through the pipe as it begins and as it
ends. When the pipe ends, whatever ended the process, the groups that are left are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress


class Watchdog:
    """The process that watches this one, and the process groups that it is to kill."""

    def __init__(self) -> None:
        # Isolated and without site-packages, the interpreter begins in a few milliseconds.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # what a terminal sends is for the process that is watched
        )

    def add(self, group: int) -> None:
        """Have this process group killed if this process ends before `remove`."""
        self._write(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Note that this process group has ended."""
        self._write(f"-{group}\n")

    def close(self) -> None:
        """End the watchdog; it kills the groups that are left."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # somebody ended the watchdog
            os.write(self._process.stdin.fileno(), text.encode())


def kill_group(group: int) -> None:
    """Kill all processes of a group, if there are any."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def watch() -> None:
    """Read from standard input which groups there are; at its end, kill those that are left."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(group)
    for group in groups:
        kill_group(group)


if __name__ == "__main__":
    watch()
