"""Peer-to-peer messaging for Python: call by name on a LAN, no broker, no addresses.

This package has the blocking roles; `zmqkit.asyncio` has the same names for event loops.
"""

from zmqkit.blocking.client import BoundClient, Client
from zmqkit.blocking.mapped import Mapped
from zmqkit.blocking.publisher import Publisher
from zmqkit.blocking.pusher import Pusher, Ticket
from zmqkit.blocking.service import Service
from zmqkit.blocking.sink import Sink
from zmqkit.blocking.stream import Stream
from zmqkit.blocking.submitted import Submitted
from zmqkit.blocking.subscriber import Subscriber
from zmqkit.blocking.watch import watch
from zmqkit.blocking.worker import Worker
from zmqkit.errors import (
    AddressTaken,
    BadArguments,
    Busy,
    CallCancelled,
    CallTimeout,
    ConfigError,
    Discard,
    JournalError,
    NoMethod,
    NoService,
    PeerError,
    PeerLost,
    QueueFull,
    RemoteError,
    Retry,
    UnknownRequest,
    UsageError,
    ZmqkitError,
)
from zmqkit.history_limits import History
from zmqkit.roles.answers import Answer
from zmqkit.roles.handlers import Request, current_request
from zmqkit.roles.messages import Gap, Message
from zmqkit.roles.results import Result
from zmqkit.roles.tasks import CurrentTask, current_task
from zmqkit.roles.watching import Change

__version__ = "0.1.0"

__all__ = [
    "AddressTaken",
    "Answer",
    "BadArguments",
    "BoundClient",
    "Busy",
    "CallCancelled",
    "CallTimeout",
    "Change",
    "Client",
    "ConfigError",
    "CurrentTask",
    "Discard",
    "Gap",
    "History",
    "JournalError",
    "Mapped",
    "Message",
    "NoMethod",
    "NoService",
    "PeerError",
    "PeerLost",
    "Publisher",
    "Pusher",
    "QueueFull",
    "RemoteError",
    "Request",
    "Result",
    "Retry",
    "Service",
    "Sink",
    "Stream",
    "Submitted",
    "Subscriber",
    "Ticket",
    "UnknownRequest",
    "UsageError",
    "Worker",
    "ZmqkitError",
    "__version__",
    "current_request",
    "current_task",
    "watch",
]
