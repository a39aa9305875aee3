"""The limits of taps, with their units."""

from __future__ import annotations

TAPPERS_MAX = 4
"""How many may tap a process at a time."""
TAP_ROWS_MAX = 500
"""How many rows wait for a tapper, of each role; then the oldest makes room."""
TAP_RATE_MAX = 1000.0
"""How many rows are taken of a role each second, at most."""
TAP_BODY_BYTES = 256
"""How much of a body is copied: its beginning."""
TAP_TEXT_CHARS = 100
"""How much is told of the name of a method or topic."""
TAP_LEASE_S = 2.0
"""How long a tap goes on for which nobody asks."""
TAPPED_BYTES = 60 << 10
"""How many bytes of rows one answer has; the others wait."""
