"""Two networks that do not find each other, bridges between them, and a cut cable."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.lan.network import Host, Lan, until

pytestmark = [pytest.mark.slow, pytest.mark.lan(hosts=2)]

PORT = 5580
COUNT = 500
PROGRAM = """
import json, sys, time, zmqkit
name, tag, count, others = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with zmqkit.Publisher(name) as publisher, zmqkit.Subscriber(name) as subscriber:
    # Its own network: itself and the ends of bridges there.
    publisher.ready(1 + others, timeout_s=20)
    subscriber.ready(1 + others, timeout_s=20)
    print("ready", flush=True)
    sys.stdin.readline()
    read = []
    until = time.monotonic() + 60
    for number in range(count):
        publisher.publish("t", [tag, number])
        next_at = time.monotonic() + 0.01
        while (left := next_at - time.monotonic()) > 0:
            message = subscriber.receive(left)
            if message is not None:
                read.append(message.body)
    while len(read) < 2 * count and (left := until - time.monotonic()) > 0:
        message = subscriber.receive(left)
        if message is not None:
            read.append(message.body)
    print(json.dumps([read, subscriber.stats()]), flush=True)
    sys.stdin.readline()
"""


class Side:
    """A publisher and a subscriber on one of the networks."""

    def __init__(self, host: Host, name: str, ends: int) -> None:
        words = [name, f"host{host.number}", str(COUNT), str(ends)]
        self.process = host.start(sys.executable, "-c", PROGRAM, *words, ZMQKIT_INSECURE="1")

    def begin(self) -> None:
        self._say()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def _say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def bridge(host: Host, name: str, setting: str) -> subprocess.Popen[str]:
    process = host.start(
        sys.executable, "-m", "zmqkit", "run", "bridge", "--name", name, "--insecure",
        "--set", setting,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"bridge of '{name}' at tcp://")
    return process


def bodies(tag: str) -> list[list[object]]:
    return [[tag, number] for number in range(COUNT)]


def test_two_bridges_lose_and_repeat_nothing_over_a_cut_of_some_seconds(
    lan: Lan, name: str, record_property: Callable[[str, object], None]
) -> None:
    lan.block_multicast()
    near, far = lan.hosts
    ports = (PORT, PORT + 1)
    first = [bridge(near, name, f"link.listen=tcp://{near.address}:{port}") for port in ports]
    second = [
        bridge(far, name, f"link.connect=tcp://{near.address}:{port}/{name}") for port in ports
    ]
    sides = [Side(host, name, ends=2) for host in lan.hosts]
    for side in sides:
        assert side.line() == "ready\n"
    for side in sides:
        side.begin()
    time.sleep(1.0)
    lan.cut(far, silent=True)
    time.sleep(4.0)
    lan.heal()
    healed_at = time.monotonic()
    for side in sides:
        read, stats = json.loads(side.line())
        for host in lan.hosts:
            tag = f"host{host.number}"
            assert [each for each in read if each[0] == tag] == bodies(tag)
        assert (stats["missing"], stats["dropped"]) == (0, {})
    record_property("all read after the heal", time.monotonic() - healed_at)
    for process in (*first, *second):
        process.terminate()
    until(lambda: all(each.poll() is not None for each in (*first, *second)))
