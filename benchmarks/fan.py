"""One publisher to fifty subscribers (`--way out`), or fifty to one (`--way in`).

Messages received a second in all, 100 bytes each, between two processes, against raw pyzmq
doing the same: PUB sockets with XPUB_NODROP on one side, SUB sockets and a poller on the other.
Ours publishes in batches with policy="block"; the subscribers share one event loop.
"""

from __future__ import annotations

import asyncio
import time
from itertools import cycle
from typing import Any

import figures
import paired
from figures import Message, Reference
from paired import BODY, Parent

TOPIC = "bench"
TURN = 500
WARM_UP_S = 0.5
DRAIN = 100


def ours_server(parent: Parent, config: Message) -> None:
    import zmqkit

    name = config["name"]
    publishers = [zmqkit.Publisher(name, policy="block") for _ in range(config["publishers"])]
    parent.send(address=name)
    for publisher in publishers:
        publisher.ready(config["subscribers"])
    for publisher in cycle(publishers):  # until the parent ends this process
        with publisher.batch() as batch:
            for _ in range(TURN):
                batch.publish(TOPIC, BODY)


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def read(subscriber: zmqkit.asyncio.Subscriber) -> None:
        async with subscriber:
            async for _ in subscriber:
                pass  # counted by the subscriber

    async def measure() -> float:
        subscribers = [
            zmqkit.asyncio.Subscriber(config["address"]) for _ in range(config["subscribers"])
        ]
        tasks = [asyncio.create_task(read(subscriber)) for subscriber in subscribers]

        def counts() -> list[Any]:
            return [subscriber.stats()["delivered"] for subscriber in subscribers]

        for subscriber in subscribers:
            await subscriber.ready()
        await asyncio.sleep(WARM_UP_S)
        before, begun = sum(counts()), time.perf_counter()
        await asyncio.sleep(config["seconds"])
        value = float((sum(counts()) - before) / (time.perf_counter() - begun))
        parent.result(value=value)
        for task in tasks:
            task.cancel()
        return value

    asyncio.run(measure())


def raw_server(parent: Parent, config: Message) -> None:
    import zmq

    frame = TOPIC.encode() + b"\0" + BODY
    with zmq.Context() as context:
        sockets: list[zmq.Socket[bytes]] = []
        addresses = []
        for _ in range(config["publishers"]):
            socket = context.socket(zmq.PUB)
            socket.setsockopt(zmq.XPUB_NODROP, 1)
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            addresses.append(f"tcp://127.0.0.1:{port}")
            sockets.append(socket)
        parent.send(address=addresses)
        for socket in cycle(sockets):  # until the parent ends this process
            send = socket.send
            for _ in range(TURN):
                send(frame)


def raw_client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context:
        poller = zmq.Poller()
        for _ in range(config["subscribers"]):
            socket = context.socket(zmq.SUB)
            socket.subscribe(b"")
            for address in config["address"]:
                socket.connect(address)
            poller.register(socket, zmq.POLLIN)

        def count_for(seconds: float) -> float:
            count, begun, no_wait = 0, time.perf_counter(), int(zmq.NOBLOCK)
            while time.perf_counter() - begun < seconds:
                for ready, _ in poller.poll(1000):
                    receive: Any = ready.recv
                    try:
                        for _ in range(DRAIN):
                            receive(no_wait)
                            count += 1
                    except zmq.Again:
                        continue
            return count / (time.perf_counter() - begun)

        count_for(WARM_UP_S)
        parent.result(value=count_for(config["seconds"]))


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--way", choices=["out", "in"], default="out")
    parser.add_argument("--count", type=figures.positive, default=50)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser)
    options = parser.parse_args()
    many = options.count
    publishers, subscribers = (1, many) if options.way == "out" else (many, 1)

    def sample(side: str) -> Message:
        return paired.serve_and_call(
            side,
            options.pin,
            publishers=publishers,
            subscribers=subscribers,
            seconds=options.seconds,
        )

    caption = f"{publishers} publishers to {subscribers} subscribers"
    figures.compare(
        figures.Figure(f"fan_{options.way}", caption, "messages/s", ">="),
        lambda: sample("ours"),
        [Reference("raw PUB/SUB", lambda: sample("raw"), 0.9)],
        options,
    )


PARTS = {
    "ours_server": ours_server,
    "ours_client": ours_client,
    "raw_server": raw_server,
    "raw_client": raw_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
