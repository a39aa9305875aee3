"""Carries frames between two TAP interfaces, late and thinned out, as netem would.

    python shaper.py NEAR FAR LOSS DELAY_S

It makes both interfaces, prints `ready`, and ends with its standard input. Frames stay in
order.
"""

from __future__ import annotations

import fcntl
import os
import random
import selectors
import struct
import sys
import time
from collections import deque
from contextlib import suppress

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES_MAX = 65536
FRAMES_MAX = 1000


def tap(name: str) -> int:
    """A descriptor of a new TAP interface."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI)
    fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor


class Way:
    """One direction: frames that wait for their time to leave."""

    def __init__(self, source: int, sink: int, loss: float, delay_s: float) -> None:
        self._source, self._sink = source, sink
        self._loss, self._delay_s = loss, delay_s
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, now: float) -> None:
        """Read what came, and lose some of it."""
        # Nothing more there, or an interface that is not up yet.
        with suppress(OSError):
            while True:
                frame = os.read(self._source, FRAME_BYTES_MAX)
                if random.random() >= self._loss and len(self._waiting) < FRAMES_MAX:
                    self._waiting.append((now + self._delay_s, frame))

    def pass_on(self, now: float) -> float:
        """Write what is due; gives how long the next one waits."""
        while self._waiting and self._waiting[0][0] <= now:
            # A full queue or an interface that is down loses it.
            with suppress(OSError):
                os.write(self._sink, self._waiting.popleft()[1])
        return self._waiting[0][0] - now if self._waiting else 3600.0


def main(near: str, far: str, loss: float, delay_s: float) -> None:
    ends = tap(near), tap(far)
    ways = [Way(*pair, loss, delay_s) for pair in (ends, ends[::-1])]
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    for end, way in zip(ends, ways, strict=True):
        selector.register(end, selectors.EVENT_READ, way)
    print("ready", flush=True)
    wait_s = 3600.0
    while True:
        ready = selector.select(wait_s)
        now = time.monotonic()
        for key, _ in ready:
            if key.data is None:
                return
            key.data.take(now)
        wait_s = max(0.0, min(way.pass_on(now) for way in ways))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
