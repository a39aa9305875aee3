"""Logging runs code of the program: it may raise, and may use the role that logs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.roles.kit import BOUND_S, Kit, until

pytestmark = pytest.mark.usefixtures("node")

Handle = Callable[[Callable[[logging.LogRecord], object]], None]

SHORT_S = 0.1


@pytest.fixture
def handle() -> Iterator[Handle]:
    """Has a function called as a log handler of the program's own, for each line."""
    log, level = logging.getLogger("zmqkit"), logging.getLogger("zmqkit").level
    handlers: list[logging.Handler] = []

    def add(function: Callable[[logging.LogRecord], object]) -> None:
        handler = logging.Handler()
        handler.emit = function  # type: ignore[method-assign,assignment]  # it is all of it
        handlers.append(handler)
        log.addHandler(handler)

    log.setLevel(logging.INFO)
    yield add
    log.setLevel(level)
    for handler in handlers:
        log.removeHandler(handler)


def answer() -> int:
    return 42


def stuck(kit: Kit, publisher: Any) -> None:
    """Publish until a subscriber that does not read is excluded."""
    kit.subscriber()
    publisher.ready(timeout_s=BOUND_S)
    body = bytes(100_000)
    while not publisher.stats()["excluded"]:
        publisher.publish("t", body)


def test_a_log_handler_may_publish(blocking: Kit, handle: Handle) -> None:
    publisher = blocking.publisher(policy="block", stall_s=SHORT_S)
    lines: list[str] = []

    def forward(record: logging.LogRecord) -> None:
        publisher.publish("log", record.getMessage())
        lines.append(record.getMessage().partition(" ")[0])

    handle(forward)
    blocking.start(stuck, blocking, publisher).result()
    until(lambda: "subscriber-excluded" in lines)


def test_a_log_handler_may_call(blocking: Kit, handle: Handle) -> None:
    service = blocking.serving(answer)
    client = blocking.client(service.endpoint, count=0)
    answers: list[object] = []
    handle(lambda record: answers.append(client.call("answer")))
    assert blocking.start(client.call, "answer").result() == 42
    until(lambda: 42 in answers)


def test_a_log_handler_that_raises_ends_no_call(
    kit: Kit, handle: Handle, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(record: logging.LogRecord) -> None:
        raise RuntimeError("a bug of the program")

    handle(fail)
    service = kit.serving(answer)
    client = kit.client(service.endpoint)
    assert [client.call("answer") for _ in range(2)] == [42, 42]
    client.close()
    assert "a bug of the program" in capsys.readouterr().err


def test_what_a_close_leaves_is_logged_before_it_returns(kit: Kit, handle: Handle) -> None:
    lines: list[str] = []
    handle(lambda record: lines.append(record.getMessage()))
    client = kit.client(count=0)
    client.notify("nobody")
    client.close(0)
    failed, closed = (line for line in lines if "instance" not in line)
    assert failed.startswith("notify-failed") and " closed " in closed
