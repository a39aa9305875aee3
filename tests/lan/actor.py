"""A program for the tests on a LAN: roles open to the network, for as long as the test.

    python actor.py service|client NAME TAG

A service publishes its tag, too, again and again, and a client subscribes to that.

It prints what happens as lines of JSON: an event, the time, and values. All simulated hosts
have one monotonic clock, so times of different processes compare.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

from zmqkit.asyncio import Client, Publisher, Service, Subscriber
from zmqkit.errors import ZmqkitError

CALL_EVERY_S = 0.05
PUBLISH_EVERY_S = 0.1
CALLS_MAX = 500
TIMEOUT_S = 8.0
WAIT_S = 1.0


def tell(event: str, *values: object) -> None:
    """Print an event for the test."""
    print(json.dumps([event, time.monotonic(), *values]), flush=True)


async def serve(name: str, tag: str) -> None:
    """Answer every call with the tag."""
    service = Service(name, insecure=True)

    @service.handler(idempotent=True)
    def who() -> str:
        return tag

    async with service, Publisher(name, insecure=True) as publisher:
        await service.start()
        tell("ready", f"{name}-{service.incarnation >> 32:08x}")
        while True:
            await publisher.publish("tag", [tag, time.monotonic()])
            await asyncio.sleep(PUBLISH_EVERY_S)


class Calls:
    """Calls that are made whether or not earlier ones have ended."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._under_way: dict[asyncio.Task[None], float] = {}

    def begin(self) -> None:
        """Make one more call, unless there are too many."""
        if len(self._under_way) < CALLS_MAX:
            began_at = time.monotonic()
            task = asyncio.create_task(self._call(began_at))
            self._under_way[task] = began_at
            task.add_done_callback(self._under_way.pop)

    async def _call(self, began_at: float) -> None:
        """Tell what came of a call, and since when the oldest is under way."""
        try:
            end = "answer", await self._client.call("who")
        except ZmqkitError as error:
            end = "error", type(error).__name__
        tell(end[0], began_at, end[1], min(self._under_way.values()))


async def hear(subscriber: Subscriber) -> None:
    """Tell of each message: whose it is and when it was published."""
    async for message in subscriber:
        tell("message", *message.body)


async def use(name: str) -> None:
    """Call again and again, and tell whenever the instances or their states change."""
    async with (
        Client(name, insecure=True, timeout_s=TIMEOUT_S, wait_s=WAIT_S) as client,
        Subscriber(name, insecure=True) as subscriber,
        asyncio.TaskGroup() as group,
    ):
        tell("ready", name)
        group.create_task(hear(subscriber))
        calls = Calls(client)
        before: object = None
        while True:
            rows = {row["label"]: [row["state"], row["address"]] for row in client.instances()}
            if rows != before:
                tell("instances", rows)
                before = rows
            calls.begin()
            await asyncio.sleep(CALL_EVERY_S)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    role, name, tag = sys.argv[1:]
    asyncio.run(serve(name, tag) if role == "service" else use(name))
