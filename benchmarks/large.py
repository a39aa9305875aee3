"""Calls with 1 MiB of bytes as argument and as reply, against raw pyzmq with copy=False.

The raw server sends the very frame back that it received and neither side reads one, so the
reference makes no copy at all. Ours has copy=False too: handler and caller get a view of what
arrived. `--copy` measures the default, in which both get bytes, against raw pyzmq with copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import figures
import paired
from figures import Message, Reference
from paired import Parent, echo_server

MIB = 1 << 20
LARGE = bytes(range(256)) * (MIB // 256)


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Client(config["address"]) as client:
        client.ready()
        call = client.options(copy=config["copy"]).call
        assert call("echo", LARGE) == LARGE
        parent.result(value=rate(lambda: call("echo", LARGE), config["calls"]))


def raw_server(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        parent.send(address=f"tcp://127.0.0.1:{port}")
        receive, send = socket.recv, socket.send
        if config["copy"]:
            while True:  # until the parent ends this process
                send(receive())
        while True:
            send(receive(copy=False), copy=False)


def raw_client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(config["address"])
        receive, send = socket.recv, socket.send

        def call_copying() -> object:
            send(LARGE)
            return receive()

        def call() -> object:
            send(LARGE, copy=False)
            return receive(copy=False)

        call()
        send(LARGE)
        assert receive() == LARGE
        parent.result(value=rate(call_copying if config["copy"] else call, config["calls"]))


def rate(call: Callable[[], object], count: int) -> float:
    """MiB per second in each direction over `count` calls, after a warm-up."""
    for _ in range(count // 4):
        call()
    begun = time.perf_counter()
    for _ in range(count):
        call()
    return count / (time.perf_counter() - begun)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument(
        "--calls", type=figures.positive, default=4000, help="per round; default %(default)s"
    )
    figures.add_pin(parser)
    parser.add_argument("--copy", action="store_true", help="bytes on both ends, the default")
    options = parser.parse_args()

    def sample(side: str) -> Message:
        return paired.serve_and_call(side, options.pin, calls=options.calls, copy=options.copy)

    name, way = ("large_copy", "copies") if options.copy else ("large", "copy=False")
    figures.compare(
        figures.Figure(name, f"1 MiB argument and reply, blocking, {way}", "MiB/s", ">="),
        lambda: sample("ours"),
        [Reference(f"raw REQ/REP, {way}", lambda: sample("raw"), 0.8, 1.0)],
        options,
    )


PARTS = {
    "ours_server": echo_server,
    "ours_client": ours_client,
    "raw_server": raw_server,
    "raw_client": raw_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
