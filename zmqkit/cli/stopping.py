"""How signals end a command: as they end a role of a program, and people are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zmqkit.cli.output import say_error, several, tell
from zmqkit.limits import REST_S_MAX
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


@contextmanager
def staying() -> Iterator[Stay]:
    """Have `wait` wait for SIGTERM or SIGINT; the next one ends the process at once."""
    stay = Stay()
    with stopping(stay):
        yield stay


class Stay:
    """Waits until it is stopped."""

    def __init__(self) -> None:
        # A signal's handler may release a lock whatever the main thread does. It may not set an
        # event, whose own lock the main thread may hold.
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self) -> None:
        """Return once the signal has come."""
        while not self._gate.acquire(timeout=REST_S_MAX):
            pass  # Python runs the handler of a signal that another thread got

    def stop(self) -> None:
        """Have `wait` return; a signal's handler may call this."""
        self._gate.release()

    def stats(self) -> dict[str, object]:
        """Return that nothing is to be finished."""
        return {"in_flight": 0}


def end_by(number: int) -> None:
    """End the process at once, whatever its threads do."""
    roles.end_by(number, told("").interrupted)
