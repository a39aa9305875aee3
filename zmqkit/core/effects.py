"""What a core asks of its driver: plain values, one per packet, never one per message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.errors import ZmqkitError
from zmqkit.model import Frames, PeerId, Reach


@dataclass(slots=True)
class Send:
    """Hand the frames to the peer; the driver answers `unsent` when it cannot."""

    peer: PeerId
    frames: Frames


@dataclass(slots=True)
class Connect:
    """Open a connection to `endpoint` that is known as `peer` from now on."""

    peer: PeerId
    endpoint: str


@dataclass(slots=True)
class Disconnect:
    """Close the connection known as `peer`; what it holds after `linger_s` is dropped."""

    peer: PeerId
    linger_s: float = 0.0


@dataclass(slots=True)
class Settle:
    """End waits: for each, the waiter given at submission, its value, or its error."""

    outcomes: list[tuple[object, object, ZmqkitError | None]]


@dataclass(slots=True)
class Handle:
    """Run the handlers; the driver answers `handled` for each request, in any order."""

    requests: list[Request]


@dataclass(slots=True)
class Advance:
    """Run these streams' generators on while `goes_on` says so, and close the cancelled ones.

    The driver answers `yielded` for each value, and then `paused` or `ended` for each stream.
    """

    requests: list[StreamRequest]


@dataclass(slots=True)
class Abort:
    """Tell the running handlers that nobody waits for them any more."""

    requests: list[Request]


@dataclass(slots=True)
class Note:
    """Something worth a log line: an event's name and its fields."""

    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


class News(Enum):
    """What became of an instance.

    FOUND: it can be reached at `endpoint`, or can be anew. SILENT: it is connected and does not
    answer. ANSWERING: it does again. LOST: its connection broke a moment ago. GONE: it is not
    there. HINT: nothing is found, and `text` says why.
    """

    FOUND = "found"
    SILENT = "silent"
    ANSWERING = "answering"
    LOST = "lost"
    GONE = "gone"
    HINT = "hint"


@dataclass(slots=True)
class Tell:
    """Membership's news for the roles that want `key`, of one instance.

    reach: whom a hint is for, those who look as far as that; everybody unless told.
    """

    news: News
    key: str
    incarnation: int = 0
    endpoint: str = ""
    text: str = ""
    reach: Reach | None = None


@dataclass(slots=True)
class Watch:
    """Have membership watch the process behind a control connection for this role.

    url: where that connection is, and the name of the role meant there.
    """

    url: str


Effect = Send | Connect | Disconnect | Settle | Handle | Advance | Abort | Note | Tell | Watch


class Core(Protocol):
    """What every core offers its driver."""

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one message; decide what follows. Never raises for what a peer sent."""

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a Send found no route or no room."""

    def tick(self, now: float) -> list[Effect]:
        """Do what is due; called when `deadline()` has passed."""

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered, one packet a peer."""

    def deadline(self) -> float:
        """When `tick` is due next, absolute; infinity when idle."""

    def check(self) -> None:
        """Assert the invariants."""
