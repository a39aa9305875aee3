"""A forked child that a test needs."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BOUND_S = 20.0


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[None]:
    """Have a forked child that has done some work meanwhile; it is killed then."""
    ours, theirs = socket.socketpair()
    with warnings.catch_warnings():
        # Python 3.12 and newer warn of any fork in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            ours.close()
            work()
            theirs.send(b"x")
            theirs.recv(1)  # until it is killed, or its parent ends
        finally:
            os._exit(1)
    theirs.close()
    with ours:
        ours.settimeout(BOUND_S)
        try:
            assert ours.recv(1) == b"x"
            yield
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
