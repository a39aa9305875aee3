"""The limits of what publishers keep and subscribers recover, with their units."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from zmqkit.limits import Limits

HISTORY_MESSAGES = 1000
HISTORY_BYTES = 64 << 20
KEPT_BYTES = 440
"""What a packet that a publisher keeps takes in memory beside its bodies."""
RAW_SHARED_BYTES_MAX = 16 << 10
"""A raw body that is kept is alone in its page if it has more bytes; others share one."""
PAGE_HISTORY_BYTES = 64 << 10
"""The bytes of one page of history; one message may be larger."""
PAGE_TOPICS = 1000
"""The topics that a subscriber asks for in one page."""
ENTRY_BYTES = 24
"""What a topic and its publisher take in a page beside the topic's name and its messages."""
TIME_BYTES = 14
"""What the time of a packet takes in a page, with how many of its messages there are."""
RECOVER_S = 0.25
"""After how long a subscriber asks again for a page that did not come."""
RETURN_S = 30.0
"""How long what follows a gap waits for a publisher that is out of reach."""
HEADS_S = 0.25
HEADS_S_MAX = 60.0
"""When a publisher with a history first repeats the numbers of topics that are quiet, and the
longest pause between two repetitions, each of which is twice the one before."""


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class History(Limits):
    """How much a publisher keeps of what it published.

    messages: the last messages of each topic. bytes: of all topics together; the messages that
    newer ones of their topics have followed for longest go first. age_s: how long a message is
    kept, for ever by default. Raises ConfigError for a wrong value.
    """

    messages: int = HISTORY_MESSAGES
    bytes: int = HISTORY_BYTES
    age_s: float = inf

    _least: ClassVar = {"age_s": 0}
