"""How signals end `zmqkit serve`: the first well, the second at once."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import LIMIT_S
from tests.roles.kit import until
from tests.spawning import send_twice
from zmqkit.roles.stopping import SIGNALS

pytestmark = pytest.mark.slow

Serve = Callable[..., Any]
Begin = Callable[..., "subprocess.Popen[bytes]"]

FINISHING = b"finishing 1 request; interrupt again to stop now\n"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("target", ["math", "waiting"])
def test_a_signal_ends_it_with_0(number: signal.Signals, target: str, serve: Serve) -> None:
    serving = serve(target)
    serving.process.send_signal(number)
    assert serving.wait() == (0, "")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_a_call_in_flight_is_answered_before_the_end(
    concurrency: str, number: signal.Signals, serve: Serve, begin: Begin
) -> None:
    serving = serve("shop", "--concurrency", concurrency)
    calling = begin("call", serving.name, "hold", "--timeout", str(LIMIT_S))
    assert serving.read_line() == "holding"
    serving.process.send_signal(number)
    assert serving.process.stderr.readline() == FINISHING
    serving.write_line("released")
    assert calling.communicate(timeout=LIMIT_S)[0] == b"released\n"
    assert serving.wait() == (0, "")


@pytest.mark.parametrize("concurrency", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, b"error: interrupted\n"), (signal.SIGTERM, -signal.SIGTERM, b"")],
)
def test_a_second_signal_does_not_wait(
    number: signal.Signals, code: int, said: bytes, concurrency: str, serve: Serve, begin: Begin
) -> None:
    serving = serve("shop", "--concurrency", concurrency)
    calling = begin("call", serving.name, "hold", "--timeout", str(LIMIT_S))
    assert serving.read_line() == "holding"
    serving.process.send_signal(number)
    assert serving.process.stderr.readline() == FINISHING
    # What comes at once belongs to the first.
    until(lambda: serving.process.send_signal(number) or serving.process.poll() is not None)
    assert serving.process.returncode == code
    assert serving.process.stderr.read() == said
    calling.communicate(timeout=LIMIT_S)
    assert calling.returncode == 1


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("target", ["shop", "waiting"])
def test_two_signals_at_once_are_one(serve: Serve, target: str, number: signal.Signals) -> None:
    while True:
        serving = serve(target)
        at_once = send_twice(serving.process, number)
        ended = serving.wait()
        if at_once:
            assert ended == (0, "")
            return
