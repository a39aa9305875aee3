"""The thread that has a journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes, Entry
from zmqkit.drivers.journaling import Journaling
from zmqkit.errors import JournalError

BOUND_S = 20.0


def entry(number: int) -> Entry:
    return Entry(number, False, 4, 0.0, None, 0, None, None, None, "", bytes(5000), None)


class Answers:
    """What the thread answered."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.came = threading.Event()

    def __call__(self, size: int, error: JournalError | None) -> None:
        assert error is None
        self.sizes.append(size)
        self.came.set()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def journaling(tmp_path: Path) -> Iterator[Journaling]:
    journal = Journal(tmp_path / "x.journal", "thumbnails", 7)
    with closing(Journaling(journal)) as journaling:
        yield journaling


def test_appends_go_on_while_a_backup_is_made(
    journaling: Journaling, answers: Answers, tmp_path: Path
) -> None:
    journaling.append(Changes(1000, [entry(n) for n in range(1, 1001)]), answers)
    assert answers.came.wait(BOUND_S)
    backup, to = journaling.journal.backup, tmp_path / "copy.journal"
    during: list[int] = []

    def slowed(to: Path, between: Callable[[], object]) -> None:
        def step() -> None:
            if not during:
                answers.came.clear()
                journaling.append(Changes(1001, [entry(1001)]), answers)
            between()
            during.append(len(answers.sizes))

        backup(to, step)

    journaling.journal.backup = slowed  # type: ignore[method-assign]  # to act in the middle
    journaling.backup(to)
    assert during[0] == 2
    copy = Journal(to, None)
    assert [each.sequence for each in copy.entries()] == list(range(1, 1002))
    copy.close()


def test_a_backup_that_fails_says_why(journaling: Journaling, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is there already"):
        journaling.backup(tmp_path / "x.journal")


def test_nothing_is_asked_of_a_closed_journal(journaling: Journaling, tmp_path: Path) -> None:
    journaling.close()
    with pytest.raises(JournalError, match="is closed"):
        journaling.backup(tmp_path / "copy.journal")


def test_a_question_that_fails_in_another_way_ends_no_thread(tmp_path: Path) -> None:
    journaling = Journaling(Journal(tmp_path / "x.journal", "mail", 7))
    with closing(journaling):
        with pytest.raises(TypeError):
            journaling.find("x")  # type: ignore[arg-type]  # that is the point
        assert journaling.find(1) is None
