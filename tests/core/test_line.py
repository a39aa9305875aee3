"""The waiting line with ten priorities."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zmqkit.core.line import Line


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
