"""All reply windows of a service."""

from __future__ import annotations

import math

import pytest

from zmqkit.core.dispatch.window import Answer, Window
from zmqkit.core.dispatch.windows import Windows
from zmqkit.core.effects import Request
from zmqkit.limits import FORGET_CLIENT_S, ServiceLimits
from zmqkit.wire.packet import REPLY


@pytest.fixture
def windows() -> Windows:
    return Windows(ServiceLimits())


def heard(windows: Windows, client: int, now: float = 0.0) -> Window:
    """The window of a client that spoke."""
    window = windows.hear(client, b"p", now)
    assert window is not None
    return window


def busy(window: Window) -> None:
    """Have something run for the client."""
    window.held[1] = Request(1, window.client, 1, "add", [], {}, None, 4, 5.0, False)


def test_a_client_has_one_window(windows: Windows) -> None:
    assert heard(windows, 1) is heard(windows, 1)
    assert len(windows) == 1


def test_answers_go_where_the_client_spoke_last(windows: Windows) -> None:
    heard(windows, 1)
    window = windows.hear(1, b"elsewhere", 3.0)
    assert window is not None and (window.peer, window.heard_at) == (b"elsewhere", 3.0)


def test_a_silent_client_is_forgotten(windows: Windows) -> None:
    heard(windows, 1)
    assert windows.sweep_at == FORGET_CLIENT_S
    windows.sweep(FORGET_CLIENT_S)
    assert len(windows) == 0 and windows.sweep_at == math.inf


def test_a_client_with_work_is_not_forgotten(windows: Windows) -> None:
    busy(heard(windows, 1))
    windows.sweep(FORGET_CLIENT_S)
    assert len(windows) == 1 and windows.sweep_at < math.inf


def test_a_client_that_spoke_since_is_not_forgotten(windows: Windows) -> None:
    heard(windows, 1)
    heard(windows, 2)
    heard(windows, 1, 30.0)
    windows.sweep(FORGET_CLIENT_S)
    assert [window.client for window in windows] == [1]


def test_a_forgotten_client_finds_its_answered_ids_taken(windows: Windows) -> None:
    heard(windows, 1).retain(7, Answer(REPLY, b""))
    windows.sweep(FORGET_CLIENT_S)
    assert heard(windows, 1).forgotten_below == 8
    windows.check()


def test_what_a_forgotten_client_had_settled_stays_settled(windows: Windows) -> None:
    window = heard(windows, 1)
    window.retain(7, Answer(REPLY, b""))
    window.below = 8
    window.free()
    window.settle_except(20, frozenset({9, 15}))
    windows.sweep(FORGET_CLIENT_S)
    window = heard(windows, 1)
    assert window.forgotten_below == 0
    assert [n for n in range(22) if not window.is_settled(n)] == [9, 15, 20, 21]
    windows.check()


def test_a_client_that_said_nothing_of_its_ids_leaves_nothing(windows: Windows) -> None:
    heard(windows, 1)
    windows.sweep(FORGET_CLIENT_S)
    assert not windows.remembered


def test_the_stalest_client_makes_room_for_a_new_one() -> None:
    windows = Windows(ServiceLimits(clients_max=2))
    busy(heard(windows, 1))
    heard(windows, 2)
    heard(windows, 3)
    assert [window.client for window in windows] == [1, 3]


def test_a_new_client_finds_no_room_among_those_with_work() -> None:
    windows = Windows(ServiceLimits(clients_max=1))
    busy(heard(windows, 1))
    assert windows.hear(2, b"p", 0.0) is None


def test_memory_of_forgotten_clients_is_bounded() -> None:
    windows = Windows(ServiceLimits(clients_max=1, forgotten_max=1))
    for client in (1, 2, 3):
        heard(windows, client).retain(7, Answer(REPLY, b""))
    windows.check()
    assert heard(windows, 1).forgotten_below == 0


def test_so_is_that_of_what_they_left_open() -> None:
    windows = Windows(ServiceLimits(forgotten_max=5))
    for client in (1, 2):
        heard(windows, client).settle_except(9, frozenset({5, 6, 7}))
        windows.sweep(windows.sweep_at + FORGET_CLIENT_S)
    windows.check()
    assert list(windows.away) == [2], "of the other it does not know what may have run"
    assert not heard(windows, 1).is_settled(1) and heard(windows, 2).is_settled(1)
    windows.check()


def test_who_returns_is_remembered_before_another_is_forgotten() -> None:
    windows = Windows(ServiceLimits(clients_max=1, forgotten_max=1))
    for client in (1, 2):
        heard(windows, client).retain(7, Answer(REPLY, b""))
    assert heard(windows, 1).forgotten_below == 8


def test_who_keeps_most_gives_up_first() -> None:
    windows = Windows(ServiceLimits(retained_bytes_max=10_000))
    heard(windows, 1).retain(1, Answer(REPLY, bytes(1000)))
    for number in range(1, 11):
        heard(windows, 2).retain(number, Answer(REPLY, bytes(1000)))
    assert windows.make_room() == 4
    assert windows.budget.bytes <= 9000 and len(heard(windows, 1).answers) == 1
    windows.check()


def test_nothing_is_left_after_clear(windows: Windows) -> None:
    heard(windows, 1).retain(1, Answer(REPLY, b""))
    windows.clear()
    assert (len(windows), windows.budget.bytes, windows.sweep_at) == (0, 0, math.inf)
