"""The journal's file: what it keeps, and who may have it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.disk.entries import DONE, ENTRY, FAILED, FULL, ID, LONG, NAME, paged, put, reopened
from tests.disk.format_1 import FILE
from zmqkit.disk.journal import PASSED_OVER, Journal
from zmqkit.disk.rows import Changes, Held, Plain
from zmqkit.errors import ConfigError, JournalError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thumbnails.journal"


def test_what_was_committed_is_there_when_it_is_opened_again(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    assert (journal.id, journal.opening, journal.last) == (ID, 1, 0)
    put(journal, ENTRY, FULL)
    journal.close()
    entries, journal = reopened(path)
    assert entries == [ENTRY, FULL]
    assert (journal.id, journal.opening, journal.last) == (ID, 2, PASSED_OVER + 2)
    journal.close()


def test_no_number_is_used_again_after_a_crash(path: Path) -> None:
    """Seed 9: a worker had a task that no commit had, and the next push had its number."""
    numbers = []
    for _ in range(3):
        journal = Journal(path, NAME, ID)
        numbers.append(journal.last)
        journal.close()
    assert numbers == [0, PASSED_OVER, 2 * PASSED_OVER]


def test_changes_replace_and_ends_remove(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, ENTRY, FULL)
    put(journal, replace(ENTRY, attempt=1, reasons="no"), over=(2,))
    journal.close()
    entries, journal = reopened(path)
    assert entries == [replace(ENTRY, attempt=1, reasons="no")]
    assert journal.last == PASSED_OVER + 2
    journal.close()


def test_many_entries_are_read_page_by_page(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    many = [replace(ENTRY, sequence=number) for number in range(1, 2501)]
    put(journal, *many)
    assert list(journal.entries()) == many
    journal.close()


def test_a_second_owner_is_refused_in_this_process_and_in_another(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    with pytest.raises(JournalError, match="open already"):
        Journal(path, NAME, ID)
    code = (
        "import pathlib; from zmqkit.disk.journal import Journal; "
        f"Journal(pathlib.Path({str(path)!r}), {NAME!r}, 1)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "open already" in ended.stderr
    journal.close()


def test_there_is_no_shared_memory_beside_it(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, ENTRY)
    assert not path.with_name(f"{path.name}-shm").exists()
    journal.close()


def test_a_process_that_is_killed_leaves_what_was_committed(path: Path) -> None:
    code = (
        "import pathlib, os, signal; from zmqkit.disk.journal import Journal\n"
        "from zmqkit.disk.rows import Changes, Entry\n"
        f"journal = Journal(pathlib.Path({str(path)!r}), {NAME!r}, {ID})\n"
        "for number in range(1, 101):\n"
        "    entry = Entry(number, False, 4, 0.0, None, 0, None, None, None, '', b'x', None)\n"
        "    journal.commit(Changes(number, [entry]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    entries, journal = reopened(path)
    assert [each.sequence for each in entries] == list(range(1, 101)) and journal.id == ID
    journal.close()


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_makes_the_file_leaves_one_that_opens(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each statement the files are copied, as a kill would leave them."""
    left: list[Path] = []

    class Watched(sqlite3.Connection):
        def copy(self, _statement: str) -> None:
            left.append(tmp_path / f"{len(left)}" / path.name)
            left[-1].parent.mkdir()
            for each in path.parent.glob(f"{path.name}*"):
                shutil.copy(each, left[-1].parent)

    def watched(*values: Any, **options: Any) -> Watched:
        connection = connect(*values, **options, factory=Watched)
        connection.set_trace_callback(connection.copy)
        return connection

    connect = sqlite3.connect
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", watched)
        Journal(path, NAME, ID).close()
    assert len(left) > 10
    for each in left:
        Journal(each, NAME, ID).close()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no database at all, but long enough to be read as one" * 50, "it is no journal")],
)
def test_a_file_of_something_else_is_left_alone(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match=said):
        Journal(path, NAME, ID)
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(JournalError, match="of another program"):
        Journal(path, NAME, ID)


def test_a_journal_belongs_to_one_name(path: Path) -> None:
    Journal(path, NAME, ID).close()
    with pytest.raises(JournalError, match="has the tasks of 'thumbnails', not of 'orders'"):
        Journal(path, "orders", ID)


def test_a_path_at_which_no_file_can_be_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name a file in it"):
        Journal(tmp_path, NAME, ID)
    with pytest.raises(ConfigError, match="no path, for it has a zero byte"):
        Journal(tmp_path / "\0", NAME, ID)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_a_folder_that_takes_no_files_is_no_fault_of_the_disk() -> None:
    with pytest.raises(ConfigError, match="takes no files"):
        Journal(Path("/proc/x.journal"), NAME, ID)


NOBODY = 65534


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of this user, who is nobody meanwhile if it was root: root may do all."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if is_root:
            os.chown(folder, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.setresuid(0, 0, 0)
            Path(folder).chmod(0o700)


def test_a_place_that_others_own_is_named(nobodys: Path) -> None:
    path = nobodys / "x.journal"
    path.touch(mode=0o400)
    with pytest.raises(ConfigError, match=r"x.journal cannot be written; see who owns it"):
        Journal(path, NAME, ID)
    path.unlink()
    path.parent.chmod(0o500)
    with pytest.raises(ConfigError, match=r"cannot be written; see who owns it"):
        Journal(path, NAME, ID)


def test_a_newer_format_is_refused(path: Path) -> None:
    Journal(path, NAME, ID).close()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(JournalError, match="newer zmqkit"):
        Journal(path, NAME, ID)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere; make it, or name"):
        Journal(tmp_path / "nowhere" / "x.journal", NAME, ID)


def test_a_full_disk_changes_nothing_and_may_be_tried_again(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, ENTRY)
    journal._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(JournalError, match="the disk is full") as raised:
        put(journal, replace(FULL, raw=bytes(1 << 20)), over=(1,))
    assert raised.value.may_retry
    assert list(journal.entries()) == [ENTRY]
    journal._connection.execute("PRAGMA max_page_count = 100000")
    put(journal, replace(FULL, raw=bytes(1 << 20)), over=(1,))
    assert [each.sequence for each in journal.entries()] == [2]
    journal.close()


def test_a_checkpoint_that_finds_no_room_fails_no_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the log is on disk; SQLite would say that the commit failed."""
    monkeypatch.setattr("zmqkit.disk.journal._CHECKPOINT_BYTES", 1)
    journal = Journal(path, NAME, ID)
    put(journal, ENTRY)
    connection = Failing(journal._connection, sqlite3.SQLITE_FULL)
    journal._connection = connection  # type: ignore[assignment]  # it does what is asked of it
    put(journal, replace(ENTRY, sequence=2))
    assert connection.failed == 1
    put(journal, replace(ENTRY, sequence=3))
    assert connection.failed == 2
    assert len(list(journal.entries())) == 3
    journal.close()


def test_a_checkpoint_that_fails_is_the_last_word(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqkit.disk.journal._CHECKPOINT_BYTES", 1)
    journal = Journal(path, NAME, ID)
    connection = Failing(journal._connection, sqlite3.SQLITE_IOERR_FSYNC)
    journal._connection = connection  # type: ignore[assignment]  # it does what is asked of it
    put(journal, ENTRY)
    for _ in range(2):
        with pytest.raises(JournalError, match="the disk failed") as raised:
            put(journal, replace(ENTRY, sequence=2))
        assert not raised.value.may_retry
    assert connection.failed == 1 and list(journal.entries()) == [ENTRY]
    journal.close()


class Failing:
    """A connection whose checkpoints fail."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self.connection = connection
        self.code = code
        self.failed = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement.startswith("PRAGMA wal_checkpoint"):
            self.failed += 1
            error = sqlite3.OperationalError("a checkpoint failed")
            error.sqlite_errorcode = self.code
            raise error
        return self.connection.execute(statement, *values)


def test_the_log_begins_anew(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    for number in range(1, 201):
        put(journal, replace(ENTRY, sequence=number, raw=bytes(100_000)), over=(number - 1,))
    log = path.with_name(f"{path.name}-wal")
    assert log.stat().st_size < 10 << 20
    journal.close()


def test_outcomes_are_kept_until_they_are_forgotten(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, ENTRY)
    journal.commit(Changes(5, over=[1], outcomes=[DONE, LONG, FAILED]))
    journal.close()
    entries, journal = reopened(path)
    assert entries == [] and list(journal.outcomes()) == [DONE, LONG, FAILED]
    journal.commit(Changes(5, forgotten=[4, 9]))
    assert list(journal.outcomes()) == [DONE, FAILED]
    journal.close()


def test_plain_tasks_are_read_page_by_page_in_order(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    high = [Plain(n, 9, b"high", bytes(n)) for n in range(1, 8)]
    low = [Plain(n, 0, b"low", None) for n in range(8, 14)]
    journal.commit(Changes(13, plain=[*high, *low]))
    assert journal.plain_counts() == {0: 6, 9: 7} | dict.fromkeys(range(1, 9), 0)
    assert paged(journal, 9) == high and paged(journal, 0) == low and paged(journal, 4) == []
    assert (journal.find(7), journal.find(8), journal.find(99)) == (9, 0, None)
    # Numbers that somebody made up: of tasks of other priorities, or too large.
    assert [journal.find(at) for at in (9 << 48 | 7, 1 << 63, (1 << 64) - 1, -1)] == [None] * 4
    journal.commit(Changes(13, plain_over=[high[0].place, low[0].place]))
    assert paged(journal, 9) == high[1:] and paged(journal, 0) == low[1:]
    journal.close()


def test_a_page_has_as_many_bytes_as_it_may_and_at_least_one_task(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    tasks = [Plain(n, 4, bytes(1000), bytes(1000)) for n in range(1, 11)]
    journal.commit(Changes(10, plain=tasks))
    assert journal.page(4, 0, 100, 1).tasks == tasks[:1]
    page = journal.page(4, 1, 100, 5999)
    assert page.tasks == tasks[1:4] and page.read == 4 and not page.is_last
    assert journal.page(4, 4, 6, 1 << 20).is_last is False
    assert journal.page(4, 10, 6, 1 << 20).is_last is True
    journal.close()


def test_its_size_is_what_is_in_use(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    empty = journal.size
    journal.commit(Changes(1, plain=[Plain(1, 4, bytes(100), bytes(1 << 20))]))
    assert (1 << 20) <= journal.size - empty < (1 << 20) + 100_000
    journal.commit(Changes(1, plain_over=[Plain(1, 4, b"", None).place]))
    assert journal.size < empty + 10_000
    journal.close()


def test_a_second_owner_that_is_refused_leaves_the_first_its_lock(path: Path) -> None:
    """To close a descriptor of a file gives up the locks that the process has on it."""
    journal = Journal(path, NAME, ID)
    with pytest.raises(JournalError, match="open already"):
        Journal(path, NAME, ID)
    code = (
        "import pathlib; from zmqkit.disk.journal import Journal; "
        f"Journal(pathlib.Path({str(path)!r}), {NAME!r}, 1)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "open already" in ended.stderr
    journal.close()


def test_a_file_of_format_1_is_brought_to_this_one(path: Path) -> None:
    path.write_bytes(FILE)
    entries, journal = reopened(path)
    assert entries == [ENTRY, FULL] and list(journal.outcomes()) == []
    assert (journal.id, journal.opening, journal.last) == (77, 2, PASSED_OVER + 3)
    journal.commit(Changes(3, over=[1], outcomes=[DONE]))
    journal.close()
    entries, journal = reopened(path)
    assert entries == [FULL] and list(journal.outcomes()) == [DONE]
    journal.close()


def test_what_workers_have_is_there_when_it_is_opened_again(path: Path) -> None:
    tasks = [Plain(n, 4, b"%d" % n, b"long" if n == 2 else None) for n in (1, 2, 3)]
    one, other = Held(1 << 63, [(7, tasks[0].place), (8, tasks[2].place)]), Held(5, [(9, 2)])
    journal = Journal(path, NAME, ID)
    journal.commit(Changes(3, plain=tasks, held=[one, other]))
    journal.commit(Changes(3, held=[Held(5, [])]))
    journal.close()
    _, journal = reopened(path)
    assert journal.held() == [one] and not journal.damaged
    assert journal.at(at for _, at in one.leases) == [tasks[0], tasks[2]]
    assert journal.at([tasks[1].place, 99]) == [tasks[1]]
    journal.commit(Changes(3, held=[Held(1 << 63, [(9, 1)])]))
    assert journal.held() == [Held(1 << 63, [(9, 1)])]
    journal.close()


def test_a_file_of_format_2_gets_the_table_that_it_lacks(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, ENTRY)
    journal.close()
    with sqlite3.connect(path) as file:
        file.executescript("DROP TABLE held; PRAGMA user_version = 2;")
    file.close()
    entries, journal = reopened(path)
    assert entries == [ENTRY] and journal.held() == []
    journal.commit(Changes(3, held=[Held(5, [(9, 1)])]))
    journal.close()
    _, journal = reopened(path)
    assert journal.held() == [Held(5, [(9, 1)])]
    journal.close()


def test_a_file_of_format_1_of_another_queue_is_left_alone(path: Path) -> None:
    path.write_bytes(FILE)
    with pytest.raises(JournalError, match="not of 'orders'"):
        Journal(path, "orders", ID)
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA user_version").fetchall() == [(1,)]
    file.close()


def test_any_queue_is_opened_where_none_is_named(path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        Journal(path, None)
    assert not path.exists()
    Journal(path, NAME, ID).close()
    journal = Journal(path, None)
    assert (journal.queue, journal.id) == (NAME, ID)
    journal.close()


def test_compacting_gives_room_back(path: Path) -> None:
    journal = Journal(path, NAME, ID)
    put(journal, *(replace(FULL, sequence=number) for number in range(1, 500)))
    put(journal, ENTRY, over=tuple(range(2, 500)))
    before, after = journal.compact()
    assert before > 500 * len(FULL.raw or b"") > 20 * after
    assert after == path.stat().st_size
    assert list(journal.entries()) == [ENTRY]
    journal.close()
    entries, journal = reopened(path)
    assert entries == [ENTRY] and journal.last == PASSED_OVER + 499
    journal.close()


def test_a_backup_has_what_is_committed_while_it_is_made(path: Path, tmp_path: Path) -> None:
    journal = Journal(path, NAME, ID)
    many = [replace(ENTRY, sequence=number, raw=bytes(5000)) for number in range(1, 1001)]
    put(journal, *many)
    steps: list[int] = []

    def push() -> None:
        steps.append(1000 + len(steps) + 1)
        put(journal, replace(ENTRY, sequence=steps[-1]))

    to = tmp_path / "copy.journal"
    journal.backup(to, push)
    assert len(steps) > 2
    journal.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == [to.name, path.name]
    entries, copy = reopened(to)
    assert [each.sequence for each in entries] == list(range(1, steps[-1]))[: len(entries)]
    assert len(entries) >= steps[-2] and copy.id == ID and copy.opening > 100
    copy.close()


def test_a_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    journal = Journal(path, NAME, ID)
    with pytest.raises(JournalError, match="is there already"):
        journal.backup(path)
    with pytest.raises(JournalError, match="nowhere"):
        journal.backup(tmp_path / "nowhere" / "copy.journal")
    journal.close()
