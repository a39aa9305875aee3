"""The tables of a journal's file, and how a file of an older format gets what it lacks."""

from __future__ import annotations

import sqlite3

VERSION = 3
"""The format of the files that are made here."""

APPLICATION = 0x7A6D716B  # "zmqk"
"""What the head of each journal's file says."""

_SCHEMA_1 = """
CREATE TABLE about (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
CREATE TABLE task (
    sequence INTEGER PRIMARY KEY, dead INTEGER NOT NULL, priority INTEGER NOT NULL,
    due_at REAL NOT NULL, expires_at REAL, attempt INTEGER NOT NULL, own_id TEXT,
    unique_key TEXT, order_by TEXT, reasons TEXT NOT NULL, body BLOB NOT NULL, raw BLOB,
    checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE damaged (sequence INTEGER PRIMARY KEY, what TEXT NOT NULL, body BLOB) STRICT;
"""

_SCHEMA_2 = """
CREATE TABLE outcome (
    sequence INTEGER PRIMARY KEY, state TEXT NOT NULL, settled_at REAL NOT NULL,
    attempt INTEGER NOT NULL, own_id TEXT, reasons TEXT NOT NULL, value BLOB, raw BLOB,
    error BLOB, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE plain (
    place INTEGER PRIMARY KEY, body BLOB NOT NULL, raw BLOB, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE mark (sequence INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT;
"""

_SCHEMA_3 = """
CREATE TABLE held (
    worker BLOB PRIMARY KEY, leases BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_ADDED = {1: _SCHEMA_1, 2: _SCHEMA_2, 3: _SCHEMA_3}
"""The tables that came with each format."""


def make(connection: sqlite3.Connection, queue: str, id: int, *, has_requests: bool) -> None:
    """Make all tables in an empty file, which then is the journal of this queue.

    has_requests: whether its tasks are requests that a broker keeps.
    A process that ends meanwhile leaves an empty file, as if it had not begun.
    """
    connection.executescript(
        f"BEGIN; {_since(0)} PRAGMA application_id = {APPLICATION}; "
        f"PRAGMA user_version = {VERSION}; "
        f"INSERT INTO about VALUES ('id', {id}), ('opening', 0), ('last', 0);"
    )
    rows = ("requests", int(has_requests)), ("queue", queue)
    connection.executemany("INSERT INTO about VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of an older format to this one; it is of one of the two at any moment."""
    connection.executescript(
        f"BEGIN; {_since(version)} PRAGMA user_version = {VERSION}; COMMIT;"
    )


def _since(version: int) -> str:
    return " ".join(added for number, added in _ADDED.items() if number > version)
