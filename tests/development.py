"""How programs of the documents run: in Python's development mode, where a warning is an error.

So what they write to standard error is all that Python has against zmqkit's own code, too:
sockets left open, coroutines never awaited, what will be deprecated.
"""

from __future__ import annotations

import re

MODE = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}

_SLOW = re.compile(
    r"^(Executing <.*> took \d+\.\d+ seconds|handler-holds-loop .*)\n", re.MULTILINE
)
"""What asyncio and zmqkit say of a step that takes 0.1 s, as each may on a busy machine."""


def told(errors: str) -> str:
    """What a program wrote to standard error, without what a busy machine has it write."""
    return _SLOW.sub("", errors)
