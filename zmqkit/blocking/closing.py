"""How blocking roles are kept going, and how they end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from zmqkit.core.effects import Effect
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.limits import LEAVE_S
from zmqkit.roles.scheme import acquire_node

if TYPE_CHECKING:
    from zmqkit.node.node import Node


def keep(driver: BlockingDriver) -> Node:
    """Have the process's node drive a role whenever no thread does, until it is released.

    Unlike a call, what is subscribed to comes unasked, inside one process too.
    """
    keeper = acquire_node()
    keeper.keep(driver)
    return keeper


def is_too_late() -> bool:
    """Whether the interpreter ends: all other threads stand still for ever, whatever they hold,
    and the system takes back what is open."""
    return sys.is_finalizing()


def let_go(
    driver: BlockingDriver,
    keeper: Node | None,
    close: Callable[[], list[Effect]],
    until: float,
    *,
    linger_s: float = 0.0,
) -> None:
    """Close a role's core, end its threads' waits by `until`, and give back driver and link."""
    if keeper is not None:
        keeper.let_go(driver)
    driver.retire(close, max(until, time.monotonic() + LEAVE_S))
    with driver.lock:
        driver.driver.link.close(linger_s)
        driver.close()
