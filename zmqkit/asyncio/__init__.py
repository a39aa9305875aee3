"""The asyncio roles: the same names as in zmqkit; verbs that wait are `async def`.

A role belongs to the event loop on which it is first used. Plain handlers run on that loop, so
they should be quick. `thread=True` runs a slow plain handler in a thread instead. Handlers that
are `async def` may wait.
"""

from zmqkit.asyncio.client import BoundClient, Client
from zmqkit.asyncio.mapped import Mapped
from zmqkit.asyncio.publisher import Publisher
from zmqkit.asyncio.pusher import Pusher, Ticket
from zmqkit.asyncio.service import Service
from zmqkit.asyncio.sink import Sink
from zmqkit.asyncio.stream import Stream
from zmqkit.asyncio.submitted import Submitted
from zmqkit.asyncio.subscriber import Subscriber
from zmqkit.asyncio.watch import watch
from zmqkit.asyncio.worker import Worker
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
    "current_request",
    "current_task",
    "watch",
]
