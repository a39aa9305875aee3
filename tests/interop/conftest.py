"""Programs that others wrote, which these tests run if the environment says where they are.

    ZMQKIT_ZGUIDE   the folder with the Python examples of the ZeroMQ guide, examples/Python

Nobody fetches them for a test. So without the variable there are no such tests, and
`tox -e interop`, which is run by hand, fails if it finds none.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import LIMIT_S, environment, zmqkit

ZGUIDE = os.environ.get("ZMQKIT_ZGUIDE", "")

collect_ignore_glob = [] if ZGUIDE else ["test_*.py"]

Popen = subprocess.Popen[bytes]
Program = Callable[..., Popen]

CLIENT = """
from mdcliapi import MajorDomoClient
client = MajorDomoClient(argv[1])
for number in range(int(argv[3])):
    assert client.send(argv[2].encode(), [b"%d" % number, b"x"]) == [b"x", b"%d" % number]
"""
ASYNC_CLIENT = """
from mdcliapi2 import MajorDomoClient
client = MajorDomoClient(argv[1])
for number in range(int(argv[3])):
    client.send(argv[2].encode(), [b"%d" % number, b"x"])
got = [client.recv() for _ in range(int(argv[3]))]
assert sorted(got) == sorted([b"x", b"%d" % number] for number in range(int(argv[3])))
"""
WORKER = """
from mdwrkapi import MajorDomoWorker
worker = MajorDomoWorker(argv[1], argv[2].encode())
print("ready", flush=True)
reply = None
while True:
    request = worker.recv(reply)
    print("asked", flush=True)
    if len(argv) > 3:
        time.sleep(60)
    reply = request[::-1]
"""
BROKER = """
import zmq
from mdbroker import MajorDomoBroker
broker = MajorDomoBroker()
broker.bind("tcp://127.0.0.1:*")
print(broker.socket.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
broker.mediate()
"""
OUR_SERVICE = """
import zmqkit
protocol = argv[3] if len(argv) > 3 else None
service = zmqkit.Service(argv[2], via=argv[1], protocol=protocol)

@service.handler(idempotent=True)
def mdp(*frames):
    print("asked", flush=True)
    return list(frames[::-1])

service.start()
print("ready", flush=True)
service.serve()
"""


@pytest.fixture
def name() -> str:
    """The name of a service."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def program() -> Iterator[Program]:
    """Starts a program that uses the guide's modules; it is ended with the test."""
    begun: list[Popen] = []

    def start(code: str, *arguments: str) -> Popen:
        paths = os.pathsep.join((ZGUIDE, environment()["PYTHONPATH"]))
        process = subprocess.Popen(
            [sys.executable, "-c", f"import time\nfrom sys import argv\n{code}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), "PYTHONPATH": paths},
        )
        begun.append(process)
        return process

    assert (Path(ZGUIDE) / "mdbroker.py").is_file(), f"no mdbroker.py in {ZGUIDE!r}"
    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def our_broker() -> Iterator[str]:
    """Where `zmqkit run majordomo` listens."""
    command = zmqkit("run", "majordomo", "--name", f"t{secrets.token_hex(6)}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
    yield found(process)
    process.terminate()
    process.communicate()
    assert process.returncode == 0


@pytest.fixture
def their_broker(program: Program) -> Iterator[str]:
    """Where the broker of the guide listens; it has to survive the test."""
    process = program(BROKER)
    yield found(process)
    assert process.poll() is None, (process.communicate()[1]).decode()


@pytest.fixture(params=["our", "their"])
def broker(request: pytest.FixtureRequest) -> str:
    """Where either of the two brokers listens."""
    where: str = request.getfixturevalue(f"{request.param}_broker")
    return where


def found(process: Popen) -> str:
    """The address in a broker's first line."""
    match = re.search(r"tcp://[\d.]+:\d+", line(process))
    assert match is not None
    return match[0]


def line(process: Popen) -> str:
    """The next line that a program writes."""
    assert process.stdout is not None
    return process.stdout.readline().decode().rstrip()


def ended(process: Popen) -> None:
    """Wait for the end of a program, which must have found nothing wrong."""
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors.decode()
