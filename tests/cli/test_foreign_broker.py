"""`zmqkit call` and `zmqkit serve` at a broker that is spoken to by MDP alone."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Begin, Run, Serve

pytestmark = pytest.mark.slow

PROTOCOLS = ("mdp1", "mdp2")


@pytest.fixture
def broker(begin: Begin, name: str) -> Iterator[str]:
    """Where a broker listens."""
    process: subprocess.Popen[bytes] = begin("run", "majordomo", "--name", name)
    assert process.stdout is not None
    found = re.search(rb"tcp://[\d.]+:\d+", process.stdout.readline())
    assert found is not None
    yield found[0].decode()
    process.terminate()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_function_is_served_and_called(
    serve: Serve, run: Run, broker: str, protocol: str
) -> None:
    serving = serve("frames:shout", "--via", broker, "--protocol", protocol)
    assert serving.line == f"serving {serving.name!r} through {broker!r}"
    called = ("call", f"{broker}/{serving.name}", "mdp", "--protocol", protocol)
    assert run(*called, "hello").stdout == b"HELLO"
    assert run(*called, "a=b", "5", '"x"').stdout == b'A=B 5 "X"'
    assert run(*called, "-", stdin=b"\xff\x00a").stdout == b"\xff\x00A"
    assert run(*called, "--lines", stdin=b"one\n2\n").stdout == b"ONE2"


def test_parts_are_printed_one_by_one(serve: Serve, run: Run, broker: str) -> None:
    serving = serve("frames:spell", "--via", broker, "--protocol", "mdp2")
    ended = run("call", f"{broker}/{serving.name}", "mdp", "word", "--protocol", "mdp2")
    assert ended.stdout == b"word"


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("serve", "frames", "--via", "tcp://127.0.0.1:1", "--protocol", "mdp1"), 78, "no handler"),
    (("serve", "frames:shout", "--protocol", "mdp1"), 78, "add via="),
    (("call", "echo", "mdp", "--protocol", "mdp1"), 2, "tcp://host:port/service"),
    (("call", "echo", "mdp", "--protocol", "mdp3"), 2, "mdp3"),
    (("call", "tcp://127.0.0.1:1/echo", "mdp", "--protocol", "mdp1", "--wait", "0.1"), 1,
     "no broker answered there"),
    (("call", "tcp://127.0.0.1:1/echo", "price", "--protocol", "mdp1"), 1, "'mdp': call("),
])  # fmt: skip
def test_a_mistake_is_told(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == code and words in ended.stderr.decode()
