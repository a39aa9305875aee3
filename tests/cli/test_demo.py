"""`zmqkit demo`: the words are counted right although a process is killed."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from zmqkit.cli import main
from zmqkit.cli.demo import report
from zmqkit.demo.run import Result

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

KEYS = (
    "ok", "pids", "killed", "found_ms", "calls", "retries", "calls_per_s", "p50_ms", "p99_ms",
    "lost", "published", "missed", "pipeline", "majordomo", "words",
)  # fmt: skip

TEXT = "".join(
    f"The word{chr(97 + n % 26) * (n % 7)} and Ünïcode, it's n°{n}.\n" for n in range(2000)
)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_every_word_is_counted_although_one_process_is_killed(tmp_path: Path, run: Run) -> None:
    text = tmp_path / "text"
    text.write_text(TEXT, encoding="utf-8")
    done = run("demo", str(text), "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = json.loads(done.stdout)
    words = Counter(word.lower() for word in re.findall(r"[^\W\d_]+", TEXT))
    assert tuple(shown) == KEYS
    assert shown["ok"] is True and shown["lost"] == 0
    assert (shown["published"], shown["missed"]) == (100, 0)
    assert shown["words"] == dict(words.most_common(20))
    assert len(set(shown["pids"])) == 3 and shown["killed"] in shown["pids"]
    assert shown["calls"] > 500 and shown["calls_per_s"] > 0 and shown["found_ms"] > 0
    assert 0 < shown["p50_ms"] <= shown["p99_ms"]
    tasks = shown["pipeline"]
    assert tasks["tasks"] > 300 and tasks["lost"] == 0
    assert len(set(tasks["killed"])) == 2
    kept = shown["majordomo"]
    assert kept["requests"] > 300 and kept["lost"] == 0 and kept["killed"] > 0
    assert not any(map(is_there, (*shown["pids"], *tasks["killed"], kept["killed"])))


@pytest.mark.parametrize("text", ["", "one", "x" * 100_000, TEXT[:4000]])
def test_a_text_that_would_prove_nothing_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text(text)
    assert main.run(["demo", str(tmp_path / "text")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: the text makes ") and captured.out == ""
    assert "of the 96 chunks" in captured.err and captured.err.count("\n") == 1


@pytest.mark.slow
def test_a_short_text_is_no_exception(tmp_path: Path, run: Run) -> None:
    (tmp_path / "text").write_text("word " * (8000 // 5))
    done = run("demo", str(tmp_path / "text"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("ok")
    assert ["lost", "none"] in [line.split() for line in lines]


@pytest.mark.slow
def test_on_a_terminal_it_shows_progress_and_an_interrupt_leaves_nothing() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zmqkit", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    try:
        shown = ""
        while not (found := re.search(r"processes (\d+) (\d+) (\d+) look", shown)):
            shown += os.read(ours, 4096).decode()
        process.send_signal(signal.SIGINT)
        shown = read_to_end(ours)
        assert process.wait(10) == 130
        assert "interrupted" in shown and "Traceback" not in shown
        assert not any(is_there(int(pid)) for pid in found.groups())
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.slow
def test_no_process_outlives_a_demo_that_is_killed() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zmqkit", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    try:
        shown = ""
        while not re.search(r"processes (\d+) (\d+) (\d+) look", shown):
            shown += os.read(ours, 4096).decode()
        process.kill()
        process.wait()
        # All of them write to the terminal, which has an end once the last one is gone.
        read_to_end(ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_to_end(terminal: int) -> str:
    """What is written to the terminal until nobody has it open any more."""
    shown = b""
    try:
        while block := os.read(terminal, 4096):
            assert select.select([terminal], [], [], 20)[0], "a process goes on in silence"
            shown += block
    except OSError as error:
        # Linux says so where other systems give an empty block.
        if error.errno != errno.EIO:
            raise
    return shown.decode()


def test_the_report_says_what_went_wrong() -> None:
    result = Result(3, pids=[1, 2, 3], killed=2, calls=2, done=2, latencies_s=[0.1])
    assert not result.ok
    lines = report(Path("text"), result)
    assert lines[0] == "FAILED: calls were lost"
    assert ["lost", "1"] in [line.split() for line in lines]


@pytest.mark.parametrize("wrong", ["counted", "tasks", "requests"])
def test_wrong_counts_are_a_failure(wrong: str) -> None:
    right = Counter(a=2)
    counts = {"counted": right, "tasks": right, "requests": right, wrong: Counter(a=1)}
    result = Result(1, counted=counts["counted"], expected=right)
    result.tasks.counted, result.requests.counted = counts["tasks"], counts["requests"]
    assert not result.ok
    assert report(Path("text"), result)[0].startswith("FAILED: the counts differ")


def test_what_a_broker_lost_is_a_failure() -> None:
    result = Result(1)
    assert result.ok
    result.requests.requests, result.requests.done, result.requests.killed = 3, 2, 7
    lines = report(Path("text"), result)
    assert lines[0] == "FAILED: requests to the broker were lost"
    assert any("1 of them lost; broker 7 killed" in line for line in lines)


def test_one_chunk_is_one() -> None:
    assert report(Path("text"), Result(1, calls=1))[1].endswith("text, 1 character in 1 chunk")
