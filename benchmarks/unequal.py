"""Tasks per second of four workers of unequal speed, against the sum of their speeds.

Two asyncio pushers have so many tasks in flight each; a worker does one task at a time, which
is to sleep for 5, 10, 20 or 40 ms. A task counts once its pusher has the result. The reference
is four processes that sleep as long in plain loops: what they do together is the sum of the
speeds, with what this machine adds to a sleep. A row says what it would be without that.
"""

from __future__ import annotations

import asyncio
import time

import figures
import paired
from figures import Figure, Message, Reference
from paired import BODY, Family, Parent, unique_name

TASKS_S = (0.005, 0.01, 0.02, 0.04)
PUSHERS = 2
START_S = 0.5
"""How long the clock waits for everybody, and all are at work before it starts."""


def worker(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Worker(config["name"]) as worker:

        @worker.task
        def work(body: bytes) -> None:
            time.sleep(config["task_s"])

        parent.on_end = worker.stop
        parent.send(ready=True)
        worker.work()


def pusher(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def push() -> None:
        async with zmqkit.asyncio.Pusher(config["name"]) as pusher:
            await pusher.ready(len(TASKS_S))
            parent.send(ready=True)
            begin = await asyncio.to_thread(lambda: parent.receive()["begin"])
            end, count = begin + config["seconds"], 0

            async def loop() -> None:
                nonlocal count
                while time.monotonic() < end:
                    await (await pusher.push(BODY)).result()
                    count += begin <= time.monotonic() < end

            await asyncio.gather(*(loop() for _ in range(config["window"])))
            parent.result(count=count)

    asyncio.run(push())


def sleeper(parent: Parent, config: Message) -> None:
    parent.send(ready=True)
    begin = parent.receive()["begin"]
    end, count = begin + config["seconds"], 0
    while time.monotonic() < end:
        time.sleep(config["task_s"])
        count += begin <= time.monotonic() < end
    parent.result(count=count)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--window", type=figures.positive, default=100, help="of each pusher")
    parser.add_argument("--seconds", type=float, default=4.0, help="per sample; default 4")
    options = parser.parse_args()
    shared = {"seconds": options.seconds, "window": options.window}

    def ours() -> Message:
        with Family() as family:
            name = unique_name()
            for task_s in TASKS_S:
                family.start("worker", name=name, task_s=task_s).receive()
            pushers = [family.start("pusher", name=name, **shared) for _ in range(PUSHERS)]
            return together(pushers, options.seconds)

    def alone() -> Message:
        with Family() as family:
            sleepers = [family.start("sleeper", task_s=each, **shared) for each in TASKS_S]
            return together(sleepers, options.seconds)

    figure = Figure("unequal", "tasks done by workers of unequal speed", "tasks/s", ">=")
    nominal = sum(1 / task_s for task_s in TASKS_S)
    figures.compare(
        figure,
        ours,
        [Reference("the sum of their speeds", alone, 0.95)],
        options,
        lambda: [figures.limit_row("the sum, if sleeps were exact", figure, nominal, None)],
    )


def together(children: list[paired.Child], seconds: float) -> Message:
    """Have all begin at the same moment; return how many tasks they did per second."""
    for child in children:
        child.receive()
    begin = time.monotonic() + START_S
    for child in children:
        child.send(begin=begin)
    return {"value": sum(child.receive()["count"] for child in children) / seconds}


PARTS = {"worker": worker, "pusher": pusher, "sleeper": sleeper}

if __name__ == "__main__":
    paired.run(main, PARTS)
