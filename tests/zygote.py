"""The process that those of tests are forked from: it has imported what they will.

It has no thread, no ZeroMQ context and no descriptor but the standard ones and a socket. A
request comes through the socket: HEADER_BYTES that say how long it is, with three descriptors,
then the fields of `Program` in JSON. The answer, as long as a header, is the pid of a process
that has become what a new Python is before it runs the program. The socket ends the zygote.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import zmqkit

LATE = ("msgspec.msgpack", "prometheus_client.openmetrics.exposition", "uvloop")
"""What zmqkit imports when it needs it, beside its own modules."""

SELDOM = ("zmqkit.bench", "zmqkit.demo", "zmqkit.simulation", "zmqkit.testing")
"""What few programs import; the more there is, the longer each takes to end."""

HEADER_BYTES = 16
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MNT_DETACH, MS_REC, MS_SLAVE = 2, 1 << 14, 1 << 19


@dataclass(slots=True, kw_only=True)
class Program:
    """What a process is to run, and in which surroundings.

    kind: `-m`, `-c` or, for a script, nothing. text: the module, the program or the path.
    words: its arguments. command: the whole command line. leads: whether it leads a new
    `session`, a new `group`, or nothing. namespace: of the network, empty for this process's.
    """

    kind: str
    text: str
    words: list[str]
    command: list[str]
    namespace: str
    folder: str
    environ: dict[str, str]
    leads: str

    def __call__(self) -> None:
        """Run it in `__main__`, as Python does."""
        main = sys.modules["__main__"].__dict__
        for name in [name for name in main if not name.startswith("__")]:
            del main[name]
        if self.kind == "-m":
            runpy._run_module_as_main(self.text)
        elif self.kind == "-c":
            exec(compile(self.text, "<string>", "exec"), main)
        else:
            main |= {"__file__": self.text, "__cached__": None}
            with io.open_code(os.path.abspath(self.text)) as file:
                code = compile(file.read(), self.text, "exec")
            exec(code, main)


def preload() -> None:
    """Import what programs import; what cannot be imported here is theirs to miss."""
    names = [each.name for each in pkgutil.walk_packages(zmqkit.__path__, "zmqkit.")]
    for name in (*names, *LATE):
        if not name.endswith(".__main__") and not name.startswith(SELDOM):
            with suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector of a child need not look at, and so copy, what it shares


def serve(number: int) -> Callable[[], None]:
    """Fork a process for each request. Return in each of them, with what it is to run.

    number: the descriptor of the socket. Without more requests, return with nothing to run.
    """
    # The terminal's Ctrl-C is for those who use the zygote; it ends with them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    preload()
    with socket.socket(fileno=number) as connection:
        while (request := receive(connection)) is not None:
            program, given = request
            if is_orphan():
                become(program, given)
                connection.sendall(f"{os.getpid():{HEADER_BYTES - 1}}\n".encode())
                break
            for each in given:
                os.close(each)
        else:
            return lambda: None
    if program.namespace:
        enter(program.namespace)
    os.chdir(program.folder)
    sys.path[:1] = search_path(program)
    return program


def receive(connection: socket.socket) -> tuple[Program, list[int]] | None:
    """The next request and its descriptors, or None if there will be none."""
    header, given, _, _ = socket.recv_fds(connection, HEADER_BYTES, 3)
    if not header:
        return None
    text = b""
    while len(text) < int(header):
        text += connection.recv(int(header) - len(text))
    return Program(**json.loads(text)), given


def is_orphan() -> bool:
    """Fork twice. Return True in the grandchild, once it has a new parent, or else False."""
    readable, writable = os.pipe()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    elif os.fork():
        os._exit(0)
    os.close(writable)
    if not child:
        os.read(readable, 1)  # it ends with the zygote's, after the wait
    os.close(readable)
    return not child


def become(program: Program, given: list[int]) -> None:
    """Have the surroundings of a new process that was given these standard descriptors."""
    if program.leads == "session":
        os.setsid()
    elif program.leads == "group":
        os.setpgid(0, 0)
    for number, each in enumerate(given):
        os.dup2(each, number)
        os.close(each)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    show(program.command)
    os.environ.clear()
    os.environ.update(program.environ)
    sys.argv[:] = [program.text if not program.kind else program.kind, *program.words]
    sys.stdin = sys.__stdin__ = stream(sys.stdin, 0, "r")
    sys.stdout = sys.__stdout__ = stream(sys.stdout, 1, "w")
    sys.stderr = sys.__stderr__ = stream(sys.stderr, 2, "w")


def show(command: Sequence[str]) -> None:
    """Have the system tell this command line, cut to the length of the old one."""
    start, end = map(int, Path("/proc/self/stat").read_text().split()[47:49])
    text = b"".join(os.fsencode(word) + b"\0" for word in command)[: end - start - 1]
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def enter(namespace: str) -> None:
    """Go to a network namespace, and have a /sys that shows it, as `ip netns exec` does."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *values: object) -> None:
        if getattr(libc, name)(*values):
            raise OSError(ctypes.get_errno(), name)

    with open(f"/run/netns/{namespace}") as file:
        call("setns", file.fileno(), CLONE_NEWNET)
    call("unshare", CLONE_NEWNS)
    call("mount", b"", b"/", b"none", MS_REC | MS_SLAVE, None)
    call("umount2", b"/sys", MNT_DETACH)
    call("mount", namespace.encode(), b"/sys", b"sysfs", 0, None)


def stream(like: TextIO, number: int, mode: str) -> TextIO:
    """A standard stream on this descriptor, made as Python makes its own when it starts."""
    assert isinstance(like, io.TextIOWrapper)
    unbuffered = like.write_through  # as PYTHONUNBUFFERED wants it
    buffering = 0 if unbuffered and mode == "w" else -1
    # It stays open for as long as the process lives.
    binary = open(number, f"{mode}b", buffering, closefd=False)  # noqa: SIM115
    raw = getattr(binary, "raw", binary)
    raw.name = like.name
    made = io.TextIOWrapper(
        binary,
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=not unbuffered and (number == 2 or raw.isatty()),
        write_through=unbuffered,
    )
    made.mode = mode
    return made


def search_path(program: Program) -> list[str]:
    """What a new Python has in `sys.path` in front of what every Python has."""
    sys.path_importer_cache.clear()
    first = {"-m": [], "-c": [""], "": [os.path.dirname(os.path.realpath(program.text))]}
    there = program.environ["PYTHONPATH"].split(os.pathsep)
    return [*first[program.kind], *map(os.path.abspath, there)]
