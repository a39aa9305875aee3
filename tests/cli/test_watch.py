"""A list that is watched."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from zmqkit.cli.watch import Watch, change_line
from zmqkit.node.listings import Listing, changes

ONE = Listing("a", "service", "a-1", "tcp://127.0.0.1:1", 0.0, "up", process="1")
TWO = replace(ONE, label="a-2", process="2")
SILENT = replace(ONE, state="evasive", why="connected, and silent for 2 s")

Lists = list[list[Listing]]


def watch(lists: Lists, draw: Callable[[list[Listing]], list[str]] | None) -> None:
    """Watch these lists, one look each."""
    watching = Watch(lambda: lists[0], threading.Event(), draw, settle_s=0)
    for _ in range(len(lists)):
        watching.run(0)
        lists.pop(0)


def test_what_came_changed_and_went_is_told() -> None:
    assert changes([], [ONE]) == [("added", ONE)]
    assert changes([ONE], [SILENT, TWO]) == [("changed", SILENT), ("added", TWO)]
    assert changes([ONE, TWO], [TWO]) == [("removed", ONE)]


def test_that_time_passed_is_no_change() -> None:
    assert changes([SILENT], [replace(SILENT, age_s=9.0, why="silent for 3 s")]) == []


def test_a_change_is_a_line() -> None:
    assert change_line("added", ONE) == "+ a service tcp://127.0.0.1:1 up"
    assert change_line("changed", SILENT).endswith("evasive (connected, and silent for 2 s)")
    assert change_line("removed", SILENT) == "- a service tcp://127.0.0.1:1 evasive"


def test_no_change_steers_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = replace(ONE, address="tcp://[2001:db8::1%\x1b[2J]:1")
    watch([[forged]], lambda rows: [row.address for row in rows])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    watch([[forged]], lambda rows: [row.address for row in rows])
    line, screen = capsys.readouterr().out.split("\x1b[H\x1b[J")
    for shown in (line, screen):
        assert "\\x1b[2J" in shown and "\x1b" not in shown


def test_elsewhere_than_on_a_terminal_each_change_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch([[], [ONE], [ONE], [SILENT], []], lambda rows: ["never drawn"])
    assert [line[0] for line in capsys.readouterr().out.splitlines()] == ["+", "~", "-"]


def test_in_json_each_change_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    watch([[ONE], []], None)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["change"] for row in rows] == ["added", "removed"]
    assert rows[0].keys() > {"name", "state", "sources", "asked_at", "in_use", "why"}


def test_a_terminal_is_drawn_anew_when_something_is_different(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "5")
    monkeypatch.setenv("LINES", "3")
    nobody = ["nobody yet"]
    watch(
        [[], [ONE], [ONE], [ONE, TWO, ONE]],
        lambda rows: [f"{row.label} wide" for row in rows] or nobody,
    )
    screens = capsys.readouterr().out.split("\x1b[H\x1b[J")
    assert screens == ["", "nobod\n", "a-1 w\n", "a-1 w\na-2 w\n"]
