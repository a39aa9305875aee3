"""A role that a node offers, without any role behind it."""

from __future__ import annotations

from collections.abc import Callable

from zmqkit.core.membership.observed import Observed
from zmqkit.model import Reach, Record
from zmqkit.node.node import Node
from zmqkit.wire.statistics import Figures

Start = Callable[..., Node]


def offer(node: Node, name: str, incarnation: int = 0xA) -> None:
    """Have the node list a role, and tell that it counts one call of a method."""
    control = node.open_control(Reach.LOCAL)
    record = Record(name, "service", incarnation, node.process, (), control, 6000)
    node.announce(record, Reach.LOCAL)
    figures = Figures(part="method", of="price", delivered=1)
    node.observe(
        Observed("service", name, incarnation, Reach.LOCAL, lambda now: [Figures(), figures])
    )
