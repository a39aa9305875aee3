"""`zmqkit ping`: who answers, as a table and as JSON, and what the exit code says."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from zmqkit.cli.ping import command, lines

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]
Begin = Callable[..., "subprocess.Popen[bytes]"]

ROW = {
    "name": "orders", "role": "service", "label": "orders-1a2b3c4d", "process": "b1",
    "pid": 4711, "host": "kitchen", "sent": 4, "answered": 3, "loss": 0.25, "min_s": 0.0002,
    "median_s": 0.0003, "max_s": 1.5, "ahead_s": -0.002,
}  # fmt: skip


def test_an_instance_is_a_line_of_the_table() -> None:
    head, line = lines([ROW])
    assert head.split()[-5:] == ["LOST", "MIN", "MEDIAN", "MAX", "CLOCK"]
    assert line.split("  ")[:3] == ["orders", "service", "orders-1a2b3c4d"]
    assert line.endswith("25%   200 µs  300 µs  1.5 s  -2 ms")


def test_an_instance_that_never_answered_has_no_times() -> None:
    away = dict.fromkeys(("min_s", "median_s", "max_s", "ahead_s"))
    [_, line] = lines([{**ROW, **away, "pid": 0, "host": "", "sent": 1, "loss": 1.0}])
    assert line.endswith("1     100%")


def test_a_url_is_no_name() -> None:
    failed = CliRunner().invoke(command, ["tcp://127.0.0.1:5555"])
    assert "tcp://127.0.0.1:5555" in str(failed.exception)


@pytest.mark.slow
def test_each_instance_is_told_of(serve: Serve, run: Run) -> None:
    serving = serve("shop")
    done = run("ping", serving.name, "-c", "2", "--interval", "0.01", "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert (row["name"], row["role"]) == (serving.name, "service")
    assert (row["sent"], row["answered"], row["loss"]) == (2, 2, 0.0)
    assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
    assert row["pid"] == serving.process.pid and abs(row["ahead_s"]) < 1


@pytest.mark.slow
def test_an_interrupt_ends_it_with_the_summary(serve: Serve, begin: Begin) -> None:
    serving = serve("shop")
    pinging = begin("ping", serving.name)
    assert pinging.stdout is not None and b"1: " in pinging.stdout.readline()
    pinging.send_signal(signal.SIGINT)
    told, _ = pinging.communicate(timeout=60)
    assert pinging.returncode == 0
    assert told.decode().splitlines()[-1].split()[0] == serving.name


@pytest.mark.slow
def test_nobody_of_that_name_is_an_error(name: str, run: Run) -> None:
    done = run("ping", name, "--wait", "0")
    assert done.returncode == 1
    assert f"nobody called {name!r} was found" in done.stderr.decode()
