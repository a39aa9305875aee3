"""Tells a forked child from its parent without a system call.

ZeroMQ sockets, threads and event loops do not survive fork(), so a role made before it refuses
to work in the child.
"""

from __future__ import annotations

import os

from zmqkit.errors import UsageError


class Process:
    """A process, as long as it is not a forked child of the one that asks.

    forked: true in a child, for what was made before it.
    """

    __slots__ = ("forked",)

    def __init__(self) -> None:
        self.forked = False

    def check(self) -> None:
        """Raise UsageError in a forked child."""
        if self.forked:
            raise UsageError(
                "the role was made before fork(); make a new one in the child, or use spawn"
            )


_current = Process()


def current_process() -> Process:
    """This process, to be kept by what is made in it."""
    return _current


def _forked() -> None:
    global _current
    _current.forked = True
    _current = Process()


os.register_at_fork(after_in_child=_forked)
