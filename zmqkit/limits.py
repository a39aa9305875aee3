"""Every limit and default, with its unit, and the limits of each core as one value.

A core gets its limits when it is made; tests and devices pass other values. A constant of this
module belongs to no single core: several modules or a driver use it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import ClassVar

from zmqkit.errors import ConfigError

# Calls
TIMEOUT_S = 5.0
TIMEOUT_S_MAX = 1e7
"""A longer timeout than this, a third of a year, counts as for ever."""
WAIT_S_MAX = 1e6
"""The longest single wait to ask of the operating system; its milliseconds have 31 bits."""
REST_S_MAX = 1.0
"""The longest single rest of a thread; after it, a signal that another thread got is seen."""
WAIT_S = 5.0
ATTEMPTS = 3
ATTEMPTS_MAX = 1000
PRIORITY = 4
PRIORITY_MAX = 9
CHOICE_S = 0.25
"""How long a client that found a broker looks for others, and a pusher for a streamer."""
CLOSE_S = 1.0
LEAVE_S = 0.1
"""How long sending may take at the very end, and how long threads may take to leave."""
LINGER_S = 0.1
LINGER_S_MAX = 10.0
"""The largest body takes 6 s at 100 Mbit/s. A link does not linger for ever: now and then
libzmq waits the whole time for a connection that is gone, and so does the process's end."""
DRAIN_S = 10.0
DRAIN_S_MAX = 3600.0
"""How long a process that was told to end may finish what it has, unless told otherwise."""

# Sizes
BODY_BYTES_MAX = 64 << 20
PACKET_BYTES_MAX = BODY_BYTES_MAX + (64 << 10)
FRAMES_MAX = 1024
"""The frames of a message of a foreign peer that are kept; one that has as many may be cut."""
BATCH_BYTES = 64 << 10
HEADERS_BYTES_MAX = 8 << 10
RAW_BYTES_MIN = 4096
"""A single bytes value at least this long travels raw behind the header; this saves a copy."""
COMPRESS_BYTES_MIN = 2 << 10
"""A msgpack part at least this long is compressed on its way to another machine. At 1 Gbit/s
with cold caches compressing 1 KiB takes what it saves; see benchmarks/compression.py."""

# Windows and tables
CREDIT = 1000
WAITING_CALLS_MAX = 10_000
INSTANCES_MAX = 16
WORKERS_MAX = 256
ROLES_MAX = 1000
"""Services and publishers of one process; one packet holds its whole directory."""
RACE_MAX = 4
CONNECTIONS_MAX = 1000
"""Other processes to which one process has control connections; see `connections_max`."""
NODE_DESCRIPTORS = 40
ROLE_DESCRIPTORS = 16
CONNECTION_DESCRIPTORS = 12
"""How many descriptors have to be left before one is opened: a few more than it takes."""
PROCESSES_MAX = 500
"""Other processes of which one process tells, and askers that it remembers."""
CALLERS_MAX = 1000
"""Connections of other processes that hear at once when a service ends."""
PLACES_MAX = 8
ASKED_MAX = 16
PEERS_MAX = 100
"""Static peers in a file; each takes a connection."""
PEERS_BYTES_MAX = 64 << 10
RECORDS_MAX = 10_000
CLAIMS_MAX = 16
"""Different claims about one role of one process; any peer may claim anything."""
RIVALS_MAX = 16
"""Further processes that are said to have the same role."""
TELL_BYTES = 4 << 20
"""After how many bytes read a client tells the service at once that it has read them."""
COUNTED_BYTES_MIN = RAW_BYTES_MIN
"""The number of shorter answers is limited, so their bytes are not counted."""
CONCURRENCY_ASYNCIO = 1000
STREAM_ITEMS = 1000
STREAM_BYTES = 256 << 10
"""The values of a stream that its caller has not taken; the service keeps them until then."""

# Tasks
WORKER_CONCURRENCY_ASYNCIO = 10
LEASE_S = 10.0
"""How long a worker that is out of reach may go on with a task before another one gets it."""
INHERITED_COPIES = 3
"""How often a lease of an earlier process is sent to a worker that knows nothing of it."""
TURN_S = 1.0
"""How long a pusher waits before it uses a streamer that came, or no more one that went."""
TASK_BYTES = 512
"""What a task takes in memory beside its body."""
ROW_BYTES = 32
"""What a task takes in a journal beside its body."""
OLDEST_EVERY = 16
"""Each such lease goes to the task that has waited longest, whatever its priority."""
BACKOFF_S = 1.0
BACKOFF_S_MAX = 3600.0
"""The pause before a second attempt, unless the handler declares another; and the longest."""
PREFETCH_TASK_S = 0.01
"""A worker takes no tasks ahead unless they are shorter than this, some twenty round trips."""
PREFETCH_S = 0.01
"""How much work a worker takes ahead, in seconds, if its tasks are so short."""
STORE_BATCH = 1000
"""The items of one batch that a store takes."""
DEVICES_MAX = 64
"""Instances of one device with which a service registers, and brokers that a client asks."""
READY_S = 1.0
"""How often a worker that dialled a streamer says that it is there."""
READY_COUNT = 3
"""So many of these words may stay without an answer; then either side thinks of a cut."""
STUCK_S = 60.0
"""How long such a worker may be silent, though its connection stands, until it is given up."""
RETRY_S = 0.5
"""The pause before changes are written once more that the journal had no room for."""
PROGRESS_BYTES_MAX = 4 << 10
"""The size of what a handler says of its progress, encoded."""
PROGRESS_S = 0.1
"""The pause, at least, between two such words of one handler on their way."""
REASONS_MAX = 5
"""The reasons why attempts failed that a task keeps, the last ones."""

# Administration of queues
PAGE_TASKS = 1000
PAGE_BYTES = 4 << 20
"""How many tasks an answer is about, and the bytes of their bodies; one body may be larger."""
QUESTION_BYTES_MAX = 1 << 20
ANSWER_BYTES_MAX = PACKET_BYTES_MAX + PAGE_BYTES
QUESTION_S = 2.0
"""How long a question may take to arrive, once there is a connection."""
ANSWER_S = 10.0
"""How long an answer is waited for, and how long it may take to be read."""
LOOP_S = 5.0
"""How long an event loop may be held by a handler before a question to it is given up."""
QUESTIONS_BACKLOG = 64
"""Connections that wait while another one is answered."""

# Publish-subscribe
TOPIC_BYTES_MAX = 256
TOPICS_MAX = 100_000
PUBLISHERS_MAX = 256
QUEUE_MESSAGES = 30_000
QUEUE_BYTES = 64 << 20
MARKS_PER_WINDOW = 4
MARKS_MAX = 64
"""Marks of one publisher that wait at a device. One that is passed over is repeated."""
WINDOW_PACKETS = CREDIT
GATHER_PACKETS = CREDIT
CREDIT_PACKETS = WINDOW_PACKETS + GATHER_PACKETS + CREDIT // 2
"""Packets of any kind that may be under way to a subscriber for which the publisher waits."""
FOLLOW_S = 0.00002
"""Messages that nobody waits for may gather when they follow each other this closely."""
FOLLOW_STREAK = 8
"""How many messages have to come so closely before the first message gathers."""
HOLD_S = 0.0002
"""How long the first message that gathers waits for others, if a thread comes to send them."""
_GATHERS: dict[str, float] = {"follow_s": 0, "hold_s": 0}
LENT_MESSAGES = 64
"""How many messages may gather between two looks at the clock."""
STALL_S = 5.0
READS_S = 0.25
"""How often a subscriber that has not reached the next MARK says that it reads."""
REMARK_S = 0.25
"""When a publisher that waits for a subscriber first repeats its last MARK."""
BYE_S = 0.1
ENDS_MAX = 1000
HELD_MESSAGES = 10_000
HELD_BYTES = 16 << 20
PREFIXES_MAX = 1000
"""Beginnings of topics that one subscriber, or one end of a bridge, names."""

# Time, in seconds
PING_S = 1.0
EVASIVE_S = 2.0
GONE_S = 1.5
HELLO_S = 0.5
HELLO_S_MAX = 5.0
RACE_S = 0.25
"""The pause between two addresses of one process that are tried at the same time."""
RETRY_S_MAX = 3.0
"""A lost process is tried again after a tenth of the time it has been away, at most this."""
GREET_S = 0.25
GREET_S_MAX = 60.0
REGISTERED_S = 10.0
REFERRAL_S = 300.0
UNLISTED_S = 5.0
REVISE_S = 0.25
"""The pause, at least, before callers are told anew that a broker has another service."""
EXPLAIN_S = 0.25
"""The pause, at least, before a role that finds nobody is told anew what was seen instead."""
LEVEL_PEERS = 50
LOOK_S = 2.0
"""How often a node looks at its peers file and at the addresses of its host."""
FORGET_CLIENT_S = 60.0
KEEPER_S = 0.02
KEEPER_S_MAX = 0.25
BUSY_POLL_S = 0.0005
BUSY_POLL_LOOKS = 4
SHARED_S = 0.00003
CROWDED_S = 0.02
"""How long waits sleep after others took the processor from a wait that stayed awake."""

# One turn of a drain
DRAIN_PACKETS = 256
TURN_MESSAGES = 64
TIMER_S_MIN = 0.001
"""The shortest wait of an event loop: epoll and uvloop count milliseconds."""
DRAIN_BYTES = 512 << 10
NOTES_MAX = 100_000
"""How many lines of a role may wait to be logged."""
QUICK_S = 0.0005
QUICK_RUNS_MIN = 100
STEP_S = 0.005
"""How long a generator may run on before others have their turn."""


def connections_max(descriptors: int) -> int:
    """Return how many other processes to connect to, if a process may have so many descriptors.

    Each connection takes four, or eight while two addresses are raced. Half of the descriptors
    are left for everything else.
    """
    return max(8, min(descriptors // 8 - 8, CONNECTIONS_MAX))


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class Limits:
    """Limits that are checked as they are made."""

    # The least value of each limit for which it is not 1, and the highest where there is one.
    _least: ClassVar[dict[str, float]] = {}
    _most: ClassVar[dict[str, float]] = {}

    def __post_init__(self) -> None:
        """Raise ConfigError for a limit that is too low to work, or too high."""
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            low, most = self._least.get(name, 1), self._most.get(name, inf)
            kinds = (int, float) if name.endswith("_s") else (int,)
            if type(value) not in kinds or not value >= low:
                raise ConfigError(f"limit {name} is {value!r}; use a number from {low} on")
            if value > most:
                raise ConfigError(f"limit {name} is {value}; {most} at most")


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class ClientLimits(Limits):
    """The limits of one client."""

    _least: ClassVar = _GATHERS

    # Calls that wait for an instance, or for its credit.
    waiting_calls_max: int = WAITING_CALLS_MAX
    # Instances that the client connects to, and instances that it remembers.
    instances_max: int = INSTANCES_MAX
    known_max: int = RECORDS_MAX
    # Calls that one instance has at a time.
    credit_max: int = CREDIT
    # Values of one stream that are not taken.
    stream_items_max: int = STREAM_ITEMS
    stream_bytes_max: int = STREAM_BYTES
    # How closely one-way messages follow when they gather, and for how long; see core/pace.py.
    follow_s: float = FOLLOW_S
    hold_s: float = HOLD_S

    @property
    def stream_window(self) -> tuple[int, int]:
        """How many values, and bytes of values, the service of a stream may send ahead."""
        return self.stream_items_max, self.stream_bytes_max

    @property
    def jobs_max(self) -> int:
        """How many calls may wait in line or be at the instances within their credit."""
        return self.waiting_calls_max + self.instances_max * self.credit_max


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class PusherLimits(Limits):
    """The limits of one pusher."""

    _least: ClassVar = {**_GATHERS, "outcomes_s": 0, "lease_s": 0, "choice_s": 0}

    # Open tasks: waiting, delayed or at a worker.
    tasks_max: int = 100_000
    # Bytes of the open tasks, with 512 more for each.
    tasks_bytes_max: int = 256 << 20
    # With a journal: ready tasks of one priority in memory; plain ones beyond are on disk only.
    window_tasks: int = 10_000
    # With a journal: the bytes of its file.
    journal_bytes_max: int = 64 << 30
    # Tasks whose last attempt failed; they are kept until somebody requeues or purges them.
    dead_max: int = 10_000
    # Bytes of the tasks whose last attempt failed.
    dead_bytes_max: int = 64 << 20
    # Settled tasks whose outcome is kept.
    outcomes_max: int = 10_000
    # Bytes of the results that are kept.
    outcomes_bytes_max: int = 64 << 20
    # How long the outcome of a task is kept.
    outcomes_s: float = 3600.0
    # Workers that it connects to.
    instances_max: int = WORKERS_MAX
    # Workers that it remembers.
    known_max: int = RECORDS_MAX
    # Tasks that one worker has at a time.
    credit_max: int = CREDIT
    # How long a worker that is out of reach keeps its leases.
    lease_s: float = LEASE_S
    # Tasks that follow each other within this time gather, to share a packet.
    follow_s: float = FOLLOW_S
    # How long the first one of those that gather waits at most.
    hold_s: float = HOLD_S
    # How long tasks wait for a streamer, once the first worker was found.
    choice_s: float = CHOICE_S

    @property
    def jobs_max(self) -> int:
        """How many leases there may be at all workers together."""
        return self.instances_max * self.credit_max


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class SubscriberLimits(Limits):
    """The limits of one subscriber."""

    # Publishers that the subscriber connects to, and publishers that it remembers.
    publishers_max: int = PUBLISHERS_MAX
    known_max: int = RECORDS_MAX
    # Beginnings of topics that it subscribes to.
    prefixes_max: int = PREFIXES_MAX
    # Topics of one publisher whose numbers it remembers, and publishers, some of which may be
    # behind forwarders.
    topics_max: int = TOPICS_MAX
    origins_max: int = 10_000
    # Messages that wait to be read; three times as much for each publisher that waits for the
    # subscriber.
    queue_messages_max: int = QUEUE_MESSAGES
    queue_bytes_max: int = QUEUE_BYTES
    # Topics for which it remembers how many messages are missing, until somebody asks.
    untold_gaps_max: int = 1000
    # Messages that came and wait until what is missing before them has been recovered.
    held_messages_max: int = HELD_MESSAGES
    held_bytes_max: int = HELD_BYTES


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class PublisherLimits(Limits):
    """The limits of one publisher."""

    _least: ClassVar = _GATHERS

    # Subscribers that are present.
    subscribers_max: int = 10_000
    # Topics whose numbers the publisher remembers.
    topics_max: int = TOPICS_MAX
    # The size of one message.
    body_bytes_max: int = BODY_BYTES_MAX
    # A window is what may be between the publisher and its slowest subscriber, if it waits. So
    # many bytes fill it, or so many messages or packets if they are small.
    window_bytes: int = QUEUE_BYTES
    window_messages: int = QUEUE_MESSAGES
    window_packets: int = WINDOW_PACKETS
    # What gathers before it is time to send.
    gather_bytes: int = 4 << 20
    gather_messages: int = QUEUE_MESSAGES
    gather_packets: int = GATHER_PACKETS
    # Topics for which the publisher remembers how much they gathered before.
    gather_topics_max: int = 10_000
    # How closely messages follow each other when they gather, and how long; see core/pace.py.
    follow_s: float = FOLLOW_S
    hold_s: float = HOLD_S

    @property
    def message_load(self) -> int:
        """How many bytes of a window a message takes in addition to its own."""
        return self.window_bytes // self.window_messages

    @property
    def packet_load(self) -> int:
        """How many bytes of a window a packet takes in addition to its messages."""
        return self.window_bytes // self.window_packets


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class ServiceLimits(Limits):
    """The limits of one service, for all clients together unless one client is named."""

    _least: ClassVar = {"retained_bytes_max": 0}

    # Calls of one client that may be unsettled here.
    credit: int = CREDIT
    # Requests held at once, waiting or running: of all clients, and of one client.
    requests_max: int = 20_000
    client_requests_max: int = CREDIT + WAITING_CALLS_MAX
    # Bytes of all requests held; a single request may be larger.
    held_bytes_max: int = 256 << 20
    # Ids in one list that a client sends.
    open_ids_max: int = WAITING_CALLS_MAX + INSTANCES_MAX * CREDIT
    # Streams that have not ended.
    streams_max: int = 1000
    # Values of one stream that its caller has not taken.
    stream_items_max: int = STREAM_ITEMS
    stream_bytes_max: int = STREAM_BYTES
    # Clients that are remembered with their answers.
    clients_max: int = 10_000
    # Clients of which only numbers are kept; each id that a client had open counts as one more.
    forgotten_max: int = 100_000
    # Bytes of answers that are not settled.
    retained_bytes_max: int = 64 << 20
    # Bytes of answers that wait until others have been read.
    waiting_bytes_max: int = 128 << 20
    # Bytes of answers that were sent and that the clients may not have read. This is less than
    # what is retained, so that these answers can be sent again over another connection.
    unread_bytes_max: int = 48 << 20
    # How much of that each client may have at any time; one answer may be larger.
    client_unread_bytes: int = 8 << 20
    # Shorter answers do not count in the three limits above.
    counted_bytes_min: int = COUNTED_BYTES_MIN
    # How long a client is silent before it is forgotten.
    forget_client_s: float = FORGET_CLIENT_S


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class MembershipLimits(Limits):
    """The limits of what one process knows of other processes, and of how many it uses."""

    _least: ClassVar = {"connections_max": 0, "processes_max": 0}
    # Other processes read so much in one directory.
    _most: ClassVar = {
        "own_max": ROLES_MAX, "processes_max": PROCESSES_MAX, "addresses_max": PLACES_MAX,
    }  # fmt: skip

    # Processes that it is connected to at once; the others wait.
    connections_max: int = CONNECTIONS_MAX
    # Connections to one process while its addresses are raced.
    attempts_max: int = RACE_MAX
    # Roles that it knows of.
    known_max: int = RECORDS_MAX
    # Different claims about one role of one process.
    claims_max: int = CLAIMS_MAX
    # Further processes that are said to have the same role.
    rivals_max: int = RIVALS_MAX
    # Roles of its own; one packet holds their directory.
    own_max: int = ROLES_MAX
    # Connections of other processes that hear at once when a service ends.
    callers_max: int = CALLERS_MAX
    # Processes that it tells of, that are registered here, or that it is referred to.
    processes_max: int = PROCESSES_MAX
    # Processes that it is referred to and asks at once.
    asked_max: int = ASKED_MAX
    # Addresses at which it may be asked, as it tells others.
    addresses_max: int = PLACES_MAX
    # How long a process that says nothing stays registered.
    registered_s: float = REGISTERED_S
    # How long the word of a static peer counts after that peer is gone.
    referral_s: float = REFERRAL_S
    # How long the word of discovery on a role counts though the role's process does not list
    # it: an older directory may still be under way when a new role is announced.
    unlisted_s: float = UNLISTED_S


@dataclass(slots=True, frozen=True, kw_only=True, eq=False)
class DiscoveryLimits(Limits):
    """How much discovery knows, and how often it looks, asks and repeats."""

    _least: ClassVar = dict.fromkeys(
        ("complete_after_s", "complete_s", "query_s", "repeat_s", "watch_s", "watch_longest_s"),
        0,
    )

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
