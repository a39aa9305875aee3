"""A subscriber behind a cut cable gets what it missed, from its publisher or a forwarder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

from tests.lan.network import BOUND_S, Host, Lan

pytestmark = pytest.mark.slow

CUT_S = 10.0
COUNT = 3000
"""Messages, published 5 ms apart: the cut is in the middle of them."""
FEW = 1500
"""So few that their publisher is done before the cut ends."""

PUBLISHER = """
import sys, time, zmqkit

count, history, readers = map(int, sys.argv[1:])
with zmqkit.Publisher("ticks", history=history or None, insecure=True) as publisher:
    print("ready", flush=True)
    publisher.ready(readers)
    for number in range(1, count + 1):
        publisher.publish("tick", number)
        publisher.publish(f"tick.{number % 7}", number)
        time.sleep(0.005)
    publisher.publish("end", count)
    sys.stdin.read()
"""

WITNESS = """
import sys, zmqkit

with zmqkit.Subscriber(sys.argv[1], topics=["end"], insecure=True) as subscriber:
    subscriber.ready()
    print("ready", flush=True)
    print(subscriber.receive().body, flush=True)
"""

SUBSCRIBER = """
import json, sys, zmqkit

came = {}
with zmqkit.Subscriber("ticks", history=10_000, recover=True, insecure=True) as subscriber:
    ended, count, seen = False, None, 0
    for message in subscriber:
        if message.topic == "end":
            count = 2 * message.body
        else:
            came.setdefault(message.topic, []).append(message.body)
            seen += 1
            if seen == 1:
                print("joined", flush=True)
        if count is not None and seen + subscriber.stats()["missing"] >= count:
            break
    stats = subscriber.stats()
print(json.dumps([came, stats["recovered"], stats["missing"]]))
"""


def first_line(host: Host, program: str, *argv: str) -> subprocess.Popen[str]:
    """Start a program, and wait until it says a line."""
    process = host.python(program, *argv)
    assert process.stdout is not None and process.stdout.readline()
    return process


def judge(subscriber: subprocess.Popen[str], count: int) -> None:
    """Each message came once and in order, and some of them from a history."""
    text = subscriber.communicate(timeout=2 * BOUND_S)[0]
    came, recovered, missing = json.loads(text.splitlines()[-1])
    assert came.pop("tick") == list(range(1, count + 1))
    for each in range(7):
        assert came.pop(f"tick.{each}") == list(range(each or 7, count + 1, 7))
    assert not came
    assert missing == 0 and recovered > 0


@pytest.mark.lan(hosts=2)
def test_who_was_cut_off_catches_up_with_nothing_missing_and_nothing_twice(lan: Lan) -> None:
    there, here = lan.hosts
    there.python(PUBLISHER, str(COUNT), str(COUNT), "1")
    subscriber = first_line(here, SUBSCRIBER)
    lan.cut(here, silent=True)
    time.sleep(CUT_S)
    lan.heal()
    judge(subscriber, COUNT)


@pytest.mark.lan(hosts=3)
def test_a_forwarder_has_what_was_missed_of_a_publisher_that_was_killed(lan: Lan) -> None:
    there, between, here = lan.hosts
    command = (sys.executable, "-m", "zmqkit", "run", "forwarder-history", "--name", "ticks")
    device = between.start(*command, "--insecure", "--set", f"history.messages={FEW}")
    assert device.stdout is not None
    found = re.search(r"tcp://[^ ,]+", device.stdout.readline())
    assert found is not None
    witness = first_line(between, WITNESS, f"{found[0]}/ticks")
    publisher = there.python(PUBLISHER, str(FEW), "0", "2")
    subscriber = first_line(here, SUBSCRIBER)
    lan.cut(here, silent=True)
    begun = time.monotonic()
    assert witness.stdout is not None and witness.stdout.readline() == f"{FEW}\n"
    publisher.kill()  # the forwarder has all of it
    time.sleep(max(0.0, begun + CUT_S - time.monotonic()))
    lan.heal()
    judge(subscriber, FEW)
