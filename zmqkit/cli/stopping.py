"""How signals end a command: as they end a role of a program, and people are told."""

from __future__ import annotations

from collections.abc import Callable

from zmqkit.cli.output import say_error, several, tell
from zmqkit.roles import stopping as roles
from zmqkit.roles.stopping import Says, Stops

UNFINISHED = "{} left unfinished".format
"""Says how much a role left undone."""


def told(noun: str) -> Says:
    """Return what tells people of the end. noun: what the role has in flight."""
    return Says(
        finishing=lambda count: tell(
            f"finishing {several(count, noun)}; interrupt again to stop now"
        ),
        left=lambda count: tell(UNFINISHED(several(count, noun))),
        interrupted=lambda: say_error("interrupted"),
    )


def stopping(
    role: Stops, noun: str = "request", begun: Callable[[], object] = int
) -> roles.Stopping:
    """Return the context in which signals end a role; see there."""
    return roles.Stopping(role, told(noun), begun)


def end_by(number: int) -> None:
    """End the process at once, whatever its threads do."""
    roles.end_by(number, told("").interrupted)
