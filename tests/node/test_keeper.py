"""The keeper, with roles that are made up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from zmqkit.node.keeper import Keeper

BOUND_S = 30.0


class Role:
    """What the keeper sees of a blocking role."""

    def __init__(self, descriptor: int) -> None:
        self.turns = self.steps = 0
        self.led = self.watched = False
        self.over = asyncio.Event()
        self.stepped: Callable[[], None] = self.over.set
        # No more of the link than that: to look at it takes the lock, which `step` does.
        self.driver = SimpleNamespace(link=SimpleNamespace(fileno=lambda: descriptor))

    def step(self) -> float:
        self.turns += 1
        self.steps += 1
        self.stepped()
        return inf


@pytest.fixture
def role() -> Iterator[Any]:
    ours, theirs = os.pipe()
    yield Role(ours)
    os.close(ours)
    os.close(theirs)


def keep(role: Any, begin: Callable[[], None] = lambda: None) -> None:
    """Have a keeper look after the role until that says it is over."""

    async def keep() -> None:
        begin()
        Keeper(asyncio.get_running_loop()).keep(role)
        async with asyncio.timeout(BOUND_S):
            await role.over.wait()

    asyncio.run(keep())


def test_a_role_that_rests_is_driven(role: Any) -> None:
    role.stepped = role.over.set
    keep(role)


def test_a_role_that_a_thread_drove_meanwhile_is_looked_at_again(role: Any) -> None:
    def stepped() -> None:
        if role.steps == 2:
            role.over.set()
        else:
            asyncio.get_running_loop().call_later(0.1, drive)

    def drive() -> None:
        role.turns += 1  # it may have left something that nobody tells of

    role.stepped = stepped
    keep(role)


def test_a_role_that_a_thread_uses_without_looking_around_is_driven(role: Any) -> None:
    def publish() -> None:
        role.turns += 1
        asyncio.get_running_loop().call_later(0.001, publish)

    def stepped() -> None:
        if role.steps == 3:
            role.over.set()

    role.stepped = stepped
    keep(role, publish)
