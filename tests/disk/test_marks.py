"""When tasks were pushed, as far as the marks of a journal tell."""

from __future__ import annotations

from pathlib import Path

from zmqkit.disk.journal import Journal
from zmqkit.disk.marks import MARK_S, MARKS_MAX, Marks
from zmqkit.disk.rows import Changes


def test_a_task_has_the_time_of_the_mark_before_it() -> None:
    marks = Marks([(5, 100.0), (9, 200.0)])
    assert [marks.of(number) for number in (4, 5, 8, 9, 10)] == [100, 100, 100, 200, 200]
    assert Marks([]).of(1) is None


def test_marks_are_some_seconds_apart_also_when_the_clock_steps_back() -> None:
    marks = Marks([])
    assert marks.are_due(100.0)
    marks.add(1, 100.0)
    assert not marks.are_due(100.0 + MARK_S / 2)
    assert marks.are_due(100.0 + MARK_S) and marks.are_due(100.0 - MARK_S)


def test_the_last_marks_are_kept() -> None:
    marks = Marks([])
    for number in range(MARKS_MAX + 5):
        marks.add(number, 10.0 * number)
    assert marks.of(0) == marks.of(5) == 50


def test_a_journal_keeps_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    journal = Journal(path, "x", 7)
    for last, at in ((3, 100.0), (4, 101.0), (4, 300.0), (6, 300.0), (9, None)):
        journal.commit(Changes(last, at=at))
    told = [journal.marks.of(number) for number in (1, 4, 5, 9)]
    assert told == [100, 100, 300, 300]
    journal.close()
    journal = Journal(path, "x")
    assert [journal.marks.of(number) for number in (1, 4, 5, 9)] == told
    journal.close()


def test_a_journal_drops_old_marks(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.journal", "x", 7)
    run = journal._connection.execute
    run("BEGIN")
    for number in range(1, MARKS_MAX + 10):
        run("INSERT INTO mark VALUES (?, ?)", (number, float(number)))
    run("COMMIT")
    journal.commit(Changes(MARKS_MAX + 20, at=1e6))
    assert run("SELECT count(*) FROM mark").fetchall() == [(MARKS_MAX,)]
    journal.close()
