"""A journal of a million waiting tasks: how soon the first one is out, and what they take.

A process pushes the tasks, 500 at a time, and leaves them in its journal. In each round a fresh
process makes a `Pusher` with a copy of that file, while a worker runs already. The clock starts
before the pusher is made. It stops when the first task is done. Then all tasks are done; the
memory is the highest that the pusher's process had until then. The bytes are those of the file,
for each task that waits, and those in use once all are done.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import tempfile
import time
from pathlib import Path

import figures
import paired
from figures import Message
from paired import BODY, Parent

AT_ONCE = 500
PUSH_S = 600.0
TARGET_S = 2.0
LOOK_S = 0.001


def push(parent: Parent, config: Message) -> None:
    """Push so many tasks, and leave them in the journal."""
    import zmqkit.asyncio

    async def main() -> None:
        async with zmqkit.asyncio.Pusher(config["address"], journal=config["path"]) as pusher:
            numbers = iter(range(config["count"]))

            async def loop() -> None:
                for _ in numbers:
                    await pusher.push(BODY)

            begun = time.perf_counter()
            await asyncio.gather(*(loop() for _ in range(AT_ONCE)))
            took_s = time.perf_counter() - begun
            await pusher.close(0)
        parent.result(took_s=took_s)

    asyncio.run(main())


def work(parent: Parent, config: Message) -> None:
    """Do tasks until the parent leaves."""
    import zmqkit.asyncio

    async def main() -> None:
        async with zmqkit.asyncio.Worker("waiting", bind=config["bind"]) as worker:
            worker.task(lambda body: None)
            parent.on_end = worker.stop
            await worker.start()
            parent.send(ready=True)
            await worker.work()

    asyncio.run(main())


def take(parent: Parent, config: Message) -> None:
    """Open the journal, and have all of its tasks done."""
    import zmqkit

    begun = time.perf_counter()
    with zmqkit.Pusher(config["address"], journal=config["path"]) as pusher:
        pusher.ready(timeout_s=paired.ANSWER_S)
        while not pusher.stats()["done"]:
            time.sleep(LOOK_S)
        first_s = time.perf_counter() - begun
        pusher.close(PUSH_S)
        done = pusher.stats()["done"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parent.result(first_s=first_s, mib=peak, done=done)


def main() -> None:
    parser = figures.arguments(__doc__, rounds=3)
    parser.add_argument("--count", type=figures.positive, default=1_000_000)
    options = parser.parse_args()
    say = figures.quiet if options.json else print
    with tempfile.TemporaryDirectory() as folder:
        filled, path = Path(folder, "filled.journal"), Path(folder, "waiting.journal")
        with socket.create_server(("127.0.0.1", 0)) as free:
            bind = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        config = {"address": f"{bind}/waiting", "count": options.count}
        with paired.Family() as family:
            took_s = family.start("push", path=str(filled), **config).receive(PUSH_S)["took_s"]
        size = filled.stat().st_size / options.count
        say(f"{options.count} tasks pushed in {took_s:.1f} s, {size:.1f} bytes each on disk")
        first, peak = [], []
        for number in range(options.rounds):
            shutil.copy(filled, path)
            with paired.Family() as family:
                family.start("work", bind=bind).receive()
                taken = family.start("take", path=str(path), **config).receive(PUSH_S)
            if taken["done"] != options.count:
                raise paired.BenchmarkError(f"{taken['done']} of {options.count} were done")
            first.append(taken["first_s"])
            peak.append(taken["mib"])
            say(f"  round {number + 1}: {first[-1]:.2f} s, {peak[-1]:.0f} MiB", flush=True)
        in_use = bytes_in_use(path)
    figure = figures.Figure("waiting", "first task out of a journal", "s", "<=")
    rows = [
        figures.limit_row(figure.caption, figure, figures.median(first), TARGET_S),
        limit("memory until all are done", "MiB", figures.median(peak)),
        limit("bytes on disk, each that waits", "bytes", size),
        limit("bytes in use, all done", "bytes", in_use),
    ]
    figures.finish(figure, rows, options)


def limit(caption: str, unit: str, value: float | None) -> figures.Row:
    """A row that is only shown."""
    figure = figures.Figure("waiting", caption, unit, "<=")
    return figures.limit_row(caption, figure, value, None)


def bytes_in_use(path: Path) -> int:
    """The bytes that a journal at rest needs."""
    from zmqkit.disk.journal import Journal

    journal = Journal(path, None)
    try:
        return journal.compact()[1]
    finally:
        journal.close()


PARTS = {"push": push, "work": work, "take": take}

if __name__ == "__main__":
    paired.run(main, PARTS)
