"""The other side of a pair: a process that serves, publishes or works until its parent ends it.

The parent tells in one line of JSON what to be, and is told in one line where that listens.
The end of standard input is the end of the process.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading

import zmqkit
from zmqkit import asyncio as zmqkit_asyncio
from zmqkit.bench import raw
from zmqkit.bench.loops import wait_until
from zmqkit.bench.measured import Load, clock
from zmqkit.cli.loop import on_loop

NAME = "bench"
METHOD = "echo"
TOPIC = "bench"


def main() -> None:
    """Be what the first line of standard input says."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load = Load(
        asked["pattern"],
        base64.b64decode(asked["body"]),
        asked["seconds"],
        rate=asked["rate"],
        in_flight=asked["in_flight"],
        alone=asked["alone"],
    )
    if asked["raw"]:
        raw.serve(load.pattern, load, _tell)
    elif load.pattern == "publish":
        _publish(load)
    elif load.alone:
        _serve_alone(load)
    else:
        on_loop(_serve(load))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _tell(address: str) -> None:
    sys.stdout.write(f"{json.dumps(address)}\n")
    sys.stdout.flush()


def _echo(body: bytes) -> bytes:
    return body


def _serve_alone(load: Load) -> None:
    bind = "tcp://127.0.0.1:0"
    if load.pattern == "call":
        with zmqkit.Service(NAME, bind=bind) as service:
            service.handler(_echo, name=METHOD)
            _tell(service.endpoint)
            service.serve()
    else:
        with zmqkit.Worker(NAME, bind=bind) as worker:
            worker.task(_echo)
            _tell(worker.endpoint)
            worker.work()


async def _serve(load: Load) -> None:
    bind = "tcp://127.0.0.1:0"
    if load.pattern == "call":
        async with zmqkit_asyncio.Service(NAME, bind=bind) as service:
            service.handler(_echo, name=METHOD)
            _tell(service.endpoint)
            await service.serve()
    else:
        async with zmqkit_asyncio.Worker(NAME, bind=bind) as worker:
            worker.task(_echo)
            _tell(worker.endpoint)
            await worker.work()


def _publish(load: Load) -> None:
    with zmqkit.Publisher(NAME, bind="tcp://127.0.0.1:0", policy="block") as publisher:
        _tell(publisher.endpoint)
        publisher.ready()
        body = load.body
        if load.rate is None:
            while True:
                with publisher.batch() as batch:
                    for _ in range(raw.TURN):
                        batch.publish(TOPIC, body)
        begun, sent, rest = clock(), 0, body[raw.TIME.size :]
        while True:
            due_at = begun + sent / load.rate
            wait_until(due_at)
            publisher.publish(TOPIC, raw.TIME.pack(due_at) + rest)
            sent += 1


if __name__ == "__main__":
    main()
