"""What the crash tests ask for: a name, actors, a client of this process."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import zmqkit
from tests.crash.stage import BOUND_S, Actor, Start


@pytest.fixture
def name() -> str:
    """A name that no other program on this machine serves."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def start(name: str) -> Iterator[Start]:
    """Starts an actor with a role of the test's name, or of another one."""
    actors: list[Actor] = []

    def start(role: str, kind: str = "blocking", *, of: str = name, **options: Any) -> Actor:
        actors.append(Actor(role, of, kind=kind, **options))
        return actors[-1]

    yield start
    for actor in actors:
        actor.close()


@pytest.fixture
def client(name: str) -> Iterator[zmqkit.Client]:
    """A blocking client of the test's name in this process."""
    with zmqkit.Client(name, timeout_s=BOUND_S, wait_s=BOUND_S) as client:
        yield client
        client.close(0)


@pytest.fixture
def under_way() -> Iterator[ThreadPoolExecutor]:
    """Makes calls while the test goes on."""
    with ThreadPoolExecutor(8, thread_name_prefix="under-way") as pool:
        yield pool
