"""A pattern between this process and another one of its own, in ours or in raw pyzmq."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import zmqkit
from zmqkit import asyncio as zmqkit_asyncio
from zmqkit.bench import raw
from zmqkit.bench.loops import run, run_alone
from zmqkit.bench.measured import ANSWER_S, LOOK_S, Load, Measured, clock
from zmqkit.bench.side import METHOD
from zmqkit.cli.loop import on_loop
from zmqkit.errors import CallTimeout, ZmqkitError

_END_S = 3.0


def measure(load: Load, *, is_raw: bool = False) -> Measured:
    """Start the other side, load it, and return what was measured."""
    with _other(load, is_raw=is_raw) as address:
        if is_raw:
            return raw.measure(load.pattern, load, address)
        if load.pattern == "publish":
            return subscribed(address, load)
        return (
            called(address, METHOD, load) if load.pattern == "call" else pushed(address, load)
        )


def called(name: str, method: str, load: Load, *, insecure: bool | None = None) -> Measured:
    """Call a method with the load's arguments, or with its body if that is not empty."""
    args = (load.body,) if load.body else load.args
    if load.alone:
        with zmqkit.Client(name, insecure=insecure) as client:
            return run_alone(partial(client.call, method, *args, **load.kwargs), load)

    async def work() -> Measured:
        async with zmqkit_asyncio.Client(name, insecure=insecure) as client:
            return await run(partial(client.call, method, *args, **load.kwargs), load)

    return on_loop(work())


def pushed(name: str, load: Load, *, insecure: bool | None = None) -> Measured:
    """Push the body as tasks; each ends with its result."""
    if load.alone:
        with zmqkit.Pusher(name, insecure=insecure) as pusher:
            return run_alone(lambda: pusher.push(load.body).result(), load)

    async def work() -> Measured:
        async with zmqkit_asyncio.Pusher(name, insecure=insecure) as pusher:
            push, body = pusher.push, load.body

            async def once() -> object:
                ticket = await push(body)
                return await ticket.result()

            return await run(once, load)

    return on_loop(work())


def subscribed(name: str, load: Load) -> Measured:
    """Receive what the pair's publisher publishes."""
    with zmqkit.Subscriber(name) as subscriber:
        measured = raw.received(iter(subscriber), load, lambda message: message.body)
        measured.missing = missing_of(subscriber)
        return measured


def heard(name: str, load: Load, *, insecure: bool | None) -> Measured:
    """Receive what the publishers of a name publish, from the first message on."""
    measured, look_at = Measured(), 0.0
    with zmqkit.Subscriber(name, insecure=insecure) as subscriber:
        if subscriber.receive(ANSWER_S) is None:
            raise CallTimeout(f"nothing from {name!r} for {ANSWER_S:g} s")
        begun = now = clock()
        while (left_s := begun + load.seconds - now) > 0:
            measured.count += subscriber.receive(min(left_s, LOOK_S)) is not None
            now = clock()
            if now >= look_at:
                load.look((now - begun) / load.seconds, measured.count)
                look_at = now + LOOK_S
        measured.took_s = now - begun
        measured.missing = missing_of(subscriber)
    return measured


def missing_of(subscriber: zmqkit.Subscriber) -> int:
    """Return how many messages a subscriber missed or dropped."""
    stats = subscriber.stats()
    missing, dropped = stats["missing"], stats["dropped"]
    assert isinstance(missing, int) and isinstance(dropped, dict)
    return missing + sum(dropped.values())


@contextmanager
def _other(load: Load, *, is_raw: bool) -> Iterator[str]:
    """Enter with the address of a process that is the other side; it ends with the context."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZMQKIT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "zmqkit.bench.side"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends the other one
    )
    assert process.stdin is not None and process.stdout is not None
    asked = {
        "pattern": load.pattern, "body": base64.b64encode(load.body).decode(), "raw": is_raw,
        "seconds": load.seconds, "rate": load.rate, "in_flight": load.in_flight,
        "alone": load.alone,
    }  # fmt: skip
    try:
        process.stdin.write(f"{json.dumps(asked)}\n".encode())
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise ZmqkitError("the other process ended before it listened; see above")
        yield json.loads(line)
    finally:
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
