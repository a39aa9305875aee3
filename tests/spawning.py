"""Processes of the tests, which are forked from one that has imported zmqkit already.

A Python that starts and imports zmqkit takes a third of a second of a processor, and the tests
start thousands. `Popen` and `run` are those of `subprocess`, and take the same arguments. From
the zygote comes a Python that runs a module with -P, a program with -c or a script, also one
in a network namespace, if all that an interpreter reads as it starts is as it was for the
zygote. What else is asked for is left to `subprocess`, as is all on other systems than Linux.

The process is a child of this one like any other: it has its pid, its signals, its exit code.
What starting shows, such as what is imported and when, is for tests that use `subprocess`.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, AnyStr

from tests.zygote import HEADER_BYTES, Program

ROOT = str(Path(__file__).resolve().parents[1])
PR_SET_CHILD_SUBREAPER = 36
STARTING = ("GLIBC", "LANG", "LC_", "LD_", "MALLOC", "PYTHON", "TZ")
"""How variables begin that are read once, as an interpreter starts."""

AT_ITS_DEFAULT = {
    "executable": None, "preexec_fn": None, "close_fds": True, "pass_fds": (), "shell": False,
    "restore_signals": True, "gid": None, "gids": None, "uid": None, "umask": -1,
}  # fmt: skip
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
SERVE = "import tests.zygote as z, sys; process = z.serve(int(sys.argv[1])); process()"
COMMAND_BYTES = 4096
AT_ONCE_S = 0.05
"""Two signals that are no further apart are one to a process that ends."""


def read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that make one interpreter start differently from another."""
    found = {name: value for name, value in environ.items() if name.startswith(STARTING)}
    found.pop("PYTHONPATH", None)
    return found


class Zygote:
    """The process that forks, begun when it is first needed; it ends with this one."""

    def __init__(self) -> None:
        # Both ends are there from the start, so that no test seems to have left them open.
        self._socket, self._theirs = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        self._environ = {**os.environ, "PYTHONPATH": ROOT}
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def can(self, environ: Mapping[str, str]) -> bool:
        """Whether a process from here would have started alike, and with the same zmqkit."""
        first = environ.get("PYTHONPATH", "").split(os.pathsep)[0]
        return (
            sys.platform == "linux"
            and first == ROOT
            and self._owner == os.getpid()
            and not any(name.startswith("COVERAGE_PROCESS") for name in environ)
            and read_at_start(environ) == read_at_start(self._environ)
        )

    def start(self, program: Program, descriptors: Sequence[int]) -> int:
        """Start the program with these standard descriptors; return the pid of the child."""
        text = json.dumps(asdict(program)).encode()
        header = f"{len(text):{HEADER_BYTES - 1}}\n".encode()
        with self._lock:
            # An interrupt between question and answer would leave a process without an owner.
            held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            # Orphans come to this process for that moment only: those of tests are init's.
            reap_orphans(wanted=True)
            try:
                self._begin()
                socket.send_fds(self._socket, [header], descriptors)
                self._socket.sendall(text)
                answer = self._socket.recv(HEADER_BYTES, socket.MSG_WAITALL)
            finally:
                reap_orphans(wanted=False)
                signal.pthread_sigmask(signal.SIG_SETMASK, held)
        assert answer, "the zygote has ended"
        return int(answer)

    def close(self) -> None:
        """End the process, if it was begun, and wait for it."""
        if self._owner == os.getpid():
            self._socket.close()
            self._theirs.close()
            if self._process is not None:
                self._process.wait()

    def _begin(self) -> None:
        if self._process is None:
            number = self._theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", SERVE, str(number), " " * COMMAND_BYTES],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[number],
                env=self._environ,
            )  # fmt: skip
            self._theirs.close()


def reap_orphans(*, wanted: bool) -> None:
    """Say whether processes whose parent ended become children of this one."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


ZYGOTE = Zygote()
atexit.register(ZYGOTE.close)


class Popen(subprocess.Popen[AnyStr]):
    """A process as `subprocess.Popen` makes it, from the zygote where that is the same."""

    def _execute_child(self, *values: Any) -> None:
        """Make the child. It is what `Popen` calls for that, in Python 3.11 and later."""
        execute = subprocess.Popen._execute_child
        asked = inspect.signature(execute).bind(self, *values).arguments
        program = program_of(asked)
        if program is None:
            execute(self, *values)
            return
        given = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        try:
            self.pid = ZYGOTE.start(
                program, [n if each == -1 else each for n, each in enumerate(given)]
            )
            self._child_created = True
        finally:
            self._close_pipe_fds(*(asked[name] for name in PIPES))


def program_of(asked: Mapping[str, Any]) -> Program | None:
    """The program that the arguments of `Popen` ask for, or None if `subprocess` has to."""
    if isinstance(asked["args"], str | bytes | os.PathLike):
        return None
    words = [os.fsdecode(each) for each in asked["args"]]
    environ = {os.fsdecode(k): os.fsdecode(v) for k, v in (asked["env"] or os.environ).items()}
    at_its_default = all(asked[name] == value for name, value in AT_ITS_DEFAULT.items())
    if not at_its_default or asked["process_group"] > 0 or not ZYGOTE.can(environ):
        return None
    namespace = ""
    if words[:3] == ["ip", "netns", "exec"]:
        namespace, words = words[3], words[4:]
    match words:
        case [sys.executable, "-P", "-m" as kind, text, *rest]:
            pass
        case [sys.executable, "-c" as kind, text, *rest]:
            pass
        case [sys.executable, text, *rest] if not text.startswith("-"):
            kind = ""
        case _:
            return None
    leads = "session" if asked["start_new_session"] else ""
    return Program(
        kind=kind,
        text=text,
        words=rest,
        command=words,
        namespace=namespace,
        folder=os.path.abspath(asked["cwd"] or "."),
        environ=environ,
        leads=leads or ("group" if asked["process_group"] == 0 else ""),
    )


def run(
    arguments: Sequence[object],
    *,
    input: bytes | str | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` does without `check`."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(arguments, **options) as process:
        try:
            output, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def send_twice(process: subprocess.Popen[Any], number: signal.Signals) -> bool:
    """Send a process a signal twice; return whether it came at once, as the second one shows.

    On a busy machine this process may have to wait in between.
    """
    began = time.monotonic()
    process.send_signal(number)
    process.send_signal(number)
    return time.monotonic() - began < AT_ONCE_S
