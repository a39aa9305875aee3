"""Between the time of day and the monotonic clock; nothing else reads a clock that may step."""

from __future__ import annotations

import time
from datetime import datetime


def seconds_until(when: datetime) -> float:
    """Return the seconds from now until an aware datetime; 0.0 if it has passed."""
    return max(0.0, when.timestamp() - time.time())


def offset_s() -> float:
    """Return what the monotonic clock lacks of the time of day, in seconds."""
    return time.time() - time.monotonic()


def wall_us() -> int:
    """Return the time of day in microseconds since 1970."""
    return time.time_ns() // 1000
