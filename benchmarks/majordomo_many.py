"""What one Majordomo broker pays for many services, workers and clients, and whether it grows.

The broker is a process of its own. `--services` of them have `--workers` each; the clients ask
services by turns. All of these are raw pyzmq peers of RFC 7, so that thousands of them fit in a
few processes, each with a socket and a TCP connection of its own. They come in three steps, and
the broker's memory is looked at after each:

- the services, each with one worker,
- the other workers of each service,
- the clients, each of which gets one answer.

Then nobody asks for some seconds: the broker's processor time is what heartbeats and looking
after so many costs. Last, the clients ask by turns: that is the processor time of a request,
with heartbeats, and with the moments for which a broker in use stays awake. All of it is done
at half the size as well. What is judged is growth: a cost for each at the full size divided by
that at half.
"""

from __future__ import annotations

import argparse
import resource
import select
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import figures
import paired
from figures import Message
from majordomo import CLIENT, HEARTBEAT, READY, REPLY, REQUEST, WORKER
from many_peers import resident_kib
from paired import BODY, Child, Family, Parent, unique_name

SOCKETS_MAX = 1000
"""So many sockets a context has; libzmq's own limit is 1,023."""
DESCRIPTORS = 20_000
WORKER_PROCESSES, CLIENT_PROCESSES = 3, 2
HEARTBEAT_S = 2.0
SETTLE_S, SETTLE_COUNT_MAX, SETTLED = 3.0, 8, 1.005
"""Memory is looked at so often, until it has grown by half a percent at most."""
IN_FLIGHT = 50
"""Requests at a time of each process of clients."""
GROWTH = 1.3


def allow_descriptors() -> None:
    """Have as many descriptors as the system allows, and may be needed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))


def broker(parent: Parent, config: Message) -> None:
    """Run a broker that says, whenever it is asked, what it has used by now."""
    from zmqkit.device.majordomo import Majordomo

    allow_descriptors()
    with Majordomo(config["name"]) as device:
        parent.on_end = device.stop
        parent.send(endpoint=device.endpoint)

        def tell() -> None:
            while True:
                parent.receive()
                parent.send(kib=resident_kib(), cpu_s=time.process_time())

        threading.Thread(target=tell, daemon=True).start()
        device.run()


class Peers:
    """Sockets of one process, in as many contexts as they need.

    The descriptor of a ZeroMQ socket shows only changes, and a send can swallow one: whoever
    sends receives until nothing is left.
    """

    def __init__(self, endpoint: str) -> None:
        allow_descriptors()
        self.sockets: list[Any] = []
        self._endpoint = endpoint
        self._contexts: list[Any] = []
        self._by_descriptor: dict[int, Any] = {}
        self._epoll = select.epoll()

    def connect(self) -> Any:
        """Return one more connected socket."""
        import zmq

        if len(self.sockets) % SOCKETS_MAX == 0:
            context = zmq.Context()
            context.set(zmq.MAX_SOCKETS, SOCKETS_MAX + 1)
            self._contexts.append(context)
        socket = self._contexts[-1].socket(zmq.DEALER)
        socket.connect(self._endpoint)
        self.sockets.append(socket)
        self._by_descriptor[socket.fd] = socket
        self._epoll.register(socket.fd, select.EPOLLIN)
        return socket

    def wait(self, seconds: float) -> list[Any]:
        """Return the sockets that may have something to read."""
        return [self._by_descriptor[fd] for fd, _ in self._epoll.poll(seconds)]

    def read(self, socket: Any) -> Iterator[list[bytes]]:
        """Yield what came until nothing is left, also while the caller sends."""
        import zmq

        while True:
            try:
                message = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield message


def workers(parent: Parent, config: Message) -> None:
    """Be workers: as many more of each service as the parent says, each time that it does."""
    peers = Peers(config["endpoint"])
    wanted: deque[Message] = deque()

    def listen() -> None:
        while True:
            wanted.append(parent.receive())

    def send(socket: Any, *frames: bytes) -> None:
        socket.send_multipart([b"", WORKER, *frames])
        for message in peers.read(socket):
            if message[2] == REQUEST:
                socket.send_multipart([b"", WORKER, REPLY, *message[3:]])

    threading.Thread(target=listen, daemon=True).start()
    beat_at = time.monotonic() + HEARTBEAT_S
    while True:  # until the parent ends this process
        while wanted:
            order = wanted.popleft()
            for name in order["services"]:
                for _ in range(order["count"]):
                    send(peers.connect(), READY, name.encode())
            parent.send(ready=True)
        for socket in peers.wait(0.1):
            for message in peers.read(socket):
                if message[2] == REQUEST:
                    send(socket, REPLY, *message[3:])
        if time.monotonic() >= beat_at:
            beat_at = time.monotonic() + HEARTBEAT_S
            for socket in peers.sockets:
                send(socket, HEARTBEAT)


def clients(parent: Parent, config: Message) -> None:
    """Be clients: each asks once; then so many at a time ask by turns for some seconds."""
    peers = Peers(config["endpoint"])
    services = [name.encode() for name in config["services"]]
    asks = {
        peers.connect(): [b"", CLIENT, services[n % len(services)], BODY]
        for n in range(config["count"])
    }
    for socket, message in asks.items():
        socket.send_multipart(message)
        assert socket.recv_multipart()[-1] == BODY
    parent.send(ready=True)
    seconds = parent.receive()["seconds"]
    idle = deque(asks)
    sent: list[Any] = []

    def ask() -> None:
        socket = idle.popleft()
        socket.send_multipart(asks[socket])
        sent.append(socket)

    for _ in range(min(IN_FLIGHT, len(asks))):
        ask()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        looked, sent = sent or peers.wait(1.0), []
        for socket in looked:
            for message in peers.read(socket):
                assert message[-1] == BODY
                count += 1
                idle.append(socket)
                ask()
    parent.send(count=count, seconds=time.perf_counter() - begun)
    parent.receive()


def measure(options: argparse.Namespace, share: float) -> Message:
    """What a broker pays at this share of the size, for each of what it has."""
    services = [unique_name() for _ in range(max(1, int(options.services * share)))]
    clients_count = max(CLIENT_PROCESSES, int(options.clients * share))
    with Family() as family:
        device = family.start("broker", name=unique_name())
        endpoint = device.receive()["endpoint"]

        def used() -> Message:
            """What the broker has used, once its memory grows no more."""
            found: Message = {"kib": 0.0}
            for _ in range(SETTLE_COUNT_MAX):
                time.sleep(SETTLE_S)
                device.send()
                before, found = found, device.receive()
                if found["kib"] <= before["kib"] * SETTLED:
                    break
            return found

        empty = used()
        staff = [family.start("workers", endpoint=endpoint) for _ in range(WORKER_PROCESSES)]

        def hire(count: int) -> Message:
            for n, child in enumerate(staff):
                child.send(services=services[n::WORKER_PROCESSES], count=count)
            for child in staff:
                child.receive()
            return used()

        first = hire(1)
        second = hire(options.workers - 1)
        askers = [
            family.start(
                "clients",
                endpoint=endpoint,
                services=services[n::CLIENT_PROCESSES],
                count=clients_count // CLIENT_PROCESSES,
            )
            for n in range(CLIENT_PROCESSES)
        ]
        for child in askers:
            child.receive()
        third = used()
        time.sleep(options.idle)
        device.send()
        idle = device.receive()
        return costs(
            options, len(services), clients_count, (empty, first, second, third, idle)
        ) | ask(device, askers, idle, options.seconds)


def costs(
    options: argparse.Namespace, services: int, clients_count: int, used: tuple[Message, ...]
) -> Message:
    """What was used, for each service, worker and client."""
    empty, first, second, third, idle = used
    worker_kib = (second["kib"] - first["kib"]) / (services * (options.workers - 1))
    peers = services * options.workers + clients_count
    return {
        "service_kib": (first["kib"] - empty["kib"]) / services - worker_kib,
        "worker_kib": worker_kib,
        "client_kib": (third["kib"] - second["kib"]) / clients_count,
        "idle_us": (idle["cpu_s"] - third["cpu_s"]) / options.idle / peers * 1e6,
        "idle_percent": (idle["cpu_s"] - third["cpu_s"]) / options.idle * 100,
        "kib": third["kib"],
    }


def ask(device: Child, askers: list[Child], before: Message, seconds: float) -> Message:
    """Have the clients ask; return requests a second, and the processor time of each."""
    for child in askers:
        child.send(seconds=seconds)
    done = [child.receive() for child in askers]
    device.send()
    after = device.receive()
    count = sum(each["count"] for each in done)
    return {
        "request_us": (after["cpu_s"] - before["cpu_s"]) / count * 1e6,
        "requests_s": sum(each["count"] / each["seconds"] for each in done),
    }


def main() -> None:
    parser = figures.arguments("What one broker pays for many peers.", rounds=1)
    parser.add_argument("--services", type=figures.positive, default=500)
    parser.add_argument("--workers", type=figures.positive, default=10, help="of each service")
    parser.add_argument("--clients", type=figures.positive, default=1000)
    parser.add_argument("--idle", type=figures.positive, default=10, help="seconds; default 10")
    parser.add_argument("--seconds", type=float, default=3.0, help="of requests; default 3")
    options = parser.parse_args()
    results = []
    for share in (0.5, 1.0):
        results.append(measure(options, share))
        if not options.json:
            print(WORDS.format(share=share, **results[-1]), flush=True)
    figures.finish(KIB, rows(*results), options, half=results[0], full=results[1])


WORDS = (
    "  {share:g} of the size: {service_kib:.1f} KiB a service, {worker_kib:.1f} a worker, "
    "{client_kib:.1f} a client, {kib:,.0f} in all; idle {idle_us:.1f} µs a second for each "
    "peer, {idle_percent:.1f} % of a core; {request_us:.0f} µs a request, {requests_s:,.0f}/s"
)
KIB = figures.Figure("majordomo_many", "broker's memory for each", "KiB", "<=")
PARTS = {"broker": broker, "workers": workers, "clients": clients}
COSTS = {
    "service_kib": ("memory of a service", "KiB"),
    "worker_kib": ("memory of a worker", "KiB"),
    "client_kib": ("memory of a client", "KiB"),
    "idle_us": ("idle processor time for a peer", "µs/s"),
    "request_us": ("processor time of a request", "µs"),
}


def rows(half: Message, full: Message) -> list[figures.Row]:
    """Each cost at the full size, against that at half."""
    return [
        figures.Row(
            figure=caption,
            against="half the size",
            sign="<=",
            unit=unit,
            ours=full[name],
            reference=half[name],
            ratio=full[name] / half[name],
            target=GROWTH,
        )
        for name, (caption, unit) in COSTS.items()
    ]


if __name__ == "__main__":
    paired.run(main, PARTS)
