"""`zmqkit serve`: from its first line to a clean end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import LIMIT_S
from zmqkit.cli.serve import where
from zmqkit.model import Reach

pytestmark = pytest.mark.slow

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]
Begin = Callable[..., "subprocess.Popen[bytes]"]


def test_it_says_where_it_listens_and_how_to_open(serve: Serve) -> None:
    serving = serve("math")
    assert serving.line.startswith(f"serving {serving.name!r} at tcp://127.0.0.1:")
    assert "--insecure" in serving.line


@pytest.mark.parametrize(
    ("endpoint", "shown", "said"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555", "--insecure opens it"),
        ("tcp://[::1]:5555", "tcp://[::1]:5555", "--insecure opens it"),
        ("tcp://[::ffff:127.0.0.1]:5555", "tcp://127.0.0.1:5555", "--insecure opens it"),
        ("tcp://[::]:5555", "tcp://[::]:5555", "open to the network"),
        ("tcp://0.0.0.0:5555", "tcp://0.0.0.0:5555", "open to the network"),
        ("tcp://192.0.2.1:5555", "tcp://192.0.2.1:5555", "open to the network"),
        ("memory://a", "memory://a", "this process only"),
    ],
)
def test_the_line_says_how_far_it_reaches(endpoint: str, shown: str, said: str) -> None:
    line = where("orders", endpoint, Reach.LOCAL)
    assert line.startswith(f"serving 'orders' at {shown}, ")
    assert said in line


def test_who_is_open_to_a_network_that_is_not_there_yet_says_so() -> None:
    line = where("orders", "tcp://127.0.0.1:5555", Reach.PLAIN)
    assert "open to the network" in line
    assert "--insecure" not in line


@pytest.mark.parametrize("target", ["math", "waiting"])
def test_the_end_of_stdin_ends_it_when_asked(target: str, serve: Serve) -> None:
    serving = serve(target, "--until-eof")
    assert serving.wait() == (0, "")


def test_async_functions_are_served_and_plain_ones_beside_them(serve: Serve, run: Run) -> None:
    serving = serve("waiting")
    assert run("call", serving.name, "patient").stdout == b"waited\n"
    assert run("call", serving.name, "plain").stdout == b"true\n"


def test_the_methods_of_an_object_share_its_state(serve: Serve, run: Run) -> None:
    serving = serve("shop:catalogue")
    assert run("call", serving.name, "sell", "2").stdout == b"2\n"
    assert run("call", serving.name, "sell").stdout == b"3\n"


def test_concurrency_lets_calls_pass_a_slow_one(serve: Serve, begin: Begin, run: Run) -> None:
    serving = serve("shop", "--concurrency", "2")
    calling = begin("call", serving.name, "hold", "--timeout", str(LIMIT_S))
    assert serving.read_line() == "holding"
    assert run("call", serving.name, "text").stdout == b"plain\ntext\n"
    serving.write_line("released")
    assert calling.communicate(timeout=LIMIT_S)[0] == b"released\n"


@pytest.mark.parametrize("target", ["math", "waiting"])
def test_it_says_through_which_brokers_it_is_called(target: str, serve: Serve) -> None:
    serving = serve(target, "--via", "tcp://127.0.0.1:5555")
    said = f"serving {serving.name!r} through 'tcp://127.0.0.1:5555'"
    assert serving.line == said


def test_via_and_bind_do_not_go_together(run: Run) -> None:
    ended = run("serve", "math", "--via", "m", "--bind", "tcp://127.0.0.1:0")
    assert ended.returncode == 78
    assert b"listens nowhere; leave it out" in ended.stderr


def test_bind_takes_the_port_it_names(serve: Serve, run: Run) -> None:
    first = serve("math", "--bind", "tcp://127.0.0.1:0")
    address = first.line.partition(" at ")[2].partition(",")[0]
    taken = run("serve", "math", "--bind", address)
    assert taken.returncode == 69
    assert b"cannot listen" in taken.stderr and taken.stderr.count(b"\n") == 1
    assert taken.stderr.count(address.encode()) == 1
