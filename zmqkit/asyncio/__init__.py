"""The asyncio roles: the same names as in zmqkit; verbs that wait are `async def`.

A role belongs to the event loop on which it is first used. Plain handlers run on that loop, so
they should be quick. `thread=True` runs a slow plain handler in a thread instead. Handlers that
are `async def` may wait.
"""

from zmqkit.asyncio.client import Client
from zmqkit.asyncio.publisher import Publisher
from zmqkit.asyncio.service import Service
from zmqkit.asyncio.stream import Stream
from zmqkit.asyncio.subscriber import Subscriber
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
