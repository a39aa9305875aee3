"""Fixtures for tests of programs that use zmqkit; pytest finds them by itself.

Nothing of zmqkit is imported until a test asks for one of them. docs/testing.md shows them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from zmqkit.testing.serving import (
        MakeClient,
        MakePublisher,
        MakeService,
        MakeSubscriber,
        MakeWorker,
        Roles,
    )


@pytest.fixture
def zmqkit_space(monkeypatch: pytest.MonkeyPatch) -> str:
    """A space of the test's own, for all roles and programs that it starts."""
    space = f"test-{secrets.token_hex(8)}"
    monkeypatch.setenv("ZMQKIT_SPACE", space)
    return space


@pytest.fixture
def _zmqkit_roles(zmqkit_space: str) -> Iterator[Roles]:
    from zmqkit.testing.serving import Roles

    with Roles() as roles:
        yield roles


@pytest.fixture
def zmqkit_service(_zmqkit_roles: Roles) -> MakeService:
    """Serve an object's methods, a module's functions, or one function, under a name."""
    return _zmqkit_roles.service


@pytest.fixture
def zmqkit_worker(_zmqkit_roles: Roles) -> MakeWorker:
    """Have a function do the tasks of a name."""
    return _zmqkit_roles.worker


@pytest.fixture
def zmqkit_client(_zmqkit_roles: Roles) -> MakeClient:
    """Make a client that is closed with the test."""
    return _zmqkit_roles.client


@pytest.fixture
def zmqkit_publisher(_zmqkit_roles: Roles) -> MakePublisher:
    """Make a publisher that is closed with the test."""
    return _zmqkit_roles.publisher


@pytest.fixture
def zmqkit_subscriber(_zmqkit_roles: Roles) -> MakeSubscriber:
    """Make a subscriber that is closed with the test."""
    return _zmqkit_roles.subscriber
