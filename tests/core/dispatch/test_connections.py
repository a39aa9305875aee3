"""The instances of a name as they come and go."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from zmqkit.core.dispatch.connections import (
    LIFE,
    Connection,
    Connections,
    Event,
    State,
)
from zmqkit.limits import HELLO_S, HELLO_S_MAX

DOCUMENT = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text()
WHERE = "tcp://127.0.0.1:5000"

Made = Connections[Connection]


def make(incarnation: int, endpoint: str) -> Connection:
    """A connection of no pattern in particular."""
    return Connection(incarnation, incarnation.to_bytes(8, "big"), endpoint)


def made(connections_max: int = 16, known_max: int = 100) -> Made:
    return Connections(1, make, connections_max=connections_max, known_max=known_max)


@pytest.fixture
def connections() -> Made:
    return made()


def connect(connections: Made, *incarnations: int, now: float = 0.0) -> list[Connection]:
    """Have these known, and those connected that are the best."""
    for incarnation in incarnations:
        assert connections.learn(incarnation, WHERE)
    begun, spare = connections.best(lambda connection: True)
    for connection in spare:
        connections.close(connection)
        connections.remove(connection)
    for connection in begun:
        connections.add(connection)
        connections.open(connection, now)
    connections.check()
    return begun


def up(connections: Made, *incarnations: int) -> list[Connection]:
    """Have these connected and answering."""
    begun = connect(connections, *incarnations)
    for connection in begun:
        connections.shift(connection, Event.WELCOME)
    connections.check()
    return begun


# The table


@pytest.mark.parametrize("state", [state for state in State if state is not State.OVER])
@pytest.mark.parametrize("event", Event)
def test_each_event_in_each_state_meets_one_row(state: State, event: Event) -> None:
    assert isinstance(LIFE[state][event], State)


def test_the_operations_document_names_each_state_that_a_user_sees() -> None:
    _, _, table = DOCUMENT.partition("`Client.instances()`")
    shown = set(re.findall(r"^\| `(\w+)` \|.*\| (?:both|a \w+) \|$", table, re.MULTILINE))
    assert shown == {s.value for s in State if s is not State.OVER} | {
        "evasive",
        "misnamed",
        "apart",
    }


def test_nothing_happens_to_what_is_given_up() -> None:
    assert set(LIFE) == set(State) - {State.OVER}
    assert all(row[Event.OVER] is State.OVER for row in LIFE.values())


@pytest.mark.parametrize("state", LIFE)
def test_whatever_is_found_is_to_answer_first(state: State) -> None:
    assert LIFE[state][Event.FOUND] is State.OPENING


def test_one_that_is_leaving_takes_nothing_new_however_often_it_answers() -> None:
    assert LIFE[State.LEAVING][Event.WELCOME] is State.LEAVING


def test_one_that_was_lost_says_nothing_more_when_it_is_gone() -> None:
    assert LIFE[State.LOST][Event.GONE] is State.OVER
    assert LIFE[State.UP][Event.GONE] is State.LEFT


# Choice


def test_only_what_is_up_and_not_silent_is_chosen(connections: Made) -> None:
    [a, b] = up(connections, 10, 20)
    connections.hush(a.incarnation, silent=True)
    assert connections.ready == [b]
    connections.hush(a.incarnation, silent=False)
    assert connections.ready == [b, a]


def test_one_that_fell_silent_before_it_answers_is_not_chosen(connections: Made) -> None:
    [a] = connect(connections, 10)
    connections.hush(10, silent=True)
    connections.shift(a, Event.WELCOME)
    assert connections.ready == []
    connections.check()


def test_so_many_are_connected_and_always_the_same() -> None:
    first = {c.incarnation for c in connect(made(16), *range(1, 100))}
    again = {c.incarnation for c in connect(made(16), *reversed(range(1, 100)))}
    assert first == again and len(first) == 16


def test_no_more_are_known_than_may_be() -> None:
    connections = made(known_max=1)
    assert connections.learn(10, WHERE)
    assert not connections.learn(20, WHERE)
    assert connections.learn(10, "tcp://127.0.0.1:6000")


def test_those_that_are_silent_come_last(connections: Made) -> None:
    connections = made(connections_max=2)
    for incarnation in (10, 20, 30):
        connections.learn(incarnation, WHERE)
    for incarnation in (10, 20):
        connections.hush(incarnation, silent=True)
    assert 30 in {connection.incarnation for connection in connect(connections)}


@pytest.mark.parametrize("silence", [
    lambda connections, one: connections.hush(one.incarnation, silent=True),
    lambda connections, one: setattr(one, "hello_s", HELLO_S_MAX),
])  # fmt: skip
def test_one_of_no_use_gives_way_to_another(
    silence: Callable[[Made, Connection], None],
) -> None:
    connections = made(connections_max=1)
    [one] = connect(connections, 10)
    assert connect(connections, 20) == []
    silence(connections, one)
    [other] = connect(connections)
    assert other.incarnation == 20 and list(connections.by_incarnation) == [20]


def test_one_of_no_use_stays_while_something_is_under_way() -> None:
    connections = made(connections_max=1)
    connect(connections, 10)
    connections.learn(20, WHERE)
    connections.hush(10, silent=True)
    assert connections.best(lambda connection: False) == ([], [])


def test_all_that_are_silent_stay_where_they_are() -> None:
    connections = made(connections_max=1)
    connect(connections, 10)
    connections.learn(20, WHERE)
    for incarnation in (10, 20):
        connections.hush(incarnation, silent=True)
    assert connections.best(lambda connection: True) == ([], [])


# Greetings and waits


def test_greetings_are_repeated_ever_more_slowly(connections: Made) -> None:
    [one] = connect(connections, 10)
    assert connections.unanswered(HELLO_S / 2) == []
    times = []
    for _ in range(8):
        times.append(connections.due_at)
        assert connections.unanswered(connections.due_at) == [one]
    assert times[0] == HELLO_S and times[-1] - times[-2] == HELLO_S_MAX
    connections.check()


def test_one_that_is_to_answer_anew_is_greeted_again(connections: Made) -> None:
    [one] = up(connections, 10)
    assert connections.unanswered(HELLO_S_MAX) == []
    assert connections.shift(one, Event.RENEWED) is State.OPENING
    connections.greeted(one, HELLO_S_MAX)
    assert connections.unanswered(HELLO_S_MAX + HELLO_S) == [one]


def test_a_closed_connection_is_closed_once(connections: Made) -> None:
    [one] = up(connections, 10)
    assert connections.close(one)
    assert not connections.close(one)


def test_a_wait_ends_when_enough_are_up(connections: Made) -> None:
    connections.await_ready(1, "me", 5.0)
    assert connections.awaited_over(0.0) == []
    up(connections, 10)
    assert connections.awaited_over(0.0) == ["me"]
    assert connections.awaited_over(0.0) == []


def test_a_wait_ends_when_time_is_over(connections: Made) -> None:
    connections.await_ready(1, "me", 5.0)
    assert connections.due_at == 5.0
    assert connections.awaited_over(5.0) == ["me"]


def test_who_gave_up_is_told_nothing(connections: Made) -> None:
    connections.await_ready(1, "me", 5.0)
    connections.await_no_more("me")
    assert connections.awaited_over(5.0) == []
