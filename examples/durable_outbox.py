"""An outbox: tasks that are on disk before anything else happens, and outlive the program.

A program pushes orders and is killed at once. There is no worker yet, so nothing was done. The
next program opens the same file and finds what the first one left.

Prints:

    pushed 3 orders, and killed
    left in the outbox: 3
    shipped order-1, order-2, order-3
    order-2 again: shipped order-2
    4 pushes, 3 shipped
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import zmqkit

NAME = "example-durable-outbox"


def push(journal: str) -> None:
    """Push three orders; each push returns once the order is on disk."""
    with zmqkit.Pusher(NAME, journal=journal) as pusher:
        for number in (1, 2, 3):
            pusher.push({"order": number}, id=f"order-{number}")
        os.kill(os.getpid(), signal.SIGKILL)  # a power cut would do, too


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "orders.journal")
        killed = subprocess.run([sys.executable, __file__, journal], check=False)
        if killed.returncode == -signal.SIGKILL:
            print("pushed 3 orders, and killed")
        go_on(journal)


def go_on(journal: str) -> None:
    """Open the outbox again, and start a worker."""
    shipped: list[str] = []
    worker = zmqkit.Worker(NAME)

    @worker.task
    def ship(order: dict[str, int]) -> str:
        shipped.append(zmqkit.current_task().id)  # the same on each attempt
        return f"shipped {shipped[-1]}"

    with zmqkit.Pusher(NAME, journal=journal) as pusher, worker:
        print("left in the outbox:", pusher.stats()["waiting"])
        tickets = [pusher.ticket(f"order-{number}") for number in (1, 2, 3)]
        worker.start()
        working = threading.Thread(target=worker.work)
        working.start()
        results = [ticket.result(timeout_s=20) for ticket in tickets]
        print("shipped", ", ".join(result.removeprefix("shipped ") for result in results))

        # Whoever is not sure that an order was pushed pushes it again, with the same id.
        again = pusher.push({"order": 2}, id="order-2")
        print("order-2 again:", again.result(timeout_s=20))
        print(f"4 pushes, {len(shipped)} shipped")
        worker.stop()
        working.join()


if __name__ == "__main__":
    if sys.argv[1:]:
        push(sys.argv[1])
    else:
        main()
