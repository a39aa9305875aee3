"""How soon a device is ready, and how it drains with 10,000 tasks at its workers.

- Start: from the start of the process `zmqkit run streamer` to its word READY=1 at the socket
  of a service manager. Each round starts it a few times, of which the median counts.
- Drain: workers in a process of their own have all tasks in hand when the device gets SIGTERM,
  and finish them then. What counts is how long the device takes to end. Each task's result must
  have come to the pusher, whether through the device or from whoever did it again, and the
  device must have ended with exit code 0.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
import paired
from figures import Message
from paired import Family, Parent

TASKS, WORKERS = 10_000, 10
STARTS = 5
DRAIN_S = 10.0
LIMIT_S = 60.0
START_S = 0.5


class Device:
    """A `zmqkit run streamer` and the socket at which it says what becomes of it."""

    def __init__(self, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        place = Path(self._folder.name, "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place))
        self._socket.settimeout(LIMIT_S)
        begun_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zmqkit", "run", "streamer", "--name", name,
             "--drain", str(DRAIN_S)],
            stdout=subprocess.DEVNULL,
            env={**paired.environment(), "NOTIFY_SOCKET": str(place)},
        )  # fmt: skip
        self.await_word("READY=1")
        self.start_s = time.monotonic() - begun_at

    def await_word(self, word: str) -> None:
        """Wait until the device has said a word."""
        words: list[str] = []
        while word not in words:
            words = self._socket.recv(4096).decode().split("\n")

    def end(self) -> tuple[float, int]:
        """End it with SIGTERM; return how long that took, and its exit code."""
        begun_at = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(LIMIT_S)
        took_s = time.monotonic() - begun_at
        self._socket.close()
        self._folder.cleanup()
        return took_s, code


def workers(parent: Parent, config: Message) -> None:
    """Hold all tasks that come until there are so many, and until the device is to end."""
    import zmqkit.asyncio

    async def work() -> None:
        go_on, held = asyncio.Event(), 0
        loop = asyncio.get_running_loop()

        async def hold(number: int) -> int:
            nonlocal held
            held += 1
            if held == TASKS:
                parent.send(held=held)
            await go_on.wait()
            return number

        made = [
            zmqkit.asyncio.Worker(config["name"], concurrency=TASKS // WORKERS)
            for _ in range(WORKERS)
        ]
        for worker in made:
            worker.task(hold)
        working = [asyncio.create_task(worker.work()) for worker in made]
        await asyncio.to_thread(parent.receive)
        loop.call_soon(go_on.set)
        await asyncio.to_thread(parent.receive)
        for worker in made:
            await worker.close()
        await asyncio.gather(*working)

    asyncio.run(work())


def drain() -> tuple[float, int]:
    """One device with all tasks at its workers: how long it takes to end, and what is lost."""
    import zmqkit

    name = paired.unique_name()
    device = Device(name)
    with Family() as family, zmqkit.Pusher(name) as pusher:
        child = family.start("workers", name=name)
        tickets = [pusher.push(number) for number in range(TASKS)]
        assert child.receive(LIMIT_S)["held"] == TASKS
        child.send(go_on=True)
        took_s, code = device.end()
        lost = sum(ticket.result(LIMIT_S) != number for number, ticket in enumerate(tickets))
        child.send(end=True)
    return took_s, lost + (code != 0)


def main() -> None:
    parser = figures.arguments(__doc__, rounds=5)
    options = parser.parse_args()
    if options.only == "reference":
        figures.finish(FIGURE, rows([], []), options)
        return
    starts, drains = [], []
    for number in range(options.rounds):
        starts.append(statistics.median(start() for _ in range(STARTS)))
        took_s, lost = drain()
        if lost:
            raise paired.BenchmarkError(f"{lost} tasks lost, or another exit code than 0")
        drains.append(took_s)
        if not options.json:
            print(f"  round {number + 1}: ready in {starts[-1]:.2f} s, ended in {took_s:.2f} s")
    figures.finish(FIGURE, rows(starts, drains), options, tasks=TASKS, lost=0)


def start() -> float:
    """How long a device takes from its start to its word READY."""
    device = Device(paired.unique_name())
    device.end()
    return device.start_s


FIGURE = figures.Figure("device", "a device, start to READY, median", "s", "<=")


def rows(starts: list[float], drains: list[float]) -> list[figures.Row]:
    """The two rows, each with a limit of its own."""
    caption = f"SIGTERM to its end with {TASKS:,} tasks at workers, slowest, none lost"
    return [
        figures.limit_row(
            FIGURE.caption, FIGURE, statistics.median(starts) if starts else None, START_S
        ),
        figures.limit_row(caption, FIGURE, max(drains, default=None), DRAIN_S),
    ]


PARTS: dict[str, Any] = {"workers": workers}

if __name__ == "__main__":
    paired.run(main, PARTS)
