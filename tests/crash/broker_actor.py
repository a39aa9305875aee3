"""A program for the crash tests: a broker or router, a service behind it, or a client of that.

    python broker_actor.py ROLE NAME '{"kind": "blocking", ...}'

A service writes down each request that it begins, and a client what it asks for and what became
of it, in files that survive them. A request is known by its key, which is its argument. It
begins with the method: `add` may run twice, `buy` must not.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zmqkit
from tests.crash.actor import burn, obey, orders, snooze, tell
from zmqkit.device.majordomo import Majordomo
from zmqkit.device.router import Router
from zmqkit.majordomo_limits import BrokerLimits

WIDTH = 4
BOUND_S = 60.0
METHODS = ("add", "buy")


@dataclass(slots=True)
class Line:
    """What happened to a request, and when, by a clock that all processes of a machine share.

    event: begun, by a handler; asked, returned, failed or submitted, by a client.
    """

    event: str
    key: str
    error: str = ""
    may_have_run: bool = False
    at: float = 0.0


class Log:
    """Lines in a file, which several processes may write."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, event: str, key: str, error: zmqkit.ZmqkitError | None = None) -> None:
        line = Line(event, key, at=time.monotonic())
        if error is not None:
            line.error, line.may_have_run = repr(error), error.may_have_run
        os.write(self._file, json.dumps(asdict(line)).encode() + b"\n")


def lines(path: Path) -> list[Line]:
    """What stands in a log."""
    return [Line(**json.loads(line)) for line in path.read_text().splitlines()]


def value_of(key: str) -> str:
    return key.upper()


def broker(name: str, options: dict[str, Any]) -> None:
    limits = BrokerLimits(**options.pop("limits", {}))
    with Majordomo(f"{name}-m", limits=limits, **options) as device:
        running = threading.Thread(target=device.run, daemon=True)
        running.start()
        tell("ready", device.endpoint)
        obey(device)


def router(name: str, options: dict[str, Any]) -> None:
    with Router(f"{name}-m", names=[name], **options) as device:
        running = threading.Thread(target=device.run, daemon=True)
        running.start()
        tell("ready", device.endpoint)
        obey(device)


def answering(name: str, options: dict[str, Any]) -> None:
    log = Log(options.pop("log"))

    def work(key: str) -> str:
        log.write("begun", key)
        time.sleep(int(key.rpartition("-")[2]) % 4 / 1000)
        return value_of(key)

    def mdp(body: bytes) -> bytes:
        return body

    def occupied(key: str, how: str, seconds: float) -> str:
        log.write("begun", key)
        {"snooze": snooze, "burn": burn}[how](seconds)
        return value_of(key)

    with zmqkit.Service(name, via=f"{name}-m", **options) as service:
        service.handler(work, name="add", idempotent=True)
        service.handler(work, name="buy")
        service.handler(mdp, idempotent=True)
        service.handler(occupied)
        service.start()
        serving = threading.Thread(target=service.serve, daemon=True)
        serving.start()
        tell("ready", "")
        obey(service)


class Caller:
    """Threads that ask for one thing after the other until the load is over."""

    def __init__(self, client: zmqkit.Client, options: dict[str, Any]) -> None:
        self._client = client
        self._log = Log(options["log"])
        self._submits = options["submits"]
        self._methods = options.get("methods", METHODS)
        self._numbers = itertools.count()
        self._over = threading.Event()

    def run(self) -> None:
        """Ask until told to end."""
        asking = [threading.Thread(target=self._ask) for _ in range(WIDTH)]
        for each in asking:
            each.start()
        tell("ready")
        for order, _ in orders():
            if order == "end":
                break
            tell(order, self._client.stats())
        self._over.set()
        for each in asking:
            each.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            method = self._methods[number % len(self._methods)]
            key = f"{method}-{os.getpid()}-{number}"
            self._log.write("asked", key)
            if self._submits and number % 4 > 1:
                self._submit(method, key)
                if number % 3:
                    continue
            self._await(method, key)

    def _submit(self, method: str, key: str) -> None:
        """Submit a request, with the same id until a broker has it."""
        while True:
            try:
                self._client.options(id=key).submit(method, key)
            except zmqkit.PeerError as error:
                self._log.write("refused", key, error)
                time.sleep(0.01)
            else:
                self._log.write("submitted", key)
                return

    def _await(self, method: str, key: str) -> None:
        try:
            if self._submits and int(key.rpartition("-")[2]) % 4 > 1:
                value = self._client.collect(key)
            else:
                value = self._client.call(method, key)
        except zmqkit.ZmqkitError as error:
            self._log.write("failed", key, error)
            time.sleep(0.01)
        else:
            self._log.write("returned" if value == value_of(key) else "wrong", key)


def caller(name: str, options: dict[str, Any]) -> None:
    with zmqkit.Client(name, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        client.ready()
        Caller(client, options).run()
        left = client.close(BOUND_S)
        tell("ended", {"left": left, "stats": client.stats()})


def collector(name: str, options: dict[str, Any]) -> None:
    """Collect by its id what others submitted, as ordered."""
    log = Log(options["log"])
    with zmqkit.Client(name, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        tell("ready")
        for order, keys in orders():
            if order == "end":
                return
            for key in keys:
                try:
                    value = client.collect(key)
                except zmqkit.ZmqkitError as error:
                    log.write("failed", key, error)
                else:
                    log.write("returned" if value == value_of(key) else "wrong", key)
            tell("collected", len(keys))


ROLES = {
    "broker": broker,
    "router": router,
    "answering": answering,
    "caller": caller,
    "collector": collector,
}


if __name__ == "__main__":
    role, name, text = sys.argv[1:]
    settings = json.loads(text)
    assert settings.pop("kind") == "blocking"
    ROLES[role](name, settings)
