"""What a slow reader loses, as it is told."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable

import pytest

import zmqkit
from tests.cli.conftest import LIMIT_S
from zmqkit.cli.drops import Drops
from zmqkit.limits import QUEUE_MESSAGES

Begin = Callable[..., "subprocess.Popen[bytes]"]


def test_each_look_tells_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    totals = iter([0, 1500, 1500, 1501])
    drops = Drops(lambda: next(totals))
    told = []
    for _ in range(4):
        drops.look()
        told.append(capsys.readouterr().err.partition(", the")[0])
    assert told == ["", "dropped: 1,500 messages", "", "dropped: 1 message"]


@pytest.mark.parametrize(("total", "lines"), [(0, 0), (1500, 1)])
def test_the_end_tells_the_total_and_a_remedy(
    total: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with Drops(lambda: total):
        pass
    said = capsys.readouterr().err
    assert said.count("\n") == lines
    assert total == 0 or (
        said.startswith("dropped: 1,500 messages in all") and "--latest" in said
    )


@pytest.mark.slow
def test_a_reader_that_stands_still_is_told_what_it_loses(begin: Begin) -> None:
    name = f"t{secrets.token_hex(6)}"
    with zmqkit.Publisher(name) as publisher:
        subscriber = begin("sub", name, "--json", "--timeout", "3")
        assert subscriber.stdout is not None and subscriber.stderr is not None
        assert publisher.ready(1, LIMIT_S) == 1
        for begun in range(0, 4 * QUEUE_MESSAGES, 1000):
            with publisher.batch() as batch:
                for number in range(begun, begun + 1000):
                    batch.publish("t", number)
        # While nobody reads; it may have said before that it waits for a publisher.
        told = next(line for line in subscriber.stderr if line.startswith(b"dropped: "))
        assert b"read faster" in told
        output, errors = subscriber.communicate(timeout=LIMIT_S)
    lines = errors.decode().splitlines()
    [total] = [line for line in lines if " in all, " in line]
    read = [json.loads(line)["sequence"] for line in output.splitlines()]
    lost = int(total.split()[1].replace(",", ""))
    assert lost and len(read) + lost <= 4 * QUEUE_MESSAGES
