"""Calls per second of `client.map` over 50,000 items, against what one would write by hand.

All sides are our client, called in other ways, and one blocking service. In asyncio, by hand
means as many tasks as the window is wide, which share one iterator of items; that is the
fastest of the loops that were tried. `--api blocking` compares with a ThreadPoolExecutor whose
32 threads make blocking calls.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import figures
import paired
from figures import Message, Reference
from paired import BODY, Parent, echo_server

THREADS = 32


def asyncio_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Client(config["address"], timeout_s=60) as client:
            await client.ready()
            way = {"ours": mapped, "hand": by_hand}[config["way"]]
            await way(client, config["items"] // 10, config["window"])
            begun = time.perf_counter()
            values = await way(client, config["items"], config["window"])
            elapsed_s = time.perf_counter() - begun
            assert values == [BODY] * config["items"]
            parent.result(value=config["items"] / elapsed_s)

    asyncio.run(measure())


async def mapped(client: Any, count: int, window: int) -> list[Any]:
    items = (BODY for _ in range(count))
    return [value async for value in client.map("echo", items, window=window)]


async def by_hand(client: Any, count: int, window: int) -> list[Any]:
    values: list[Any] = [None] * count
    items = enumerate(BODY for _ in range(count))
    call = client.call

    async def work() -> None:
        for place, item in items:
            values[place] = await call("echo", item)

    await asyncio.gather(*(work() for _ in range(window)))
    return values


def blocking_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with (
        zmqkit.Client(config["address"], timeout_s=60) as client,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        client.ready()

        def run(count: int) -> list[Any]:
            items = (BODY for _ in range(count))
            if config["way"] == "ours":
                return list(client.map("echo", items, window=config["window"]))
            return list(pool.map(partial(client.call, "echo"), items))

        run(config["items"] // 10)
        begun = time.perf_counter()
        values = run(config["items"])
        elapsed_s = time.perf_counter() - begun
        assert values == [BODY] * config["items"]
        parent.result(value=config["items"] / elapsed_s)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--api", choices=["asyncio", "blocking"], default="asyncio")
    parser.add_argument("--items", type=figures.positive, default=50_000)
    parser.add_argument("--window", type=figures.positive, default=100)
    figures.add_pin(parser)
    options = parser.parse_args()
    api = options.api

    def sample(way: str) -> Message:
        return paired.serve_and_call(
            api, options.pin, way=way, items=options.items, window=options.window
        )

    if api == "asyncio":
        reference = Reference("tasks by hand", lambda: sample("hand"), target=0.9)
        figure = figures.Figure("map", "client.map, asyncio", "calls/s", ">=")
    else:
        reference = Reference("32 threads", lambda: sample("threads"), target=2.0, stretch=4.0)
        figure = figures.Figure("map_blocking", "client.map, blocking", "calls/s", ">=")
    figures.compare(figure, lambda: sample("ours"), [reference], options)


PARTS = {
    "asyncio_server": echo_server,
    "asyncio_client": asyncio_client,
    "blocking_server": echo_server,
    "blocking_client": blocking_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
