"""Two routers that are replaced in turn, while others call through them."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import zmqkit
from tests.crash.broker_actor import lines, value_of
from tests.crash.stage import BOUND_S, Start

pytestmark = pytest.mark.slow

WORKERS = 4
SERVICES = 2


class Load:
    """Threads that call one method after the other until they are told to end."""

    def __init__(
        self, client: zmqkit.Client, pool: ThreadPoolExecutor, methods: Sequence[str]
    ) -> None:
        self._client = client
        self._methods = methods
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._working: list[Future[int]] = [pool.submit(self._work) for _ in range(WORKERS)]

    def end(self) -> int:
        """Return how many calls were made; raise what one of them raised."""
        self._over.set()
        return sum(each.result(BOUND_S) for each in self._working)

    def _work(self) -> int:
        for count in itertools.count():
            if self._over.is_set():
                return count
            method = self._methods[count % len(self._methods)]
            key = f"{method}-{next(self._numbers)}"
            assert self._client.call(method, key) == value_of(key)
        return 0


@pytest.mark.parametrize(("methods", "kills"), [(["add", "buy"], False), (["add"], True)])
def test_no_call_fails_while_routers_are_replaced(
    start: Start,
    client: zmqkit.Client,
    under_way: ThreadPoolExecutor,
    tmp_path: Path,
    methods: list[str],
    kills: bool,
) -> None:
    """One that ends loses nothing; one that is killed nothing that may run twice."""
    log = tmp_path / "log"
    routers = [start("router") for _ in range(2)]
    for _ in range(SERVICES):
        start("answering", log=str(log))
    assert client.ready(2, timeout_s=BOUND_S) == 2
    load = Load(client, under_way, methods)
    for _ in range(3):
        routers.append(start("router"))
        assert client.ready(3, timeout_s=BOUND_S) == 3
        leaving = routers.pop(0)
        if kills:
            leaving.kill()
        else:
            leaving.order("end")
            assert leaving.process.wait(BOUND_S) == 0
    total = load.end()
    stats = client.stats()
    assert stats["delivered"] == stats["accepted"] == total
    runs = Counter(line.key for line in lines(log))
    assert len(runs) == total and (kills or max(runs.values()) == 1)
