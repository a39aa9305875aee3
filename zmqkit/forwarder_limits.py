"""The limits of a forwarder, and what it has in common with a bridge."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from zmqkit.history_limits import HISTORY_BYTES, HISTORY_MESSAGES, History
from zmqkit.limits import (
    PUBLISHERS_MAX,
    QUEUE_BYTES,
    QUEUE_MESSAGES,
    STALL_S,
    TOPICS_MAX,
    WINDOW_PACKETS,
    Limits,
    PublisherLimits,
    SubscriberLimits,
)

PATH_MAX = 64
"""Forwarders one behind the other."""
WAY_S = 1.0
"""How long messages that come a new way may be ahead of those that come another way."""


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class PassingLimits(Limits):
    """The limits of a device that passes on what others publish."""

    _least: ClassVar = {"stall_s": 0.1, "place_s": 0}

    # Subscribers that are present.
    subscribers_max: int = 10_000
    # Publishers that it is connected to.
    publishers_max: int = PUBLISHERS_MAX
    # Publishers whose packets it tells apart, if they may come twice.
    origins_max: int = 10_000
    # Topics of each of those publishers whose numbers it remembers.
    topics_max: int = TOPICS_MAX
    # Bytes that may be under way to the slowest subscriber before publishers with
    # policy="block" wait.
    window_bytes: int = QUEUE_BYTES
    # Messages that may be under way to it before those publishers wait.
    window_messages: int = QUEUE_MESSAGES
    # Packets that may be under way to it before those publishers wait.
    window_packets: int = WINDOW_PACKETS

    @property
    def front(self) -> PublisherLimits:
        """The limits of its side towards subscribers."""
        return PublisherLimits(
            subscribers_max=self.subscribers_max,
            window_bytes=self.window_bytes,
            window_messages=self.window_messages,
            window_packets=self.window_packets,
        )

    @property
    def back(self) -> SubscriberLimits:
        """The limits of its side towards publishers."""
        return SubscriberLimits(publishers_max=self.publishers_max)


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class ForwarderLimits(PassingLimits):
    """The limits of one forwarder."""

    # Beginnings of topics that it subscribes to; beyond them, to all topics.
    prefixes_max: int = TOPICS_MAX
    # Bytes of packets of publishers that wait, each with 512 more, which it holds meanwhile.
    held_bytes_max: int = 256 << 20
    # How long it waits at most for a subscriber that reads nothing.
    stall_s: float = STALL_S
    # How long a new subscriber waits at most for publishers that do not say that its
    # subscriptions are in place.
    place_s: float = 1.0


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class ForwarderHistory(History):
    """How much a forwarder keeps of what passed it."""

    # The last messages of each topic of each publisher. Without the table [history], which may
    # be empty, it keeps none.
    messages: int = HISTORY_MESSAGES
    # Bytes of all of them together, each packet with 400 more; those go first that newer
    # messages of their topics have followed for longest.
    bytes: int = HISTORY_BYTES
    # How long a message is kept; for ever by default.
    age_s: float = inf
    # Publishers whose messages it keeps; those that have left go first.
    publishers_max: int = 10_000
