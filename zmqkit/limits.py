"""The limits of each core as one value, with units, which it is given when it is made.

A test or a device passes others; nothing else in the package has them under another name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from zmqkit import options
from zmqkit.errors import ConfigError


@dataclass(slots=True, frozen=True, kw_only=True)
class ClientLimits:
    """What one client keeps and uses.

    waiting_calls_max: calls that wait for an instance, or for its credit. instances_max: those
    that it connects to. known_max: those that it remembers. credit_max: calls that one instance
    has at a time. stream_items_max, stream_bytes_max: values of one stream that are not taken.
    follow_s, hold_s: how closely one-way messages follow each other when they gather, and for
    how long; see core/pace.py.
    """

    waiting_calls_max: int = options.WAITING_CALLS_MAX
    instances_max: int = options.INSTANCES_MAX
    known_max: int = options.RECORDS_MAX
    credit_max: int = options.CREDIT
    stream_items_max: int = options.STREAM_ITEMS
    stream_bytes_max: int = options.STREAM_BYTES
    follow_s: float = options.FOLLOW_S
    hold_s: float = options.HOLD_S

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {"follow_s": 0, "hold_s": 0})

    @property
    def calls_max(self) -> int:
        """What waits in line, and what all instances have been given within their credit."""
        return self.waiting_calls_max + self.instances_max * self.credit_max


@dataclass(slots=True, frozen=True, kw_only=True)
class SubscriberLimits:
    """What one subscriber keeps and uses.

    publishers_max: those that it connects to. known_max: those that it remembers.
    prefixes_max: topics that it subscribes to. topics_max: those of one publisher whose
    numbers are remembered. queue_messages_max, queue_bytes_max: what waits to be read; three
    times as much of each publisher that waits for it. untold_gaps_max: topics of which it is
    remembered how much is missing until somebody asks.
    """

    publishers_max: int = options.PUBLISHERS_MAX
    known_max: int = options.RECORDS_MAX
    prefixes_max: int = options.PREFIXES_MAX
    topics_max: int = options.TOPICS_MAX
    queue_messages_max: int = options.QUEUE_MESSAGES
    queue_bytes_max: int = options.QUEUE_BYTES
    untold_gaps_max: int = options.UNTOLD_GAPS_MAX

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {})


@dataclass(slots=True, frozen=True, kw_only=True)
class PublisherLimits:
    """What one publisher keeps and uses.

    subscribers_max: those that are present. topics_max: those whose numbers are remembered.
    body_bytes_max: of one message. window_bytes, window_messages, window_packets: what may be
    between the publisher and its slowest subscriber, if it waits; whichever is reached first.
    gather_bytes, gather_messages, gather_packets: what gathers before it is time to send.
    gather_topics_max: topics that are remembered for what they gathered before. follow_s,
    hold_s: how closely messages follow each other when they gather, and for how long; see
    core/pace.py.
    """

    subscribers_max: int = options.SUBSCRIBERS_MAX
    topics_max: int = options.TOPICS_MAX
    body_bytes_max: int = options.BODY_BYTES_MAX
    window_bytes: int = options.QUEUE_BYTES
    window_messages: int = options.QUEUE_MESSAGES
    window_packets: int = options.WINDOW_PACKETS
    gather_bytes: int = options.GATHER_BYTES
    gather_messages: int = options.GATHER_MESSAGES
    gather_packets: int = options.GATHER_PACKETS
    gather_topics_max: int = options.GATHER_TOPICS_MAX
    follow_s: float = options.FOLLOW_S
    hold_s: float = options.HOLD_S

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {"follow_s": 0, "hold_s": 0})

    @property
    def message_load(self) -> int:
        """What a message takes of a window beside its bytes."""
        return self.window_bytes // self.window_messages

    @property
    def packet_load(self) -> int:
        """What a packet takes of a window beside its messages."""
        return self.window_bytes // self.window_packets


@dataclass(slots=True, frozen=True, kw_only=True)
class ServiceLimits:
    """What one service takes, keeps and remembers, in all where no client is named.

    credit: calls of one client that may be unsettled here. requests_max, client_requests_max:
    held at once, waiting or running, the second of one client. held_bytes_max: of all that are
    held, but one may be larger. open_ids_max: in a list of a
    client. streams_max: not ended. stream_items_max, stream_bytes_max: values of one that its
    caller has not taken. clients_max: remembered with their answers. forgotten_max: of which
    only numbers are kept, each id that they had open counted as one more. retained_bytes_max:
    of answers that are not settled. unread_bytes_max: of answers that were sent and that their
    clients may not have read; client_unread_bytes: what each may have of it at any time, or one
    answer. waiting_bytes_max: of those that wait for others to be read. counted_bytes_min:
    shorter answers are passed over in these three. forget_client_s: how long a client is silent
    before it is forgotten.
    """

    credit: int = options.CREDIT
    requests_max: int = options.REQUESTS_MAX
    client_requests_max: int = options.CREDIT + options.WAITING_CALLS_MAX
    held_bytes_max: int = options.HELD_BYTES_MAX
    open_ids_max: int = options.WAITING_CALLS_MAX + options.INSTANCES_MAX * options.CREDIT
    streams_max: int = options.STREAMS_MAX
    stream_items_max: int = options.STREAM_ITEMS
    stream_bytes_max: int = options.STREAM_BYTES
    clients_max: int = options.CLIENTS_MAX
    forgotten_max: int = 10 * options.CLIENTS_MAX
    retained_bytes_max: int = options.RETAINED_BYTES_MAX
    waiting_bytes_max: int = options.WAITING_BYTES_MAX
    unread_bytes_max: int = options.UNREAD_BYTES_MAX
    client_unread_bytes: int = options.CLIENT_UNREAD_BYTES
    counted_bytes_min: int = options.COUNTED_BYTES_MIN
    forget_client_s: float = options.FORGET_CLIENT_S

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {"retained_bytes_max": 0})


def _check(
    limits: ClientLimits | PublisherLimits | ServiceLimits | SubscriberLimits,
    least: dict[str, int],
) -> None:
    """Each limit is a number, and at least 1 but for those that have another least."""
    for field in fields(limits):
        value, low = getattr(limits, field.name), least.get(field.name, 1)
        kinds = (int, float) if field.name.endswith("_s") else (int,)
        if type(value) not in kinds or not value >= low:
            raise ConfigError(f"limit {field.name} is {value!r}; use a number from {low} on")
