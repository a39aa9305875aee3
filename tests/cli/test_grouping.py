"""Rows of statistics as lines: of all instances together, sorted and filtered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.test_stats import row
from zmqkit.cli.grouping import (
    OF_ALL,
    SORTS,
    Line,
    cells,
    each_alone,
    matching,
    ordered,
    time_text,
    together,
)
from zmqkit.node.statistics import Row
from zmqkit.wire.histogram import Histogram


def took(duration_s: float, count: int) -> Histogram:
    histogram = Histogram()
    histogram.record(duration_s, count)
    return histogram


def method(of: str, **changes: Any) -> Row:
    return row(part="method", of=of, **changes)


def test_instances_of_a_name_are_one_line_that_counts_all() -> None:
    other = row(
        pid=4712, incarnation="a2", failed=4, oldest_s=9.0, dropped={"closed": 1},
        rates={"delivered": 0.5},
    )  # fmt: skip
    [line] = together([row(), other])
    assert (line.instances, line.failed, line.running, line.oldest_s) == (2, 5, 4, 9.0)
    assert line.dropped == {"cancelled": 1, "closed": 3} and line.peers == {"up": 4, "lost": 2}
    assert line.rate == 1235.0
    assert (line.host, line.pid) == ("", 0)


def test_percentiles_are_those_of_all_instances_together() -> None:
    quick = row(took=took(9.0, 500), recent=took(0.001, 98))
    slow = row(incarnation="a2", took=took(9.0, 500), recent=took(1.0, 2))
    [line] = together([quick, slow])
    assert line.p50_s == pytest.approx(0.001, rel=0.06)
    assert line.p99_s == pytest.approx(1.0, rel=0.06)
    assert quick.recent == took(0.001, 98)  # as it was


def test_percentiles_are_those_of_all_time_where_nothing_happened() -> None:
    [line] = together([row(took=took(2.0, 3), recent=Histogram())])
    assert line.p50_s == pytest.approx(2.0, rel=0.06)
    [unmeasured] = together([row(took=None, recent=None)])
    assert unmeasured.p50_s is None


def test_rates_are_unknown_while_those_of_all_instances_are() -> None:
    [line] = together([row(rates={}), row(incarnation="a2", rates={})])
    assert line.rate is None


def test_parts_roles_and_names_have_lines_of_their_own() -> None:
    rows = [row(), method("price"), method(""), row(role="client"), row(name="stock")]
    assert [(each.name, each.role, each.what) for each in together(rows)] == [
        ("orders", "service", ""), ("orders", "service", "price"),
        ("orders", "service", "other methods"), ("orders", "client", ""),
        ("stock", "service", ""),
    ]  # fmt: skip


def test_each_instance_can_have_its_line() -> None:
    lines = each_alone([row(), row(pid=4712, incarnation="a2")])
    assert [(each.pid, each.instances) for each in lines] == [(4711, 1), (4712, 1)]


def test_the_parts_of_a_role_stay_below_it_whatever_the_order() -> None:
    rows = [
        method("a", waiting=1), method("b", waiting=9), row(waiting=10),
        row(name="stock", waiting=50), method("z", name="stock", waiting=2),
    ]  # fmt: skip
    lines = ordered(together(rows), "waiting")
    assert [(each.name, each.of) for each in lines] == [
        ("stock", ""), ("stock", "z"), ("orders", ""), ("orders", "b"), ("orders", "a"),
    ]  # fmt: skip


def test_what_is_equal_is_in_the_order_of_names() -> None:
    names = [each.name for each in ordered(together([row(name="b"), row(name="a")]), "name")]
    assert names == ["a", "b"]


@pytest.mark.parametrize("sort", SORTS)
def test_each_order_takes_lines_of_which_little_is_known(sort: str) -> None:
    lines = [Line("a", "service", "", ""), Line("b", "service", "", "")]
    assert [each.name for each in ordered(lines, sort)] == ["a", "b"]


def test_a_filter_looks_at_name_role_and_part_in_any_case() -> None:
    lines = together([row(), method("Price"), row(name="stock", role="client")])
    assert len(matching(lines, "")) == 3
    assert [each.what for each in matching(lines, "pric")] == ["Price"]
    assert [each.name for each in matching(lines, "CLIENT")] == ["stock"]


def test_a_line_is_a_row_of_a_table() -> None:
    head, line = cells(together([method("price")]), OF_ALL)
    found = dict(zip(head, line, strict=True))
    assert (found["PART"], found["INSTANCES"], found["RATE"]) == ("price", "1", "1,234.5/s")
    assert (found["OLDEST"], found["DROPPED"], found["PEERS"]) == ("4 s", "3", "2 up, 1 lost")


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(None, ""), (0.000217, "217 µs"), (0.00121, "1.21 ms"), (2.5, "2.5 s"), (90.0, "90 s")],
)
def test_durations_have_three_digits(duration_s: float | None, text: str) -> None:
    assert time_text(duration_s) == text


def test_a_line_is_an_object_of_json() -> None:
    [line] = together([row()])
    told = line.as_object()
    assert json.loads(json.dumps(told)) == told
    assert (told["name"], told["instances"], told["rates"]) == (
        "orders",
        1,
        {"delivered": 1234.5},
    )
