"""What sqlite3 says when a disk or a file is not in order, in the words of a JournalError."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from zmqkit.errors import ConfigError, JournalError, ZmqkitError

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
_OF_PLACES = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""What SQLite says of a path at which it can have no file."""


def journal_error(path: Path, error: Exception) -> JournalError:
    """Return the error that says what is wrong with the file and what to do."""
    code = _code_of(error)
    remedy = _REMEDIES.get(code, "see whether the file is in order")
    return JournalError(f"{path}: {remedy} ({error})", may_retry=code == sqlite3.SQLITE_FULL)


def opening_error(path: Path, error: Exception) -> ZmqkitError:
    """Return what `journal_error` does; ConfigError if the path is wrong and not the disk."""
    said = journal_error(path, error)
    return ConfigError(str(said)) if _code_of(error) in _OF_PLACES else said


def is_held(error: BaseException | None) -> bool:
    """Return whether sqlite3 says that somebody else has the file open."""
    return isinstance(error, sqlite3.Error) and _code_of(error) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _code_of(error: Exception) -> int:
    corrupt = 0 if isinstance(error, sqlite3.Error) else sqlite3.SQLITE_CORRUPT
    code: int = getattr(error, "sqlite_errorcode", corrupt) & 0xFF
    return code
