"""Why one-way messages failed, read from the log."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable

import pytest

from zmqkit.cli.oneway import Failures

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

log = logging.getLogger("zmqkit")


def test_the_first_failure_is_kept_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with Failures() as failures:
        for text in ("no method", "nobody"):
            log.warning("%s %s", "notify-failed", {"error": text})
        log.warning("closed")
    assert failures.first == "no method"
    assert caplog.messages == ["closed"]
    log.warning("%s %s", "notify-failed", {"error": "later"})
    assert failures.first == "no method" and len(caplog.messages) == 2


@pytest.mark.slow
def test_one_message_fails_as_a_call_does(shop: str, run: Run) -> None:
    called = run("call", shop, "bogus")
    notified = run("call", shop, "bogus", "--notify")
    assert b"no method 'bogus'" in called.stderr and b"echo" in called.stderr
    assert (notified.returncode, notified.stderr) == (called.returncode, called.stderr)


@pytest.mark.slow
def test_of_many_messages_it_says_how_many_were_done(shop: str, run: Run) -> None:
    done = run("call", shop, "bogus", "--notify", "--lines", stdin=b"1\n2\n")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: '{shop}' did 0 of 2 messages: no method".encode())
    assert done.stderr.count(b"\n") == 1
