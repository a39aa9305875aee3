"""Where a command searched in vain, and what to do about it."""

from __future__ import annotations

from zmqkit.node import node as nodes


def searched(key: str, *, insecure: bool) -> str:
    """Why this process finds nobody under a key: where it searched, what it saw instead."""
    node = nodes.acquire()
    try:
        return node.explain(key, reach=node.environment.reach(insecure=insecure or None))
    finally:
        nodes.release(node)
