"""The dashboard for Grafana asks for what `zmqkit metrics` tells, and for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from tests.cli.test_stats import row
from zmqkit.cli.exporter import MachineExposition
from zmqkit.device.files import find_to_show
from zmqkit.wire.histogram import Histogram

DASHBOARD = json.loads(find_to_show("zmqkit.json").read_text())
METRIC = re.compile(r"zmqkit_\w+")
LABELS = re.compile(r"(\w+)=~?\"|by \(([\w, ]+)\)")


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (each.get("definition", "") for each in DASHBOARD["templating"]["list"])


def test_each_metric_and_label_is_one_that_the_exporter_writes() -> None:
    pytest.importorskip("prometheus_client")
    kinds = ("method", "topic", "queue", "service")
    rows = [row(), *(row(part=kind, of="x", waited=Histogram()) for kind in kinds)]
    text = MachineExposition().text(rows, 1).decode()
    written = set(re.findall(r"^(zmqkit_\w+)", text, re.MULTILINE))
    asked = {name for each in expressions() for name in METRIC.findall(each)}
    assert asked and asked <= written
    labels = {
        name
        for each in expressions()
        for one, several in LABELS.findall(each)
        for name in (one or several).split(", ")
    }
    assert labels <= set(re.findall(r"[{,](\w+)=\"", text))


def test_all_that_the_exporter_tells_of_roles_is_shown() -> None:
    asked = {name for each in expressions() for name in METRIC.findall(each)}
    assert {re.sub("_(total|bucket)$", "", name) for name in asked} == {
        "zmqkit_messages", "zmqkit_part_messages", "zmqkit_drops", "zmqkit_malformed",
        "zmqkit_waiting", "zmqkit_running", "zmqkit_oldest_seconds", "zmqkit_credit",
        "zmqkit_peers", "zmqkit_silent_processes", "zmqkit_took_seconds",
        "zmqkit_waited_seconds",
    }  # fmt: skip


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        assert apart(one, other, "x", "w") or apart(one, other, "y", "h")
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def apart(one: dict[str, Any], other: dict[str, Any], place: str, size: str) -> bool:
    return bool(
        one[place] + one[size] <= other[place] or other[place] + other[size] <= one[place]
    )
