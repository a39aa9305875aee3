"""Tasks per second from push to done through a streamer, against the same without one.

Pusher, streamer and worker are three processes, and so many tasks are in flight. Beside them
stand raw DEALER peers with libzmq's own ROUTER-DEALER proxy in C in the middle, which knows
nothing of tasks: no queue, no retries, no leases. `--durable` gives the streamer a journal.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import figures
import paired
import tasks
from calls_window import raw_client, raw_server
from figures import Message, Reference
from paired import Family, Parent, unique_name


def streamer(parent: Parent, config: Message) -> None:
    from zmqkit.device.streamer import Streamer

    with (
        tempfile.TemporaryDirectory() as folder,
        Streamer(
            config["name"], journal=Path(folder, "journal") if config["durable"] else None
        ) as device,
    ):
        parent.on_end = device.stop
        parent.send(ready=True)
        device.run()


def passed_client(parent: Parent, config: Message) -> None:
    import zmqkit.asyncio

    async def measure() -> None:
        async with zmqkit.asyncio.Pusher(config["address"]) as pusher:
            await pusher.ready()  # the streamer is there before the worker, and is used at once
            parent.send(ready=True)
            await tasks.rate(pusher, config["window"], tasks.WARM_UP_S)
            value = await tasks.rate(pusher, config["window"], config["seconds"])
            parent.result(value=value)

    asyncio.run(measure())


def raw_proxy(parent: Parent, config: Message) -> None:
    import zmq

    context = zmq.Context()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    for socket in (front, back):
        socket.set_hwm(0)
    port = front.bind_to_random_port("tcp://127.0.0.1")
    back.connect(config["address"])
    parent.send(address=f"tcp://127.0.0.1:{port}")
    zmq.proxy(front, back)


def proxied(pin: str, shared: Message) -> Message:
    """One sample of raw peers with the proxy between them."""
    with Family(pin) as family:
        server = family.start("raw_server", **shared)
        proxy = family.start("raw_proxy", address=server.receive()["address"])
        address = proxy.receive()["address"]
        return family.start("raw_client", address=address, **shared).receive()


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--window", type=figures.positive, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    parser.add_argument("--durable", action="store_true", help="with a journal")
    figures.add_pin(parser)
    options = parser.parse_args()
    shared = {"window": options.window, "seconds": options.seconds, "multipart": True}

    def passed() -> Message:
        with Family(options.pin) as family:
            name = unique_name()
            device = family.start("streamer", name=name, durable=options.durable)
            device.receive()
            client = family.start("passed_client", address=name, **shared)
            client.receive()
            family.start("ours_server", name=name).receive()
            return client.receive()

    def direct() -> Message:
        return paired.serve_and_call("ours", options.pin, **shared)

    name = "streamer durable" if options.durable else "streamer"
    caption = f"tasks through a streamer, {options.window} in flight"
    figures.compare(
        figures.Figure(name, caption, "tasks/s", ">="),
        passed,
        [
            Reference("ours without a streamer", direct, 0.3),
            Reference(
                "raw peers, libzmq's proxy in C", lambda: proxied(options.pin, shared), 0.8
            ),
        ],
        options,
    )


PARTS = {
    "streamer": streamer,
    "passed_client": passed_client,
    "ours_server": tasks.ours_server,
    "ours_client": tasks.ours_client,
    "raw_server": raw_server,
    "raw_client": raw_client,
    "raw_proxy": raw_proxy,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
