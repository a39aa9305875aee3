"""What a handler raises stands in the service's log, once and with its traceback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zmqkit
from tests.roles.kit import AsyncKit, Kit, until
from zmqkit.core.calls.request import Request
from zmqkit.roles.failures import failed

pytestmark = pytest.mark.usefixtures("node")


def fail(text: str = "") -> None:
    raise ValueError(text)


async def fail_later(text: str = "") -> None:
    await asyncio.sleep(0)
    raise ValueError(text)


def values_that_fail(text: str = "") -> Iterator[int]:
    yield 1
    raise ValueError(text)


async def values_that_fail_later(text: str = "") -> AsyncIterator[int]:
    yield 1
    raise ValueError(text)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def assert_logged(caplog: pytest.LogCaptureFixture, method: str) -> None:
    [record] = errors(caplog)
    assert (record.name, record.levelname) == ("zmqkit", "ERROR")
    assert record.getMessage() == f"handler {method!r} raised ValueError"
    assert f"in {method}\n" in caplog.text and "raise ValueError(text)" in caplog.text
    assert record.exc_info is not None and record.exc_info[0] is ValueError


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("handler", [fail, values_that_fail])
def test_what_a_handler_raises_is_logged_with_its_traceback(
    kit: Kit, caplog: pytest.LogCaptureFixture, handler: Any, concurrency: int
) -> None:
    kit.serving(handler, concurrency=concurrency)
    client = kit.client()
    with pytest.raises(zmqkit.RemoteError):
        kit.values(client.stream(handler.__name__, "no"))
    assert_logged(caplog, handler.__name__)


@pytest.mark.parametrize(
    ("handler", "thread"),
    [
        (fail_later, False),
        (fail, True),
        (values_that_fail_later, False),
        (values_that_fail, True),
    ],
)
def test_what_a_task_or_a_thread_raises_is_logged_once(
    aio: AsyncKit, caplog: pytest.LogCaptureFixture, handler: Any, thread: bool
) -> None:
    service = aio.service()
    service.handler(handler, thread=thread)
    aio.serve(service)
    with pytest.raises(zmqkit.RemoteError):
        aio.values(aio.client().stream(handler.__name__, "no"))
    assert_logged(caplog, handler.__name__)


def test_a_one_way_message_whose_handler_raises_is_logged(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    service = kit.serving(fail)
    kit.client().notify("fail", "no")
    until(lambda: service.stats()["failed"] == 1)
    assert_logged(caplog, "fail")


def test_a_handler_that_is_cancelled_has_not_failed(
    aio: AsyncKit, caplog: pytest.LogCaptureFixture
) -> None:
    gate = aio.gate()
    service = aio.serving(gate.hold)
    call = aio.submit(aio.client().inner.call("hold"))
    gate.came()
    call.cancel()
    assert gate.cancelled.wait(20)
    until(lambda: service.stats()["in_flight"] == 0)
    assert not errors(caplog)


def test_nothing_that_is_raised_begins_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = Request(1, 2, 3, "fail", [], {}, None, 4, 5.0, oneway=False)
    try:
        fail("\x1b[2J\nERROR forged\r\u202e\udcff")
    except ValueError as error:
        failed(fail, request, error)
    [record] = errors(caplog)
    assert record.exc_text is not None
    assert all(line.startswith("    ") for line in record.exc_text.split("\n"))
    assert record.exc_text.endswith("\\x1b[2J\n    ERROR forged\\r\\u202e\\udcff")
    assert caplog.text.isascii()


def test_nothing_is_formatted_for_a_log_that_nobody_keeps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = Request(1, 2, 3, "fail", [], {}, None, 4, 5.0, oneway=False)
    caplog.set_level(logging.CRITICAL, "zmqkit")
    failed(fail, request, ValueError("no"))
    assert not caplog.records


def test_a_client_logs_what_becomes_of_its_instances(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zmqkit")
    service = kit.serving(fail)
    endpoint = service.endpoint
    kit.client()
    service.close()

    def lines() -> list[str]:
        return [line for line in caplog.messages if line.startswith("instance-")]

    until(lambda: len(lines()) == 2)  # it logs a moment after its instances have changed
    told = lines()
    assert [line.partition(" ")[0] for line in told] == ["instance-up", "instance-gone"]
    assert all(endpoint.rpartition(":")[2] in line and kit.name in line for line in told)
    assert {r.levelname for r in caplog.records if r.getMessage() in told} == {"INFO"}
