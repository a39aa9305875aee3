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
    """

    waiting_calls_max: int = options.WAITING_CALLS_MAX
    instances_max: int = options.INSTANCES_MAX
    known_max: int = options.RECORDS_MAX
    credit_max: int = options.CREDIT
    stream_items_max: int = options.STREAM_ITEMS
    stream_bytes_max: int = options.STREAM_BYTES

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {})

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
    times as much of each publisher that waits for it.
    """

    publishers_max: int = options.PUBLISHERS_MAX
    known_max: int = options.RECORDS_MAX
    prefixes_max: int = options.PREFIXES_MAX
    topics_max: int = options.TOPICS_MAX
    queue_messages_max: int = options.QUEUE_MESSAGES
    queue_bytes_max: int = options.QUEUE_BYTES

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {})


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


@dataclass(slots=True, frozen=True, kw_only=True)
class MembershipLimits:
    """What one process knows of others, and how many it uses.

    connections_max: processes that it is connected to at once; the others wait. attempts_max:
    connections to one of them while its addresses are raced. known_max: roles that it knows of.
    claims_max: what others say of one role of one process. rivals_max: other processes that are
    said to have a role, too. own_max: roles of its own, whose directory is one packet.
    callers_max: connections of others that are told of the end of a service as soon as it ends.
    processes_max: others that it tells of, that are registered here, that it is referred to.
    asked_max: those of the last that it asks at once. addresses_max: where it may be asked, as
    it tells others. registered_s: how long one that says nothing stays registered. referral_s:
    how long the word of a static peer that is gone counts. unlisted_s: how long
    discovery's word of a role counts though its process does not list it: an older directory
    may still be under way when a new role is announced.
    """

    connections_max: int = options.CONNECTIONS_MAX
    attempts_max: int = options.RACE_MAX
    known_max: int = options.RECORDS_MAX
    claims_max: int = options.CLAIMS_MAX
    rivals_max: int = options.RIVALS_MAX
    own_max: int = options.ROLES_MAX
    callers_max: int = options.CALLERS_MAX
    processes_max: int = options.PROCESSES_MAX
    asked_max: int = options.ASKED_MAX
    addresses_max: int = options.PLACES_MAX
    registered_s: float = options.REGISTERED_S
    referral_s: float = options.REFERRAL_S
    unlisted_s: float = options.UNLISTED_S

    def __post_init__(self) -> None:
        """Raise ConfigError for what nothing works under, or for more than others read."""
        _check(self, {"connections_max": 0, "processes_max": 0})
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise ConfigError(f"limit {name} is {getattr(self, name)}; {most} at most")


_MOST = {
    "own_max": options.ROLES_MAX,
    "processes_max": options.PROCESSES_MAX,
    "addresses_max": options.PLACES_MAX,
}
"""What others read in one directory."""


def _check(
    limits: ClientLimits | ServiceLimits | SubscriberLimits | MembershipLimits,
    least: dict[str, int],
) -> None:
    """Each limit is a number, and at least 1 but for those that have another least."""
    for field in fields(limits):
        value, low = getattr(limits, field.name), least.get(field.name, 1)
        kinds = (int, float) if field.name.endswith("_s") else (int,)
        if type(value) not in kinds or not value >= low:
            raise ConfigError(f"limit {field.name} is {value!r}; use a number from {low} on")
