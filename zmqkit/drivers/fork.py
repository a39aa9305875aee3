"""Tells a forked child from its parent without a system call.

ZeroMQ sockets, threads and event loops do not survive fork(), so a role made before it refuses
to work in the child.
"""

from __future__ import annotations

import os

from zmqkit.errors import UsageError

_generation = 0


def _forked() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_forked)


class ForkGuard:
    """Remembers in which process it was made."""

    __slots__ = ("_made_in",)

    def __init__(self) -> None:
        self._made_in = _generation

    def check(self) -> None:
        """Raise UsageError in a forked child."""
        if self._made_in != _generation:
            raise UsageError(
                "the role was made before fork(); make a new one in the child, or use spawn"
            )
