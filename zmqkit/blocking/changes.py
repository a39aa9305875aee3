"""Who opens or closes a role: one thread at a time, and nobody in the middle of that.

A signal's handler or a finalizer may run between any two steps of a thread, and may open or
close the very role that this thread opens or closes. It cannot wait for what it interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Given = TypeVar("Given")


class Changes:
    """Lets one change of a role be made at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._made: dict[str, object] = {}

    def make(self, change: Callable[[], Given], busy: Callable[[], Given]) -> Given:
        """Return what `change` returns, once no other thread makes one.

        Call `busy` instead if this thread is in the middle of a change.
        """
        with self._lock:
            try:
                if self._made.setdefault("now", change) is not change:
                    return busy()
                return change()
            finally:
                if self._made == {"now": change}:  # no call, in which an interrupt may come
                    del self._made["now"]
