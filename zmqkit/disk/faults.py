"""What sqlite3 says when a disk or a file is not in order, in the words of a JournalError."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from zmqkit.errors import JournalError

FAULTS = (sqlite3.Error, ValueError, LookupError, TypeError)
"""What a damaged file makes sqlite3, or the code that reads its rows, raise."""

_REMEDIES = {
    sqlite3.SQLITE_BUSY: "it is open already, here or in another process; close that one",
    sqlite3.SQLITE_LOCKED: "it is open already, here or in another process; close that one",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_READONLY: "it cannot be written; see who owns it",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; see whether its folder is there",
    sqlite3.SQLITE_NOTADB: "it is no journal; name another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore a copy, or recover what is left",
    sqlite3.SQLITE_IOERR: "the disk failed; restart on a sound disk",
}


def journal_error(path: Path, error: Exception) -> JournalError:
    """Return the error that says what is wrong with the file and what to do."""
    corrupt = 0 if isinstance(error, sqlite3.Error) else sqlite3.SQLITE_CORRUPT
    code = getattr(error, "sqlite_errorcode", corrupt) & 0xFF
    remedy = _REMEDIES.get(code, "see whether the file is in order")
    return JournalError(f"{path}: {remedy} ({error})", may_retry=code == sqlite3.SQLITE_FULL)
