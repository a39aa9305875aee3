"""What a file says of the journal that it is, read without a lock and without a change."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from zmqkit.disk.schema import APPLICATION
from zmqkit.errors import JournalError, UsageError


@dataclass(slots=True, frozen=True)
class About:
    """Whose journal a file is."""

    queue: str
    # Whether its tasks are requests that a broker keeps.
    has_requests: bool


def glance(path: Path) -> About | None:
    """Return whose journal a file is; None if that is not in the file yet, but in its log.

    Raises JournalError for a file that is none, or a database of another program, which
    opening would change.

    SQLite looks, and not this function itself: closing a file gives up the locks that this
    process has on it, and only SQLite knows of those.
    """
    quoted = quote(os.fsencode(path.absolute()))
    try:
        with closing(sqlite3.connect(f"file:{quoted}?mode=ro&immutable=1", uri=True)) as file:
            [[application]] = file.execute("PRAGMA application_id").fetchall()
            tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master")}
            rows = file.execute("SELECT name, value FROM about") if "about" in tables else ()
            found = dict(rows) if application == APPLICATION else {}
    except sqlite3.Error as error:
        raise JournalError(f"{path} is no journal; name another file ({error})") from error
    if tables and application != APPLICATION:
        raise JournalError(f"{path} is a database of another program; name another file")
    if "queue" not in found:
        return None
    return About(str(found["queue"]), bool(found.get("requests")))


def check_queue(path: Path, found: str, wanted: str) -> None:
    """Raise JournalError if the file has the tasks of another queue."""
    if found != wanted:
        raise JournalError(
            f"{path} has the tasks of {found!r}, not of {wanted!r}; name another file"
        )


def check_kind(path: str | Path, *, has_requests: bool, wanted: bool) -> None:
    """Raise UsageError if a file has tasks and not the requests that are wanted, or vice versa.

    wanted: requests of a broker.
    """
    if has_requests is not wanted:
        raise UsageError(
            f"{path} has tasks, and no requests to a service; name another folder"
            if wanted
            else f"{path} has requests that a broker keeps, and no tasks; name another file"
        )
