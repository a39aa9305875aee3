"""How soon 20 long tasks all run on 20 workers of one place each.

The workers are warm: each has done tasks that take no time, of every pusher. Then one pusher
pushes 20 tasks of a second, or four pushers push five each at the same moment. The clock starts
at the first push and stops when the last handler begins. A task that is given to a worker that
has one already would begin a second later. `--api` is that of the workers.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import figures
import paired
from figures import Figure, Message
from paired import Family, Parent, unique_name

WORKERS = 20
PUSHERS = (1, 4)
TASK_S = 1.0
WARM_TASKS = 10 * WORKERS
SETTLE_S = 0.5
SAMPLE_S = 60.0
FIGURE = Figure("spread", f"{WORKERS} tasks, {WORKERS} workers", "ms", "<=")


def worker(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Worker(config["name"], concurrency=1) as worker:

        @worker.task
        def work(task_s: float) -> float:
            begun_at = time.monotonic()
            time.sleep(task_s)
            return begun_at

        parent.on_end = worker.stop
        parent.send(ready=True)
        worker.work()


def asyncio_worker(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def serve() -> None:
        async with zmqkit.asyncio.Worker(config["name"], concurrency=1) as worker:

            @worker.task
            async def work(task_s: float) -> float:
                begun_at = time.monotonic()
                await asyncio.sleep(task_s)
                return begun_at

            parent.on_end = worker.stop
            parent.send(ready=True)
            await worker.work()

    asyncio.run(serve())


def pusher(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def push() -> None:
        async with zmqkit.asyncio.Pusher(config["name"]) as pusher:
            await pusher.ready(WORKERS)
            await asyncio.gather(*[
                ticket.result() for ticket in await pusher.push_many([0.0] * WARM_TASKS)
            ])  # fmt: skip
            parent.send(ready=True)
            at = (await asyncio.to_thread(parent.receive))["at"]
            await asyncio.sleep(at - time.monotonic())
            pushed_at = time.monotonic()
            tickets = await pusher.push_many([TASK_S] * config["tasks"])
            begun = await asyncio.gather(*(ticket.result() for ticket in tickets))
            parent.result(pushed_at=pushed_at, begun_at=max(begun))

    asyncio.run(push())


def sample(pushers: int, part: str) -> float:
    """Milliseconds from the first push until all run."""
    with Family() as family:
        name = unique_name()
        workers = [family.start(part, name=name) for _ in range(WORKERS)]
        for each in workers:
            each.receive()
        config = {"name": name, "tasks": WORKERS // pushers}
        children = [family.start("pusher", **config) for _ in range(pushers)]
        for child in children:
            child.receive()
        at = time.monotonic() + SETTLE_S
        for child in children:
            child.send(at=at)
        results = [child.receive(SAMPLE_S) for child in children]
        begun_at = max(result["begun_at"] for result in results)
        return 1000 * (begun_at - min(result["pushed_at"] for result in results))


def measure(options: argparse.Namespace) -> dict[int, list[float]]:
    """All rounds, each printed; every other one begins with more pushers."""
    part = "worker" if options.api == "blocking" else "asyncio_worker"
    times: dict[int, list[float]] = {pushers: [] for pushers in PUSHERS}
    for number in range(options.rounds):
        for pushers in PUSHERS if number % 2 == 0 else reversed(PUSHERS):
            times[pushers].append(sample(pushers, part))
        if not options.json:
            line = " · ".join(f"{each} pushers {times[each][-1]:.3g}" for each in PUSHERS)
            print(f"  round {number + 1}: {line}", flush=True)
    return times


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--api", choices=["blocking", "asyncio"], default="blocking")
    options = parser.parse_args()
    if not options.json:
        print(f"{FIGURE.caption}, first push until all run, ms; {options.rounds} rounds")
    empty: dict[int, list[float]] = {pushers: [] for pushers in PUSHERS}
    times = empty if options.only == "reference" else measure(options)
    rows = [
        figures.limit_row(
            f"{FIGURE.caption}, pushers: {pushers}, until all run",
            FIGURE, figures.median(found), 50.0,
        )
        for pushers, found in times.items()
    ]  # fmt: skip
    figures.finish(FIGURE, rows, options)


PARTS = {"worker": worker, "asyncio_worker": asyncio_worker, "pusher": pusher}

if __name__ == "__main__":
    paired.run(main, PARTS)
