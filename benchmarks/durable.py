"""Tasks per second that are acknowledged once a disk has them, against Redis Streams and Huey.

Ours is an asyncio pusher with a journal and so many pushes in flight; there is no server. Redis
gets pipelines of as many XADD and has appendfsync always; Huey pushes one by one into an SQLite
file with fsync, as it can do no more. RabbitMQ (a quorum queue, publisher confirms) and NATS
JetStream (sync_interval always) stand beside them, as they write to the disk before they
acknowledge, too. A side that is not installed is left out. All have their files on one disk,
that of `--folder`, but for RabbitMQ, which has its server's own.

`--workers` adds processes that do the tasks meanwhile; then there are rows for the rate until
all are done, too. Redis' workers read, acknowledge and delete as many entries at a time.

`--alone` is one push at a time: its median time against one SQLite FULL commit of the same row
plus one round trip of raw REQ/REP, which take turns within a round. The task goes into a
`journal` of this process or to a durable `streamer`; or it is `done`: it goes into a journal, a
worker does it, and its result is back.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import figures
import foreign
import paired
import streamer
import tasks
from call_blocking import raw_server
from calls_window import WARM_UP_S
from figures import Message, Reference, Row
from paired import BODY, Family, Parent, unique_name

LIMITS = {
    "redis": (0.5, 1.0),
    "huey": (10.0, None),
    "rabbit": (None, None),
    "nats": (None, None),
}
NAMES = {
    "redis": "Redis Streams, appendfsync always",
    "huey": "Huey on SQLite, fsync",
    "rabbit": "RabbitMQ, quorum queue, confirms",
    "nats": "NATS JetStream, sync_interval always",
}
HAS_WORKERS = ("redis", "huey")
HAS_SERVER = ("redis", "nats")
PARTNERS = {"commit": "raw_server", "streamer": "streamer", "done": "blocking_worker"}
"""What the clients of `--alone` talk to."""

TURNS = 20
SAMPLE_S = 120.0
"""How long one sample may take; a slow worker has to do what a fast pusher left."""


def ours_pusher(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def push() -> None:
        journal = Path(config["folder"], "journal")
        async with zmqkit.asyncio.Pusher(config["name"], journal=journal) as pusher:
            if config["workers"]:
                await pusher.ready(config["workers"])
            await rates(pusher, config, WARM_UP_S)
            parent.send(**await rates(pusher, config, config["seconds"]))
            parent.receive()  # the parent ends this process, and what is left with it

    asyncio.run(push())


async def rates(pusher: Any, config: Message, seconds: float) -> Message:
    """Tasks per second of `window` loops that each push one after the other."""
    begun = time.perf_counter()
    until = begun + seconds

    async def loop() -> int:
        count = 0
        while time.perf_counter() < until:
            await pusher.push(BODY)
            count += 1
        return count

    count = sum(await asyncio.gather(*(loop() for _ in range(config["window"]))))
    pushed_s = time.perf_counter() - begun
    while config["workers"] and open_count(pusher):  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(foreign.LOOK_S)
    return {"value": count / pushed_s, "done": count / (time.perf_counter() - begun)}


def open_count(pusher: Any) -> int:
    """How many tasks of a pusher wait or are under way."""
    stats = pusher.stats()
    count: int = stats["waiting"] + stats["leased"]
    return count


def journal_client(parent: Parent, config: Message) -> None:
    alone(parent, config, lambda push: push(BODY), journal=Path(config["folder"], "journal"))


def streamer_client(parent: Parent, config: Message) -> None:
    alone(parent, config, lambda push: push(BODY), durable=True)


def done_client(parent: Parent, config: Message) -> None:
    journal = Path(config["folder"], "journal")
    alone(parent, config, lambda push: push(BODY).result(), journal=journal)


def alone(
    parent: Parent, config: Message, do: Callable[[Any], object], **options: object
) -> None:
    """Push one at a time."""
    import zmqkit

    with zmqkit.Pusher(config["name"], **options) as pusher:  # type: ignore[arg-type]
        push = pusher.push
        bursts(parent, lambda: do(push))


def commit_client(parent: Parent, config: Message) -> None:
    """One commit, and then one round trip to a process that echoes."""
    import zmq

    with (
        zmq.Context() as context,
        context.socket(zmq.REQ) as socket,
        closing(sqlite3.connect(Path(config["folder"], "rows"), isolation_level=None)) as file,
    ):
        socket.connect(config["address"])
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            file.execute(f"PRAGMA {pragma}").fetchall()
        if sys.platform == "darwin":
            file.execute("PRAGMA fullfsync = 1")
        file.execute(
            "CREATE TABLE plain (place INTEGER PRIMARY KEY, body BLOB NOT NULL, raw BLOB, "
            "checksum INTEGER NOT NULL) STRICT"
        )
        numbers = itertools.count()

        def call() -> None:
            number = next(numbers)
            file.execute("INSERT INTO plain VALUES (?, ?, NULL, ?)", (number, BODY, number))
            socket.send(BODY)
            socket.recv()

        bursts(parent, call)


def bursts(parent: Parent, call: Callable[[], object]) -> None:
    """Make some calls whenever the parent says so; hand over the time of each, in µs."""
    clock = time.perf_counter_ns
    parent.send(ready=True)
    while True:  # until the parent ends this process, and what is left with it
        count, times = parent.receive()["count"], []
        for _ in range(count):
            begun = clock()
            call()
            times.append((clock() - begun) / 1000)
        parent.send(times=times)


# The parent's half.


def compare_rates(options: argparse.Namespace) -> None:
    """So many in flight."""
    samples: dict[str, list[Message]] = {}

    def sample(side: str) -> Message:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder, Family() as family:
            config: dict[str, Any] = {
                "name": unique_name(), "folder": folder, "workers": options.workers,
                "window": options.window, "seconds": options.seconds,
            }  # fmt: skip
            if side in HAS_SERVER:
                config |= family.start(f"{side}_server", **config).receive()
            workers = [family.start(f"{side}_worker", **config) for _ in range(options.workers)]
            for worker in workers:
                worker.receive()
            samples.setdefault(side, []).append(
                family.start(f"{side}_pusher", **config).receive(SAMPLE_S)
            )
        return samples[side][-1]

    sides = present(HAS_WORKERS if options.workers else tuple(NAMES))
    references = [Reference(NAMES[side], lambda side=side: sample(side)) for side in sides]
    for side, reference in zip(sides, references, strict=True):
        reference.target, reference.stretch = LIMITS.get(side, (None, None))

    name = "durable workers" if options.workers else "durable"
    caption = f"durable push, {options.window} in flight, workers: {options.workers}"
    figure = figures.Figure(name, caption, "tasks/s", ">=")
    until_done = figures.Figure(name, f"{caption}, until all are done", "tasks/s", ">=")

    def beside() -> list[Row]:
        if not options.workers:
            return []
        done = {
            NAMES.get(side, "ours"): [each["done"] for each in found]
            for side, found in samples.items()
        }
        return [
            figures.paired_row(until_done, done, Reference(NAMES[side], dict)) for side in sides
        ]

    figures.compare(figure, lambda: sample("ours"), references, options, beside)


def present(sides: tuple[str, ...]) -> list[str]:
    """The sides that can run here; says which are left out, and ends if none is left."""
    lacks = {side: foreign.missing(side) for side in sides}
    for side, what in lacks.items():
        if what:
            print(f"{NAMES[side]} is left out: {what}", file=sys.stderr)
    found = [side for side, what in lacks.items() if not what]
    if not found:
        raise paired.BenchmarkError("there is nothing to compare with")
    return found


def compare_alone(options: argparse.Namespace) -> None:
    """One at a time."""
    pending: dict[str, Message] = {}

    def sample(side: str) -> Message:
        if side not in pending:
            pending.update(alternate(options))
        return pending.pop(side)

    what = {
        "journal": "into a journal",
        "streamer": "to a durable streamer",
        "done": "with a journal, and its result",
    }[options.alone]
    figure = figures.Figure(
        f"durable alone {options.alone}",
        f"durable push {what}, p50, one at a time",
        "µs",
        "<=",
    )
    figures.compare(
        figure,
        lambda: sample(options.alone),
        [Reference("one commit and one round trip", lambda: sample("commit"), 1.5)],
        options,
    )


def alternate(options: argparse.Namespace) -> dict[str, Message]:
    """One round of both sides: they take turns, as a disk is fast now and slow in a second."""
    with ExitStack() as stack:
        clients, times = {}, {}
        for side in (options.alone, "commit"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder))
            family = stack.enter_context(Family())
            config = {"name": unique_name(), "folder": folder, "durable": True, "copy": True}
            if side in PARTNERS:
                config |= family.start(PARTNERS[side], **config).receive()
            clients[side] = family.start(f"{side}_client", **config)
            clients[side].receive()
            times[side] = []
        for turn in range(1 + TURNS):
            for side, client in clients.items():
                client.send(count=max(1, options.calls // TURNS))
                measured = client.receive()["times"]
                if turn:  # the first is a warm-up
                    times[side] += measured
    return {side: {"value": figures.percentile(values, 50)} for side, values in times.items()}


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--window", type=figures.positive, default=200)
    parser.add_argument("--workers", type=int, default=0, help="processes; default none")
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    parser.add_argument(
        "--alone", nargs="?", choices=["journal", "streamer", "done"], const="journal",
        help="one at a time; into a journal unless told otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--calls", type=figures.positive, default=300, help="of --alone; default %(default)s"
    )
    parser.add_argument("--folder", type=Path, help="on which disk; else the temporary folder")
    options = parser.parse_args()
    (compare_alone if options.alone else compare_rates)(options)


PARTS = foreign.PARTS | {
    "ours_pusher": ours_pusher,
    "ours_worker": tasks.ours_server,
    "journal_client": journal_client,
    "streamer_client": streamer_client,
    "done_client": done_client,
    "commit_client": commit_client,
    "raw_server": raw_server,
    "streamer": streamer.streamer,
    "blocking_worker": tasks.blocking_server,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
