"""`zmqkit ls`: who is there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]

KEYS = {"name", "role", "label", "address", "age_s", "state"}


def test_it_lists_each_instance(serve: Serve, run: Run) -> None:
    first, second = serve("math"), serve("shop")
    lines = run("ls").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "ROLE", "ADDRESS", "AGE", "STATE"]
    for serving in (first, second):
        [row] = [line.split() for line in lines if line.startswith(serving.name)]
        address = serving.line.partition(" at ")[2].partition(",")[0]
        assert row[1:3] == ["service", address]
        assert row[-1] == "up"


def test_json_is_one_array_of_objects(serve: Serve, run: Run) -> None:
    serving = serve("math")
    done = run("ls", "--json")
    assert done.stdout.count(b"\n") == 1
    [row] = [row for row in json.loads(done.stdout) if row["name"] == serving.name]
    assert row.keys() == KEYS
    assert row["label"].startswith(f"{serving.name}-")
    assert row["age_s"] >= 0


def test_who_left_is_not_listed(serve: Serve, run: Run) -> None:
    serving = serve("math", "--until-eof")
    assert serving.wait() == (0, "")
    assert serving.name not in run("ls").stdout.decode()


def test_nobody_is_said_to_people_and_is_an_empty_array_to_programs(run: Run) -> None:
    done = run("ls", "--wait", "0", "--json")
    assert (done.returncode, done.stdout) == (0, b"[]\n")
    done = run("ls", "--wait", "0")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"nobody" in done.stderr
