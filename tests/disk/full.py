"""Pushes until the disk is full, and goes on when there is room; run in a folder of few bytes.

Prints what happened as JSON: how many pushes were accepted, how many were refused, and what the
tasks that were accepted returned.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import zmqkit

BODY_BYTES = 20_000
REFUSED = 5
BOUND_S = 60.0


def push(pusher: zmqkit.Pusher, numbers: list[int], tickets: list[zmqkit.Ticket]) -> int:
    """Push a task for each number; return how many the disk refused."""
    refused = 0
    for number in numbers:
        try:
            tickets.append(pusher.push([number, bytes(BODY_BYTES)]))
        except zmqkit.JournalError as error:
            if not error.may_retry or "make room" not in str(error):
                raise
            refused += 1
            if refused == REFUSED:
                break
    return refused


def work(name: str) -> zmqkit.Worker:
    worker = zmqkit.Worker("thumbnails", bind=name)
    worker.task(lambda body: body[0])
    threading.Thread(target=worker.work, daemon=True).start()
    return worker


def main() -> None:
    folder, name = Path(sys.argv[1]), "memory://thumbnails"
    filler, journal = folder / "filler", folder / "thumbnails.journal"
    filler.write_bytes(bytes(8 << 20))
    tickets: list[zmqkit.Ticket] = []
    pusher = zmqkit.Pusher(name, journal=journal)
    refused = push(pusher, list(range(1000)), tickets)
    before = len(tickets)
    filler.unlink()
    assert not push(pusher, list(range(1000, 1010)), tickets), "there is room again"
    waiting = pusher.stats()["waiting"]
    pusher.close(0)
    pusher = zmqkit.Pusher(name, journal=journal)
    found = pusher.stats()["waiting"]
    worker = work(name)
    values = [pusher.ticket(each.id).result(BOUND_S) for each in tickets]
    left = pusher.close(BOUND_S)
    worker.close()
    pusher = zmqkit.Pusher(name, journal=journal)
    again = pusher.stats()["waiting"]
    pusher.close(0)
    said = {
        "refused": refused, "before": before, "waiting": waiting, "found": found,
        "values": values, "left": left, "again": again,
    }  # fmt: skip
    print(json.dumps(said))


if __name__ == "__main__":
    main()
