"""When lines are logged, in which order, and what becomes of those that cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from zmqkit.core.effects import Note
from zmqkit.drivers import notes as module
from zmqkit.drivers.notes import Notes, contained, log


@contextmanager
def handling(handle: Callable[[str], object]) -> Iterator[None]:
    """Have a log handler of the program's own take each line."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handle(record.getMessage())

    handler = Handler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def add(notes: Notes, *lines: str) -> None:
    for line in lines:
        notes.add(logging.WARNING, "%s", line)


def test_a_line_waits_until_it_is_told(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    notes.note(Note("notify-failed", {"id": 1, "text": "no\nroom's", "name": "x"}))
    notes.note(Note("instance-found", {"id": 1}))
    assert notes.due and not caplog.records
    caplog.set_level(logging.INFO, "zmqkit")
    notes.tell()
    assert not notes.due
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "notify-failed id=1 name='x': no\\nroom's"),
        ("INFO", "instance-found id=1"),
    ]


def test_lines_that_a_log_handler_causes_follow_their_cause(notes: Notes) -> None:
    lines: list[str] = []

    def handle(line: str) -> None:
        lines.append(f"{line} begins")
        if line == "first":
            add(notes, "third")
            assert not notes.due  # this thread may lead, as another one logs: itself
            notes.tell()
        lines.append(f"{line} ends")

    add(notes, "first", "second")
    with handling(handle):
        notes.tell()
    words = ["first", "second", "third"]
    assert lines == [f"{word} {what}" for word in words for what in ("begins", "ends")]


def test_a_log_handler_that_raises_loses_its_line_only(
    notes: Notes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def handle(line: str) -> None:
        if line == "first":
            raise ValueError("a bug of the program")

    add(notes, "first", "second")
    with handling(handle):
        notes.tell()
    assert "a bug of the program" in capsys.readouterr().err
    assert caplog.messages[-1] == "second"


def test_an_interrupted_handler_leaves_the_rest_to_the_next(
    notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(line: str) -> None:
        if line == "first":
            raise KeyboardInterrupt

    add(notes, "first", "second")
    with handling(handle):
        with pytest.raises(KeyboardInterrupt):
            notes.tell()
        assert notes.due
        notes.tell()
    assert caplog.messages[-1] == "second"


def test_lines_that_come_too_fast_are_counted(
    notes: Notes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NOTES_MAX", 2)
    add(notes, "first", "second", "third", "fourth")
    notes.tell()
    assert caplog.messages == ["first", "second", "2 more lines came too fast to be logged"]


def test_who_arrives_first_is_told_of(notes: Notes) -> None:
    arrivals: list[int] = []
    notes.arrived = lambda: arrivals.append(1)
    add(notes, "first", "second")
    assert len(arrivals) == 1
    notes.tell()
    add(notes, "third")
    assert len(arrivals) == 2


def test_standard_error_that_is_closed_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    contained(int, "no number")
