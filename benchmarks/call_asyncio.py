"""The median time of one asyncio call at a time, against zmq.asyncio REQ/REP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import figures
import paired
from figures import Message
from paired import BODY, Parent


def ours_server(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def serve() -> None:
        async with zmqkit.asyncio.Service(config["name"]) as service:

            @service.handler
            def echo(body: bytes) -> bytes:
                return body

            parent.on_end = service.stop
            parent.send(address=service.name)
            await service.serve()

    asyncio.run(serve())


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Client(config["address"]) as client:
            await client.ready()
            call = client.call
            parent.result(**await latency(lambda: call("echo", BODY), config["calls"]))

    asyncio.run(measure())


def reference_server(parent: Parent, config: Message) -> None:
    import zmq
    import zmq.asyncio

    async def serve() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.REP) as socket:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            parent.send(address=f"tcp://127.0.0.1:{port}")
            receive, send = socket.recv, socket.send
            while True:  # until the parent ends this process
                await send(await receive())

    asyncio.run(serve())


def reference_client(parent: Parent, config: Message) -> None:
    import zmq
    import zmq.asyncio

    async def measure() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.REQ) as socket:
            socket.connect(config["address"])
            receive, send = socket.recv, socket.send

            async def call() -> bytes:
                await send(BODY)
                return await receive()

            parent.result(**await latency(call, config["calls"]))

    asyncio.run(measure())


async def latency(
    call: Callable[[], Awaitable[object]], count: int, body: object = BODY
) -> Message:
    """The median and the 99th percentile of `count` calls, in microseconds, after a warm-up."""
    clock = time.perf_counter_ns
    for _ in range(count // 4):
        reply = await call()
    assert reply == body
    times = []
    for _ in range(count):
        begun = clock()
        await call()
        times.append((clock() - begun) / 1000)
    return {"value": figures.percentile(times, 50), "p99": figures.percentile(times, 99)}


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument(
        "--calls", type=figures.positive, default=4000, help="per round; default %(default)s"
    )
    figures.add_pin(parser, "apart")
    options = parser.parse_args()

    def sample(side: str) -> Message:
        return paired.serve_and_call(side, options.pin, calls=max(4, options.calls))

    figure = figures.Figure("call_asyncio", "call, p50, asyncio", "µs", "<=")
    limits = 0.8, 0.7
    if options.pin == "one":
        figure = figures.Figure(
            "call_asyncio_one", "call, p50, asyncio, one processor", "µs", "<="
        )
        limits = 0.9, 0.8
    figures.compare(
        figure,
        lambda: sample("ours"),
        [figures.Reference("zmq.asyncio REQ/REP", lambda: sample("reference"), *limits)],
        options,
    )


PARTS = {
    "ours_server": ours_server,
    "ours_client": ours_client,
    "reference_server": reference_server,
    "reference_client": reference_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
