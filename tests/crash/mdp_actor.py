"""A program for the crash tests: a worker or a client of RFC 7 or RFC 18, with pyzmq alone.

    python mdp_actor.py rfc_worker|rfc_client SERVICE '{"endpoint": "tcp://...", "version": 1}'

The worker says READY, tells the broker that it is there, and dials anew with another READY once
it has heard nothing for LIVENESS pauses, as both RFCs say. One that hangs does the same, but
answers no request. The client sends a request, waits for the reply, and dials anew and asks
again if there is none.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import zmq

from tests.crash.actor import obey, orders, tell

PAUSE_S = 0.25
LIVENESS = 4
PATIENCE_S = 1.0


class Worker:
    """Answers each request with its body, or none if it hangs."""

    def __init__(self, service: str, endpoint: str, version: int, *, hangs: bool) -> None:
        self._hangs = hangs
        self._service = service.encode()
        self._endpoint = endpoint
        first = version == 1
        self._head = [b"", b"MDPW01"] if first else [b"MDPW02"]
        self._reply, self._heartbeat, self._disconnect = (
            (b"\x03", b"\x04", b"\x05") if first else (b"\x04", b"\x05", b"\x06")
        )
        self._dials = 0
        self._served = 0
        self._dial(None)

    def stats(self) -> dict[str, int]:
        """How often it dialled, and how many requests it answered."""
        return {"dials": self._dials, "served": self._served}

    def run(self) -> None:
        """Serve for ever."""
        while True:
            if self._socket.poll(int(PAUSE_S * 1000)):
                self._liveness = LIVENESS
                self._take(self._socket.recv_multipart())
            else:
                self._liveness -= 1
                if not self._liveness:
                    self._dial(self._socket)
            if time.monotonic() >= self._heartbeat_at:
                self._say(self._heartbeat)

    def _take(self, frames: list[bytes]) -> None:
        command, *rest = frames[len(self._head) :]
        if command == b"\x02" and self._hangs:
            tell("came")
        elif command == b"\x02":
            self._served += 1
            self._say(self._reply, *rest)
        elif command == self._disconnect and self._hangs:
            tell("gone")
        elif command == self._disconnect:
            self._dial(self._socket)

    def _dial(self, before: zmq.Socket[bytes] | None) -> None:
        if before is not None:
            before.close(0)
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.connect(self._endpoint)
        self._dials += 1
        self._liveness = LIVENESS
        self._say(b"\x01", self._service)

    def _say(self, *frames: bytes) -> None:
        self._socket.send_multipart([*self._head, *frames])
        self._heartbeat_at = time.monotonic() + PAUSE_S


def rfc_worker(service: str, options: dict[str, Any]) -> None:
    hangs = options.get("hangs", False)
    worker = Worker(service, options["endpoint"], options["version"], hangs=hangs)
    threading.Thread(target=worker.run, daemon=True).start()
    tell("ready")
    obey(worker)


class Client:
    """Asks for one thing after the other."""

    def __init__(self, service: str, endpoint: str, version: int) -> None:
        self._head = [b"", b"MDPC01"] if version == 1 else [b"MDPC02", b"\x01"]
        self._final = self._head if version == 1 else [b"MDPC02", b"\x03"]
        self._service = service.encode()
        self._endpoint = endpoint
        self._socket: zmq.Socket[bytes] | None = None
        self._counts = {"replies": 0, "asked_again": 0}
        self.over = False

    def stats(self) -> dict[str, int]:
        """How many replies there were, and how often there was none for a while."""
        return dict(self._counts)

    def run(self) -> None:
        """Ask until it is over."""
        while not self.over:
            self._ask(b"request-%d" % self._counts["replies"])
        tell("ended", self.stats())

    def _ask(self, body: bytes) -> None:
        while True:
            if self._socket is None:
                self._socket = zmq.Context.instance().socket(zmq.DEALER)
                self._socket.connect(self._endpoint)
            self._socket.send_multipart([*self._head, self._service, body])
            if self._socket.poll(int(PATIENCE_S * 1000)):
                reply = self._socket.recv_multipart()
                assert reply == [*self._final, self._service, body], reply
                self._counts["replies"] += 1
                return
            self._counts["asked_again"] += 1
            self._socket.close(0)
            self._socket = None


def rfc_client(service: str, options: dict[str, Any]) -> None:
    client = Client(service, options["endpoint"], options["version"])
    asking = threading.Thread(target=client.run)
    asking.start()
    tell("ready")
    for order, _ in orders():
        if order == "end":
            break
        tell(order, client.stats())
    client.over = True
    asking.join()


ROLES = {"rfc_worker": rfc_worker, "rfc_client": rfc_client}


if __name__ == "__main__":
    role, service, text = sys.argv[1:]
    ROLES[role](service, json.loads(text))
