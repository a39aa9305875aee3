"""How the blocking roles of publish-subscribe are kept going, and how they end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from zmqkit._places import BoundPlace, LookingPlace, acquire_node, release_node
from zmqkit.core.effects import Effect
from zmqkit.drivers.blocking import BlockingDriver

if TYPE_CHECKING:
    from zmqkit.drivers.node import Node

LEAVE_S = 0.1
"""How long what is sent at the very end may take, and threads that wait to be told."""


def keep(driver: BlockingDriver) -> Node:
    """Have the process's node drive a role whenever no thread does.

    Unlike a call, what is subscribed to comes unasked, inside one process too.
    """
    keeper = acquire_node()
    keeper.keep(driver)
    return keeper


def let_go(
    driver: BlockingDriver,
    place: BoundPlace | LookingPlace,
    keeper: Node,
    close: Callable[[], list[Effect]],
    until: float,
    *,
    linger_s: float = 0.0,
) -> None:
    """Close a role's core, and give back its driver, link and place."""
    keeper.let_go(driver)
    driver.retire(close, max(until, time.monotonic() + LEAVE_S))
    with driver.lock:
        driver.driver.link.close(linger_s)
        driver.close()
    place.release()
    release_node(keeper)
