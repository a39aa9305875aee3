"""What a shell offers for names of services and their methods: those that are there now.

A shell waits for it, so it takes LOOK_S to look around and ASK_S to ask, at most, and says
nothing: whatever goes wrong, there is nothing to offer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

import zmqkit
from zmqkit.model import kind_of
from zmqkit.roles.describing import METHODS

LOOK_S = 0.5
ASK_S = 1.0
_STEP_S = 0.1

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(*roles: str) -> Complete:
    """Return what completes the name of who has one of these roles, or of anybody for none.

    A device counts as the role that it stands for.
    """

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            found = _found(roles, incomplete, insecure=bool(ctx.params.get("insecure")))
        except (zmqkit.ZmqkitError, OSError):
            return []
        return [CompletionItem(each) for each in found]

    return complete


def methods(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a method of the service that the command line names."""
    service = ctx.params.get("service")
    if not service:
        return []
    try:
        rows = methods_of(service, ASK_S, ASK_S, insecure=bool(ctx.params.get("insecure")))
    except (zmqkit.ZmqkitError, OSError):
        return []
    return [
        CompletionItem(row["name"], help=str(row["doc"] or row["signature"]))
        for row in rows
        if str(row["name"]).startswith(incomplete)
    ]


def methods_of(
    service: str, timeout_s: float, wait_s: float, *, insecure: bool
) -> list[dict[str, object]]:
    """Return the rows of a service's methods, sorted by name. Raises the errors of a call."""
    made = zmqkit.Client(service, timeout_s=timeout_s, wait_s=wait_s, insecure=insecure or None)
    with made as client:
        rows: list[dict[str, object]] = client.options(priority=9).call(METHODS)
    return sorted(rows, key=lambda row: str(row["name"]))


def _found(roles: tuple[str, ...], incomplete: str, *, insecure: bool) -> list[str]:
    """Return the names that begin so, once there are some and no more came for a moment."""
    # Only this needs what `ls` has, and only when a shell asks.
    from zmqkit.cli.ls import listening

    news, until = threading.Event(), time.monotonic() + LOOK_S
    with listening(news, insecure=insecure) as node:
        while True:
            is_quiet = not news.wait(_STEP_S)
            news.clear()
            kinds = {(each.name, kind_of(each.role)) for each in node.listings()}
            found = {name for name, kind in kinds if not roles or kind in roles}
            fitting = sorted(name for name in found if name.startswith(incomplete))
            if (is_quiet and fitting) or time.monotonic() >= until:
                return fitting
