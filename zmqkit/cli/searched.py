"""Explain where a command searched in vain, and what to do about it."""

from __future__ import annotations

from zmqkit.node import node as nodes


def searched(key: str, *, insecure: bool) -> str:
    """Return why this process finds nobody under a key.

    The text says where the process searched and what it saw instead.
    """
    node = nodes.acquire()
    try:
        return node.explain(key, reach=node.environment.reach(insecure=insecure or None))
    finally:
        nodes.release(node)
