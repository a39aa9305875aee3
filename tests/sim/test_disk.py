"""The simulated file of a journal keeps what the real one keeps; crashes keep whole appends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from zmqkit.core.effects import Page
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import DEAD, Changes, Entry, Outcome, Plain, PlainPage
from zmqkit.errors import JournalError
from zmqkit.simulation.disk import JournalFile
from zmqkit.simulation.network import Host
from zmqkit.simulation.timeline import Timeline

WRITE_S = 0.01
ENTRY = Entry(1, 0, 4, 2.0, None, 1, "x", None, "a", "no", b"body", None)
DONE = Outcome(2, "done", 3.0, 1, None, "", b"\x01", None, None)
PLAIN = [Plain(number, number % 2, b"%d" % number, None) for number in range(3, 9)]
STEPS = [
    Changes(8, entries=[ENTRY], plain=PLAIN, outcomes=[DONE]),
    Changes(9, entries=[replace(ENTRY, flags=DEAD), replace(ENTRY, sequence=9)]),
    Changes(9, over=[9, 77], plain_over=[PLAIN[0].place], outcomes=[replace(DONE, sequence=3)]),
    Changes(9, forgotten=[2, 77], entries=[replace(ENTRY, attempt=2)]),
]


class Stage:
    """A simulated file, and the processes that open it one after the other."""

    def __init__(self, seed: int = 1) -> None:
        self.timeline = Timeline(seed)
        self.file = JournalFile(self.timeline, Random(seed), 7, (WRITE_S, WRITE_S))
        self.answers: list[tuple[int, JournalError | None]] = []
        self.pages: list[PlainPage | None] = []
        self.open()

    def open(self) -> None:
        """Have another process open it."""
        self.host = Host("a", "127.0.0.1")
        assert self.file.open(self.host)

    def append(self, changes: Changes, *, run_s: float = 1.0) -> None:
        number = self.file.handed + 1
        self.file.append(number, changes, lambda *answer: self.answers.append(answer))
        self.timeline.run_until(self.timeline.now + run_s)

    def page(self, *ask: int) -> PlainPage | None:
        self.file.page(Page(*ask), self.pages.append)
        self.timeline.run_until(self.timeline.now + 1.0)
        return self.pages[-1]


@pytest.mark.parametrize("count", range(len(STEPS) + 1))
def test_both_keep_the_same(count: int, tmp_path: Path) -> None:
    stage = Stage()
    real = Journal(tmp_path / "journal", "mail", 7)
    for changes in STEPS[:count]:
        real.commit(changes)
        stage.append(changes)
    real.close()
    stage.file.close()
    real = Journal(tmp_path / "journal", "mail", 8)
    stage.open()
    file = stage.file
    assert (file.id, file.opening, file.last) == (real.id, real.opening, real.last)
    assert list(real.entries()) == [each for _, each in sorted(file.rows.items())]
    assert list(real.outcomes()) == [each for _, each in sorted(file.outcomes.items())]
    assert {k: n for k, n in real.plain_counts().items() if n} == file.plain_counts()
    for ask in ((0, 0, 2, 1 << 20), (1, 3, 9, 1 << 20), (9, 0, 9, 1 << 20)):
        assert real.page(*ask) == stage.page(*ask)
    real.close()


def test_an_answer_comes_once_it_is_synced() -> None:
    stage = Stage()
    stage.append(STEPS[0], run_s=WRITE_S / 2)
    assert not stage.answers and not stage.file.numbers and stage.file.busy
    stage.timeline.run_until(stage.timeline.now + 1.0)
    [(size, error)] = stage.answers
    assert size > 0 and error is None and len(stage.file.numbers) == 7


@pytest.mark.parametrize("seed", range(10))
def test_a_crash_keeps_what_was_synced_and_the_first_of_the_rest(seed: int) -> None:
    stage = Stage(seed)
    stage.append(STEPS[0])
    stage.append(STEPS[1], run_s=0.0)
    stage.append(STEPS[2], run_s=0.0)
    stage.host.alive = False
    stage.timeline.run_until(stage.timeline.now + 1.0)
    assert len(stage.answers) == 1
    stage.open()
    kept = 2 - stage.file.counts["dropped"]
    assert len(stage.file.rows) == (1, 2, 1)[kept]
    assert len(stage.file.plain) == (6, 6, 5)[kept]


def test_a_full_disk_changes_nothing() -> None:
    stage = Stage()
    stage.file.full_until = stage.timeline.now + 0.5
    stage.append(STEPS[0])
    [(_, error)] = stage.answers
    assert error is not None and error.may_retry and not stage.file.numbers


def test_what_a_full_disk_refuses_is_lost_if_the_last_append_has_left_without_it() -> None:
    """Seed 3000370: a task that had ended waited again, and the oracle thought the end kept."""
    stage = Stage()
    stage.append(STEPS[0])
    stage.file.full_until = stage.timeline.now + 1.5 * WRITE_S
    stage.append(STEPS[1], run_s=0.0)
    stage.append(STEPS[2])
    assert [error is None for _, error in stage.answers] == [True, False, True]
    assert (stage.file.handed, stage.file.synced) == (3, 3)
    stage.file.close()
    stage.open()
    assert stage.file.synced_before == 1


def test_a_disk_that_failed_takes_nothing_and_reads_nothing_until_it_is_opened_anew() -> None:
    stage = Stage()
    stage.file.fails = True
    stage.append(STEPS[0])
    stage.append(STEPS[1])
    assert [error is not None and not error.may_retry for _, error in stage.answers] == [
        True
    ] * 2
    assert not stage.file.numbers and stage.page(0, 0, 9, 1 << 20) is None
    stage.file.close()
    stage.open()
    assert len(stage.file.numbers) in (0, 7)  # nobody knew


def test_one_process_at_a_time_has_it_open_until_all_is_written() -> None:
    stage = Stage()
    stage.append(STEPS[0], run_s=0.0)
    stage.file.close()
    assert not stage.file.open(Host("b", "127.0.0.1"))
    stage.timeline.run_until(stage.timeline.now + 1.0)
    assert stage.file.open(Host("b", "127.0.0.1"))
