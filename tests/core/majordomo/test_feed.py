"""What translators tell the log."""

from __future__ import annotations

from zmqkit.core.effects import Note
from zmqkit.core.majordomo.feed import Notes


def test_there_is_one_line_a_second_for_each_event_and_service() -> None:
    notes = Notes()
    assert notes.note("failed", "echo", 0.0, code="busy") == [
        Note("failed", {"service": "echo", "code": "busy"})
    ]
    assert notes.note("failed", "echo", 0.9) == []
    assert len(notes.note("refused", "echo", 0.9)) == len(notes.note("failed", "b", 0.9)) == 1
    assert len(notes.note("failed", "echo", 1.0)) == 1


def test_lines_are_bounded_however_many_services_there_are() -> None:
    notes = Notes()
    assert sum(len(notes.note("failed", str(n), 0.0)) for n in range(5000)) == 1000
    assert len(notes.note("failed", "another", 1.0)) == 1
