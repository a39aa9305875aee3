"""Messages per second from publish to iterate, against raw pyzmq PUB/SUB of single frames.

Ours has policy="block", so nothing is lost; the subscriber iterates over Message objects with
decoded bodies. `--api` is blocking (in batches) or asyncio on both sides; `--each` publishes
without a batch, in asyncio one message in each turn of the loop, whose kind is `--loop`. The
raw publisher sends topic and body as one frame, which the raw subscriber receives as bytes and
leaves as they are; XPUB_NODROP has it wait for room. `--size` of 1 MiB is sent and received
with copy=False by both.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import figures
import paired
from calls_window import zenoh_session
from figures import Message, Reference
from paired import Parent

WARM_UP_S = 0.3
STRIDE = 500
TURN = 500
LOOPS: dict[str, Callable[[], Callable[[], asyncio.AbstractEventLoop] | None]] = {
    "asyncio": lambda: None,
    "uvloop": lambda: importlib.import_module("uvloop").new_event_loop,  # type: ignore[no-any-return]  # untyped
}
ZENOH_KEY = "bench/topic"


def topics_of(config: Message) -> list[str]:
    """As many topics as asked for."""
    return [f"bench.{number:04}" for number in range(config["topics"])]


def body_of(config: Message) -> bytes:
    """A body of the size asked for."""
    return bytes(range(256)) * (config["size"] // 256) + bytes(config["size"] % 256)


def stride_of(config: Message) -> int:
    """After how many messages a loop looks at the clock."""
    return max(1, min(STRIDE, (1 << 22) // config["size"]))


def rate(messages: Iterable[object], config: Message) -> float:
    """Messages per second, after a warm-up."""
    stride, count, until, begun = stride_of(config), 0, 0.0, 0.0
    for _ in messages:
        count += 1
        if count % stride == 0:
            now = time.perf_counter()
            if not begun:
                until = until or now + WARM_UP_S
                if now >= until:
                    begun, until, count = now, now + config["seconds"], 0
            elif now >= until:
                return count / (now - begun)
    raise SystemExit("no more messages")


def ours_server(parent: Parent, config: Message) -> None:
    import zmqkit

    topics, body = topics_of(config), body_of(config)
    kept = config.get("history")
    with zmqkit.Publisher(config["name"], policy="block", history=kept) as publisher:
        parent.send(address=publisher.name)
        publisher.ready()
        if config["each"]:
            while True:  # until the parent ends this process
                for topic in topics:
                    publisher.publish(topic, body)
        topics *= TURN
        while True:
            with publisher.batch() as batch:
                for topic in topics:
                    batch.publish(topic, body)


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Subscriber(config["address"], copy=config["size"] < 1 << 20) as subscriber:
        parent.result(value=rate(subscriber, config))


def asyncio_server(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    topics, body = topics_of(config), body_of(config)

    async def publish() -> None:
        async with zmqkit.asyncio.Publisher(config["name"], policy="block") as publisher:
            parent.send(address=publisher.name)
            await publisher.ready()
            turn = topics if config["each"] else topics * TURN
            while True:  # until the parent ends this process
                for topic in turn:
                    await publisher.publish(topic, body)
                await asyncio.sleep(0)

    run(publish(), config)


def asyncio_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def receive() -> None:
        name, copies = config["address"], config["size"] < 1 << 20
        async with zmqkit.asyncio.Subscriber(name, copy=copies) as subscriber:
            parent.result(value=await rate_asyncio(subscriber.__anext__, config))

    run(receive(), config)


def run(work: Coroutine[Any, Any, None], config: Message) -> None:
    """Run this on the kind of loop that was asked for."""
    with asyncio.Runner(loop_factory=LOOPS[config["loop"]]()) as runner:
        runner.run(work)


async def rate_asyncio(
    receive: Callable[[], Coroutine[Any, Any, object]], config: Message
) -> float:
    """Messages per second, after a warm-up."""
    stride = stride_of(config)

    async def count_for(seconds: float) -> float:
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            for _ in range(stride):
                await receive()
            count += stride
        return count / (time.perf_counter() - begun)

    await count_for(WARM_UP_S)
    return await count_for(config["seconds"])


def raw_server(parent: Parent, config: Message) -> None:
    import zmq

    body = body_of(config)
    frames = [topic.encode() + b"\0" + body for topic in topics_of(config)] * TURN
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        # Else PUB drops most of what is sent in a loop, and SUB gets a tenth of this.
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        parent.send(address=f"tcp://127.0.0.1:{port}")
        send = socket.send
        if config["size"] >= 1 << 20:
            while True:  # until the parent ends this process
                for frame in frames:
                    send(frame, copy=False)
        while True:
            for frame in frames:
                send(frame)


def raw_client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.subscribe(b"")
        socket.connect(config["address"])
        receive: Callable[[], object] = socket.recv
        if config["size"] >= 1 << 20:
            receive = lambda: socket.recv(copy=False)  # noqa: E731 - as the other is
        parent.result(value=rate(iter(receive, None), config))


def zmq_asyncio_server(parent: Parent, config: Message) -> None:
    import zmq
    import zmq.asyncio

    body = body_of(config)
    frames = [topic.encode() + b"\0" + body for topic in topics_of(config)]

    async def publish() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.PUB) as socket:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            parent.send(address=f"tcp://127.0.0.1:{port}")
            while True:  # until the parent ends this process
                for frame in frames:
                    await socket.send(frame)
                await asyncio.sleep(0)

    asyncio.run(publish())


def zmq_asyncio_client(parent: Parent, config: Message) -> None:
    import zmq
    import zmq.asyncio

    async def receive() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as socket:
            socket.subscribe(b"")
            socket.connect(config["address"])
            parent.result(value=await rate_asyncio(socket.recv, config))

    asyncio.run(receive())


def zenoh_server(parent: Parent, config: Message) -> None:
    import socket as sockets

    import zenoh

    body = body_of(config)
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
    session = zenoh_session(**{"listen/endpoints": [endpoint]})
    publisher = session.declare_publisher(
        ZENOH_KEY, congestion_control=zenoh.CongestionControl.BLOCK
    )
    parent.send(address=endpoint)
    while True:  # until the parent ends this process
        publisher.put(body)


def zenoh_client(parent: Parent, config: Message) -> None:
    """A callback, which is twice as fast as a channel read by the main thread."""
    count = 0

    def take(sample: Any) -> None:
        nonlocal count
        sample.payload.to_bytes()
        count += 1

    session = zenoh_session(
        **{"listen/endpoints": [], "connect/endpoints": [config["address"]]}
    )
    subscriber = session.declare_subscriber(ZENOH_KEY, take)
    until = time.perf_counter() + 5.0
    while not count and time.perf_counter() < until:
        time.sleep(0.01)
    time.sleep(WARM_UP_S)
    before, begun = count, time.perf_counter()
    time.sleep(config["seconds"])
    value = (count - before) / (time.perf_counter() - begun)
    del subscriber
    parent.result(value=value)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--api", choices=["blocking", "asyncio"], default="blocking")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="of our asyncio sides")
    parser.add_argument("--size", type=figures.positive, default=100, help="bytes of a body")
    parser.add_argument("--topics", type=figures.positive, default=1)
    parser.add_argument(
        "--each", action="store_true", help="one by one: no batch, a turn for each"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser)
    options = parser.parse_args()

    def sample(side: str) -> Message:
        return paired.serve_and_call(
            side,
            options.pin,
            size=options.size,
            topics=options.topics,
            each=options.each,
            loop=options.loop,
            seconds=options.seconds,
        )

    ours = "ours" if options.api == "blocking" else "asyncio"
    target, stretch = targets(options)
    raw = Reference("raw PUB/SUB", lambda: sample("raw"), target, stretch)
    references = [raw]
    small = options.size == 100 and options.topics == 1
    if small:
        times = 8.0 if options.each else 20.0
        references.append(Reference("zmq.asyncio", lambda: sample("zmq_asyncio"), times))
    fair = options.api == "blocking" or not options.each  # Zenoh has no asyncio of its own
    if small and fair and importlib.util.find_spec("zenoh"):
        limits = (0.8, 1.0) if options.each else (2.0, 3.0)
        references.append(Reference("Zenoh", lambda: sample("zenoh"), *limits))
    name = "_".join(
        ["publish", options.api, str(options.size), str(options.topics)]
        + ["each"] * options.each
        + ["uvloop"] * (options.loop == "uvloop")
    )
    how = ", one by one" if options.each else ""
    api = options.api if options.loop == "asyncio" else "uvloop"
    caption = f"publish, {api}, {options.size} B, {options.topics} topics{how}"
    figure = figures.Figure(name, caption, "messages/s", ">=")
    figures.compare(figure, lambda: sample(ours), references, options)


def targets(options: argparse.Namespace) -> tuple[float, float]:
    """Target and stretch of ours over raw."""
    size, topics = options.size, options.topics
    if options.each:
        by_loop = {"asyncio": (0.3, 0.5), "uvloop": (0.5, 0.9)}
        return (1.0, 1.5) if options.api == "blocking" else by_loop[options.loop]
    if size >= 1 << 20:
        return 0.9, 1.0
    if size >= 1 << 10:
        return 1.2, 2.0
    return (2.0, 3.0) if topics == 1 else (1.5, 2.0)


PARTS = {
    "ours_server": ours_server,
    "ours_client": ours_client,
    "asyncio_server": asyncio_server,
    "asyncio_client": asyncio_client,
    "raw_server": raw_server,
    "raw_client": raw_client,
    "zmq_asyncio_server": zmq_asyncio_server,
    "zmq_asyncio_client": zmq_asyncio_client,
    "zenoh_server": zenoh_server,
    "zenoh_client": zenoh_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
