"""The screen of `zmqkit top`, drawn of rows: it fits, and nobody's text steers the terminal."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rich")

from rich.cells import cell_len

from tests.cli.test_stats import row
from zmqkit.cli.screen import Drawn, screen
from zmqkit.cli.view import View
from zmqkit.node.statistics import Row

MANY = [row(name=f"name-{number:02}") for number in range(50)]


def drawn(
    rows: list[Row], *keys: str, width: int = 160, height: int = 24, **options: Any
) -> list[Drawn]:
    view = View("name")
    view.take(rows, options.pop("silent", []))
    for key in keys:
        view.press(key)
    return screen(view, width, height, nobody="no role is there", **options)


def texts(*args: Any, **options: Any) -> list[str]:
    return [line.text.rstrip() for line in drawn(*args, **options)]


def test_roles_and_their_parts_are_lines_below_a_head() -> None:
    title, state, head, whole, part, *empty, keys = texts(
        [row(), row(part="method", of="price")]
    )
    assert title == "zmqkit top: 1 role in 1 process"
    assert state == "sorted by name"
    assert head.split() == [
        "NAME", "ROLE", "PART", "INSTANCES", "RATE", "RUNNING", "WAITING", "OLDEST", "P50",
        "P99", "FAILED", "DROPPED", "PEERS",
    ]  # fmt: skip
    assert whole.startswith("orders  service         ") and "1,234.5/s" in whole
    assert part.split()[:3] == ["orders", "service", "price"]
    assert not any(empty) and keys.startswith("q quit")


def test_the_selected_line_is_in_reverse_and_a_role_is_bold() -> None:
    lines = drawn([row(), row(part="method", of="price"), row(name="stock")], "down")
    assert [line.style for line in lines[3:6]] == ["bold", "reverse", "bold"]


def test_the_selected_line_is_in_sight() -> None:
    for keys, name in ((["end"], "name-49"), (["page-down"] * 2, "name-20"), ([], "name-00")):
        lines = drawn(MANY, *keys, height=12)
        assert len(lines) == 12
        [selected] = [line for line in lines[3:] if line.style == "reverse"]
        assert selected.text.startswith(name)


def test_instances_have_their_host_and_process() -> None:
    title, _, head, *_ = texts([row()], "enter")
    assert title == "zmqkit top: instances of orders"
    assert head.split()[3:5] == ["HOST", "PID"] and "INSTANCES" not in head


def test_a_narrow_terminal_has_fewer_columns() -> None:
    head = texts([row()], width=60)[2].split()
    assert head[:3] == ["NAME", "ROLE", "PART"] and "RATE" in head and "PEERS" not in head
    assert texts([row()], width=20)[2].split() == ["NAME", "RATE"]


def test_a_long_name_is_cut_where_there_is_no_room() -> None:
    line = texts([row(name="n" * 200)], width=100)[3]
    assert line.startswith("n" * 23 + "~ ") and "1,234.5/s" in line
    assert "n" * 200 in texts([row(name="n" * 200)], width=400)[3]


def test_text_of_peers_does_not_steer_the_terminal() -> None:
    lines = texts([row(name="a\x1b[2J\nb\u202e", host="\x07")], "enter")
    assert not any(character < " " for line in lines for character in line)
    assert "a\\x1b[2J\\nb\\u202e" in lines[0] and "\\x07" in lines[3]


def test_what_the_terminal_cannot_write_is_escaped() -> None:
    lines = texts([row(name="é日")], encoding="ascii")
    assert lines[3].startswith("\\xe9\\u65e5")
    for line in lines:
        line.encode("ascii")


def test_what_is_typed_and_who_is_silent_is_said() -> None:
    lines = texts([row()], "/", "x", silent=["b1", "b2"])
    assert lines[1] == "sorted by name, filter: x_, 2 did not answer"
    assert lines[3] == "no line has that text"
    assert lines[-1] == "enter accept  escape clear"


def test_nobody_is_said_once_all_were_asked() -> None:
    assert texts([])[3] == "no role is there"
    view = View("name")
    assert "asking" in screen(view, 80, 24, nobody="no role is there")[3].text


@pytest.mark.parametrize("width", [1, 2, 7, 23, 79, 300])
@pytest.mark.parametrize("height", [1, 2, 4, 5, 30])
def test_it_is_never_wider_or_higher_than_the_terminal(width: int, height: int) -> None:
    names = ["orders", "日本" * 20, "e\u0301\u200d", "\x1b[2J", "", "x" * 300]
    rows = [row(name=name, part="topic", of=name[::-1], host=name) for name in names]
    for keys in ([], ["down", "enter"], ["/", *"日本"], ["end", "s"]):
        lines = drawn(rows, *keys, width=width, height=height)
        assert len(lines) == height
        assert {cell_len(line.text) for line in lines} == {width}
