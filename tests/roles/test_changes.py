"""One change of a role at a time, whoever comes in between."""

from __future__ import annotations

import pytest

from tests.roles.kit import Started
from zmqkit.blocking.changes import Changes


def busy() -> str:
    return "busy"


def interrupted() -> str:
    raise KeyboardInterrupt


def test_who_interrupts_a_change_on_its_thread_does_not_wait_for_it() -> None:
    changes = Changes()
    assert changes.make(lambda: changes.make(lambda: "made", busy), busy) == "busy"
    assert changes.make(lambda: "made", busy) == "made"


def test_another_thread_waits_for_the_change_under_way() -> None:
    changes, order = Changes(), list[int]()
    second: list[Started] = []

    def first() -> str:
        second.append(Started(changes.make, lambda: order.append(2), lambda: order.append(-1)))
        second[0]._thread.join(0.05)
        order.append(1)
        return "made"

    assert changes.make(first, busy) == "made"
    second[0].result()
    assert order == [1, 2]


def test_a_change_that_fails_may_be_made_again() -> None:
    changes = Changes()
    with pytest.raises(KeyboardInterrupt):
        changes.make(interrupted, busy)
    assert changes.make(lambda: "made", busy) == "made"
