"""The waiting line with ten priorities."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.line import FairLine, Line


def test_nobody_is_served_when_nobody_waits() -> None:
    assert Line[str]().serve() is None


def test_nine_leaves_before_zero_and_first_before_second() -> None:
    line = Line[str]()
    for key, (priority, item) in enumerate([(0, "a"), (9, "b"), (9, "c")]):
        line.join(key, priority, item)
    assert list(line) == ["b", "c", "a"]
    assert [line.serve() for _ in range(4)] == ["b", "c", "a", None]


def test_who_leaves_early_is_not_served() -> None:
    line = Line[str]()
    line.join(1, 4, "a")
    assert line.leave(1, 4)
    assert not line.leave(1, 4)
    assert line.serve() is None


@given(st.lists(st.integers(0, 9)))
def test_everybody_is_served_in_order(priorities: list[int]) -> None:
    line = Line[int]()
    for key, priority in enumerate(priorities):
        line.join(key, priority, key)
    served = [line.serve() for _ in priorities]
    assert served == sorted(range(len(priorities)), key=lambda key: (-priorities[key], key))
    assert len(line) == line.count == 0


class Each(NamedTuple):
    """Somebody's request."""

    ticket: int
    client: int
    priority: int = 5


def test_clients_take_turns_in_a_fair_line() -> None:
    line = FairLine[Each]()
    for each in (first := [Each(1, 7), Each(2, 7), Each(3, 7)]), (late := [Each(4, 8)]):
        for item in each:
            line.join(item)
    assert [line.serve() for _ in range(5)] == [first[0], late[0], first[1], first[2], None]


def test_a_higher_priority_passes_all_clients_of_a_fair_line() -> None:
    line = FairLine[Each]()
    for item in (Each(1, 7), Each(2, 8), Each(3, 8, priority=9)):
        line.join(item)
    assert [item.ticket for item in line] == [3, 1, 2]
    assert line.serve() == Each(3, 8, priority=9)


def test_who_leaves_a_fair_line_early_is_not_served() -> None:
    line = FairLine[Each]()
    line.join(Each(1, 7))
    line.join(Each(2, 8))
    assert line.leave(Each(1, 7))
    assert not line.leave(Each(1, 7))
    assert not line.leave(Each(3, 9))
    assert [line.serve(), line.serve()] == [Each(2, 8), None]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))))
def test_nobody_waits_behind_two_of_another_client(arrivals: list[tuple[int, int]]) -> None:
    line = FairLine[Each]()
    items = [Each(n, client, priority) for n, (client, priority) in enumerate(arrivals)]
    for item in items:
        line.join(item)
    served = [item for _ in items if (item := line.serve()) is not None]
    assert sorted(served) == items and line.count == 0
    for priority in range(10):
        row = [item for item in served if item.priority == priority]
        for client in range(4):
            theirs = [at for at, item in enumerate(row) if item.client == client]
            assert [row[at].ticket for at in theirs] == sorted(row[at].ticket for at in theirs)
            for before, after in pairwise(theirs):
                between = [item.client for item in row[before + 1 : after]]
                assert len(between) == len(set(between))
