"""A process from the zygote is what `subprocess` would have started: both pass these tests."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import spawning

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 60.0

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.slow

SURROUNDINGS = r"""
import json, os, signal, sys, threading, zmqkit
print(json.dumps({
    "arguments": sys.argv, "path": sys.path, "folder": os.getcwd(), "environ": dict(os.environ),
    "main": sorted(globals()), "name": __name__, "file": globals().get("__file__"),
    "command": open("/proc/self/cmdline").read().strip("\0"),
    "package": zmqkit.__file__, "parent": os.getppid(), "pid": os.getpid(),
    "group": os.getpgid(0) == os.getpid(), "session": os.getsid(0) == os.getpid(),
    "own session": os.getsid(0) == os.getsid(os.getppid()),
    "handlers": [str(signal.getsignal(n)) for n in (2, 13, 15)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "descriptors": sorted(os.listdir("/dev/fd"))[:4], "threads": threading.active_count(),
    "streams": [
        [repr(s), repr(getattr(s.buffer, 'raw', s.buffer)), s.encoding, s.errors, s.newlines]
        + [s.line_buffering, s.write_through, s.isatty(), type(s.buffer).__name__]
        + [s is original, s.mode]
        for s, original in (
            (sys.stdin, sys.__stdin__), (sys.stdout, sys.__stdout__),
            (sys.stderr, sys.__stderr__),
        )
    ],
}))
"""
DIFFERENT = {"pid"}


@pytest.fixture(params=[spawning.Popen, subprocess.Popen], ids=["zygote", "subprocess"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start Python with these words, each way; it is ended with the test."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: str, **options: Any) -> subprocess.Popen[str]:
        begun.append(python(request.param, *words, **options))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def python(kind: Any, *words: str, **options: Any) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe}
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}elsewhere", "ADDED": "\udcff"}
    process: subprocess.Popen[str] = kind(
        [sys.executable, *words], **{"text": True, "env": environ, **streams, **options}
    )
    return process


def ended(process: subprocess.Popen[str], given: str | None = None) -> tuple[int, str, str]:
    """Its exit code and what it wrote."""
    output, errors = process.communicate(given, timeout=LIMIT_S)
    return process.returncode, output, errors


def seen(kind: Any, *words: str, **options: Any) -> dict[str, Any]:
    code, output, errors = ended(python(kind, *words, **options))
    assert (code, errors) == (0, ""), errors
    found: dict[str, Any] = json.loads(output)
    assert found["parent"] == os.getpid()
    return {name: value for name, value in found.items() if name not in DIFFERENT}


@pytest.mark.parametrize("way", ["-c", "-m", "script"])
@pytest.mark.parametrize("leads", [{}, {"start_new_session": True}, {"process_group": 0}])
def test_a_program_finds_the_surroundings_of_a_new_process(
    tmp_path: Path, way: str, leads: dict[str, Any]
) -> None:
    script = tmp_path / "surroundings.py"
    script.write_text(SURROUNDINGS)
    words = {
        "-c": ("-c", SURROUNDINGS),
        "-m": ("-P", "-m", "surroundings"),
        "script": (str(script),),
    }[way]
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    options = {"cwd": tmp_path, "env": environ, **leads}
    mine, theirs = (
        seen(kind, *words, "a", "b c", **options) for kind in (spawning.Popen, subprocess.Popen)
    )
    assert mine == theirs


def test_streams_are_alike_on_a_terminal() -> None:
    code = (
        "import sys; print([[s.line_buffering, s.write_through, s.isatty(), s.encoding]"
        " for s in (sys.stdin, sys.stdout, sys.stderr)]); input()"
    )
    shown = []
    for kind in (spawning.Popen, subprocess.Popen):
        ours, theirs = pty.openpty()
        with python(kind, "-c", code, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            with open(ours, closefd=False) as terminal:
                shown.append(terminal.readline())
            os.write(ours, b"\n")
            assert process.wait(LIMIT_S) == 0
        os.close(ours)
    assert shown[0] == shown[1]
    assert shown[0].startswith("[[")


def test_it_comes_from_the_zygote_where_that_is_the_same() -> None:
    look = "import sys; print('tests.zygote' in sys.modules)"

    def forked(*words: str, **options: Any) -> bool:
        code, output, _ = ended(python(spawning.Popen, *words, "-c", look, **options))
        assert code == 0
        return output == "True\n"

    other = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    installed = {**os.environ, "PYTHONPATH": ""}
    assert forked()
    assert not forked("-I")
    assert not forked(env=other)
    assert not forked(env=installed)
    assert not forked(pass_fds=(0,))


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("pass", (0, "", "")),
        ("import sys; sys.exit(7)", (7, "", "")),
        ("import sys; sys.exit('wrong')", (1, "", "wrong\n")),
        ("import os; print('lost'); os._exit(3)", (3, "", "")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", (-signal.SIGTERM, "", "")),
        ("import atexit; atexit.register(print, 'end'); print('1')", (0, "1\nend\n", "")),
        ("print(input(), input())", (0, "given twice\n", "")),
    ],
)
def test_a_program_ends_as_it_says(start: Start, code: str, end: tuple[int, str, str]) -> None:
    found, output, errors = ended(start("-c", code), "given\ntwice\n")
    if "lost" in code:  # but for a stream that keeps nothing back
        output = output.removeprefix("lost\n")
    assert (found, output, errors) == end


def test_the_end_waits_for_threads(start: Start) -> None:
    code = "import threading as t; t.Timer(0.1, lambda: print('later')).start()"
    assert ended(start("-c", code)) == (0, "later\n", "")


def test_an_error_is_told_with_its_traceback(start: Start) -> None:
    code, output, errors = ended(start("-c", "def f(): 1 / 0\nf()"))
    assert (code, output) == (1, "")
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("ZeroDivisionError: division by zero\n")


def test_an_interrupt_ends_it_as_ctrl_c_does(start: Start) -> None:
    process = start("-c", "print('begun', flush=True); input()")
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    code, _, errors = ended(process)
    assert code == -signal.SIGINT
    assert errors.endswith("KeyboardInterrupt\n")


def test_its_pipes_end_with_it(start: Start) -> None:
    first, second = start("-c", "input()"), start("-c", "input()")
    first.kill()
    assert ended(first) == (-signal.SIGKILL, "", "")
    assert second.poll() is None


def test_what_it_started_is_not_this_process_s_child_afterwards(start: Start) -> None:
    code = (
        "import subprocess as s, sys; print(s.Popen(['sleep', '60'], stdin=s.DEVNULL,"
        " stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    )
    code, output, errors = ended(start("-c", code))
    assert (code, errors) == (0, "")
    try:
        status = Path(f"/proc/{int(output)}/status").read_text()
        assert f"PPid:\t{os.getpid()}\n" not in status
    finally:
        os.kill(int(output), signal.SIGKILL)


def test_the_zygote_ends_with_the_process_that_began_it() -> None:
    code = (
        "import os, signal, sys; from tests.spawning import Popen;"
        "Popen([sys.executable, '-c', 'pass']).wait(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = python(subprocess.Popen, "-c", code)
    # The zygote has the same standard error, which ends with the last that has it.
    assert ended(process) == (-signal.SIGKILL, "", "")


def test_run_is_what_that_of_subprocess_is() -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "import sys; sys.stderr.write('error'); print(input()); sys.exit(3)"
    for run in (spawning.run, subprocess.run):
        done = run(
            [sys.executable, "-c", code], input=b"given\n", capture_output=True, env=environ
        )
        assert (done.returncode, done.stdout, done.stderr) == (3, b"given\n", b"error")
        with pytest.raises(subprocess.TimeoutExpired):
            run(
                [sys.executable, "-c", "import signal; signal.pause()"],
                timeout=0.1,
                env=environ,
            )
