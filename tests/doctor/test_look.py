"""What is gathered about the processes of this machine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.spawning import Popen
from zmqkit.doctor.ask import Asker
from zmqkit.doctor.facts import Asked, Outcome, Program
from zmqkit.doctor.look import _first_answer, programs
from zmqkit.model import Address

SILENT = """
import socket, sys, zmq
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as all others at that port
    heard.setsockopt(socket.SOL_SOCKET, option, 1)
heard.bind(("127.53.53.53", 5353))  # where nobody sends anything
held = zmq.Context().socket(zmq.ROUTER)
held.bind("tcp://127.0.0.1:*")
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def silent() -> Iterator[Popen[str]]:
    """A process that looks as if it had zmqkit, greets and does not answer."""
    process = Popen(
        [sys.executable, "-c", SILENT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def look(kill: Popen[str] | None = None) -> list[Program]:
    """Look at all processes, and kill one after a moment."""

    async def looked() -> list[Program]:
        with Asker() as asker:
            if kill is not None:
                asyncio.get_running_loop().call_later(1, kill.kill)
            return await programs(asker)

    return asyncio.run(looked())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_a_process_that_ends_while_it_is_asked_is_left_out() -> None:
    with silent() as process:
        [program] = [each for each in look() if each.pid == process.pid]
        assert [each.outcome for each in program.asked] == [Outcome.SILENT]
        assert process.pid not in [each.pid for each in look(kill=process)]


def test_who_answers_second_is_told_goodbye_too() -> None:
    heard: list[int] = []

    class Answered(Asker):
        async def ask(self, address: Address) -> Asked:
            if address.port == 2:  # an answer a moment later, then the goodbye
                later = asyncio.Event()
                asyncio.get_running_loop().call_later(0.01, later.set)
                await later.wait()
            heard.append(address.port)
            return Asked(address, Outcome.ANSWERED, "", 1.0, "")

    async def asked() -> tuple[Asked, ...]:
        with Answered() as asker:
            return await _first_answer([1, 2], asker)

    assert [each.address.port for each in asyncio.run(asked())] == [1]
    assert heard == [1, 2]
