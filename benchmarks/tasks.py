"""Tasks per second from push to done, one worker, against raw blocking DEALER/ROUTER.

Ours is asyncio on both sides with so many tasks in flight: a task counts once its result is
back. The raw peers keep as many messages outstanding with the multipart methods, and know
nothing of tasks: no retries, no leases, no matching of replies. `--push` measures a blocking
`push` in a plain loop instead, whose results nobody reads; the time ends when all are done.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import figures
import paired
from calls_window import STRIDE, WARM_UP_S, raw_client, raw_server
from figures import Message, Reference
from paired import BODY, Parent


def ours_server(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def work() -> None:
        async with zmqkit.asyncio.Worker(config["name"]) as worker:
            worker.task(lambda body: body)
            parent.on_end = worker.stop
            parent.send(address=worker.name)
            await worker.work()

    asyncio.run(work())


def blocking_server(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Worker(config["name"]) as worker:
        worker.task(lambda body: body)
        parent.on_end = worker.stop
        parent.send(address=worker.name)
        worker.work()


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Pusher(config["address"]) as pusher:
            await pusher.ready()
            await rate(pusher, config["window"], WARM_UP_S)
            parent.result(value=await rate(pusher, config["window"], config["seconds"]))

    asyncio.run(measure())


async def rate(pusher: Any, window: int, seconds: float) -> float:
    """Tasks per second of `window` loops that each push one after the other."""
    until = time.perf_counter() + seconds

    async def loop() -> int:
        count = 0
        while time.perf_counter() < until:
            ticket = await pusher.push(BODY)
            await ticket.result()
            count += 1
        return count

    begun = time.perf_counter()
    counts = await asyncio.gather(*(loop() for _ in range(window)))
    return sum(counts) / (time.perf_counter() - begun)


def blocking_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Pusher(config["address"]) as pusher:
        pusher.ready()

        def push_for(seconds: float) -> float:
            count, push = 0, pusher.push
            begun = time.perf_counter()
            until = begun + seconds
            while time.perf_counter() < until:
                for _ in range(STRIDE):
                    push(BODY)
                count += STRIDE
            while pusher.stats()["waiting"] or pusher.stats()["leased"]:
                time.sleep(0.001)
            return count / (time.perf_counter() - begun)

        push_for(WARM_UP_S)
        parent.result(value=push_for(config["seconds"]))


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--window", type=figures.positive, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    parser.add_argument("--push", action="store_true", help="blocking push in a plain loop")
    figures.add_pin(parser)
    options = parser.parse_args()

    def sample(side: str) -> Message:
        return paired.serve_and_call(
            side, options.pin, window=options.window, seconds=options.seconds, multipart=True
        )

    name, ours, target = ("push", "blocking", 0.3) if options.push else ("tasks", "ours", 0.6)
    what = "blocking push to done, results unread" if options.push else "push to done, asyncio"
    caption = f"tasks, {what}, {options.window} in flight"
    figures.compare(
        figures.Figure(name, caption, "tasks/s", ">="),
        lambda: sample(ours),
        [Reference("raw DEALER/ROUTER, multipart", lambda: sample("raw"), target, 1.0)],
        options,
    )


PARTS = {
    "ours_server": ours_server,
    "ours_client": ours_client,
    "blocking_server": blocking_server,
    "blocking_client": blocking_client,
    "raw_server": raw_server,
    "raw_client": raw_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
