"""Effects: what a core asks its driver to do.

An effect is a plain value. There is one for each packet, not one for each message in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.tasks.task import Task
from zmqkit.errors import ZmqkitError
from zmqkit.model import Frames, PeerId, Reach


@dataclass(slots=True)
class Send:
    """Send the frames to the peer; the driver calls `unsent` when it cannot."""

    peer: PeerId
    frames: Frames


@dataclass(slots=True)
class Connect:
    """Open a connection to `endpoint`; the core calls it `peer` from now on."""

    peer: PeerId
    endpoint: str


@dataclass(slots=True)
class Disconnect:
    """Close the connection called `peer`; packets not sent within `linger_s` are dropped."""

    peer: PeerId
    linger_s: float = 0.0


@dataclass(slots=True)
class Settle:
    """End waits, each with a value or an error."""

    # The waiter that the core was given with the command, the value, and the error if any.
    outcomes: list[tuple[object, object, ZmqkitError | None]]


@dataclass(slots=True)
class Handle:
    """Run the handlers; the driver calls `handled` for each request, in any order."""

    requests: list[Request]


@dataclass(slots=True)
class Advance:
    """Run these streams' generators while `goes_on` is true, and close the cancelled ones.

    The driver calls `yielded` for each value, and then `paused` or `ended` for each stream.
    """

    requests: list[StreamRequest]


@dataclass(slots=True)
class Abort:
    """Tell the running handlers of these requests that their clients no longer wait."""

    requests: list[Request]
    # Their clients said so; else these just no longer name them, perhaps since they asked anew.
    is_asked: bool = True


@dataclass(slots=True)
class Append:
    """Write changes of tasks to the journal; the driver calls `appended` or `unwritten`."""

    # Counts the appends; the next one comes once this one was answered.
    number: int
    # Tasks that are new or have changed, each to be written as it is when this is performed.
    changes: list[Task]
    # The highest number of a task that was accepted.
    last: int
    # Whose journal it is, where a role has several.
    queue: str = ""
    # By worker, if its leases have changed: their numbers and tasks.
    leases: Mapping[int, list[tuple[int, Task]]] = field(default_factory=dict)


@dataclass(slots=True)
class Page:
    """Read tasks that are in the journal only; the driver calls `paged` or `unpaged`."""

    priority: int
    # The number of the last task before them, and how many tasks, and bytes, there may be.
    after: int
    count_max: int
    bytes_max: int
    # Whose journal it is, where a role has several.
    queue: str = ""


@dataclass(slots=True)
class Note:
    """Write a line to the log: the name of an event, and its fields."""

    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


class News(Enum):
    """What became of an instance."""

    # It can be reached at `endpoint`, for the first time or again.
    FOUND = "found"
    # It is connected and does not answer.
    SILENT = "silent"
    # It was silent, and answers again.
    ANSWERING = "answering"
    # Its connection broke a moment ago.
    LOST = "lost"
    # It is not there any more.
    GONE = "gone"
    # Nothing was found; `text` says why.
    HINT = "hint"


@dataclass(slots=True)
class Tell:
    """Give membership's news of one instance to the roles that want `key`."""

    news: News
    key: str
    incarnation: int = 0
    endpoint: str = ""
    text: str = ""
    # Whether the instance that was found is a device.
    is_device: bool = False
    # A hint with a reach is for the roles that look exactly so far; None is for all roles.
    reach: Reach | None = None


@dataclass(slots=True)
class Ask:
    """Have discovery ask who is there, from ports of its own; answers come as `heard`."""

    # How far away those may be who are asked.
    reach: Reach


@dataclass(slots=True)
class Watch:
    """Have membership watch the process behind a control connection for this role."""

    # Where that connection is, and the name of the role that is meant there.
    url: str
    # What this role looks for: the URL that it was given.
    target: str


@dataclass(slots=True)
class Offer:
    """Tell other processes of one more service of this role, which is a broker."""

    name: str
    incarnation: int


@dataclass(slots=True)
class Retract:
    """Tell other processes that a service of this role has ended."""

    incarnation: int


Effect = (
    Send
    | Connect
    | Disconnect
    | Settle
    | Handle
    | Advance
    | Abort
    | Append
    | Page
    | Note
    | Tell
    | Ask
    | Watch
    | Offer
    | Retract
)


class Core(Protocol):
    """The methods that every core offers to its driver."""

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one message and decide what follows. Never raises for what a peer sent."""

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that the driver could not send these frames: no route, or no room."""

    def tick(self, now: float) -> list[Effect]:
        """Do what is due; the driver calls this when `deadline()` has passed."""

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered, as one packet for each peer."""

    def deadline(self) -> float:
        """Return when `tick` is due next, as a point in time; infinity when idle."""

    def check(self) -> None:
        """Assert the invariants."""
