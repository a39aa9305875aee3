"""The journal: the tasks of one queue on disk, as an SQLite file with one owner.

Theory of operation. Whoever opens the file owns it: the one connection takes an exclusive lock,
and a second one is refused, in this process or another. SQLite before 3.51.3 loses commits when
two connections share a file in WAL mode; one owner rules that out. A commit returns once the
disk has what it says (`synchronous=FULL`). A commit that fails changed nothing.

Each row has a checksum. A damaged row is reported, and set aside in the table `damaged`.

A journal has an id, drawn when the file is made. It stands for the queue in the ids of tasks
and of leases, whichever process has it open. Each opening has a number, so that numbers of
leases are never used twice.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from zmqkit.disk import schema
from zmqkit.disk.faults import FAULTS, journal_error, opening_error
from zmqkit.disk.glance import check_queue
from zmqkit.disk.marks import MARKS_MAX, Marks
from zmqkit.disk.places import check_place
from zmqkit.disk.rows import (
    PLACE_BITS,
    Changes,
    Entry,
    Held,
    Outcome,
    Plain,
    PlainPage,
    is_sound,
    number_at,
    place,
)
from zmqkit.errors import JournalError

PASSED_OVER = 1 << 20
"""How many numbers of tasks are not used each time that a journal is opened again."""

_PAGE = 1000
_WAL_BYTES_MAX = 64 << 20
_CHECKPOINT_BYTES = 4 << 20
_BACKUP_PAGES = 256
_PRIORITIES = 10
_READ_AHEAD_BYTES = 1 << 20
_READ_AHEAD_MAX = 1 << 30
_OPENINGS_APART = 1000
"""A copy counts its openings from so many later, as the journal itself may be opened again."""

_PUT = "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GET = "SELECT * FROM task WHERE sequence > ? ORDER BY sequence LIMIT ?"
_PUT_PLAIN = "INSERT OR REPLACE INTO plain VALUES (?, ?, ?, ?)"
_GET_PLAIN = "SELECT * FROM plain WHERE place > ? AND place < ? ORDER BY place LIMIT ?"
_GET_STRAYS = "SELECT place, body FROM plain WHERE place < 0 OR place >= ?"
_GET_AT = "SELECT * FROM plain WHERE place = ?"
_COUNT_PLAIN = "SELECT count(*) FROM plain WHERE place >= ? AND place < ?"
_PUT_MARK = "INSERT OR REPLACE INTO mark VALUES (?, ?)"
_GET_MARKS = "SELECT sequence, at FROM mark ORDER BY sequence"
_DROP_MARKS = (
    "DELETE FROM mark WHERE sequence <= "
    f"(SELECT sequence FROM mark ORDER BY sequence DESC LIMIT 1 OFFSET {MARKS_MAX})"
)
_PUT_OUTCOME = "INSERT OR REPLACE INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_HELD = "INSERT INTO held VALUES (?, ?, ?)"
_GET_OUTCOMES = "SELECT * FROM outcome WHERE sequence > ? ORDER BY sequence LIMIT ?"

_SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


class Journal:
    """An open journal. One thread at a time may use it."""

    def __init__(
        self, path: Path, queue: str | None, new_id: int = 0, *, has_requests: bool = False
    ) -> None:
        """Open the file of a queue, or make it.

        new_id, has_requests: of one that is made, its id, and whether its tasks are requests
        that a broker keeps. queue: None opens the file of whichever queue it is, and makes
        none. Raises JournalError, which says what is wrong with the file and what to do, and
        ConfigError for a path at which no file can be.
        """
        self.path = path
        check_place(path)
        if queue is None and not (path.exists() and path.stat().st_size):
            raise JournalError(f"there is no journal at {path}")
        self.damaged: list[str] = []
        self.has_requests = has_requests
        # About how many bytes the log has got since the last checkpoint, and why it failed.
        self._logged_bytes = 0
        self._fault: JournalError | None = None
        # To close any descriptor of a file gives up all locks that the process has on it. So
        # what reads ahead stays open until the connection is closed.
        self._ahead: int | None = None
        try:
            self._connection = _connect(path)
            try:
                self._ahead = os.open(path, os.O_RDONLY)
                self._open(queue, new_id)
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise JournalError(f"{path}: it cannot be read ({error})") from error
        except FAULTS as error:
            raise opening_error(path, error) from error

    def _open(self, queue: str | None, new_id: int) -> None:
        run = self._connection.execute
        [[application]] = run("PRAGMA application_id").fetchall()
        [[version]] = run("PRAGMA user_version").fetchall()
        [[tables]] = run("SELECT count(*) FROM sqlite_master").fetchall()
        if application != schema.APPLICATION and (application or version or tables):
            raise JournalError(
                f"{self.path} is a database of another program; name another file"
            )
        if version > schema.VERSION:
            raise JournalError(
                f"{self.path} was written by a newer zmqkit (format {version}, this one knows "
                f"{schema.VERSION}); use that one"
            )
        if not version:
            if queue is None:
                raise JournalError(f"there is no journal at {self.path}")
            schema.make(self._connection, queue, new_id, has_requests=self.has_requests)
            _sync_folder(self.path.parent)
        self._read_ahead()
        problems = [row[0] for row in run("PRAGMA integrity_check(5)").fetchall()]
        if problems != ["ok"]:
            raise JournalError(
                f"{self.path} is damaged: {'; '.join(problems)}; restore a copy, or recover "
                "what is left with `sqlite3 FILE .recover`"
            )
        found = dict(run("SELECT name, value FROM about").fetchall())
        self.queue = found["queue"]
        if queue is not None:
            check_queue(self.path, self.queue, queue)
        if 0 < version < schema.VERSION:
            schema.migrate(self._connection, version)
        self.id = found["id"]
        self.opening = found["opening"] + 1
        # A worker may have had tasks that no commit has, so their numbers are passed over.
        self.last = found["last"] + (PASSED_OVER if found["opening"] else 0)
        self.paused = bool(found.get("paused"))
        self.has_requests = bool(found.get("requests"))
        self.marks = Marks(run(_GET_MARKS).fetchall())
        run("BEGIN")
        run("UPDATE about SET value = ? WHERE name = 'opening'", (self.opening,))
        run("UPDATE about SET value = ? WHERE name = 'last'", (self.last,))
        run("COMMIT")

    def _read_ahead(self) -> None:
        """Have the system read the file in order, which is faster than as the check asks.

        Measured with 130 MB that were not in memory: 0.7 s for both, 3.4 s for the check alone.
        """
        assert self._ahead is not None
        for _ in range(_READ_AHEAD_MAX // _READ_AHEAD_BYTES):
            if not os.read(self._ahead, _READ_AHEAD_BYTES):
                return

    def commit(self, changes: Changes) -> None:
        """Write changes in one transaction; return once the disk has them.

        Raises JournalError; then nothing was changed. Its `may_retry` says whether the same
        changes may be written once more.
        """
        run, many = self._connection.execute, self._connection.executemany
        last, at = changes.last, changes.at
        mark = at if at is not None and last > self.last and self.marks.are_due(at) else None
        if self._fault is not None:
            raise self._fault
        try:
            run("BEGIN IMMEDIATE")
            many(_PUT, [each.row() for each in changes.entries])
            many("DELETE FROM task WHERE sequence = ?", _each(changes.over))
            many(_PUT_PLAIN, [each.row() for each in changes.plain])
            many("DELETE FROM plain WHERE place = ?", _each(changes.plain_over))
            many(_PUT_OUTCOME, [each.row() for each in changes.outcomes])
            many("DELETE FROM outcome WHERE sequence = ?", _each(changes.forgotten))
            many("DELETE FROM held WHERE worker = ?", [(each.key,) for each in changes.held])
            many(_PUT_HELD, [each.row() for each in changes.held if each.leases])
            if last > self.last:
                run("UPDATE about SET value = ? WHERE name = 'last'", (last,))
            if mark is not None:
                run(_PUT_MARK, (self.last + 1, mark))
                run(_DROP_MARKS)
            run("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    run("ROLLBACK")
            said = journal_error(self.path, error)
            if said.may_retry:
                self._checkpoint()  # what was written before may make room in the log
            raise said from error
        if mark is not None:
            self.marks.add(self.last + 1, mark)
        self.last = max(self.last, last)
        self._logged_bytes += changes.size
        if self._logged_bytes >= _CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Bring what the log has into the file, so that the log begins anew.

        If the disk is too full for that, the log goes on, and has all. SQLite would do this
        within a commit, which then seems to have failed though it is on disk. What a disk says
        after it failed means nothing, so if it fails here, nothing is written any more.
        """
        self._logged_bytes = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            said = journal_error(self.path, error)
            if not said.may_retry:
                self._fault = said

    def set_paused(self, *, paused: bool) -> None:
        """Note whether the queue is paused, for whoever opens the file next.

        Raises JournalError.
        """
        row = ("paused", int(paused))
        try:
            self._connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", row)
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from error
        self.paused = paused

    def entries(self) -> Iterator[Entry]:
        """Yield all tasks that are open or dead, but for the plain ones, in order.

        Damaged ones are set aside, and told of in `damaged`. Raises JournalError if the file
        cannot be read.
        """
        for row in self._rows(_GET):
            entry = Entry(*row[:-1])
            if is_sound(entry, row[-1]):
                yield entry
            else:
                self._set_aside("task", entry.sequence, entry.sequence, entry.body)

    def plain_counts(self) -> dict[int, int]:
        """Return how many plain tasks of each priority there are.

        What stands in no priority's place is damaged, and set aside. Raises JournalError.
        """
        run = self._connection.execute
        counts: dict[int, int] = {}
        try:
            for at, body in run(_GET_STRAYS, (place(_PRIORITIES, 0),)).fetchall():
                self._set_aside("plain", at, at, body)
            [[lowest, highest]] = run("SELECT min(place), max(place) FROM plain").fetchall()
            if lowest is not None:
                for priority in range(lowest >> PLACE_BITS, (highest >> PLACE_BITS) + 1):
                    ends = (place(priority, 0), place(priority + 1, 0))
                    [[count]] = run(_COUNT_PLAIN, ends).fetchall()
                    counts[priority] = count
        except FAULTS as error:
            raise journal_error(self.path, error) from error
        return counts

    def page(self, priority: int, after: int, count_max: int, bytes_max: int) -> PlainPage:
        """Read plain tasks of a priority, from the first whose number is higher than `after`.

        count_max, bytes_max: how many tasks, and about how many bytes of them; at least one
        task is read. Damaged ones are set aside. Raises JournalError.
        """
        page = PlainPage([], [], after, is_last=False)
        size, count = 0, 0
        ends = (place(priority, after), place(priority + 1, 0))
        try:
            with closing(self._connection.execute(_GET_PLAIN, (*ends, count_max))) as rows:
                for at, body, raw, checksum in rows:
                    task = Plain(number_at(at), priority, body, raw)
                    page.read = task.sequence
                    count += 1
                    if not is_sound(task, checksum):
                        page.damaged.append(task)
                        continue
                    page.tasks.append(task)
                    size += len(body) + len(raw or b"")
                    if size >= bytes_max:
                        break
                else:
                    page.is_last = count < count_max
            for task in page.damaged:
                self._set_aside("plain", task.place, task.sequence, task.body)
        except FAULTS as error:
            raise journal_error(self.path, error) from error
        return page

    def held(self) -> list[Held]:
        """Return what workers had as the file was written last. Raises JournalError.

        Damaged rows are removed, and told of in `damaged`.
        """
        run, found = self._connection.execute, list[Held]()
        try:
            for row in run("SELECT * FROM held").fetchall():
                if (held := Held.read(*row)) is not None:
                    found.append(held)
                else:
                    self.damaged.append("what a worker has: its checksum is wrong")
                    run("DELETE FROM held WHERE worker = ?", row[:1])
        except FAULTS as error:
            raise journal_error(self.path, error) from error
        return found

    def at(self, places: Iterable[int]) -> list[Plain]:
        """Return the plain tasks that have these places. Raises JournalError.

        Damaged ones are left to whoever reads their page.
        """
        run = self._connection.execute
        try:
            rows = [row for each in places for row in run(_GET_AT, (each,)).fetchall()]
        except FAULTS as error:
            raise journal_error(self.path, error) from error
        found = [
            (Plain(number_at(at), at >> PLACE_BITS, body, raw), checksum)
            for at, body, raw, checksum in rows
        ]
        return [task for task, checksum in found if is_sound(task, checksum)]

    def find(self, sequence: int) -> int | None:
        """Return the priority of a plain task; None if it is not there. Raises JournalError."""
        if not 0 <= sequence < 1 << PLACE_BITS:
            return None  # an id that somebody made up
        places = [place(priority, sequence) for priority in range(_PRIORITIES)]
        marks = ", ".join("?" * len(places))
        try:
            found = self._connection.execute(
                f"SELECT place FROM plain WHERE place IN ({marks})", places
            ).fetchall()
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from error
        return found[0][0] >> PLACE_BITS if found else None

    def safety(self) -> str:
        """Return the settings that make a commit durable, as SQLite has them now."""
        values = {
            name: self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "fullfsync", "locking_mode")
        }
        values["synchronous"] = _SYNCHRONOUS.get(values["synchronous"], "unknown")
        told = ", ".join(f"{name}={value}" for name, value in values.items())
        return f"SQLite {sqlite3.sqlite_version}: {told}"

    @property
    def size(self) -> int:
        """How many bytes of the file are in use. Raises JournalError."""
        try:
            [pages], [free], [size] = (
                self._connection.execute(f"PRAGMA {name}").fetchone()
                for name in ("page_count", "freelist_count", "page_size")
            )
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from error
        in_use: int = (pages - free) * size
        return in_use

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what became of tasks, in the order of the tasks.

        Damaged outcomes are removed, and told of in `damaged`. Raises JournalError if the file
        cannot be read.
        """
        for row in self._rows(_GET_OUTCOMES):
            outcome = Outcome(*row[:-1])
            if is_sound(outcome, row[-1]):
                yield outcome
            else:
                self.damaged.append(f"outcome of task {row[0]}: its checksum is wrong")
                self._connection.execute("DELETE FROM outcome WHERE sequence = ?", row[:1])

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table, which may be changed meanwhile."""
        after = -(1 << 63)  # damage may have changed a number too
        try:
            while rows := self._connection.execute(query, (after, _PAGE)).fetchall():
                yield from rows
                after = rows[-1][0]
        except FAULTS as error:
            raise journal_error(self.path, error) from error

    def _set_aside(self, table: str, key: int, sequence: int, body: object) -> None:
        what = f"task {sequence}: its checksum is wrong"
        self.damaged.append(what)
        run = self._connection.execute
        kept = body if type(body) is bytes else None
        run("BEGIN")
        run("INSERT OR REPLACE INTO damaged VALUES (?, ?, ?)", (sequence, what, kept))
        run(f"DELETE FROM {table} WHERE rowid = ?", (key,))
        run("COMMIT")

    def compact(self) -> tuple[int, int]:
        """Give the file system the room back that ended tasks had; return both sizes in bytes.

        The file is written anew, so this needs as much room again, and is for a journal at
        rest. Raises JournalError; then the journal is as it was.
        """
        run = self._connection.execute
        before = self.path.stat().st_size
        try:
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            before = self.path.stat().st_size
            run("VACUUM")
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from error
        return before, self.path.stat().st_size

    def backup(self, to: Path, between: Callable[[], object] = int) -> None:
        """Write a copy to a new file; it is all there, or not at all.

        between: is called again and again meanwhile, and may commit; the copy has that too. A
        copy stands in for the journal that it was made of: use one of the two. Raises
        JournalError.
        """
        if to.exists():
            raise JournalError(f"{to} is there already; name a new file")
        begun = to.with_name(f"{to.name}.part")
        try:
            for left in (begun, begun.with_name(f"{begun.name}-wal")):
                left.unlink(missing_ok=True)
            with closing(_connect(begun)) as copy:
                self._connection.backup(
                    copy, pages=_BACKUP_PAGES, progress=lambda *_: between(), sleep=0
                )
                copy.execute(
                    "UPDATE about SET value = value + ? WHERE name = 'opening'",
                    (_OPENINGS_APART,),
                )
                copy.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            begun.rename(to)
            _sync_folder(to.parent)
        except sqlite3.Error as error:
            raise journal_error(to, error) from error
        except OSError as error:
            raise JournalError(f"{to}: it cannot be written ({error})") from error

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._connection.close()
        if self._ahead is not None:
            os.close(self._ahead)
            self._ahead = None


def _each(numbers: list[int]) -> list[tuple[int]]:
    return [(each,) for each in numbers]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    try:
        run = connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")  # before WAL, so that no memory is shared
        [[mode]] = run("PRAGMA journal_mode = WAL").fetchall()
        if mode != "wal":
            raise JournalError(f"{path} cannot have a write-ahead log here; use a local disk")
        run("PRAGMA synchronous = FULL")
        if sys.platform == "darwin":
            run("PRAGMA fullfsync = 1")
        run("PRAGMA wal_autocheckpoint = 0")
        run(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
        run("BEGIN EXCLUSIVE")
        run("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _text(data: bytes) -> str:
    return data.decode(errors="replace")  # what is no UTF-8 is damaged, and has no checksum


def _sync_folder(folder: Path) -> None:
    """Have the disk know the new file's name."""
    with suppress(OSError):  # where folders cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
