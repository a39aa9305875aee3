"""What statistics cost: calls with them against calls without, and the time to read them all.

Client and service share a process and its event loop, over tcp on loopback. Stretches with
statistics and stretches without take turns, a tenth of a second each, in the same process, and
what is compared is how many calls neighbours make in a second of processor time. `--alone`
makes one call at a time instead of 200. `--read` measures how long it takes to read the
statistics of 500 roles in five processes, each with a client that has called; they are found
before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, islice
from typing import Any

import figures
import paired
from figures import Message, Reference
from paired import BODY, Parent

TARGET = 0.98
STRETCH_S = 0.1
READ_S = 0.2
PROCESSES, ROLES = 5, 100


def turns(parent: Parent, config: Message) -> None:
    """Make calls with statistics and without, in turns."""
    import zmqkit.asyncio

    async def measure() -> None:
        async with (
            zmqkit.asyncio.Service(config["name"]) as service,
            zmqkit.asyncio.Client(config["name"]) as client,
        ):

            @service.handler
            def echo(body: bytes) -> bytes:
                return body

            await service.start()
            await client.ready()
            serving: Any = service._core._work
            calling: Any = client._core._dispatcher
            meters = {"on": (serving.meter, calling.meter), "off": (None, None)}
            rates: dict[str, list[float]] = {"on": [], "off": []}
            for side in islice(cycle(("on", "off", "off", "on")), 4 * config["turns"]):
                serving.meter, calling.meter = meters[side]
                rates[side].append(await rate(client, config["window"]))
            ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
            without, ratio = figures.median(rates["off"]), figures.median(ratios)
            assert without is not None and ratio is not None
            parent.result(off=without, on=without * ratio)

    asyncio.run(measure())


async def rate(client: Any, window: int) -> float:
    """Return how many calls a stretch makes in a second of processor time."""
    until, count = time.monotonic() + STRETCH_S, 0

    async def go_on() -> None:
        nonlocal count
        while time.monotonic() < until:
            await client.call("echo", BODY)
            count += 1

    begun = time.process_time()
    await asyncio.gather(*(go_on() for _ in range(window)))
    return count / (time.process_time() - begun)


def many_roles(parent: Parent, config: Message) -> None:
    """Have many services, and a client that has called the first."""
    import threading

    import zmqkit

    with ExitStack() as stack:
        names = [f"{config['name']}-{number}" for number in range(ROLES - 1)]
        services = [stack.enter_context(zmqkit.Service(name)) for name in names]
        services[0].handler(lambda body: body, name="echo")
        thread = threading.Thread(target=services[0].serve)
        thread.start()
        client = stack.enter_context(zmqkit.Client(names[0]))
        for _ in range(100):
            client.call("echo", BODY)
        parent.send(ready=True)
        parent.on_end = parent.leave
        try:
            parent.receive()
        finally:
            services[0].stop()
            thread.join()


def read_all(parent: Parent, config: Message) -> None:
    """Find all roles, and read the statistics of all."""
    import threading

    from zmqkit.cli.ls import listening
    from zmqkit.node.statistics import Reader

    with listening(threading.Event(), insecure=False) as node, Reader(node) as reader:

        def roles() -> int:
            rows = reader.read(timeout_s=5.0)
            return sum(not row.part and config["name"] in row.name for row in rows)

        while roles() < PROCESSES * ROLES:
            time.sleep(0.1)
        begun = time.monotonic()
        assert roles() == PROCESSES * ROLES
        parent.result(seconds=time.monotonic() - begun)


def read_once() -> float:
    """Return how long it takes to read the statistics of all roles of several processes."""
    name = paired.unique_name()
    with paired.Family() as family:
        for number in range(PROCESSES):
            family.start("many_roles", name=f"{name}-{number}").receive()
        return float(family.start("read_all", name=name).receive()["seconds"])


class Pair:
    """The two sides of one process that takes turns between them."""

    def __init__(self, measure: Callable[[], Message]) -> None:
        self._measure = measure
        self._left: Message = {}

    def side(self, name: str) -> Message:
        """Return one side; each measurement gives both."""
        if name not in self._left:
            self._left = self._measure()
        return {"value": self._left.pop(name)}


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--alone", action="store_true", help="one call at a time")
    parser.add_argument("--read", action="store_true", help="the time to read all of 500 roles")
    parser.add_argument(
        "--turns", type=figures.positive, default=20, help="of four stretches; default 20"
    )
    options = parser.parse_args()
    if options.read:
        figure = figures.Figure("statistics_read", "statistics of 500 roles read", "s", "<=")
        rounds = (
            [] if options.only == "reference" else [read_once() for _ in range(options.rounds)]
        )
        value = figures.percentile(rounds, 50) if rounds else None
        figures.finish(
            figure, [figures.limit_row(figure.caption, figure, value, READ_S)], options
        )
        return

    def measure() -> Message:
        with paired.Family("one") as family:
            config = {"window": 1 if options.alone else 200, "turns": options.turns}
            return family.start("turns", name=paired.unique_name(), **config).receive()

    pair = Pair(measure)
    how = "one at a time" if options.alone else "200 in flight"
    name = "statistics" + "_alone" * options.alone
    figure = figures.Figure(name, f"calls with statistics, {how}", "calls/s of CPU", ">=")
    without = Reference("without", lambda: pair.side("off"), TARGET)
    figures.compare(figure, lambda: pair.side("on"), [without], options)


PARTS = {"turns": turns, "many_roles": many_roles, "read_all": read_all}

if __name__ == "__main__":
    paired.run(main, PARTS)
