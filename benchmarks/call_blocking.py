"""The median time of one blocking call at a time, against raw pyzmq REQ/REP."""

from __future__ import annotations

import time
from collections.abc import Callable

import figures
import paired
from figures import Message
from paired import BODY, Parent, echo_server


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Client(config["address"]) as client:
        client.ready()
        call = client.call
        parent.result(**latency(lambda: call("echo", BODY), config["calls"]))


def raw_server(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        parent.send(address=f"tcp://127.0.0.1:{port}")
        receive, send = socket.recv, socket.send
        while True:  # until the parent ends this process
            send(receive())


def raw_client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(config["address"])
        receive, send = socket.recv, socket.send

        def call() -> bytes:
            send(BODY)
            return receive()

        parent.result(**latency(call, config["calls"]))


def latency(call: Callable[[], object], count: int) -> Message:
    """The median and the 99th percentile of `count` calls, in microseconds, after a warm-up."""
    clock = time.perf_counter_ns
    for _ in range(count // 4):
        reply = call()
    assert reply == BODY
    times = []
    for _ in range(count):
        begun = clock()
        call()
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

    figure = figures.Figure("call_blocking", "call, p50, blocking", "µs", "<=")
    limits = 1.5, 1.3
    if options.pin == "one":
        figure = figures.Figure(
            "call_blocking_one", "call, p50, blocking, one processor", "µs", "<="
        )
        limits = 3.5, 2.5
    figures.compare(
        figure,
        lambda: sample("ours"),
        [figures.Reference("raw pyzmq REQ/REP", lambda: sample("raw"), *limits)],
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
