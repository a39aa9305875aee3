"""Nodes in one process, which find each other by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.offering import Start
from zmqkit.environment import Environment
from zmqkit.limits import MembershipLimits
from zmqkit.model import Reach
from zmqkit.node.engines import Engines
from zmqkit.node.node import Node


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """Start a node where multicast does not pass; it is closed with the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    async def nowhere(self: Engines, reach: Reach) -> None:
        pass

    monkeypatch.setattr(Engines, "_open", nowhere)
    started: list[Node] = []

    def start(*peers: Node, connections_max: int = 100) -> Node:
        given = tuple(f"127.0.0.1:{peer.open_control(Reach.LOCAL)}" for peer in peers)
        limits = MembershipLimits(connections_max=connections_max)
        started.append(Node(Environment(given), limits))
        return started[-1]

    yield start
    for node in started:
        node.close()
