"""A place for one thread at a time, which an interrupt at any moment leaves free again."""

from __future__ import annotations

import threading
import time
from math import inf

from zmqkit.limits import REST_S_MAX


class Seat:
    """Whoever takes it sets `holder` to None in a `finally` around both, if it still is theirs.

    Unlike a lock it knows its holder: an interrupt may come when a lock is taken already and
    nobody knows. And to assign is a step in which none can come, unlike a call.
    """

    def __init__(self) -> None:
        self.holder: object = None
        self._free = threading.Condition()

    def take(self, holder: object, until: float = -inf) -> bool:
        """Take it once it is free; false if it is not by the time `until`."""
        with self._free:
            while self.holder is not None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return False
                self._free.wait(min(left_s, REST_S_MAX))
            self.holder = holder
        return True

    def tell(self) -> None:
        """Have one who waits look now; it would soon by itself."""
        with self._free:
            self._free.notify()
