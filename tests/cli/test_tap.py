"""`zmqkit tap`: rows as lines and as JSON, and what is said at the end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from zmqkit.cli.tap import as_object, command, line_of
from zmqkit.node.tap import Seen
from zmqkit.wire.encoding import encode
from zmqkit.wire.tapping import Passed

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]
Begin = Callable[..., "subprocess.Popen[bytes]"]

CALL = Seen("b1", 1.25, Passed(
    1, "price", "done", 1500, 0xC, 12, encode([["tea"], {"quantity": 2}]), 9, encode(5.0),
    "service", "orders",
))  # fmt: skip
MESSAGE = Seen("b1", 1.25, Passed(
    1, "kitchen", "published", 0, 0xD, 9, encode(21.5), 0, b"", "publisher", "weather"
))  # fmt: skip


def test_a_call_is_a_line() -> None:
    at, text = line_of(CALL).split(" ", 1)
    assert at.endswith(".250")
    assert text == (
        'orders price("tea", quantity=2) done 5.0  1.5 ms, 12 B, 9 B back, '
        "from 000000000000000c"
    )


def test_a_message_is_a_line() -> None:
    assert line_of(MESSAGE).split(" ", 1)[1] == "weather kitchen 21.5  9 B"
    MESSAGE.row.outcome = "cleared"
    assert line_of(MESSAGE).split(" ", 1)[1] == "weather kitchen cleared  9 B"
    MESSAGE.row.outcome = "published"


def test_a_device_is_called_one() -> None:
    row = Passed(1, "kitchen", "published", 0, 1, 1, encode(1), 0, b"", "forwarder", "weather")
    assert line_of(Seen("b1", 1.0, row)).split(" ", 1)[1].startswith("weather (forwarder) kit")


def test_the_end_of_a_stream_says_how_many_values_it_had() -> None:
    row = Passed(1, "count", "streamed", 0, 1, 1, b"", 12, encode(3), "service", "orders")
    assert " count(…) streamed 3 values  " in line_of(Seen("b1", 1.0, row))


def test_a_task_whose_pusher_is_gone_is_of_nobody() -> None:
    row = Passed(1, "task", "dead", 0, 0, 1, b"", 4, encode("no"), "streamer", "thumbs")
    seen = Seen("b1", 1.0, row)
    assert line_of(seen).endswith(' task(…) dead "no"  0 µs, 1 B, 4 B back')
    assert as_object(seen)["from"] is None


def test_a_message_that_leaves_by_a_bridge_says_where_to() -> None:
    row = Passed(1, "kitchen", "carried", 0, 1, 9, encode(21.5), 0, b"", "bridge", "weather")
    assert line_of(Seen("b1", 1.0, row)).split(" ", 1)[1] == (
        "weather (bridge) kitchen 21.5  9 B, to the other end"
    )


def test_what_is_long_or_unknown_is_cut_short() -> None:
    row = Passed(1, "price", "done", 1, 2, 9999, b"", 9999, encode("x" * 999)[:256])
    text = line_of(Seen("b1", 1.0, row))
    assert "price(…)" in text and "xxx…" in text and len(text) < 200


def test_a_row_is_an_object() -> None:
    told = as_object(CALL)
    assert (told["method"], told["arguments"]) == ("price", [["tea"], {"quantity": 2}])
    assert (told["reply"], told["took_s"], told["is_whole"]) == (5.0, 0.0015, True)
    assert told["at"] == "1970-01-01T00:00:01.250000+00:00"
    told = as_object(MESSAGE)
    assert (told["topic"], told["body"], "reply" in told) == ("kitchen", 21.5, False)


def test_a_method_and_a_topic_are_not_asked_for_at_once() -> None:
    refused = CliRunner().invoke(command, ["orders", "--method", "a", "--topic", "b"])
    assert refused.exit_code == 2 and "leave one out" in refused.output


@pytest.mark.slow
def test_calls_of_a_service_are_shown(serve: Serve, run: Run, begin: Begin) -> None:
    name = serve("shop").name
    tapping = begin("tap", name, "--count", "1", "--json")
    while tapping.poll() is None:
        assert run("call", name, "sign", "-2").returncode == 0
    rows, said = tapping.communicate()
    told = json.loads(rows)
    assert (told["method"], told["reply"], told["arguments"]) == ("sign", -1, [[-2], {}])
    assert said.decode().startswith("1 row shown of ")
