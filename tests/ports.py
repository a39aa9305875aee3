"""Ports for what listens at one port more than once, or later.

The kernel gives a port from its own range to whoever asks next, so what was free there a moment
ago may be taken. These lie below that range, and each process of a test run has its own.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

FIRST = 10_000
PROCESSES = 20
EACH = 500

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
_tried = os.getpid()  # two runs on one machine seldom begin at the same port


def quiet_server() -> socket.socket:
    """Listen at a port that stays free once this is closed."""
    global _tried
    for _ in range(EACH):
        _tried += 1
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", FIRST + _process * EACH + _tried % EACH))
    raise AssertionError("no port is free")


def quiet_port() -> str:
    """A port that nobody listens at, and that nobody else will."""
    with quiet_server() as server:
        return str(server.getsockname()[1])


def quiet_endpoint() -> str:
    """Where a role of this machine may listen, end, and listen again."""
    return f"tcp://127.0.0.1:{quiet_port()}"
