"""Processes that are replaced while others call them: an end in order loses nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Start

pytestmark = pytest.mark.slow

WORKERS = 4


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_no_call_fails_while_its_services_are_replaced(
    start: Start, client: zmqkit.Client, under_way: ThreadPoolExecutor, kind: str
) -> None:
    over = threading.Event()

    def work() -> int:
        count = 0
        while not over.is_set():
            assert client.call("count", count) == count
            count += 1
        return count

    service = start("service", kind)
    working = [under_way.submit(work) for _ in range(WORKERS)]
    for _ in range(6):
        following = start("service", kind)
        assert client.ready(2, timeout_s=BOUND_S) == 2
        service.order("end")
        assert service.process.wait(BOUND_S) == 0
        service = following
    over.set()
    total = sum(each.result(BOUND_S) for each in working)
    stats = client.stats()
    assert stats["delivered"] == stats["accepted"] == total
