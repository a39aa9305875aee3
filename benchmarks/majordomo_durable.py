"""Requests per second that a broker with a journal accepts once they are on its disk.

Client, broker and worker are three processes, and so many requests are in flight: `submit`
returns when the broker's disk has the request. Beside it stands the durable pipeline: `push` to
a streamer with a journal, and a worker. Both do what they accept meanwhile.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import figures
import paired
import streamer
import tasks
from calls_window import WARM_UP_S
from figures import Message, Reference
from paired import BODY, Family, Parent, unique_name

Act = Callable[[], Awaitable[object]]


def broker(parent: Parent, config: Message) -> None:
    from zmqkit.device.majordomo import Majordomo

    with (
        tempfile.TemporaryDirectory() as folder,
        Majordomo(config["broker"], journal=Path(folder, "requests")) as device,
    ):
        parent.on_end = device.stop
        parent.send(ready=True)
        device.run()


def service(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def serve() -> None:
        async with zmqkit.asyncio.Service(config["name"], via=config["broker"]) as worker:
            worker.handler(echo)
            parent.send(ready=True)
            await worker.serve()

    asyncio.run(serve())


def echo(body: bytes) -> bytes:
    """The handler."""
    return body


def submitting_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Client(config["name"], timeout_s=60.0) as client:
            await client.ready()
            await report(parent, config, lambda: client.submit("echo", BODY))

    asyncio.run(measure())


def pushing_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Pusher(config["name"], durable=True) as pusher:
            await pusher.ready()
            parent.send(ready=True)
            await report(parent, config, lambda: pusher.push(BODY))

    asyncio.run(measure())


async def report(parent: Parent, config: Message, act: Act) -> None:
    """Measure how often `window` loops do this one after the other, each second."""
    for seconds in (WARM_UP_S, config["seconds"]):
        begun = time.perf_counter()
        counts = [loop(act, begun + seconds) for _ in range(config["window"])]
        count = sum(await asyncio.gather(*counts))
        value = count / (time.perf_counter() - begun)
    parent.result(value=value)


async def loop(act: Act, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        await act()
        count += 1
    return count


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--window", type=figures.positive, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser)
    options = parser.parse_args()
    shared = {"window": options.window, "seconds": options.seconds}

    def submitted() -> Message:
        with Family(options.pin) as family:
            names = {"broker": unique_name(), "name": unique_name()}
            for part in ("broker", "service"):
                family.start(part, **names).receive()
            return family.start("submitting_client", **shared, **names).receive()

    def pushed() -> Message:
        with Family(options.pin) as family:
            name = unique_name()
            family.start("streamer", name=name, durable=True).receive()
            client = family.start("pushing_client", **shared, name=name)
            client.receive()
            family.start("ours_server", name=name).receive()
            return client.receive()

    caption = f"requests accepted on disk by a broker, {options.window} in flight"
    figures.compare(
        figures.Figure("majordomo_durable", caption, "requests/s", ">="),
        submitted,
        [Reference("push to a durable streamer", pushed, 0.7)],
        options,
    )


PARTS = {
    "broker": broker,
    "service": service,
    "submitting_client": submitting_client,
    "streamer": streamer.streamer,
    "ours_server": tasks.ours_server,
    "pushing_client": pushing_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
