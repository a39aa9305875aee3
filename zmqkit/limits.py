"""The limits of each core as a value: numbers and bytes, with defaults, checked when made.

A device file or a test passes others; no limit of a core is anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from zmqkit.errors import ConfigError
from zmqkit.options import (
    CREDIT,
    INSTANCES_MAX,
    RECORDS_MAX,
    STREAM_BYTES,
    STREAM_ITEMS,
    WAITING_CALLS_MAX,
)


@dataclass(slots=True, frozen=True)
class ClientLimits:
    """What a client keeps and uses at most. ConfigError for anything but whole numbers above 0.

    waiting_calls_max: calls that wait for an instance, or for its credit. instances_max: those
    that it connects to. known_max: those that it remembers. credit_max: calls that one instance
    has at a time. stream_items, stream_bytes: values of one stream that are not taken.
    """

    waiting_calls_max: int = WAITING_CALLS_MAX
    instances_max: int = INSTANCES_MAX
    known_max: int = RECORDS_MAX
    credit_max: int = CREDIT
    stream_items: int = STREAM_ITEMS
    stream_bytes: int = STREAM_BYTES

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{each.name} is {value!r}; use a whole number, 1 or more")

    @property
    def calls_max(self) -> int:
        """What waits in line, and what all instances have been given within their credit."""
        return self.waiting_calls_max + self.instances_max * self.credit_max
