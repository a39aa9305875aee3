"""Kills what a process started and did not end, as when that process was killed itself.

A process that starts others runs this file as a program of its own, and keeps a pipe to it.
Each of the others leads a process group, whose number goes through the pipe as it begins and as
it ends. When the pipe ends, whatever ended the process, the groups that are left are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

_LOOK_S = 0.1


class Watchdog:
    """The process that watches this one, and the process groups that it is to kill.

    grace_s: how long the groups that are left may take to end by themselves.
    """

    def __init__(self, grace_s: float = 0.0) -> None:
        # Isolated and without site-packages, the interpreter begins in a few milliseconds.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(grace_s)],
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


def watch(grace_s: float) -> None:
    """Read from standard input which groups there are; after its end, kill those that are left.

    grace_s: how long they may take to end by themselves.
    """
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(group)
    until = time.monotonic() + grace_s
    while (groups := {each for each in groups if _exists(each)}) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    for group in groups:
        kill_group(group)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, who was given the number since
        return False
    return True


if __name__ == "__main__":
    watch(float(sys.argv[1]))
