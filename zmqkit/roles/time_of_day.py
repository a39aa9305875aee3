"""Turns a time of day into a delay; the one place that reads a clock which may step."""

from __future__ import annotations

import time
from datetime import datetime


def seconds_until(when: datetime) -> float:
    """Return the seconds from now until an aware datetime; 0.0 if it has passed."""
    return max(0.0, when.timestamp() - time.time())
