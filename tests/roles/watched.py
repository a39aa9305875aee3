"""Generators for tests: one that counts, one that is watched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import zmqkit
from zmqkit.limits import STREAM_ITEMS

ENOUGH = 5 * STREAM_ITEMS
FOREVER = 10**9
"""More than a window holds, and more than anybody takes."""


def count(number: int) -> Iterator[int]:
    yield from range(number)


class Watched:
    """A generator that tells how far it is, and when it is closed."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = threading.Event()
        self.requests: list[zmqkit.Request] = []

    def watched(self, number: int = FOREVER) -> Iterator[int]:
        self.requests.append(zmqkit.current_request())
        try:
            for each in range(number):
                self.given = each + 1
                yield each
        finally:
            self.closed.set()

    async def waits(self, number: int = FOREVER) -> AsyncIterator[int]:
        self.requests.append(zmqkit.current_request())
        try:
            for each in range(number):
                self.given = each + 1
                yield each
                await asyncio.sleep(0)
        finally:
            self.closed.set()
