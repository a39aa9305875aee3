"""`zmqkit metrics`: what all roles count, as OpenMetrics."""

from __future__ import annotations

import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.cli.test_stats import row
from zmqkit.cli import main
from zmqkit.cli.exporter import MachineExposition, samples

Begin = Callable[..., "subprocess.Popen[bytes]"]
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
Serve = Callable[..., Any]


def test_a_role_tells_all_and_a_part_how_its_messages_ended() -> None:
    whole = {(f, *labels.values()): value for f, labels, value in samples(row())}
    own = ("kitchen", "4711", "service", "orders", "a1")
    assert whole["zmqkit_messages", *own, "delivered"] == 7
    assert whole["zmqkit_messages", *own, "dropped"] == 3
    assert whole["zmqkit_drops", *own, "closed"] == 2
    assert whole["zmqkit_peers", *own, "lost"] == 1
    assert whole["zmqkit_oldest_seconds", *own] == 4.0
    part = [*samples(row(part="method", of="price"))]
    assert [(f, labels["method"], value) for f, labels, value in part] == [
        ("zmqkit_part_messages", "price", 7), ("zmqkit_part_messages", "price", 1),
    ]  # fmt: skip


def test_rows_of_many_roles_are_one_exposition() -> None:
    pytest.importorskip("prometheus_client")
    rows = [row(), row(part="method", of='pr"ice'), row(role="publisher", took=None)]
    text = MachineExposition().text(rows, 2).decode()
    assert "zmqkit_silent_processes 2.0" in text
    assert 'method="pr\\"ice"' in text
    assert text.count("zmqkit_took_seconds_count{") == 1
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("bind", "code", "said"),
    [
        ("0.0.0.0:0", 78, "error: metrics at '0.0.0.0:0' reaches beyond this machine"),
        ("9565", 78, "error: metrics at '9565' is no address; use 127.0.0.1:9565"),
    ],
)
def test_a_place_that_cannot_be_is_a_wrong_configuration(
    bind: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["metrics", "--bind", bind]) == code
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_of_metrics(run: Run) -> None:
    pytest.importorskip("prometheus_client")
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        bind = f"127.0.0.1:{server.getsockname()[1]}"
        done = run("metrics", "--bind", bind)
    assert (done.returncode, done.stderr[: len(bind) + 19].decode()) == (
        69, f"error: metrics at {bind}:"
    )  # fmt: skip


@pytest.mark.slow
def test_a_scrape_asks_the_processes_that_are_there(serve: Serve, begin: Begin) -> None:
    pytest.importorskip("prometheus_client")
    serving = serve("math")
    process = begin("metrics", "--bind", "127.0.0.1:0")
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    assert line.startswith("metrics of all roles at http://127.0.0.1:")
    for _ in range(200):  # until it has found the service
        with urllib.request.urlopen(line.split()[-1], timeout=30) as answer:
            text = answer.read().decode()
        if serving.name in text:
            break
    assert f'name="{serving.name}",outcome="accepted"' in text
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
