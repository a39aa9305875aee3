"""Tells a forked child from its parent without a system call.

ZeroMQ sockets, threads and event loops do not survive fork(). So a role that was made before
fork() refuses to work in the child.
"""

from __future__ import annotations

import os

from zmqkit.errors import UsageError


class Process:
    """The process in which something was made."""

    __slots__ = ("forked",)

    def __init__(self) -> None:
        self.forked = False  # true in a forked child of that process

    def check(self) -> None:
        """Raise UsageError in a forked child."""
        if self.forked:
            raise UsageError(
                "the role was made before fork(); make a new one in the child, or use spawn"
            )


_current = Process()


def current_process() -> Process:
    """Return this process; what is made in it keeps the result, to notice a fork."""
    return _current


def _forked() -> None:
    global _current
    _current.forked = True
    _current = Process()


os.register_at_fork(after_in_child=_forked)
