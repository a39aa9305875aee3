"""A place for one thread at a time, which an interrupt at any moment leaves free again."""

from __future__ import annotations

import threading
import time
from math import inf

from zmqkit.options import REST_S_MAX


class Seat:
    """Whoever has taken it leaves it in a `finally` around both.

    Unlike a lock it knows its holder: an interrupt may come when a lock is taken already and
    nobody knows.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holder: object = None

    def take(self, holder: object, until: float = -inf) -> bool:
        """Take it once it is free; false if it is not by the time `until`."""
        with self._free:
            while self._holder is not None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return False
                self._free.wait(min(left_s, REST_S_MAX))
            self._holder = holder
        return True

    def is_held_by(self, holder: object) -> bool:
        """Whether this one has it."""
        return self._holder is holder

    def leave(self, holder: object) -> None:
        """Free it for the next one, if this one has it."""
        with self._free:
            if self._holder is holder:
                self._holder = None
                self._free.notify()
