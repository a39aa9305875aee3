"""Calls per second with 200 of them in flight, against raw blocking DEALER/ROUTER.

Ours is asyncio on both sides and gives each call its deadline; `--handlers` chooses plain or
`async def` ones. The raw client keeps as many requests outstanding on one DEALER and neither
matches replies to requests nor knows deadlines. It is measured twice: with the multipart
methods, as programs are written, and frame by frame with bare integers as flags, as fast as
pyzmq goes. Rows for zmq.asyncio and, where eclipse-zenoh is installed, Zenoh peer to peer stand
beside it, each in the fastest of the shapes that were tried: one task that sends after each
receipt, and channels read by the main thread (callbacks in Python take two to five times as
long).
`--loop uvloop` runs ours and zmq.asyncio on uvloop.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket as sockets
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import figures
import paired
from figures import Message, Reference
from paired import BODY, Parent

WARM_UP_S = 0.3
STRIDE = 500
"""The raw loops look at the clock after so many replies."""

ZENOH_KEY = "bench/echo"


def ours_server(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def serve() -> None:
        via = config.get("broker")
        async with zmqkit.asyncio.Service(config["name"], via=via) as service:
            if config["handlers"] == "async":

                @service.handler(name="echo")
                async def echo_async(body: bytes) -> bytes:
                    return body

            else:

                @service.handler(name="echo")
                def echo(body: bytes) -> bytes:
                    return body

            parent.on_end = service.stop
            parent.send(address=service.name)
            await service.serve()

    run(serve(), config)


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Client(config["address"]) as client:
            await client.ready()
            await our_rate(client, config["window"], WARM_UP_S)
            parent.result(value=await our_rate(client, config["window"], config["seconds"]))

    run(measure(), config)


def run(work: Coroutine[Any, Any, None], config: Message) -> None:
    """Run this on the event loop that is asked for."""
    if config["loop"] == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


async def our_rate(client: Any, window: int, seconds: float, body: Any = BODY) -> float:
    """Calls per second of `window` tasks that each call one after the other."""
    running = True

    async def caller() -> int:
        count, call = 0, client.call
        while running:
            await call("echo", body)
            count += 1
        return count

    def stop() -> None:
        nonlocal running
        running = False

    assert await client.call("echo", body) == body
    asyncio.get_running_loop().call_later(seconds, stop)
    begun = time.perf_counter()
    counts = await asyncio.gather(*(caller() for _ in range(window)))
    return sum(counts) / (time.perf_counter() - begun)


def raw_server(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.set_hwm(2 * config["window"])
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        parent.send(address=f"tcp://127.0.0.1:{port}")
        if config["multipart"]:
            while True:  # until the parent ends this process
                socket.send_multipart(socket.recv_multipart())
        receive, send, more = socket.recv, socket.send, int(zmq.SNDMORE)
        while True:
            peer = receive()
            body = receive()
            send(peer, more)
            send(body)


def raw_client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set_hwm(2 * config["window"])
        socket.connect(config["address"])
        receive: Callable[[], Any] = socket.recv
        send: Callable[[Any], Any] = socket.send
        body: Any = BODY
        if config["multipart"]:
            receive, send, body = socket.recv_multipart, socket.send_multipart, [BODY]

        for seconds in (WARM_UP_S, config["seconds"]):
            value = raw_rate(partial(send, body), receive, config["window"], seconds)
        parent.result(value=value)


def raw_rate(
    send: Callable[[], object], receive: Callable[[], Any], window: int, seconds: float
) -> float:
    """Messages per second of a loop that keeps so many outstanding."""
    count = window
    begun = time.perf_counter()
    until = begun + seconds
    for _ in range(window):
        send()
    while time.perf_counter() < until:
        for _ in range(STRIDE):
            receive()
            send()
        count += STRIDE
    for _ in range(window):
        reply = receive()
    assert BODY in (reply, reply[-1])
    return count / (time.perf_counter() - begun)


def zmq_asyncio_server(parent: Parent, config: Message) -> None:
    import zmq
    import zmq.asyncio

    async def serve() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.ROUTER) as socket:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
            parent.send(address=f"tcp://127.0.0.1:{port}")
            receive, send = socket.recv_multipart, socket.send_multipart
            while True:  # until the parent ends this process
                await send(await receive())

    run(serve(), config)


def zmq_asyncio_client(parent: Parent, config: Message) -> None:
    import zmq
    import zmq.asyncio

    async def measure() -> None:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.connect(config["address"])
            receive, send = socket.recv, socket.send

            async def rate(seconds: float) -> float:
                count: int = config["window"]
                begun = time.perf_counter()
                until = begun + seconds
                for _ in range(count):
                    await send(BODY)
                while time.perf_counter() < until:
                    for _ in range(STRIDE):
                        await receive()
                        await send(BODY)
                    count += STRIDE
                for _ in range(config["window"]):
                    reply = await receive()
                assert reply == BODY
                return count / (time.perf_counter() - begun)

            await rate(WARM_UP_S)
            parent.result(value=await rate(config["seconds"]))

    run(measure(), config)


def zenoh_session(**settings: object) -> Any:
    """A peer that speaks to named endpoints only: no scouting, no shared memory."""
    import zenoh

    config = zenoh.Config()
    for key, value in {
        "mode": "peer",
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "transport/shared_memory/enabled": False,
        **settings,
    }.items():
        config.insert_json5(key, json.dumps(value))
    return zenoh.open(config)


def zenoh_server(parent: Parent, config: Message) -> None:
    import zenoh

    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
    session = zenoh_session(**{"listen/endpoints": [endpoint]})
    channel = zenoh.handlers.FifoChannel(2 * config["window"])
    queries = session.declare_queryable(ZENOH_KEY, channel, complete=True)
    parent.send(address=endpoint)
    for query in queries:  # until the parent ends this process
        query.reply(ZENOH_KEY, query.payload)
        query.drop()


def zenoh_client(parent: Parent, config: Message) -> None:
    session = zenoh_session(
        **{"listen/endpoints": [], "connect/endpoints": [config["address"]]}
    )
    querier = session.declare_querier(ZENOH_KEY)
    get = querier.get
    for _ in range(500):
        if any(reply.ok for reply in get(payload=BODY)):
            break
        time.sleep(0.01)
    else:
        raise SystemExit("Zenoh's queryable was not found within 5 s")

    def rate(seconds: float) -> float:
        count: int = config["window"]
        begun = time.perf_counter()
        until = begun + seconds
        replies = deque(get(payload=BODY) for _ in range(count))
        while time.perf_counter() < until:
            for _ in range(STRIDE):
                replies.popleft().recv().ok.payload.to_bytes()
                replies.append(get(payload=BODY))
            count += STRIDE
        while replies:
            reply = replies.popleft().recv().ok.payload.to_bytes()
        assert reply == BODY
        return count / (time.perf_counter() - begun)

    rate(WARM_UP_S)
    parent.result(value=rate(config["seconds"]))


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--handlers", choices=["plain", "async"], default="plain")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--window", type=figures.positive, default=200)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    figures.add_pin(parser)
    options = parser.parse_args()
    plain = options.handlers == "plain"

    def sample(side: str, multipart: bool = True) -> Message:
        return paired.serve_and_call(
            side,
            options.pin,
            handlers=options.handlers,
            loop=options.loop,
            multipart=multipart,
            window=options.window,
            seconds=options.seconds,
        )

    references = [
        Reference(
            "raw DEALER/ROUTER",
            lambda: sample("raw"),
            target=1.2 if plain else 0.7,
            stretch=2.0 if plain else 1.0,
        ),
        Reference("raw, frame by frame", lambda: sample("raw", multipart=False)),
        Reference("zmq.asyncio", lambda: sample("zmq_asyncio"), target=None if plain else 3.0),
    ]
    if importlib.util.find_spec("zenoh"):
        references.append(
            Reference("Zenoh", lambda: sample("zenoh"), target=3.0 if plain else None)
        )
    name = "calls_window" if plain else "calls_window_async"
    caption = f"calls, asyncio, {options.window} in flight, {options.handlers} handlers"
    figure = figures.Figure(name, caption, "calls/s", ">=")
    figures.compare(figure, lambda: sample("ours"), references, options)


PARTS = {
    "ours_server": ours_server,
    "ours_client": ours_client,
    "raw_server": raw_server,
    "raw_client": raw_client,
    "zmq_asyncio_server": zmq_asyncio_server,
    "zmq_asyncio_client": zmq_asyncio_client,
    "zenoh_server": zenoh_server,
    "zenoh_client": zenoh_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
