"""`zmqkit stats`: what roles count, as a table and as JSON."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from zmqkit.cli.stats import as_object, lines, silence
from zmqkit.node.statistics import Row
from zmqkit.wire.histogram import Histogram

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]


def row(**changes: Any) -> Row:
    """A row of a service."""
    took = Histogram()
    took.record(0.0015)
    fields: dict[str, Any] = {
        "host": "kitchen", "pid": 4711, "process": "b1", "role": "service", "name": "orders",
        "incarnation": "a1", "part": "", "of": "", "accepted": 9, "delivered": 7, "failed": 1,
        "expired": 0, "dropped": {"cancelled": 1, "closed": 2}, "malformed": 0, "running": 2,
        "waiting": 3, "oldest_s": 4.0, "credit": 0, "peers": {"up": 2, "lost": 1},
        "talks_to": ["c1"], "known_as": [], "rates": {"delivered": 1234.5}, "took": took,
        "recent": took.copy(),
    }  # fmt: skip
    return Row(**(fields | changes))


def test_a_row_is_a_line_of_the_table() -> None:
    head, line = lines([row()])
    assert head.split() == [
        "NAME", "ROLE", "PART", "PID", "RATE", "RUNNING", "WAITING", "OLDEST", "P50", "P99",
        "FAILED", "DROPPED", "PEERS",
    ]  # fmt: skip
    assert line.split("  ")[0] == "orders"
    for cell in ("4711", "1,234.5/s", "4 s", "1.47 ms", "2 up, 1 lost"):
        assert cell in line


def test_a_part_stands_below_its_role_and_what_is_unknown_is_left_out() -> None:
    quiet = {"rates": {}, "took": None, "recent": None, "peers": {}}
    _, first, second = lines([row(), row(part="method", of="price", **quiet)])
    assert "price" not in first and "price" in second and "/s" not in second


def test_one_that_did_not_answer_is_one_process() -> None:
    assert silence(["pid 7"]) == "1 process did not answer: pid 7"
    assert silence(["pid 7", "pid 8"]) == "2 processes did not answer: pid 7, pid 8"


def test_there_is_no_table_without_rows() -> None:
    assert lines([]) == []


def test_json_has_the_histogram() -> None:
    told = as_object(row())
    assert json.loads(json.dumps(told)) == told
    took = told["took"]
    assert isinstance(took, dict) and (took["count"], took["sum_s"]) == (1, 0.0015)
    [[bound, count]] = took["buckets"]
    assert count == 1 and 0.0015 <= bound <= 0.0015 * 1.125
    assert told["waited"] is None and "recent" not in told
    assert told["p50_s"] == pytest.approx(0.0015, rel=0.06)


@pytest.mark.slow
def test_it_shows_a_service_and_its_methods(serve: Serve, run: Run) -> None:
    serving = serve("math")
    assert run("call", serving.name, "sqrt", "4").returncode == 0
    for wait_s in ("0.5", "2", "5"):  # a busy machine needs a longer wait
        done = run("stats", serving.name, "--json", "--wait", wait_s)
        if done.returncode == 0:
            break
    rows = json.loads(done.stdout)
    assert {each["name"] for each in rows} == {serving.name}
    [method] = [each for each in rows if each["of"] == "sqrt"]
    assert (method["role"], method["delivered"], method["took"]["count"]) == ("service", 1, 1)
    assert method["rates"]["delivered"] == 0
    text = run("stats", serving.name, "--wait", wait_s).stdout.decode()
    assert "sqrt" in text and text.startswith("NAME")


@pytest.mark.slow
def test_nobody_of_that_name_is_an_error(name: str, run: Run) -> None:
    done = run("stats", name, "--wait", "0")
    assert done.returncode == 1
    assert f"no role called {name!r} was found" in done.stderr.decode()
    assert done.stderr.decode().endswith(f"; `zmqkit doctor {name}` looks closer\n")
