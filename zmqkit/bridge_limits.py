"""The limits of a bridge."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.forwarder_limits import PassingLimits
from zmqkit.limits import STALL_S


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class BridgeLimits(PassingLimits):
    """The limits of one end of a bridge."""

    # Bytes that the other end does not have yet, each packet with 512 more. The oldest of those
    # that were not sent make room. So many may have come from there and wait here, too.
    held_bytes_max: int = 256 << 20
    # Bytes that were sent and that the other end has not passed on.
    flight_bytes_max: int = 16 << 20
    # How long it waits at most for a subscriber that reads nothing; and how long publishers
    # that wait are held up by a link that is cut.
    stall_s: float = STALL_S
    # How long an end that is new lets subscribers find it before it passes on the first packet.
    place_s: float = 1.0
