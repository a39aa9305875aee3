"""Who gives up waiting for a close has closed nevertheless."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from queue import Queue

import pytest

from tests.roles.kit import BOUND_S, AsyncKit, Kit, until
from zmqkit.core.effects import Tell
from zmqkit.errors import UsageError
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


def test_a_close_in_a_signal_handler_that_interrupts_a_close_returns_at_once(
    blocking: Kit,
) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold)
    client = blocking.client(timeout_s=BOUND_S)
    calling = blocking.start(client.call, "hold", 42)
    gate.came()
    counts: list[int] = []

    def interrupt() -> None:
        until(lambda: client._life.driver.attentive)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        until(lambda: counts)
        gate.open()

    before = signal.signal(signal.SIGUSR1, lambda *_: counts.append(client.close()))
    try:
        blocking.start(interrupt)
        assert client.close(BOUND_S) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert counts == [0] and calling.result() == 42


def test_a_close_that_interrupts_a_close_leaves_the_journal_to_it(
    blocking: Kit, tmp_path: Path
) -> None:
    gate, journal = blocking.gate(), tmp_path / "tasks.journal"
    blocking.working(gate.hold)
    pusher = blocking.pusher(journal=journal)
    pusher.push(1)
    gate.came()
    counts: list[int] = []

    def interrupt() -> None:
        until(lambda: pusher._life._changes._made)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        until(lambda: counts)
        gate.open()

    before = signal.signal(signal.SIGUSR1, lambda *_: counts.append(pusher.close()))
    try:
        blocking.start(interrupt)
        assert pusher.close(BOUND_S) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert counts == [0]
    assert blocking.pusher(count=0, journal=journal).stats()["accepted"] == 0


def test_a_close_on_another_thread_waits_for_the_first(blocking: Kit) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold)
    client = blocking.client(timeout_s=BOUND_S)
    calling = blocking.start(client.call, "hold", 42)
    gate.came()
    first = blocking.start(client.close, BOUND_S)
    until(lambda: client._life.driver.attentive)
    second = blocking.start(client.close, 0)
    assert not (first.over or second.over)
    gate.open()
    assert (calling.result(), first.result(), second.result()) == (42, 0, 0)


def test_a_close_that_interrupts_the_opening_closes_after_that(
    blocking: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriber = blocking.subscriber_class(blocking.name)
    place = subscriber._life.plan.place
    appear, counts = place.appear, []

    def interrupted(hear: Callable[[Tell], None]) -> None:
        counts.append(subscriber.close())
        with pytest.raises(UsageError, match="just being opened"):
            subscriber._life._changes.make(int, subscriber._life._is_opening)
        appear(hear)

    monkeypatch.setattr(place, "appear", interrupted)
    with pytest.raises(UsageError, match="is closed"):
        subscriber.receive(0)
    assert counts == [0] and subscriber._life.closed and place.node is None


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
