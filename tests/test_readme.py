"""README.md is true, and short: its programs run, its sessions print what they show."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import zmqkit
from tests.development import MODE, told
from tests.documents import (
    FENCE,
    LIMIT_S,
    LINK,
    ROOT,
    Section,
    blocks,
    check,
    masked,
    sections,
    serving,
)

README = (ROOT / "README.md").read_text()
LINES_MAX = 200


def test_readme_is_short() -> None:
    assert README.count("\n") < LINES_MAX


@dataclass(frozen=True)
class Step:
    """A command of a session and the lines that it prints. host: the letter before its `$`."""

    host: str
    command: str
    output: list[str]


def sections() -> dict[str, str]:
    """The text of each `##` section by its title."""
    parts = re.split(r"^## (.+)\n", README, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


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


def shown(step: Step, lines: list[str]) -> list[str]:
    """The part of a command's output that a session can show.

    `zmqkit ls` lists what other programs of this machine announce, too; those are left out.
    """
    if not step.command.startswith("zmqkit ls"):
        return lines
    names = {line.split()[0] for line in step.output}
    return list(dict.fromkeys(line for line in lines if line.split()[0] in names))


def environment(folder: Path) -> dict[str, str]:
    """This process's, with this zmqkit to import and to run from any directory."""
    command = folder / "zmqkit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m zmqkit "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        **MODE,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def on_a_free_port(block: str) -> str:
    """The block with a port that nothing listens on in place of its own."""
    return block.replace(PORT, FREE_PORT)


def free_port() -> str:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


FREE_PORT = free_port()


def takes_signals(program: str) -> bool:
    """Whether it is one that ends well when it is told to."""
    return "signal.signal(" in program


@contextmanager
def serving(
    program: str, folder: Path, number: signal.Signals = signal.SIGINT
) -> Iterator[None]:
    """Run a program that serves, and interrupt it at the end, as Ctrl-C does."""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder),
    )
    try:
        yield
        assert process.poll() is None, "it ended before it was interrupted"
        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT_S)
        if takes_signals(program):
            assert (process.returncode, told(errors)) == (0, "")
        else:
            assert errors.rstrip().endswith("KeyboardInterrupt")
    finally:
        process.kill()
        process.communicate()


def run(program: str, folder: Path) -> list[str]:
    """The lines that a program prints; it ends by itself, well."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(folder),
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


PROGRAMS = {
    title: found for title, text in sections().items() if (found := blocks(text, "python"))
}
SESSIONS = {
    title: found for title, text in sections().items() if (found := blocks(text, "console"))
}


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    kinds = [kind for kind, _ in FENCE.findall(README)]
    assert set(kinds) == {"sh", "python", "console"}
    assert kinds.count("sh") == 2, "the demo, and the tests"
    assert README.count("```") == 2 * len(kinds)


def test_links_lead_to_files_of_the_project() -> None:
    assert not [path for path in LINK.findall(README) if not (ROOT / path).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("section", sections("README.md"), ids=str)
def test_what_readme_shows_runs(section: Section, tmp_path: Path) -> None:
    check(section, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_the_first_program_ends_well(number: signal.Signals, tmp_path: Path) -> None:
    name = f"shop-{number.name.lower()}-{os.getpid()}"  # so that it is this one that is ready
    program = blocks(README, "python")[0].replace('"shop"', f'"{name}"')
    with serving(program, tmp_path, number), zmqkit.Client(name) as client:
        assert client.ready(1, LIMIT_S) == 1


def test_placeholders_hide_only_what_changes() -> None:
    assert masked(["math  service  tcp://127.0.0.1:1  1 s  up"]) == masked(
        ["math service tcp://127.0.0.1:2 22 s up"]
    )
    assert masked(["1.4142135623730951"]) == ["1.4142135623730951"]
    assert masked(["lost        none"]) != masked(["lost        1"])
