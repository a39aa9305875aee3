"""A program for the crash tests: one role in a process of its own, led from outside.

    python actor.py service|client NAME '{"kind": "blocking", ...}'

It prints its events and reads orders, a line of JSON each.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import zmqkit
import zmqkit.asyncio

_printing = threading.Lock()
_gate = threading.Event()
_runs: list[int] = []


def tell(event: str, value: object = None) -> None:
    """Print an event for whoever leads this process."""
    with _printing:
        print(json.dumps([event, value]), flush=True)


def who() -> int:
    return os.getpid()


def double(value: int) -> int:
    return 2 * value


def count(number: int, *_: object) -> int:
    """Run a piece of work that must not be run twice."""
    _runs.append(number)
    return number


def hold(value: object = None) -> object:
    """Tell that a request came, and wait for the order to open the gate."""
    tell("came", zmqkit.current_request().id)
    _gate.wait(60)
    return value


def snooze(seconds: float) -> float:
    """Sleep, as a handler that waits for something slow does."""
    tell("came")
    time.sleep(seconds)
    return seconds


def stream(first: int) -> Iterator[int]:
    """Count on and on; tell when nobody reads any more."""
    try:
        yield from itertools.count(first)
    finally:
        tell("closed")


def burn(seconds: float) -> float:
    """Hold the interpreter for so long, within one call of C that asks the clock."""
    tell("came")
    until = time.monotonic() + seconds
    any(map(until.__lt__, iter(time.monotonic, None)))
    return seconds


def fill(size: int) -> bytes:
    """So many bytes of memory that are really there."""
    return b"x" * size


async def fill_waiting(size: int) -> bytes:
    """The same from a handler that runs beside all others."""
    await asyncio.sleep(0)
    return fill(size)


HANDLERS = (who, double, count, hold, snooze, stream, burn, fill)


def orders() -> Any:
    """What the leading process writes, until it closes the pipe."""
    for line in sys.stdin:
        yield json.loads(line)


def obey(role: Any) -> None:
    """Do as ordered until told to end."""
    for order, value in orders():
        if order == "open":
            _gate.set()
        elif order == "stats":
            tell("stats", role.stats())
        elif order == "runs":
            tell("runs", _runs)
        elif order == "end":
            tell("left", value)
            return


def blocking_service(name: str, options: dict[str, Any]) -> None:
    idempotent = options.pop("idempotent", False)
    with zmqkit.Service(name, **options) as service:
        for handler in HANDLERS:
            service.handler(handler, idempotent=idempotent)
        service.start()
        serving = threading.Thread(target=service.serve, daemon=True)
        serving.start()
        tell("ready", service.endpoint)
        obey(service)
        _gate.set()


def asyncio_service(name: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        idempotent = options.pop("idempotent", False)
        async with zmqkit.asyncio.Service(name, **options) as service:
            for handler in HANDLERS:
                service.handler(handler, idempotent=idempotent)
            service.handler(fill_waiting)
            await service.start()
            tell("ready", service.endpoint)
            await asyncio.get_running_loop().run_in_executor(None, obey, service)

    asyncio.run(main())


class Load:
    """So many calls at once, again and again, and how each of them ended."""

    def __init__(self, client: zmqkit.asyncio.Client, options: dict[str, Any]) -> None:
        self.client = client
        self.over = False
        self.ends: Counter[str] = Counter()
        self.wrong = 0
        self._width = options.get("width", 1)
        self._body = "x" * options.get("body_bytes", 0)
        self._next = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._one_after_the_other() for _ in range(self._width)))

    async def _one_after_the_other(self) -> None:
        while not self.over:
            self._next += 1
            number = self._next
            try:
                if number % 10 == 0:
                    await self.client.notify("count", number)
                    await asyncio.sleep(0)
                    continue
                value = await self.client.call("count", number, *self._extra())
            except zmqkit.ZmqkitError as error:
                self.ends[type(error).__name__] += 1
                await asyncio.sleep(0.01)
            else:
                self.ends["delivered"] += 1
                self.wrong += value != number

    def _extra(self) -> tuple[str, ...]:
        return (self._body,) if self._body else ()


def asyncio_client(name: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        limits = {"timeout_s": options.get("timeout_s", 5.0), "wait_s": 60.0}
        async with zmqkit.asyncio.Client(name, **limits) as client:
            await client.ready()
            load = Load(client, options)
            working = asyncio.create_task(load.run())
            tell("ready")
            await asyncio.get_running_loop().run_in_executor(None, obey, client)
            load.over = True
            await working
            unsettled = await client.close(60)
            ended = {"ends": load.ends, "wrong": load.wrong, "unsettled": unsettled}
            tell("ended", ended | {"stats": client.stats()})

    asyncio.run(main())


def puller(name: str, options: dict[str, Any]) -> None:
    """A client that asks for much at once, and tells how the calls ended."""

    async def end_of(client: zmqkit.asyncio.Client) -> str:
        try:
            size = len(await client.call(options["method"], options["size"]))
        except zmqkit.ZmqkitError as error:
            return type(error).__name__
        return "delivered" if size == options["size"] else "wrong"

    async def main() -> None:
        async with zmqkit.asyncio.Client(name, timeout_s=120.0) as client:
            await client.ready()
            tell("ready")
            calls = [end_of(client) for _ in range(options["count"])]
            tell("ended", Counter(await asyncio.gather(*calls)))
            await asyncio.get_running_loop().run_in_executor(None, obey, client)

    asyncio.run(main())


def blocking_client(name: str, options: dict[str, Any]) -> None:
    with zmqkit.Client(name) as client:
        client.ready()
        tell("ready")
        tell("value", client.call(options["method"], *options["args"]))
        obey(client)


ROLES = {
    ("service", "blocking"): blocking_service,
    ("service", "asyncio"): asyncio_service,
    ("client", "blocking"): blocking_client,
    ("client", "asyncio"): asyncio_client,
    ("puller", "asyncio"): puller,
}


if __name__ == "__main__":
    role, name, text = sys.argv[1:]
    settings = json.loads(text)
    ROLES[role, settings.pop("kind")](name, settings)
