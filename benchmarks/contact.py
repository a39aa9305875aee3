"""How soon a new instance serves its first call, both programs running already.

What is measured, once for each instance:

- Two processes run throughout: one holds clients, one holds services. Both imported zmqkit and
  have met once, so their discovery runs.
- The client process makes a `Client` for a name that nobody serves yet and is inside `call`,
  waiting, for at least 50 ms plus a random part of 100 ms.
- The clock starts in the service process just before `Service(name)` is made. Binding,
  announcing, discovery, connecting, hello, the call and its reply follow.
- The clock stops in the client process when `call` has returned the reply.

Both read the system's monotonic clock, which all processes of a host share. The percentile is
by nearest rank: of fewer than 100 instances the 99th is the slowest.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from typing import Any

import figures
import paired
from figures import Message
from paired import BODY, Child, Parent

WAIT_S = 10.0
TARGET_MS, STRETCH_MS = 100.0, 10.0


def services(parent: Parent, config: Message) -> None:
    """Make one service for each name that comes; end it at the next line."""
    import zmqkit

    parent.on_end = parent.leave
    parent.send(running=True)
    while True:  # until the parent leaves
        name = parent.receive()["name"]
        begun_at = time.monotonic()
        service = zmqkit.Service(name)

        @service.handler
        def echo(body: bytes) -> bytes:
            return body

        service.start()
        started_at = time.monotonic()
        thread = threading.Thread(target=service.serve, daemon=True)
        thread.start()
        parent.send(begun_at=begun_at, started_at=started_at)
        parent.receive()
        service.stop()
        thread.join(WAIT_S)
        service.close()
        parent.send(closed=True)


def clients(parent: Parent, config: Message) -> None:
    """Wait in a call to each name that comes and say when its reply was there."""
    import zmqkit

    parent.on_end = parent.leave
    parent.send(running=True)
    while True:  # until the parent leaves
        name = parent.receive()["name"]
        with zmqkit.Client(name, wait_s=WAIT_S, timeout_s=WAIT_S) as client:
            parent.send(waiting=True)
            reply = client.call("echo", BODY)
            replied_at = time.monotonic()
        assert reply == BODY
        parent.send(replied_at=replied_at)


def meet(service: Child, client: Child) -> tuple[float, float]:
    """One new instance: milliseconds until its first reply, and until `start` returned."""
    name = paired.unique_name()
    client.send(name=name)
    client.receive()
    time.sleep(0.05 + random.uniform(0.0, 0.1))
    service.send(name=name)
    began = service.receive()
    replied = client.receive()
    service.send(stop=True)
    service.receive()
    begun_at = began["begun_at"]
    return (replied["replied_at"] - begun_at) * 1000, (began["started_at"] - begun_at) * 1000


def measure(options: argparse.Namespace) -> list[tuple[float, float]]:
    """The times of each instance, after one that introduces the processes."""
    with paired.Family() as family:
        service, client = family.start("services"), family.start("clients")
        service.receive()
        client.receive()
        meet(service, client)
        return [meet(service, client) for _ in range(options.instances)]


def main() -> None:
    parser = figures.arguments("How soon a new instance serves its first call.", rounds=1)
    parser.add_argument(
        "--instances", type=figures.positive, default=60, help="per round; default %(default)s"
    )
    options = parser.parse_args()
    if options.only == "reference":
        figures.finish(FIGURE, [row(None)], options)
        return
    pairs = [pair for _ in range(options.rounds) for pair in measure(options)]
    contacts, starts = zip(*pairs, strict=True)
    more: dict[str, Any] = {
        "instances": len(contacts),
        "p50": figures.rounded(figures.percentile(contacts, 50)),
        "max": figures.rounded(max(contacts)),
        "start_p50": figures.rounded(figures.percentile(starts, 50)),
    }
    if not options.json:
        print(f"{FIGURE.caption}; {len(contacts)} instances")
        print(
            "  p50 {p50:g} ms, slowest {max:g} ms; start() p50 {start_p50:g} ms".format(**more)
        )
    figures.finish(FIGURE, [row(figures.percentile(contacts, 99))], options, **more)


FIGURE = figures.Figure("contact", "announced to first call served, p99", "ms", "<=")


def row(value: float | None) -> figures.Row:
    """The figure's one row; it has a limit of its own and no reference."""
    return figures.limit_row(FIGURE.caption, FIGURE, value, TARGET_MS, STRETCH_MS)


PARTS = {"services": services, "clients": clients}

if __name__ == "__main__":
    paired.run(main, PARTS)
