"""The watchdog: what it kills, and what it leaves alone."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.cli.conftest import LIMIT_S
from zmqkit.cli.watchdog import Watchdog

pytestmark = pytest.mark.slow

Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Start a process that leads a group of its own, to be ended with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*command: str) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_what_is_left_is_killed_and_what_ended_is_not(begin: Begin) -> None:
    watchdog = Watchdog()
    left, other, ended = (begin("sleep", "1000") for _ in range(3))
    for each in (left, other, ended):
        watchdog.add(each.pid)
    watchdog.remove(ended.pid)
    watchdog.close()
    assert {left.wait(LIMIT_S), other.wait(LIMIT_S)} == {-signal.SIGKILL}
    assert ended.poll() is None


def test_a_group_is_killed_as_a_whole(begin: Begin) -> None:
    watchdog = Watchdog()
    process = subprocess.Popen(
        ["sh", "-c", "sleep 1000 & echo begun; wait"], stdout=subprocess.PIPE, process_group=0
    )
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    watchdog.add(process.pid)
    watchdog.close()
    process.communicate(timeout=LIMIT_S)  # ends once nobody has its output open


def test_what_ends_by_itself_in_time_is_not_killed(begin: Begin) -> None:
    watchdog = Watchdog(grace_s=1000.0)
    process = begin("sh", "-c", "read x; exit 7")
    watchdog.add(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(LIMIT_S) == 7
    watchdog.close()  # returns, as nothing is left


def test_what_does_not_end_in_time_is_killed(begin: Begin) -> None:
    watchdog = Watchdog(grace_s=0.2)
    process = begin("sleep", "1000")
    watchdog.add(process.pid)
    watchdog.close()
    assert process.wait(LIMIT_S) == -signal.SIGKILL


def test_a_watchdog_that_somebody_ended_harms_nobody(begin: Begin) -> None:
    watchdog = Watchdog()
    process = begin("sleep", "1000")
    watchdog._process.kill()
    watchdog._process.wait()
    watchdog.add(process.pid)
    watchdog.remove(process.pid)
    watchdog.close()
    assert process.poll() is None
