"""Calls through a Majordomo broker, against the broker of the ZeroMQ guide and a proxy in C.

Client, broker and worker are three processes. With `--peers own`, ours are a `Client` and a
`Service` with `via`, and the guide's broker has its own client and worker. With `--peers rfc`,
both brokers have the very same client and worker: plain pyzmq with the messages of RFC 7. A
worker of RFC 7 has one request at a time, so each waits for the worker's last reply.

What is measured is calls per second with `--window` of them in flight, or with `--alone` the
median time of one call at a time. Beside the window of our own peers stand raw DEALER peers
with libzmq's own ROUTER-DEALER proxy in C, which knows no services, workers or losses.
"""

from __future__ import annotations

import argparse
import sys

import calls_window
import figures
import paired
import streamer
import zguide
from call_blocking import latency
from calls_window import WARM_UP_S, raw_rate
from figures import Message, Reference
from paired import BODY, Family, Parent, unique_name

CLIENT, WORKER = b"MDPC01", b"MDPW01"
READY, REQUEST, REPLY, HEARTBEAT = b"\x01", b"\x02", b"\x03", b"\x04"
WINDOWS = {"own": 200, "rfc": 100}


def broker(parent: Parent, config: Message) -> None:
    from zmqkit.device.majordomo import Majordomo

    with Majordomo(config["broker"]) as device:
        parent.on_end = device.stop
        parent.send(endpoint=device.endpoint)
        device.run()


def own_worker(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Service(config["name"], via=config.get("broker")) as service:
        service.handler(echo)
        parent.on_end = service.stop
        parent.send(ready=True)
        service.serve()


def echo(body: bytes) -> bytes:
    """The handler of the blocking service."""
    return body


def own_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Client(config["address"]) as client:
        client.ready()
        call = client.call
        parent.result(**latency(lambda: call("echo", BODY), config["calls"]))


def rfc_worker(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(config["endpoint"])
        receive, send = socket.recv_multipart, socket.send_multipart
        send([b"", WORKER, READY, config["name"].encode()])
        parent.send(ready=True)
        while True:  # until the parent ends this process
            message = receive()
            if message[2] == REQUEST:
                send([b"", WORKER, REPLY, *message[3:]])


def rfc_client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(config["endpoint"])
        receive, send = socket.recv_multipart, socket.send_multipart
        message = [b"", CLIENT, config["name"].encode(), BODY]

        def call() -> bytes:
            send(message)
            body: bytes = receive()[-1]
            return body

        if not config["window"]:
            parent.result(**latency(call, config["calls"]))
            return
        for seconds in (WARM_UP_S, config["seconds"]):
            value = raw_rate(lambda: send(message), receive, config["window"], seconds)
        parent.result(value=value)


def main() -> None:
    options = arguments().parse_args()
    window = 0 if options.alone else options.window or WINDOWS[options.peers]
    config = {
        "window": window, "seconds": options.seconds, "calls": max(4, options.calls),
        "zguide": options.zguide, "multipart": True, "handlers": "plain", "loop": "asyncio",
    }  # fmt: skip

    def brokered(broker: str, worker: str, client: str) -> Message:
        """One sample of three fresh processes."""
        with Family(options.pin) as family:
            names = {"broker": unique_name(), "name": unique_name()}
            shared = {**config, **names, "address": names["name"]}
            shared |= family.start(broker, **shared).receive()
            family.start(worker, **shared).receive()
            return family.start(client, **shared).receive()

    def ours() -> Message:
        if options.peers == "rfc":
            return brokered("broker", "rfc_worker", "rfc_client")
        if window:
            return brokered("broker", "own_worker_async", "own_client_async")
        return brokered("broker", "own_worker", "own_client")

    def guide() -> Message:
        peers = "rfc" if options.peers == "rfc" else "zguide"
        return brokered("zguide_broker", f"{peers}_worker", f"{peers}_client")

    references: list[Reference] = []
    if lack := zguide.missing(options.zguide):
        print(f"the broker of the ZeroMQ guide is left out: {lack}", file=sys.stderr)
    else:
        told = "with its peers" if options.peers == "own" else "with the same peers"
        target = 1.3 if options.alone else {"own": 8.0, "rfc": 2.0}[options.peers]
        references.append(Reference(f"the ZeroMQ guide's broker, {told}", guide, target))
    if window and options.peers == "own":
        proxied = Reference(
            "raw peers, libzmq's proxy in C", lambda: streamer.proxied(options.pin, config), 0.5
        )
        references.append(proxied)
    if not references:
        sys.exit("there is nothing to compare with")
    figures.compare(figure(options, window), ours, references, options)


def arguments() -> argparse.ArgumentParser:
    """What may be chosen."""
    parser = figures.arguments(__doc__)
    parser.add_argument("--peers", choices=["own", "rfc"], default="own")
    parser.add_argument("--alone", action="store_true", help="one call at a time")
    parser.add_argument(
        "--window", type=figures.positive, help="default 200 of our own peers, 100 of RFC 7"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    parser.add_argument(
        "--calls", type=figures.positive, default=2000, help="with --alone; default %(default)s"
    )
    parser.add_argument(
        "--zguide",
        metavar="FOLDER",
        default=zguide.folder(),
        help=f"the Python examples of the ZeroMQ guide; default {zguide.VARIABLE}",
    )
    figures.add_pin(parser)
    return parser


def figure(options: argparse.Namespace, window: int) -> figures.Figure:
    """What is measured, in words."""
    name = "majordomo_rfc" if options.peers == "rfc" else "majordomo"
    peers = "peers of RFC 7" if options.peers == "rfc" else "our own peers"
    if not window:
        caption = f"call through a broker, p50, {peers}"
        return figures.Figure(f"{name}_alone", caption, "µs", "<=")
    return figures.Figure(
        name, f"calls through a broker, {peers}, {window} in flight", "calls/s", ">="
    )


PARTS = {
    "broker": broker,
    "own_worker": own_worker,
    "own_worker_async": calls_window.ours_server,
    "own_client": own_client,
    "own_client_async": calls_window.ours_client,
    "rfc_worker": rfc_worker,
    "rfc_client": rfc_client,
    "zguide_broker": zguide.zguide_broker,
    "zguide_worker": zguide.zguide_worker,
    "zguide_client": zguide.zguide_client,
    "raw_server": calls_window.raw_server,
    "raw_client": calls_window.raw_client,
    "raw_proxy": streamer.raw_proxy,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
