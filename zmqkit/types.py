"""The shapes of what roles take and return, for annotations: each is a plain dict at run time.

A type checker knows from them which options and counters there are.
"""

# Without annotations from __future__: __required_keys__ would not see NotRequired in text.
from collections.abc import Mapping
from typing import NotRequired, TypedDict

__all__ = [
    "CallCounts",
    "ClientInstance",
    "ClientOptions",
    "ClientStats",
    "HeardPublisher",
    "Instance",
    "Lacking",
    "PublisherStats",
    "PusherStats",
    "ServiceStats",
    "SubscriberStats",
    "TaskCounts",
]


class ClientOptions(TypedDict, total=False):
    """What `client.options` takes; it says what each option means."""

    timeout_s: float
    wait_s: float
    priority: int
    attempts: int
    headers: Mapping[str, object]
    copy: bool
    id: str | None
    expires_s: float
    instance: str | None


class Instance(TypedDict):
    """A row of `pusher.instances()`: one worker, streamer or instance of a service.

    label: NAME-8hex. state: tasks and calls go to those that are `up`. outstanding: how many it
    has.
    """

    label: str
    address: str
    state: str
    outstanding: int


class ClientInstance(Instance):
    """A row of `client.instances()`.

    served: False for a device that has nobody for the name now.
    """

    served: bool


class HeardPublisher(TypedDict):
    """A row of `subscriber.publishers()`: a publisher, or a forwarder if it `forwards`."""

    label: str
    address: str
    state: str
    forwards: bool


class Lacking(TypedDict):
    """A row of `subscriber.lacking()`: what is still to come from a publisher on a topic.

    sequence: the number of the first of these messages. All but `publisher` are None while that
    has not said what it keeps.
    """

    publisher: str
    topic: str | None
    messages: int | None
    sequence: int | None


class CallCounts(TypedDict):
    """Counters of calls: accepted = delivered + failed + expired + dropped + in_flight.

    dropped: numbers by reason, of which the sum counts here. retries: attempts after a first.
    """

    accepted: int
    delivered: int
    failed: int
    expired: int
    retries: int
    duplicates: int
    dropped: dict[str, int]
    in_flight: int
    waiting: int


class ClientStats(CallCounts):
    """What `client.stats()` returns.

    malformed: packets that could not be read, by reason. broken, given_up and unexpected: of a
    client with `protocol`, about its broker.
    """

    malformed: dict[str, int]
    broken: NotRequired[int]
    given_up: NotRequired[int]
    unexpected: NotRequired[int]


class ServiceStats(TypedDict):
    """What `stats()` of a service, a worker or a sink returns.

    accepted = delivered + failed + expired + the sum of dropped + in_flight. overdue: handlers
    that go on though they took too long. devices: how many brokers or streamers take it, where
    it dials them. registrations and unanswered: of a service with `protocol`.
    """

    accepted: int
    delivered: int
    failed: int
    expired: int
    duplicates: int
    refused: int
    evicted: int
    dropped: dict[str, int]
    in_flight: int
    waiting: int
    overdue: int
    held_bytes: int
    streams: int
    clients: int
    retained_bytes: int
    unread_bytes: int
    malformed: dict[str, int]
    devices: NotRequired[int]
    registrations: NotRequired[dict[str, int]]
    unanswered: NotRequired[dict[str, int]]


class PublisherStats(TypedDict):
    """What `publisher.stats()` returns.

    accepted = handed_over + queued + the sum of dropped.
    """

    accepted: int
    handed_over: int
    queued: int
    dropped: dict[str, int]
    subscribers: int
    excluded: int
    exclusions: int
    topics: int
    kept: int
    kept_bytes: int
    malformed: dict[str, int]


class SubscriberStats(TypedDict):
    """What `subscriber.stats()` returns: received = delivered + queued + the sum of dropped.

    missing: messages that did not arrive, in so many gaps.
    """

    received: int
    delivered: int
    queued: int
    queued_bytes: int
    dropped: dict[str, int]
    gaps: int
    missing: int
    duplicates: int
    recovered: int
    publishers: int
    malformed: dict[str, int]


class TaskCounts(TypedDict):
    """Counters of tasks: accepted is the sum of all others, which are the states of a task."""

    accepted: int
    waiting: int
    leased: int
    done: int
    failed: int
    dead: int
    expired: int
    cancelled: int
    dropped: int


class PusherStats(TaskCounts):
    """What `pusher.stats()` returns. passed_on: tasks that a streamer has taken."""

    paused: bool
    passed_on: int
    malformed: dict[str, int]
