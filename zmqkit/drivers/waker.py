"""What wakes a thread that waits for descriptors: one descriptor, where there is eventfd."""

from __future__ import annotations

import os
from io import FileIO
from sys import byteorder

_ONE = (1).to_bytes(8, byteorder)
_READ_BYTES = 4096


class Waker:
    """A descriptor that is readable once somebody woke its owner, until `clear`.

    A file knows when it is closed; a descriptor may be somebody else's by then.
    """

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            counter = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._woken = self._waker = FileIO(counter, "r+")
        else:
            woken, waker = os.pipe()
            os.set_blocking(woken, False)
            os.set_blocking(waker, False)
            self._woken, self._waker = FileIO(woken, "r"), FileIO(waker, "w")
        self.descriptor = self._woken.fileno()

    def wake(self) -> None:
        """Make the descriptor readable. It does nothing once this is closed."""
        try:
            self._waker.write(_ONE)  # does nothing if a pipe is full
        except (ValueError, OSError):
            return  # it is closed, or was just now: no thread drives any more

    def clear(self) -> None:
        """Make the descriptor unreadable until somebody wakes again."""
        self._woken.read(_READ_BYTES)

    def close(self) -> None:
        """Give the descriptor back."""
        self._woken.close()
        self._waker.close()
