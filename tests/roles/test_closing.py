"""Who gives up waiting for a close has closed nevertheless."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from math import inf
from queue import Queue

import pytest

from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.node.node import Node

pytestmark = pytest.mark.usefixtures("node")

KINDS = ["publisher", "subscriber", "client", "serving"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_close_goes_on_when_the_wait_for_it_is_cancelled(aio: AsyncKit, kind: str) -> None:
    options = {"count": 0} if kind in ("subscriber", "client") else {}
    role = getattr(aio, kind)(**options).inner

    async def close() -> int:
        waiting = asyncio.ensure_future(role.close(BOUND_S))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        closed: int = await role.close()
        return closed

    assert aio.submit(close()).result(BOUND_S) == 0
    until(lambda: role._life.plan.place.node is None)


@pytest.mark.parametrize("timeout_s", [3e6, inf, None])
def test_a_close_may_take_ages(kit: Kit, timeout_s: float | None) -> None:
    roles = [kit.publisher(), kit.subscriber(), kit.serving(), kit.client()]
    for role in reversed(roles):
        assert role.close(timeout_s) == 0


def test_a_finalizer_on_the_nodes_thread_may_close_a_client(blocking: Kit, node: Node) -> None:
    blocking.service().start()
    client = blocking.client()
    closed: Queue[int] = Queue()
    node._post(lambda: closed.put(client.close()))  # as a collection that begins there would
    assert closed.get(timeout=BOUND_S) == 0
    assert blocking.client(count=1)  # discovery goes on


AT_THE_END = """
import sys
import zmqkit

class Owner:
    def __init__(self, role):
        self.role = role
    def __del__(self):
        print("closed", self.role.close())

role = zmqkit.{kind}("{kind}-of-nobody")
getattr(role, "start", int)()
sys.modules["owner"] = Owner(role)  # dies with the interpreter, whose threads stand still
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Client", "Service", "Publisher", "Subscriber"])
def test_a_role_that_is_closed_as_the_interpreter_ends_waits_for_nobody(kind: str) -> None:
    program = [sys.executable, "-P", "-c", AT_THE_END.format(kind=kind)]
    done = subprocess.run(program, capture_output=True, timeout=3 * BOUND_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"closed 0\n", b"")
