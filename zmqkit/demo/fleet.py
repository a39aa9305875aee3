"""Service processes that are started together, may be killed, and always end with us."""

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
    """Processes that each run `zmqkit serve` with the same arguments.

    They stop when their standard input ends, so they end with this process however it ends;
    those that are left when the context is left are killed after END_S.
    """

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "zmqkit", "serve", *arguments, "--until-eof"]
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def pids(self) -> list[int]:
        """The processes' ids, in the order of their start."""
        return [process.pid for process in self._processes]

    def add(self) -> None:
        """Start one more."""
        pipe = subprocess.PIPE
        # Ctrl-C is for this process; the others end when their input does.
        process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        self._processes.append(process)

    def check(self) -> None:
        """Raise ZmqkitError if one ended by itself; it said why on standard error."""
        for process in self._processes:
            if process.poll() is not None:
                raise ZmqkitError(
                    f"service process {process.pid} ended at its start; see above"
                )

    def ports(self) -> dict[str, int]:
        """The port on which each listens, as its first line says, and its pid."""
        lines = {_stream(process.stdout).readline(): process.pid for process in self._processes}
        return {port: pid for line, pid in lines.items() for port in _PORT.findall(line)}

    def kill(self, pid: int) -> None:
        """End one by SIGKILL, at once."""
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
