"""Peer-to-peer messaging for Python: call by name on a LAN, no broker, no addresses.

The blocking roles are here; `zmqkit.asyncio` has the same names for event loops.
"""

from zmqkit._roles import Request, current_request
from zmqkit.blocking.client import Client
from zmqkit.blocking.service import Service
from zmqkit.blocking.stream import Stream
from zmqkit.errors import (
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

__all__ = [
    "Busy",
    "CallCancelled",
    "CallTimeout",
    "Client",
    "ConfigError",
    "NoMethod",
    "NoService",
    "PeerError",
    "PeerLost",
    "QueueFull",
    "RemoteError",
    "Request",
    "Service",
    "Stream",
    "UsageError",
    "ZmqkitError",
    "current_request",
]
