"""Every limit and default, with its unit, and the limits of each core as one value.

A core is given its limits when it is made; a test or a device passes others. What stands here
by itself is no core's alone: several modules use it, or a driver does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from zmqkit.errors import ConfigError

# Calls
TIMEOUT_S = 5.0
TIMEOUT_S_MAX = 1e7
"""More than this, a third of a year, is as good as for ever."""
WAIT_S_MAX = 1e6
"""For how long to ask the operating system to wait at once; its milliseconds have 31 bits."""
REST_S_MAX = 1.0
"""For how long a thread rests at once: a signal that another one was given is seen then."""
WAIT_S = 5.0
ATTEMPTS = 3
PRIORITY = 4
PRIORITY_MAX = 9
CLOSE_S = 1.0
LEAVE_S = 0.1
"""How long what is sent at the very end may take, and threads that wait to be told."""
LINGER_S = 0.1
LINGER_S_MAX = 10.0
"""The largest body takes 6 s at 100 Mbit/s. Not for ever: now and then libzmq waits the whole
time for a connection that is gone, and the process's end waits with it."""

# Sizes
BODY_BYTES_MAX = 64 << 20
PACKET_BYTES_MAX = BODY_BYTES_MAX + (64 << 10)
BATCH_BYTES = 64 << 10
HEADERS_BYTES_MAX = 8 << 10
RAW_BYTES_MIN = 4096
"""A single bytes value at least this long travels raw behind the header: one copy fewer."""
COMPRESS_BYTES_MIN = 2 << 10
"""A msgpack part this long is compressed on its way to another machine. At 1 Gbit/s and with
cold caches, as between two calls, one of 1 KiB saves as much time as it takes, one of 2 KiB
more, and a segment of TCP is spared; see benchmarks/compression.py."""

# Windows and tables
CREDIT = 1000
WAITING_CALLS_MAX = 10_000
INSTANCES_MAX = 16
ROLES_MAX = 1000
"""Services and publishers of one process, whose directory is one packet."""
RACE_MAX = 4
CONNECTIONS_MAX = 1000
"""Processes that one is connected to on the control connection; see `connections_max`."""
NODE_DESCRIPTORS = 40
ROLE_DESCRIPTORS = 16
CONNECTION_DESCRIPTORS = 12
"""What has to be left before one of these is opened, a little more than it takes."""
PROCESSES_MAX = 500
"""Other processes that one tells of, and that one remembers of those who ask."""
CALLERS_MAX = 1000
"""Connections of other processes that are told of the end of a service as soon as it ends."""
PLACES_MAX = 8
ASKED_MAX = 16
PEERS_MAX = 100
"""Static peers in a file; each costs a connection."""
PEERS_BYTES_MAX = 64 << 10
RECORDS_MAX = 10_000
CLAIMS_MAX = 16
"""What others say of one role of one process; anybody may say anything."""
RIVALS_MAX = 16
"""Other processes that are said to have a role, too."""
TELL_BYTES = 4 << 20
"""After how many bytes a client says at once that it has read them."""
COUNTED_BYTES_MIN = RAW_BYTES_MIN
"""Shorter answers are bounded by their number, so nobody counts what becomes of them."""
CONCURRENCY_ASYNCIO = 1000
STREAM_ITEMS = 1000
STREAM_BYTES = 256 << 10
"""A stream's values that its caller has not taken, kept by the service until then."""

# Publish-subscribe
TOPIC_BYTES_MAX = 256
TOPICS_MAX = 100_000
PUBLISHERS_MAX = 256
QUEUE_MESSAGES = 30_000
QUEUE_BYTES = 64 << 20
MARKS_PER_WINDOW = 4
WINDOW_PACKETS = CREDIT
GATHER_PACKETS = CREDIT
CREDIT_PACKETS = WINDOW_PACKETS + GATHER_PACKETS + CREDIT // 2
"""Packets that may be under way to a subscriber that is waited for, messages or not."""
FOLLOW_S = 0.00002
"""How closely messages that nobody waits for come after each other when they may gather."""
FOLLOW_STREAK = 8
"""How many have come so closely before the first that gathers."""
HOLD_S = 0.0002
"""How long that one waits for others, at most, if somebody comes to send them."""
LENT_MESSAGES = 64
"""How many may gather between two looks at the clock."""
STALL_S = 5.0
READS_S = 0.25
"""How often a subscriber that has not come to the next MARK says that it reads."""
REMARK_S = 0.25
"""When a publisher that waits for a subscriber first says its last MARK again."""
BYE_S = 0.1
ENDS_MAX = 1000

# Time, in seconds
PING_S = 1.0
EVASIVE_S = 2.0
GONE_S = 1.5
HELLO_S = 0.5
HELLO_S_MAX = 5.0
RACE_S = 0.25
"""Between two addresses of one process that are tried at the same time."""
RETRY_S_MAX = 3.0
"""What is gone is tried again after a tenth of the time it has been away, or this."""
GREET_S = 0.25
GREET_S_MAX = 60.0
REGISTERED_S = 10.0
REFERRAL_S = 300.0
UNLISTED_S = 5.0
EXPLAIN_S = 0.25
"""How often at most those who find nobody are told anew what was seen instead."""
LOOK_S = 2.0
"""How often a node looks at its peers file and at the addresses of its host."""
FORGET_CLIENT_S = 60.0
KEEPER_S = 0.02
KEEPER_S_MAX = 0.25
BUSY_POLL_S = 0.0005
BUSY_POLL_LOOKS = 4
SHARED_S = 0.00003
CROWDED_S = 0.02
"""How long waits sleep once others took the processor from one that stayed awake."""

# One turn of a drain
DRAIN_PACKETS = 256
TURN_MESSAGES = 64
TIMER_S_MIN = 0.001
"""For how long an event loop waits at least: epoll and uvloop count milliseconds."""
DRAIN_BYTES = 512 << 10
QUICK_S = 0.0005
QUICK_RUNS_MIN = 100
STEP_S = 0.005
"""How long a generator may go on before others have their turn."""


def connections_max(descriptors: int) -> int:
    """How many other processes to be connected to, where one may have so many descriptors.

    Each takes four, eight while two addresses are raced; half are for everything else.
    """
    return max(8, min(descriptors // 8 - 8, CONNECTIONS_MAX))


@dataclass(slots=True, frozen=True, kw_only=True)
class ClientLimits:
    """What one client keeps and uses.

    waiting_calls_max: calls that wait for an instance, or for its credit. instances_max: those
    that it connects to. known_max: those that it remembers. credit_max: calls that one instance
    has at a time. stream_items_max, stream_bytes_max: values of one stream that are not taken.
    follow_s, hold_s: how closely one-way messages follow each other when they gather, and for
    how long; see core/pace.py.
    """

    waiting_calls_max: int = WAITING_CALLS_MAX
    instances_max: int = INSTANCES_MAX
    known_max: int = RECORDS_MAX
    credit_max: int = CREDIT
    stream_items_max: int = STREAM_ITEMS
    stream_bytes_max: int = STREAM_BYTES
    follow_s: float = FOLLOW_S
    hold_s: float = HOLD_S

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

    publishers_max: int = PUBLISHERS_MAX
    known_max: int = RECORDS_MAX
    prefixes_max: int = 1000
    topics_max: int = TOPICS_MAX
    queue_messages_max: int = QUEUE_MESSAGES
    queue_bytes_max: int = QUEUE_BYTES
    untold_gaps_max: int = 1000

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        _check(self, {})


@dataclass(slots=True, frozen=True, kw_only=True)
class PublisherLimits:
    """What one publisher keeps and uses.

    subscribers_max: those that are present. topics_max: those whose numbers are remembered.
    body_bytes_max: of one message. window_bytes: what may be between the publisher and its
    slowest subscriber, if it waits; window_messages, window_packets: so many fill a window if
    they are small.
    gather_bytes, gather_messages, gather_packets: what gathers before it is time to send.
    gather_topics_max: topics that are remembered for what they gathered before. follow_s,
    hold_s: how closely messages follow each other when they gather, and for how long; see
    core/pace.py.
    """

    subscribers_max: int = 10_000
    topics_max: int = TOPICS_MAX
    body_bytes_max: int = BODY_BYTES_MAX
    window_bytes: int = QUEUE_BYTES
    window_messages: int = QUEUE_MESSAGES
    window_packets: int = WINDOW_PACKETS
    gather_bytes: int = 4 << 20
    gather_messages: int = QUEUE_MESSAGES
    gather_packets: int = GATHER_PACKETS
    gather_topics_max: int = 10_000
    follow_s: float = FOLLOW_S
    hold_s: float = HOLD_S

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
    clients may not have read, less than what is retained, so that they can be sent again over
    another connection; client_unread_bytes: what each may have of it at any time, or one
    answer. waiting_bytes_max: of those that wait for others to be read. counted_bytes_min:
    shorter answers are passed over in these three. forget_client_s: how long a client is silent
    before it is forgotten.
    """

    credit: int = CREDIT
    requests_max: int = 20_000
    client_requests_max: int = CREDIT + WAITING_CALLS_MAX
    held_bytes_max: int = 256 << 20
    open_ids_max: int = WAITING_CALLS_MAX + INSTANCES_MAX * CREDIT
    streams_max: int = 1000
    stream_items_max: int = STREAM_ITEMS
    stream_bytes_max: int = STREAM_BYTES
    clients_max: int = 10_000
    forgotten_max: int = 100_000
    retained_bytes_max: int = 64 << 20
    waiting_bytes_max: int = 128 << 20
    unread_bytes_max: int = 48 << 20
    client_unread_bytes: int = 8 << 20
    counted_bytes_min: int = COUNTED_BYTES_MIN
    forget_client_s: float = FORGET_CLIENT_S

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

    connections_max: int = CONNECTIONS_MAX
    attempts_max: int = RACE_MAX
    known_max: int = RECORDS_MAX
    claims_max: int = CLAIMS_MAX
    rivals_max: int = RIVALS_MAX
    own_max: int = ROLES_MAX
    callers_max: int = CALLERS_MAX
    processes_max: int = PROCESSES_MAX
    asked_max: int = ASKED_MAX
    addresses_max: int = PLACES_MAX
    registered_s: float = REGISTERED_S
    referral_s: float = REFERRAL_S
    unlisted_s: float = UNLISTED_S

    def __post_init__(self) -> None:
        """Raise ConfigError for what nothing works under, or for more than others read."""
        _check(self, {"connections_max": 0, "processes_max": 0})
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise ConfigError(f"limit {name} is {getattr(self, name)}; {most} at most")


@dataclass(slots=True, frozen=True, kw_only=True)
class DiscoveryLimits:
    """How much discovery knows, and how often it looks, asks and repeats."""

    records_max: int = RECORDS_MAX
    """Records that are known; the one not confirmed for longest makes room."""
    claims_max: int = CLAIMS_MAX
    """Processes that are known to announce one instance name."""
    announced_max: int = 1000
    """Roles of this process that are announced."""
    incomplete_max: int = 1000
    """Instances of which something is missing that is asked for."""
    completing_max: int = 32
    """Those of them that are asked for at the same time."""
    complete_after_s: float = 0.1
    """How long what is missing may come by itself before it is asked for."""
    complete_s: float = 2.0
    """How long it is waited for then."""
    query_s: float = 5.0
    """Between two queries of its own, where there are few peers."""
    repeat_s: float = 60.0
    """Between two announcements of a role, on the average, where there are few peers."""
    watch_s: float = 1.0
    """Between two looks at the addresses of this host."""
    watch_longest_s: float = 16.0
    """The same while they change with each look."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit under which nothing works."""
        names = [each.name for each in fields(self) if each.name.endswith("_s")]
        _check(self, dict.fromkeys(names, 0))


_MOST = {
    "own_max": ROLES_MAX,
    "processes_max": PROCESSES_MAX,
    "addresses_max": PLACES_MAX,
}
"""What others read in one directory."""


def _check(
    limits: ClientLimits
    | DiscoveryLimits
    | MembershipLimits
    | PublisherLimits
    | ServiceLimits
    | SubscriberLimits,
    least: dict[str, int],
) -> None:
    """Each limit is a number, and at least 1 but for those that have another least."""
    for field in fields(limits):
        value, low = getattr(limits, field.name), least.get(field.name, 1)
        kinds = (int, float) if field.name.endswith("_s") else (int,)
        if type(value) not in kinds or not value >= low:
            raise ConfigError(f"limit {field.name} is {value!r}; use a number from {low} on")
