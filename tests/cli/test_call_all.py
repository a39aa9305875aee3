"""`zmqkit call` of all instances, and of one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.conftest import Serving
from tests.roles.kit import until

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def two(name: str) -> Iterator[str]:
    """The name of two instances."""
    instances = [Serving(name, "shop:catalogue") for _ in range(2)]
    yield name
    for each in instances:
        each.end()


def test_all_instances_and_each_alone(run: Run, two: str) -> None:
    name = two
    until(lambda: run("call", name, "sell", "0", "--all").stdout.count(b"\n") == 2)
    done = run("call", name, "sell", "2", "--all")
    rows = [line.split("  ") for line in done.stdout.decode().splitlines()]
    assert [value for _, value in rows] == ["2", "2"] and done.stderr == b""
    assert all(label.startswith(f"{name}-") for label, _ in rows)
    assert len({label for label, _ in rows}) == 2
    first = run("call", name, "sell", "3", "--instance", rows[0][0])
    assert (first.returncode, first.stdout) == (0, b"5\n")
    done = run("call", name, "sell", "0", "--all", "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    values = {answer["instance"]: answer["value"] for answer in answers}
    assert values == {rows[0][0]: 5, rows[1][0]: 2}


def test_errors_of_some_are_told_and_give_the_code(run: Run, serve: Callable[..., Any]) -> None:
    serving = serve("shop")
    done = run("call", serving.name, "fail", "too bad", "--all", "--json")
    [answer] = [json.loads(line) for line in done.stdout.splitlines()]
    assert answer["error"].startswith("ValueError: too bad") and done.returncode == 1
    assert done.stderr.startswith(f"error: {answer['instance']}: ValueError: too bad".encode())
    done = run("call", serving.name, "fail", "too bad", "--all")
    assert (done.returncode, done.stdout) == (1, b"")


def test_what_does_not_go_together(run: Run) -> None:
    for option in (["--notify"], ["--instance", "a-1a2b3c4d"]):
        done = run("call", "nobody", "x", "--all", *option)
        assert done.returncode == 2 and b"leave --notify or --instance out" in done.stderr


def test_an_instance_that_is_not_there(run: Run, serve: Callable[..., Any]) -> None:
    name = serve("shop").name
    done = run("call", name, "text", "--instance", f"{name}-0000000a", "--wait", "0.5")
    assert done.returncode == 1 and f"no instance '{name}-0000000a'".encode() in done.stderr
    done = run("call", name, "text", "--instance", name)
    assert done.returncode == 2 and b"zmqkit ls -v" in done.stderr
