"""The limits of each core as one value, with units, which it is given when it is made.

A test or a device passes others; nothing else in the package has them under another name.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from zmqkit import options
from zmqkit.errors import ConfigError


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


def _check(limits: ServiceLimits, least: dict[str, int]) -> None:
    """Each limit is a number, and at least 1 but for those that have another least."""
    for field in fields(limits):
        value, low = getattr(limits, field.name), least.get(field.name, 1)
        kinds = (int, float) if field.name.endswith("_s") else (int,)
        if type(value) not in kinds or not value >= low:
            raise ConfigError(f"limit {field.name} is {value!r}; use a number from {low} on")
