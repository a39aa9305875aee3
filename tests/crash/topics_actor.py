"""A program for the crash tests: a publisher, subscriber or forwarder as a process.

    python topics_actor.py publisher|subscriber|forwarder NAME '{"kind": "blocking", ...}'

A publisher publishes while it is told to, and now and then when it is not, so that its
subscribers learn what they missed. A subscriber reads all there is and looks after its order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

import zmqkit
import zmqkit.asyncio
from tests.crash.actor import orders, tell

TOPICS = 3
IDLE_S = 0.05


class Load:
    """Publishes under full load between the orders `go`, for so many messages, and `rest`."""

    def __init__(self, publisher: zmqkit.Publisher, options: dict[str, Any]) -> None:
        self.publisher = publisher
        self.full = False
        self.over = False
        self.published = 0
        self._left = 0
        self._body = "x" * options.get("body_bytes", 100)

    def run(self) -> None:
        while not self.over:
            count = 100 if self.full else 1
            self._publish(count)
            if self._left:  # perhaps only since then
                self._left = max(0, self._left - count)
                if not self._left:
                    self.full = False
                    tell("published", self.published)
            if not self.full:
                time.sleep(IDLE_S)

    def _publish(self, count: int) -> None:
        for _ in range(count):
            self.published += 1
            self.publisher.publish(f"t{self.published % TOPICS}", self._body)

    def obey(self) -> None:
        for order, value in orders():
            if order == "go":
                self._left = value or 0
                self.full = True
            elif order == "rest":
                self.full = False
            elif order == "stats":
                tell("stats", {**self.publisher.stats(), "published": self.published})
            elif order == "join":
                tell("join", self.publisher.ready(value, timeout_s=60))
            elif order == "end":
                self.over = True
                return


def publisher(name: str, options: dict[str, Any]) -> None:
    settings = {
        each: options[each] for each in ("policy", "stall_s", "bind") if each in options
    }
    with zmqkit.Publisher(name, **settings) as role:
        load = Load(role, options)
        publishing = threading.Thread(target=load.run, daemon=True)
        publishing.start()
        tell("ready", role.endpoint)
        load.obey()


class Reader:
    """What a subscriber has read. last: the number of the last message of each topic."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.last: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.read = 0
        self.wrong = 0
        self.told = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._pause_s = options.get("pause_s", 0.0)

    def take(self, message: zmqkit.Message) -> None:
        self.go_on.wait()
        key = f"{message.publisher} {message.topic}"
        self.first.setdefault(key, message.sequence)
        self.wrong += message.sequence <= self.last.get(key, 0)
        self.last[key] = message.sequence
        self.read += 1
        if self._pause_s:
            time.sleep(self._pause_s)

    def gap(self, gap: zmqkit.Gap) -> None:
        self.told += gap.missing

    def obey(self, subscriber: Any) -> None:
        for order, value in orders():
            if order == "stats":
                seen = {"last": self.last, "first": self.first, "read": self.read}
                seen |= {"wrong": self.wrong, "told": self.told}
                rows = subscriber.publishers()
                seen |= {"states": [row["state"] for row in rows]}
                seen |= {"labels": [row["label"] for row in rows]}
                tell("stats", {**subscriber.stats(), **seen})
            elif order == "hold":
                self.go_on.clear()
            elif order == "go on":
                self.go_on.set()
            elif order == "join":
                tell("join", subscriber.ready(value, timeout_s=60))
            elif order == "end":
                self.go_on.set()
                return


def blocking_subscriber(name: str, options: dict[str, Any]) -> None:
    reader = Reader(options)
    with zmqkit.Subscriber(name, on_gap=reader.gap) as role:
        reading = threading.Thread(target=role.listen, args=(reader.take,))
        reading.start()
        tell("ready")
        reader.obey(role)
        role.stop()
        reading.join()


def asyncio_subscriber(name: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        reader = Reader(options)
        async with zmqkit.asyncio.Subscriber(name, on_gap=reader.gap) as role:
            reading = asyncio.create_task(role.listen(reader.take))
            tell("ready")
            await asyncio.get_running_loop().run_in_executor(None, reader.obey, role)
            role.stop()
            await reading

    asyncio.run(main())


def forwarder(name: str, options: dict[str, Any]) -> None:
    from zmqkit.device.forwarder import Forwarder

    with Forwarder(name, connect=options["connect"]) as device:
        threading.Thread(target=device.run, daemon=True).start()
        tell("ready", device.endpoint)
        for order, _ in orders():
            if order == "stats":
                tell("stats", device.stats())
            elif order == "end":
                return


ROLES = {
    ("forwarder", "blocking"): forwarder,
    ("publisher", "blocking"): publisher,
    ("subscriber", "blocking"): blocking_subscriber,
    ("subscriber", "asyncio"): asyncio_subscriber,
}


if __name__ == "__main__":
    role, name, text = sys.argv[1:]
    settings = json.loads(text)
    ROLES[role, settings.pop("kind")](name, settings)
