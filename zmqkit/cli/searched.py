"""Explain where a command searched in vain, and what to do about it."""

from __future__ import annotations

from shlex import quote

from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.node import node as nodes


def searched_for_all(name: str | None, *, insecure: bool) -> str:
    """Return why this process finds nobody at all, or nobody of a name in any role.

    One that is stopped is not found, so the text names the command that sees it all the same.
    """
    doctor = "zmqkit doctor" if name is None else f"zmqkit doctor {quote(name)}"
    return f"{searched(EVERYBODY, insecure=insecure)}; `{doctor}` looks closer"


def searched(key: str, *, insecure: bool) -> str:
    """Return why this process finds nobody under a key.

    The text says where the process searched and what it saw instead.
    """
    node = nodes.acquire()
    try:
        return node.explain(key, reach=node.environment.reach(insecure=insecure or None))
    finally:
        nodes.release(node)
