"""Roles are shared among threads."""

from __future__ import annotations

import threading

import pytest

import zmqkit
from tests.roles.kit import Kit

pytestmark = pytest.mark.usefixtures("node")

THREADS = 8


def double(value: int) -> int:
    return 2 * value


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, THREADS])
def test_each_thread_gets_its_own_answers(kit: Kit, concurrency: int) -> None:
    service = kit.serving(double, concurrency=concurrency)
    client = kit.client(timeout_s=20)
    together = threading.Barrier(THREADS)

    def work(number: int) -> bool:
        together.wait(20)
        values = range(number * 1000, number * 1000 + 200)
        for value in values:
            if value % 10 == 0:
                client.notify("double", value)
                client.stats()
                client.instances()
        return all(client.call("double", value) == 2 * value for value in values)

    working = [kit.start(work, number) for number in range(THREADS)]
    assert all(each.result() for each in working)
    assert client.close() == 0
    assert client.stats()["delivered"] == THREADS * 220
    assert service.stats()["accepted"] == THREADS * 220


@pytest.mark.slow
@pytest.mark.parametrize("_round", range(5))
def test_threads_may_call_while_another_closes(kit: Kit, _round: int) -> None:
    kit.serving(double)
    client = kit.client()
    under_way = threading.Semaphore(0)

    def work() -> Exception:
        try:
            while True:
                assert client.call("double", 1) == 2
                under_way.release()
        except (zmqkit.CallCancelled, zmqkit.UsageError) as error:
            return error

    working = [kit.start(work) for _ in range(THREADS)]
    for _ in range(100):
        assert under_way.acquire(timeout=20)
    client.close(0)
    for each in working:
        assert isinstance(each.result(), zmqkit.ZmqkitError)


@pytest.mark.slow
def test_threads_may_wait_for_readiness_together(kit: Kit) -> None:
    client = kit.client(count=0)
    waiting = [kit.start(client.ready, timeout_s=20) for _ in range(THREADS)]
    kit.serving(double)
    assert [each.result() for each in waiting] == [1] * THREADS


def test_slow_call_does_not_hold_up_other_threads(kit: Kit) -> None:
    gate = kit.gate()
    kit.serving(gate.hold, double, concurrency=2)
    client = kit.client()
    slow = kit.start(client.call, "hold", 1)
    gate.came()
    for n in range(20):
        assert kit.start(client.call, "double", n).result() == 2 * n
        assert client.call("double", n) == 2 * n
    gate.open()
    assert slow.result() == 1


def test_a_thread_that_is_interrupted_before_it_waits_holds_nobody_up(
    blocking: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = blocking.gate()
    blocking.serving(gate.hold, double)
    client = blocking.client()

    def interrupted(waiter: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client._life.driver, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.call("hold")
    assert client.stats()["dropped"] == {"cancelled": 1}
    gate.open()
    assert client.call("double", 2) == 4
