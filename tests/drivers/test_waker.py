"""What wakes a thread: readable once woken, unreadable once cleared, harmless once closed."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from zmqkit.drivers.waker import Waker


@pytest.fixture(params=["as the system has it", "a pipe"])
def waker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waker]:
    """A waker, of either kind."""
    if request.param == "a pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    waker = Waker()
    yield waker
    waker.close()


def is_readable(waker: Waker) -> bool:
    return bool(select.select([waker.descriptor], [], [], 0)[0])


def test_it_is_readable_from_the_first_wake_until_it_is_cleared(waker: Waker) -> None:
    assert not is_readable(waker)
    waker.wake()
    waker.wake()
    assert is_readable(waker)
    waker.clear()
    assert not is_readable(waker)


def test_to_clear_it_twice_does_not_wait(waker: Waker) -> None:
    waker.clear()
    waker.wake()
    assert is_readable(waker)


def test_it_never_waits_however_often_it_is_woken(waker: Waker) -> None:
    for _ in range(20_000):
        waker.wake()
    assert is_readable(waker)


def test_to_wake_what_is_closed_does_nothing(waker: Waker) -> None:
    waker.close()
    waker.wake()


def test_it_holds_one_descriptor_where_there_is_eventfd() -> None:
    before = set(os.listdir("/dev/fd"))
    waker = Waker()
    held = len(set(os.listdir("/dev/fd")) - before)
    waker.close()
    assert held == (1 if hasattr(os, "eventfd") else 2)
