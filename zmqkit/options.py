"""Every limit and default, with its unit, and how the environment changes a few of them.

Pure: the environment arrives as a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zmqkit.errors import ConfigError
from zmqkit.model import LOOPBACK, Reach, parse_url, reach_of

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
CLIENTS_MAX = 10_000
REQUESTS_MAX = 20_000
HELD_BYTES_MAX = 256 << 20
"""Of requests that wait at a service or run there."""
RETAINED_BYTES_MAX = 64 << 20
WAITING_BYTES_MAX = 128 << 20
"""Of answers that wait until their clients have read others."""
UNREAD_BYTES_MAX = 48 << 20
"""Of answers that were sent, and that their clients are not known to have read. Less than what
is retained, so that they can be sent again over another connection."""
CLIENT_UNREAD_BYTES = 8 << 20
"""What a client may have unread however much others have; and one answer of any size."""
TELL_BYTES = 4 << 20
"""After how many bytes a client says at once that it has read them."""
COUNTED_BYTES_MIN = RAW_BYTES_MIN
"""Shorter answers are bounded by their number, so nobody counts what becomes of them."""
CONCURRENCY_ASYNCIO = 1000
STREAMS_MAX = 1000
STREAM_ITEMS = 1000
STREAM_BYTES = 256 << 10
"""A stream's values that its caller has not taken, kept by the service until then."""

# Publish-subscribe
TOPIC_BYTES_MAX = 256
TOPICS_MAX = 100_000
PREFIXES_MAX = 1000
SUBSCRIBERS_MAX = 10_000
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
GATHER_BYTES = 4 << 20
GATHER_MESSAGES = QUEUE_MESSAGES
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


@dataclass(slots=True, frozen=True)
class Environment:
    """What ZMQKIT_PEERS, ZMQKIT_PEERS_FILE, ZMQKIT_PORTS and ZMQKIT_INSECURE say.

    peers: `host:port` of processes to ask beside discovery. peers_file: a file with more of
    them, or nothing. ports: lowest and highest port to bind, (0, 0) for any. insecure: reach
    and be reached beyond this machine in plain text.
    """

    peers: tuple[str, ...] = ()
    peers_file: str = ""
    ports: tuple[int, int] = (0, 0)
    insecure: bool = False

    def reach(self, *, insecure: bool | None = None) -> Reach:
        """How far a role may reach that was given this option, or None to follow these."""
        wanted = self.insecure if insecure is None else insecure
        return Reach.PLAIN if wanted else Reach.LOCAL


def read_environment(environ: Mapping[str, str]) -> Environment:
    """The settings in the environment; ConfigError names the variable and the remedy."""
    peers = tuple(p.strip() for p in environ.get("ZMQKIT_PEERS", "").split(",") if p.strip())
    for peer in peers:
        _check_peer(peer, "ZMQKIT_PEERS")
    flag = environ.get("ZMQKIT_INSECURE", "")
    if flag not in ("", "0", "1"):
        raise ConfigError(f"ZMQKIT_INSECURE is {flag!r}; use 1 or leave it unset")
    return Environment(
        peers,
        environ.get("ZMQKIT_PEERS_FILE", ""),
        _ports(environ.get("ZMQKIT_PORTS", "")),
        flag == "1",
    )


def read_peers(text: str, path: str) -> tuple[str, ...]:
    """The static peers in a file's text: `host:port` a line, `#` begins a comment.

    Raises ConfigError with the path, the line, what stands there and what should.
    """
    peers: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        peer = line.partition("#")[0].strip()
        if peer:
            _check_peer(peer, f"{path}:{number}")
            peers[peer] = None
    if len(peers) > PEERS_MAX:
        raise ConfigError(
            f"{path} names {len(peers)} peers; {PEERS_MAX} at most, and one that all share is "
            "enough"
        )
    return tuple(peers)


def _check_peer(peer: str, where: str) -> None:
    try:
        url = parse_url(f"tcp://{peer}")
    except ConfigError as error:
        raise ConfigError(f"{where}: {peer!r} is not host:port ({error})") from error
    if url.name or url.host == "*" or not url.port:
        raise ConfigError(f"{where}: {peer!r} is not host:port; write it like 10.0.0.5:5555")


def _ports(text: str) -> tuple[int, int]:
    if not text:
        return (0, 0)
    low, dash, high = text.partition("-")
    if not (dash and low.isdigit() and high.isdigit()):
        raise ConfigError(f"ZMQKIT_PORTS is {text!r}; use a range such as 5600-5700")
    first, last = int(low), int(high)
    if not 0 < first <= last <= 65535:
        raise ConfigError(f"ZMQKIT_PORTS is {text!r}; use a range within 1-65535, lowest first")
    return (first, last)


def check_reach(host: str, what: str, reach: Reach) -> None:
    """Refuse a host that is further away than this."""
    if reach_of(host) > reach:
        raise ConfigError(
            f"{what} reaches beyond this machine; pass insecure=True, or --insecure, or set "
            f"ZMQKIT_INSECURE=1, to talk in plain text on the network; or use {LOOPBACK}"
        )
