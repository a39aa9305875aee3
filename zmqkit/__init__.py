"""Peer-to-peer messaging for Python: call by name on a LAN, no broker, no addresses.

This package has the blocking roles; `zmqkit.asyncio` has the same names for event loops.
"""

from zmqkit.blocking.client import Client
from zmqkit.blocking.publisher import Publisher
from zmqkit.blocking.service import Service
from zmqkit.blocking.stream import Stream
from zmqkit.blocking.subscriber import Subscriber
from zmqkit.errors import (
    AddressTaken,
    BadArguments,
    Busy,
    CallCancelled,
    CallTimeout,
    ConfigError,
    NoMethod,
    NoService,
    PeerError,
    PeerLost,
    QueueFull,
    RemoteError,
    UsageError,
    ZmqkitError,
)
from zmqkit.roles.handlers import Request, current_request
from zmqkit.roles.messages import Gap, Message

__all__ = [
    "AddressTaken",
    "BadArguments",
    "Busy",
    "CallCancelled",
    "CallTimeout",
    "Client",
    "ConfigError",
    "Gap",
    "Message",
    "NoMethod",
    "NoService",
    "PeerError",
    "PeerLost",
    "Publisher",
    "QueueFull",
    "RemoteError",
    "Request",
    "Service",
    "Stream",
    "Subscriber",
    "UsageError",
    "ZmqkitError",
    "current_request",
]
