"""Messages per second through a forwarder, against the same without one.

Publisher, forwarder and subscriber are three processes; the publisher waits, so nothing is
lost, and the subscriber iterates over Message objects. `--packet` says how many messages leave
together. With `--loop` the publisher publishes in a plain loop, where messages gather by
themselves, and beside it stand raw PUB and SUB with libzmq's own XSUB-XPUB proxy in C in the
middle, which knows no credit, sequences or gaps: single frames, as a plain loop of pyzmq sends.
With `--history` the forwarder keeps the last messages, by the defaults of forwarder-history.

`--scale` reports what one forwarder of many costs: `--subscribers`, `--publishers` and
`--topics`, each of which one subscriber wants; memory for each of them, and processor time of
a message in and out, beside half as many.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice
from typing import Any

import figures
import paired
from figures import Message, Reference
from paired import BODY, Family, Parent, unique_name
from publish import rate, raw_client

TOPIC = "bench"
SETTLE_S = 30.0


def forwarder(parent: Parent, config: Message) -> None:
    from zmqkit.device.forwarder import Forwarder
    from zmqkit.forwarder_limits import ForwarderHistory, ForwarderLimits

    limits = ForwarderLimits(publishers_max=max(256, config.get("publishers", 1)))
    history = ForwarderHistory() if config.get("history") else None
    with Forwarder(config["name"], limits=limits, history=history) as device:
        parent.on_end = device.stop
        parent.send(address=f"{device.endpoint}/{device.name}")
        device.run()


def ours_server(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Publisher(config["name"], policy="block") as publisher:
        parent.send(address=publisher.name)
        publisher.ready()
        while config["loop"]:  # until the parent ends this process
            publisher.publish(TOPIC, BODY)
        while True:
            with publisher.batch() as batch:
                for _ in range(config["packet"]):
                    batch.publish(TOPIC, BODY)


def ours_client(parent: Parent, config: Message) -> None:
    import zmqkit

    with zmqkit.Subscriber(config["address"]) as subscriber:
        parent.result(value=rate(subscriber, config))


def raw_server(parent: Parent, config: Message) -> None:
    import zmq

    frame = TOPIC.encode() + b"\0" + BODY
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.connect(config["address"])
        parent.send(ready=True)
        send = socket.send
        while True:  # until the parent ends this process
            send(frame)


def raw_proxy(parent: Parent, config: Message) -> None:
    import zmq

    context = zmq.Context()
    front, back = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    back.setsockopt(zmq.XPUB_NODROP, 1)
    ports = [each.bind_to_random_port("tcp://127.0.0.1") for each in (front, back)]
    addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
    parent.send(front=addresses[0], back=addresses[1])
    zmq.proxy(front, back)


# Many of all


def many_publishers(parent: Parent, config: Message) -> None:
    import zmqkit

    publishers = [
        zmqkit.Publisher(config["name"], policy="block") for _ in range(config["publishers"])
    ]
    for publisher in publishers:
        publisher.ready(timeout_s=0)  # opens it
    parent.send(ready=True)
    parent.receive()  # all subscribers are there
    topics = cycle(f"topic.{number}." for number in range(config["topics"]))
    sent = 0
    for publisher in cycle(publishers):
        for topic in islice(topics, 10):
            publisher.publish(topic, BODY)
        sent += 10
        if sent >= config["messages"]:
            break
    parent.send(sent=sent)
    parent.receive()


def joining_sockets(config: Message) -> list[Any]:
    """Return sockets that have sent what a Subscriber sends to join.

    So many subscribers would cost more than the device.
    """
    import zmq

    from zmqkit.wire import packet as wire
    from zmqkit.wire import publication

    context = zmq.Context(io_threads=1)
    context.max_sockets = 2 * config["subscribers"] + 16
    sockets: list[Any] = []
    place = config["address"].rpartition("/")[0]
    per = -(-config["topics"] // config["subscribers"])
    for number in range(config["subscribers"]):
        socket = context.socket(zmq.XSUB)
        socket.set_hwm(0)
        socket.connect(place)
        begin = number * config["topics"] // config["subscribers"]
        for topic in range(begin, begin + per):
            socket.send(publication.SUBSCRIBE + b"topic.%d." % (topic % config["topics"]))
        socket.send(publication.SUBSCRIBE + publication.private(publication.EVERYBODY))
        socket.send(publication.SUBSCRIBE + publication.private(number + 1))
        fields = {"token": 1, "name": "bench"}
        socket.send(publication.to_publisher(wire.HELLO, number + 1, 0, fields)[0])
        sockets.append(socket)
    return sockets


def many_subscribers(parent: Parent, config: Message) -> None:
    import zmq

    from zmqkit.wire import packet as wire
    from zmqkit.wire import publication

    sockets = joining_sockets(config)
    poller = zmq.Poller()
    numbers = {socket: number for number, socket in enumerate(sockets, 1)}
    welcomed: set[int] = set()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    received = 0

    def take(socket: Any, frame: bytes) -> None:
        nonlocal received
        head = publication.head_of((frame,))
        if head is not None:
            received += head[3]
            return
        _, packet = publication.read((frame,))
        if packet.kind == wire.WELCOME and wire.fields_of(packet)["token"]:
            welcomed.add(numbers[socket])
        elif packet.kind == wire.MARK:
            answer = publication.to_publisher(
                wire.CREDIT, numbers[socket], packet.source, packet.meta
            )
            socket.send(answer[0])

    def drain(done: Callable[[], bool]) -> None:
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until and not done():
            for socket, _ in poller.poll(100):
                with suppress(zmq.Again):
                    while True:
                        take(socket, socket.recv(zmq.NOBLOCK))

    begun = time.monotonic()
    drain(lambda: len(welcomed) == len(sockets))
    parent.send(joined=len(welcomed), joined_s=time.monotonic() - begun)
    parent.receive()
    drain(lambda: received == config["messages"])
    parent.send(received=received)
    parent.receive()


def counted_forwarder(parent: Parent, config: Message) -> None:
    import threading

    def answer() -> None:
        while True:
            parent.receive()
            with open("/proc/self/statm") as file:
                pages = int(file.read().split()[1])
            used = resource.getrusage(resource.RUSAGE_SELF)
            parent.send(
                memory=pages * os.sysconf("SC_PAGE_SIZE"), cpu_s=used.ru_utime + used.ru_stime
            )

    threading.Thread(target=answer, daemon=True).start()
    forwarder(parent, config)


def scaled(options: Any, share: float) -> Message:
    """Run one forwarder with that share of what was asked for, and return what it took."""
    config = {
        "name": unique_name(),
        "subscribers": max(1, int(options.subscribers * share)),
        "publishers": max(1, int(options.publishers * share)),
        "topics": max(1, int(options.topics * share)),
        "messages": options.messages,
    }

    def used(device: paired.Child) -> Message:
        device.send()
        return device.receive()

    with Family(options.pin) as family:
        device = family.start("counted_forwarder", **config)
        config["address"] = device.receive()["address"]
        empty = used(device)
        publishers = family.start("many_publishers", **config)
        publishers.receive()
        subscribers = family.start("many_subscribers", **config)
        joined = subscribers.receive()
        full = used(device)
        publishers.send()
        subscribers.send()
        sent = publishers.receive()["sent"]
        received = subscribers.receive()["received"]
        busy = used(device)
        time.sleep(2.0)
        idle = used(device)
    count = config["subscribers"]
    return {
        **{key: config[key] for key in ("subscribers", "publishers", "topics")},
        **joined,
        "kib_each": (full["memory"] - empty["memory"]) / count / 1024,
        "join_ms_each": (full["cpu_s"] - empty["cpu_s"]) / count * 1000,
        "sent": sent,
        "received": received,
        "us_in": (busy["cpu_s"] - full["cpu_s"]) / sent * 1e6,
        "us_out": (busy["cpu_s"] - full["cpu_s"]) / max(1, received) * 1e6,
        "idle_percent": (idle["cpu_s"] - busy["cpu_s"]) / 2.0 * 100,
        "peak_mib": busy["memory"] / (1 << 20),
    }


def report(options: Any) -> None:
    """Print what a forwarder of many takes, for a half and for all."""
    for share in (0.5, 1.0):
        taken = scaled(options, share)
        print("  ".join(f"{key} {value:,.5g}" for key, value in taken.items()), flush=True)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--packet", type=figures.positive, default=32, help="messages of one")
    parser.add_argument("--loop", action="store_true", help="publish in a plain loop")
    parser.add_argument("--history", action="store_true", help="the forwarder keeps messages")
    parser.add_argument("--seconds", type=float, default=1.0, help="per sample; default 1")
    parser.add_argument("--scale", action="store_true", help="report what many cost")
    parser.add_argument("--subscribers", type=figures.positive, default=100)
    parser.add_argument("--publishers", type=figures.positive, default=10)
    parser.add_argument("--topics", type=figures.positive, default=1000)
    parser.add_argument("--messages", type=figures.positive, default=50_000)
    figures.add_pin(parser)
    options = parser.parse_args()
    if options.scale:
        report(options)
        return
    shared = {
        "packet": options.packet, "loop": options.loop, "seconds": options.seconds,
        "size": len(BODY),
    }  # fmt: skip

    def passed() -> Message:
        with Family(options.pin) as family:
            name = unique_name()
            device = family.start("forwarder", name=name, history=options.history)
            address = device.receive()["address"]
            family.start("ours_server", name=name, **shared).receive()
            return family.start("ours_client", address=address, **shared).receive()

    def proxied() -> Message:
        with Family(options.pin) as family:
            places = family.start("raw_proxy").receive()
            family.start("raw_server", address=places["front"], **shared).receive()
            return family.start("raw_client", address=places["back"], **shared).receive()

    def direct() -> Message:
        return paired.serve_and_call("ours", options.pin, **shared)

    if options.loop:
        name, how = "forwarder_loop", "in a plain loop"
        references = [
            Reference("raw peers, libzmq's proxy in C", proxied, 2.0),
            Reference("ours without a forwarder", direct, 0.0),
        ]
    else:
        name, how = f"forwarder_{options.packet}", f"{options.packet} messages a packet"
        target = 0.8 if options.packet >= 32 and not options.history else 0.4
        references = [Reference("ours without a forwarder", direct, target)]
    if options.history:
        name, how = f"{name}_history", f"with a history, {how}"
    figure = figures.Figure(name, f"publish through a forwarder, {how}", "messages/s", ">=")
    figures.compare(figure, passed, references, options)


PARTS = {
    "forwarder": forwarder,
    "counted_forwarder": counted_forwarder,
    "many_publishers": many_publishers,
    "many_subscribers": many_subscribers,
    "ours_server": ours_server,
    "ours_client": ours_client,
    "raw_server": raw_server,
    "raw_proxy": raw_proxy,
    "raw_client": raw_client,
}

if __name__ == "__main__":
    paired.run(main, PARTS)
