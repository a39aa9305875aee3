"""Processes that start together, may be killed, and always end with this process."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from types import TracebackType
from typing import IO, Self

from zmqkit.errors import ZmqkitError

END_S = 3.0

_PORT = re.compile(r"tcp://\S*:(\d+)")


class Fleet:
    """Processes that each run `python -m` with the same arguments.

    Each process must stop when its standard input ends. So it ends with this process, however
    this process ends. When the context is left, the processes have END_S to stop and are then
    killed.
    """

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", *arguments]
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def pids(self) -> list[int]:
        """The processes' ids, in the order of their start."""
        return [process.pid for process in self._processes]

    def add(self) -> None:
        """Start one more process."""
        pipe = subprocess.PIPE
        # Ctrl-C is for this process only. The others end when their input does.
        process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        self._processes.append(process)

    def check(self) -> None:
        """Raise ZmqkitError if a process ended by itself. It said why on standard error."""
        for process in self._processes:
            if process.poll() is not None:
                raise ZmqkitError(f"process {process.pid} ended at its start; see above")

    def ports(self) -> dict[str, int]:
        """Return the port on which each process listens, with the process's id.

        The first line that a process writes names the port.
        """
        lines = zip(self.await_first_lines(), self.pids, strict=True)
        return {port: pid for line, pid in lines for port in _PORT.findall(line)}

    def await_first_lines(self) -> list[str]:
        """Wait until each process has written a line, or has ended; return the lines."""
        return [_stream(process.stdout).readline() for process in self._processes]

    def kill(self, pid: int) -> None:
        """End a process at once, by SIGKILL."""
        next(process for process in self._processes if process.pid == pid).kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            _stream(process.stdin).close()
        until = time.monotonic() + END_S
        for process in self._processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _stream(process.stdout).close()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
