"""Questions over a socket: who may ask, and what no asker can do."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.roles.kit import until
from zmqkit.drivers import questions
from zmqkit.drivers.questions import Listener, ask

BOUND_S = 20.0

Listen = Callable[[Callable[[bytes], bytes]], str]


def backwards(question: bytes) -> bytes:
    return question[::-1]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "queue.socket")


@pytest.fixture
def listener(path: str) -> Iterator[Listener]:
    listener = Listener(path, backwards)
    yield listener
    listener.close()


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(BOUND_S)
    connection.connect(path)
    return connection


@pytest.mark.usefixtures("listener")
def test_each_question_is_answered(path: str) -> None:
    assert ask(path, b"abc") == b"cba"
    assert ask(path, b"") == b""
    assert ask(path, bytes(1 << 20)) == bytes(1 << 20)


@pytest.mark.usefixtures("listener")
def test_only_the_owner_may_connect(path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_nothing_is_left_of_a_listener_that_was_closed(path: str, tmp_path: Path) -> None:
    Listener(path, backwards).close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        ask(path, b"abc")


def test_what_a_killed_process_left_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left, socket.socket(socket.AF_UNIX) as half_made:
        left.bind(path)
        half_made.bind(f"{path}~")
    with pytest.raises(ConnectionRefusedError):
        ask(path, b"abc")
    listener = Listener(path, backwards)
    assert ask(path, b"abc") == b"cba"
    listener.close()


def test_a_place_where_no_socket_can_be_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Listener(str(tmp_path / "nowhere" / "x.socket"), backwards)


@pytest.mark.usefixtures("listener")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(some.binary(max_size=100))
def test_garbage_harms_nobody(path: str, garbage: bytes) -> None:
    with connected(path) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
    assert ask(path, b"abc") == b"cba"


@pytest.mark.usefixtures("listener")
def test_a_question_that_is_too_long_is_not_read(path: str) -> None:
    with pytest.raises(ConnectionResetError):
        ask(path, bytes(questions.QUESTION_BYTES_MAX + 1))
    assert ask(path, b"abc") == b"cba"


@pytest.mark.usefixtures("listener")
def test_an_asker_that_says_nothing_is_not_waited_for(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "QUESTION_S", 0.05)
    with connected(path) as silent, connected(path) as halfway:
        halfway.sendall(b"\0\0")
        assert ask(path, b"abc", BOUND_S) == b"cba"
        assert silent.recv(1) == b""


def test_a_bug_in_an_answer_is_logged_and_ends_nothing(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(question: bytes) -> bytes:
        return b"%d" % (1 // len(question))

    listener = Listener(path, answer)
    with pytest.raises(ConnectionResetError):
        ask(path, b"")
    assert ask(path, b"x") == b"1"
    listener.close()
    assert "ZeroDivisionError" in caplog.text


def test_an_answer_that_does_not_come_is_not_waited_for(path: str) -> None:
    go_on = threading.Event()

    def answer(question: bytes) -> bytes:
        go_on.wait(BOUND_S)
        return question

    listener = Listener(path, answer)
    with pytest.raises(TimeoutError):
        ask(path, b"abc", 0.05)
    go_on.set()
    listener.close()


def test_what_is_being_answered_is_answered_before_the_close(path: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(question: bytes) -> bytes:
        begun.set()
        assert go_on.wait(BOUND_S)
        return question

    listener = Listener(path, answer)
    with connected(path) as connection:
        connection.sendall(b"\0\0\0\x01x")
        assert begun.wait(BOUND_S)
        closing = threading.Thread(target=listener.close)
        closing.start()
        go_on.set()
        assert connection.recv(10) == b"\0\0\0\x01x"
        closing.join(BOUND_S)
    assert not closing.is_alive()


def test_a_close_waits_for_nobody_who_is_silent(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "QUESTION_S", 1000.0)
    listener = Listener(path, backwards)
    with connected(path) as silent:
        until(lambda: listener._asker is not None)
        closing = threading.Thread(target=listener.close)
        closing.start()
        closing.join(BOUND_S)
        assert not closing.is_alive() and silent.recv(1) == b""


@pytest.mark.usefixtures("listener")
def test_many_ask_at_once(path: str) -> None:
    answers: list[bytes] = []
    askers = [
        threading.Thread(target=lambda: answers.append(ask(path, b"abc"))) for _ in range(20)
    ]
    for each in askers:
        each.start()
    for each in askers:
        each.join(BOUND_S)
    assert answers == [b"cba"] * 20
