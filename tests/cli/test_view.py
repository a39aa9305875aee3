"""The keys of `zmqkit top`: what each changes about the table."""

from __future__ import annotations

import pytest

from tests.cli.test_stats import row
from zmqkit.cli.grouping import SORTS
from zmqkit.cli.view import View


@pytest.fixture
def view() -> View:
    """A view of two instances of orders, with a method, and one of stock."""
    view = View("name")
    view.take(
        [
            row(), row(part="method", of="price"), row(pid=4712, incarnation="a2"),
            row(name="stock", waiting=50),
        ],
        [],
    )  # fmt: skip
    return view


def press(view: View, *keys: str) -> View:
    for key in keys:
        view.press(key)
    return view


def shown(view: View) -> list[tuple[str, str]]:
    return [(line.name, line.what) for line in view.lines]


def test_the_first_line_is_selected_and_keys_move_that(view: View) -> None:
    places = [press(view, key).at for key in ("down", "j", "j", "k", "up", "up", "end", "home")]
    assert places == [1, 2, 2, 1, 0, 0, 2, 0]
    assert [press(view, key).at for key in ("page-down", "page-up")] == [2, 0]


def test_the_selected_line_stays_so_wherever_it_goes(view: View) -> None:
    press(view, "end")
    assert view.lines[view.at].name == "stock"
    press(view, *["s"] * [*SORTS].index("waiting"))
    assert view.sort != "name" and view.lines[view.at].name == "stock"
    view.take([row(name="stock"), row(name="a"), row(name="b")], [])
    assert view.lines[view.at].name == "stock"


def test_another_line_is_selected_once_that_one_is_gone(view: View) -> None:
    press(view, "end")
    view.take([row()], [])
    assert view.at == 0
    view.take([], [])
    assert (view.at, view.lines) == (0, [])
    press(view, "down", "enter", "end", "s")
    assert (view.at, view.of) == (0, None)


def test_s_sorts_by_each_in_turn(view: View) -> None:
    assert {press(view, "s").sort for _ in SORTS} == {*SORTS}
    assert view.sort == "name"


def test_a_filter_is_typed(view: View) -> None:
    press(view, "/", *"sTo")
    assert view.is_typing and shown(view) == [("stock", "")]
    press(view, "backspace", "backspace", "backspace", "q", "up")
    assert not view.is_over and view.filter == "q" and view.lines == []
    press(view, "escape")
    assert (view.is_typing, view.filter, len(view.lines)) == (False, "", 3)
    press(view, "/", *"price", "enter")
    assert shown(view) == [("orders", "price")] and not view.is_typing
    assert len(press(view, "escape").lines) == 3


def test_a_filter_has_a_limit(view: View) -> None:
    press(view, "/", *["x"] * 500)
    assert len(view.filter) < 100


def test_enter_shows_the_instances_of_a_name_and_escape_goes_back(view: View) -> None:
    press(view, "down", "enter")
    assert view.of == "orders" and "PID" in view.columns
    assert [(line.pid, line.what) for line in view.lines] == [
        (4711, ""), (4711, "price"), (4712, ""),
    ]  # fmt: skip
    press(view, "enter")
    assert view.of == "orders"
    press(view, "/", *"4712", "enter")
    assert [line.pid for line in view.lines] == [4712]
    assert press(view, "escape").of == "orders"
    press(view, "left")
    assert view.of is None and view.lines[view.at].name == "orders"


def test_instances_of_a_name_that_is_gone_are_none(view: View) -> None:
    press(view, "end", "enter")
    view.take([row()], [])
    assert view.lines == []
    press(view, "escape")
    assert (view.at, view.of) == (0, None)


@pytest.mark.parametrize("keys", [["q"], ["interrupt"], ["/", "a", "interrupt"]])
def test_it_ends_by_q_and_by_an_interrupt(view: View, keys: list[str]) -> None:
    assert press(view, *keys).is_over


def test_other_keys_change_nothing(view: View) -> None:
    press(view, "x", "\x1b[15~", "é")
    assert (view.at, view.of, view.filter, view.is_over) == (0, None, "", False)
