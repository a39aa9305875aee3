"""A journal that was damaged: nothing wrong is read, and what is lost is told of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.disk.entries import DONE, ENTRY, FAILED, FULL, ID, NAME, paged, put, reopened
from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes, Held, Plain
from zmqkit.errors import JournalError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails.journal"


def test_a_flipped_bit_of_a_body_is_set_aside_and_told_of(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, replace(ENTRY, body=b"body-of-one"), replace(FULL, flags=0))
    journal.close()
    data = path.read_bytes()
    assert data.count(b"body-of-one") == 1
    path.write_bytes(data.replace(b"body-of-one", b"body-oF-one"))
    entries, journal = reopened(path)
    assert [each.sequence for each in entries] == [2]
    assert journal.damaged == ["task 1: its checksum is wrong"]
    journal.close()
    entries, journal = reopened(path)
    assert [each.sequence for each in entries] == [2]
    journal.close()


def test_a_flipped_bit_of_what_a_worker_has_is_told_of_once(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    journal.commit(Changes(3, [ENTRY], held=[Held(0x5A5A5A5A5A5A, [(0x6B6B6B6B6B, 1)])]))
    journal.close()
    data = path.read_bytes()
    assert data.count(b"kkkkk") == 1
    path.write_bytes(data.replace(b"kkkkk", b"kkjkk"))
    entries, journal = reopened(path)
    assert entries == [ENTRY] and journal.held() == []
    assert journal.damaged == ["what a worker has: its checksum is wrong"]
    journal.close()
    _, journal = reopened(path)
    assert journal.held() == [] and not journal.damaged
    journal.close()


@pytest.mark.slow
def test_no_flipped_byte_and_no_cut_gives_a_wrong_answer(path: Path, tmp_path: Path) -> None:
    """What is read is what was written; what is less is told of, or the file is refused."""
    journal = Journal(path, NAME, ID)
    tasks = [replace(ENTRY, sequence=n, body=b"body %d" % n) for n in range(1, 9)]
    ends = [replace(DONE, sequence=n, own_id=f"order {n}") for n in range(11, 15)]
    plain = [Plain(n, n % 3, b"plain %d" % n, None) for n in range(21, 29)]
    journal.commit(Changes(28, tasks, plain=plain, outcomes=[*ends, FAILED]))
    journal.close()
    written = [*tasks, *plain, *ends, FAILED]
    data = path.read_bytes()
    spoilt = tmp_path / "spoilt.journal"
    refused = 0
    flips = [(at, data[:at] + bytes((data[at] ^ bits,)) + data[at + 1 :])
             for bits, step in ((0xFF, 47), (0x01, 53))
             for at in range(0, len(data), step)]  # fmt: skip
    cuts = [(at, data[:at]) for at in range(997, len(data), 997)]
    for at, content in [*flips, *cuts]:
        spoilt.write_bytes(content)
        for beside in ("-wal", "-shm"):
            spoilt.with_name(spoilt.name + beside).unlink(missing_ok=True)
        try:
            opened = Journal(spoilt, NAME, ID)
        except JournalError:
            refused += 1
            continue
        try:
            counts = opened.plain_counts()
            pages = [each for priority in counts for each in paged(opened, priority)]
            found = [*opened.outcomes(), *opened.entries(), *pages]
            assert all(each in written for each in found), at
            told = opened.damaged or len(pages) < sum(counts.values())
            assert told or len(found) == len(written), at
        except JournalError:
            refused += 1
        finally:
            opened.close()
    assert refused


@pytest.mark.parametrize("number", [0, -3])
def test_a_task_whose_number_is_damaged_is_told_of(path: Path, number: int) -> None:
    journal = Journal(path, NAME, ID)
    journal.commit(Changes(2, [ENTRY, FULL], outcomes=[DONE]))
    for table in ("task", "outcome"):
        journal._connection.execute(
            f"UPDATE {table} SET sequence = ? WHERE sequence IN (1, 3)", (number,)
        )
    assert list(journal.entries()) == [FULL] and list(journal.outcomes()) == []
    assert len(journal.damaged) == 2
    journal.close()


def test_a_damaged_plain_task_is_set_aside_when_it_is_read(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    tasks = [Plain(n, 4, b"body-of-%d" % n, None) for n in range(1, 6)]
    journal.commit(Changes(5, plain=tasks))
    journal.close()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"body-of-3", b"body-oF-3"))
    journal = Journal(path, NAME, ID)
    assert journal.plain_counts() == {4: 5} and journal.damaged == []
    page = journal.page(4, 0, 100, 1 << 20)
    assert page.tasks == [*tasks[:2], *tasks[3:]] and page.is_last
    assert [each.sequence for each in page.damaged] == [3]
    assert journal.damaged == ["task 3: its checksum is wrong"]
    assert journal.plain_counts() == {4: 4}
    journal.close()


@pytest.mark.parametrize("at", [-5, 10 << 48, 200 << 48 | 7])
def test_what_stands_in_no_place_is_set_aside(path: Path, at: int) -> None:
    """As after a flipped bit of its place; no priority would ever ask for it."""
    journal = Journal(path, NAME, ID)
    journal.commit(Changes(1, plain=[Plain(1, 9, b"body", None)]))
    journal._connection.execute("INSERT INTO plain VALUES (?, x'00', NULL, 0)", (at,))
    assert journal.plain_counts() == {9: 1}
    assert journal.damaged == [f"task {at}: its checksum is wrong"]
    assert journal.plain_counts() == {9: 1} and len(journal.damaged) == 1
    journal.close()


def test_a_damaged_outcome_is_removed_and_told_of(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    journal.commit(Changes(5, outcomes=[replace(DONE, value=b"value-of-one"), FAILED]))
    journal.close()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"value-of-one", b"value-oF-one"))
    _, journal = reopened(path)
    assert list(journal.outcomes()) == [FAILED]
    assert journal.damaged == ["outcome of task 3: its checksum is wrong"]
    journal.close()
