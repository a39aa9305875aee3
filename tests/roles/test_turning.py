"""Routers that come and leave while calls flow: clients turn to them and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.roles.kit import BOUND_S, Kit, until
from zmqkit.device.router import Router

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("node")]


def double(number: int) -> int:
    return 2 * number


@contextmanager
def routed(kit: Kit) -> Iterator[Callable[[], int]]:
    """A router of the kit's name that runs; gives how many calls have passed it."""
    with Router(kit.name) as router:
        router.start()
        kit.start(router.run)

        def passed() -> int:
            names: Any = router.stats()["services"]
            return int(names.get(kit.name, {}).get("delivered", 0))

        yield passed
        assert router.close(BOUND_S) == 0


class Calls:
    """Calls that are made one after the other until `end`."""

    def __init__(self, kit: Kit, client: Any) -> None:
        self.made = 0
        self._client = client
        self._over = threading.Event()
        self._started = kit.start(self._call)

    def _call(self) -> None:
        while not self._over.is_set():
            assert self._client.call("double", self.made) == 2 * self.made
            self.made += 1

    def go_on(self, count: int = 50) -> None:
        before = self.made
        until(lambda: self.made >= before + count)

    def end(self) -> None:
        self._over.set()
        self._started.result()


def test_calls_turn_to_a_router_and_back_and_none_fails(kit: Kit) -> None:
    services = [kit.serving(double) for _ in range(2)]
    client = kit.client(count=2)
    calls = Calls(kit, client)
    calls.go_on()
    with routed(kit) as passed:
        until(lambda: passed() >= 50)
        assert [row["state"] for row in client.instances()].count("up") == 3
        assert client.ready(1, timeout_s=0) == 1
        with routed(kit) as other:
            until(lambda: other() >= 50)
    calls.go_on()
    calls.end()
    assert sum(each.stats()["delivered"] for each in services) == calls.made
    stats = kit.balanced(client)
    assert stats["delivered"] == stats["accepted"] == calls.made
