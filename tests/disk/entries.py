"""What the tests of a journal write to it, and how they read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zmqkit.disk.journal import Journal
from zmqkit.disk.rows import Changes, Entry, Outcome, Plain

ID, NAME = 77, "thumbnails"
ENTRY = Entry(1, False, 4, 0.0, None, 0, None, None, None, "", b"\x91\x07\x80", None)
FULL = replace(
    ENTRY, sequence=2, priority=9, due_at=12.5, expires_at=20.0, attempt=3, own_id="order-17",
    unique="cat.png", order_by="account", reasons="no\nagain", raw=bytes(5000), flags=1,
)  # fmt: skip
DONE = Outcome(3, "done", 100.5, 1, "order-18", "", b"\x0e", None, None)
LONG = replace(DONE, sequence=4, own_id=None, value=None, raw=bytes(5000))
FAILED = replace(
    DONE, sequence=5, state="failed", reasons="no\nagain", value=None, error=b"\xc0"
)


def reopened(path: Path) -> tuple[list[Entry], Journal]:
    journal = Journal(path, NAME, ID + 1)
    return list(journal.entries()), journal


def put(journal: Journal, *entries: Entry, over: tuple[int, ...] = ()) -> None:
    """Commit these tasks, and the ends of others."""
    last = max(each.sequence for each in entries)
    journal.commit(Changes(last, list(entries), list(over)))


def paged(journal: Journal, priority: int, count_max: int = 3) -> list[Plain]:
    """All plain tasks of a priority, read page by page."""
    tasks: list[Plain] = []
    after, is_last = 0, False
    while not is_last:
        page = journal.page(priority, after, count_max, 1 << 20)
        tasks += page.tasks
        after, is_last = page.read, page.is_last
    return tasks
