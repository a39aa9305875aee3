"""Documents that are true: their programs run, and their sessions print what they show.

Each ```python block is a program. One that has a role `run`, `serve` or `work` goes on until
the end of its `##` section, for the blocks that follow it there, and ends well then if it takes
signals; any other must end by itself and print what the comments behind its `print` calls say.
A block of any language that begins with the name of a file as a comment, `# shop.py`, is that
file for all sections; it runs only where a program or a session has it run. Each session, a
block of ```console, runs in one shell. Where a section has both, its sessions begin first, and
what they started in the background goes on until the programs have ended.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tests.development import MODE, told
from tests.ports import quiet_port

ROOT = Path(__file__).resolve().parent.parent
PORTS = ("5555", "8000")  # what stands in documents for a port that nothing listens on
LIMIT_S = 60.0
SPACE = f"documents-{os.getpid()}"  # documents that run beside these have equal names
# What a program says that goes on; those of RUNS end well when they are told to.
RUNS = ("sys.exit(service.run())", "sys.exit(worker.run())")
SERVES = (*RUNS, "service.serve()", "worker.work()")
MARK = "--- end of the command ---"
WAITING = "waiting for "  # begins what a command says after a while

FILE = re.compile(r"# (\S+\.\w+)\n")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)\)")
LOGGED = re.compile(r"^handler '\w+' raised [\w.]+\n(?: {4}.*\n)*", re.MULTILINE)
PROMPT = re.compile(r"^([a-z]?)\$ (.+)")
PRINTED = re.compile(r"\bprint\(.*\)  # (.+)$", re.MULTILINE)

# What differs from run to run, and what stands for it when two outputs are compared.
CHANGING = [
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\S+/topics\.py"), "TEXT"),
    (re.compile(r"^(processes|killed|calls|retries) +\d[\d, ]*\b"), r"\1 N"),
    (re.compile(r"\d[\d,.]* (characters|chunks|ms|calls/s)"), r"N \1"),
    (re.compile(r"^words +.+"), "words COUNTS"),
    (re.compile(r"(worker|streamer|broker) \d+"), r"\1 N"),
    (re.compile(r" +"), " "),
]


@dataclass(frozen=True)
class Step:
    """A command of a session and the lines that it prints. host: the letter before its `$`."""

    host: str
    command: str
    output: list[str]


@dataclass(frozen=True)
class Section:
    """A `##` section of a document: what runs together."""

    document: str
    title: str
    text: str
    files: dict[str, str]  # what the document shows of each file, by name

    def __str__(self) -> str:
        return f"{self.document}: {self.title}"

    @property
    def programs(self) -> list[str]:
        """Its programs, but for those that are files."""
        return [each for each in blocks(self.text, "python") if not FILE.match(each)]

    @property
    def sessions(self) -> list[str]:
        """Its sessions of a shell."""
        return blocks(self.text, "console")


def sections(document: str) -> list[Section]:
    """The sections of a document, given as its path in the project, that have something to run.

    What stands before the first `##` is one as well.
    """
    whole = (ROOT / document).read_text()
    files = {named[1]: body for _, body in FENCE.findall(whole) if (named := FILE.match(body))}
    parts = re.split(r"^## (.+)\n", whole, flags=re.MULTILINE)
    titled = zip(["", *parts[1::2]], parts[::2], strict=True)
    found = [Section(document, title, text, files) for title, text in titled]
    return [each for each in found if each.programs or each.sessions]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def steps(session: str) -> list[Step]:
    """The commands of a session, each with what follows it."""
    lines = session.splitlines()
    return [
        Step(*prompt.groups(), list(takewhile(lambda each: not PROMPT.match(each), lines[at:])))
        for at, line in enumerate(lines, 1)
        if (prompt := PROMPT.match(line))
    ]


def masked(lines: list[str]) -> list[str]:
    """The lines with placeholders for what differs from run to run."""
    for pattern, placeholder in CHANGING:
        lines = [pattern.sub(placeholder, line) for line in lines]
    return lines


def environment(folder: Path) -> dict[str, str]:
    """This process's, with this Python and this zmqkit to run from any directory, in SPACE."""
    for name, words in (("zmqkit", "-P -m zmqkit"), ("python", "")):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ZMQKIT_SPACE": SPACE,
    }


def on_free_ports(block: str) -> str:
    """The block with ports that nothing listens on in place of its own."""
    for port, free in FREE_PORTS.items():
        block = block.replace(port, free)
    return block


FREE_PORTS = {port: quiet_port() for port in PORTS}


def takes_signals(program: str) -> bool:
    """Whether it is one that ends well when it is told to."""
    return any(end in program for end in RUNS)


@contextmanager
def serving(
    program: str,
    folder: Path,
    number: signal.Signals = signal.SIGINT,
    mode: Mapping[str, str] = MODE,
) -> Iterator[None]:
    """Run a program that serves, and interrupt it at the end, as Ctrl-C does."""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment(folder), **mode},
    )
    try:
        yield
        assert process.poll() is None, "it ended before it was interrupted"
        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT_S)
        if takes_signals(program):
            assert process.returncode == 0, errors
            # A service logs what its handlers raise, as some documents have them do.
            assert not mode or LOGGED.sub("", told(errors)) == ""
        else:
            assert errors.rstrip().endswith("KeyboardInterrupt")
    finally:
        process.kill()
        process.communicate()


def run(program: str, folder: Path, mode: Mapping[str, str] = MODE) -> list[str]:
    """The lines that a program prints; it ends by itself, well."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=folder,
        env={**environment(folder), **mode},
        check=False,
    )
    assert (done.returncode, told(done.stderr)) == (0, "")
    return done.stdout.splitlines()


class Shell:
    """A bash in a folder that is given one command after the other, for LIMIT_S at most.

    inside: the words of a command that runs it, as on another host.
    """

    def __init__(self, folder: Path, *inside: str) -> None:
        self._process = subprocess.Popen(
            [*inside, "bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environment(folder),
            start_new_session=True,
        )
        self._limit = threading.Timer(LIMIT_S, self._kill)
        self._limit.start()

    def run(self, command: str, lines_min: int) -> list[str]:
        """What a command prints; one in the background so many lines until it is waited for.

        What commands say on a busy machine, that they wait for others, is left out.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        # The mark must not change what `$?` is in the next command.
        self._process.stdin.write(f'{command}\nstatus=$?; echo "{MARK}"; (exit $status)\n')
        self._process.stdin.flush()
        lines: list[str] = []
        ended = False
        while not ended or len(lines) < lines_min:
            line = self._process.stdout.readline()
            assert line, f"{command!r} printed {lines} and no more within {LIMIT_S} s"
            if line.rstrip("\n") == MARK:
                ended = True
            elif not line.startswith(WAITING):
                lines.append(line.rstrip("\n"))
        return lines

    def close(self) -> None:
        """End what is still in the background, wait for all of it, and end."""
        end = "for job in $(jobs -pr); do kill $job 2>/dev/null; done; wait\n"
        try:
            rest, _ = self._process.communicate(end, timeout=LIMIT_S)
            assert (rest, self._process.returncode) == ("", 0)
        finally:
            self._limit.cancel()
            self._limit.join()
            if self._process.poll() is None:
                self._kill()
                self._process.communicate()

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def session_under_way(session: str, folder: Path) -> Iterator[None]:
    """Have the commands of a session print what it shows; then keep its shell for a while."""
    shell = Shell(folder)
    try:
        for step in steps(session):
            lines = shell.run(step.command, len(step.output))
            assert masked(lines) == masked(step.output), step.command
        yield
    finally:
        shell.close()


def check(section: Section, folder: Path, mode: Mapping[str, str] = MODE) -> None:
    """Have all that a section shows run in a folder, and do what it says.

    mode: more of the environment of programs; Python's development mode unless others' packages
    do not stand it.
    """
    for name, text in section.files.items():
        (folder / name).write_text(on_free_ports(text))
    with ExitStack() as services:
        for session in map(on_free_ports, section.sessions):
            services.enter_context(session_under_way(session, folder))
        for program in map(on_free_ports, section.programs):
            if any(end in program for end in SERVES):
                services.enter_context(serving(program, folder, mode=mode))
            else:
                assert run(program, folder, mode) == PRINTED.findall(program)
