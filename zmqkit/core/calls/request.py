"""Requests as a service holds them: for one value, or for a stream of values.

The client of a stream grants a window: how many values, and how many bytes of values, may be
under way that it has not taken. The service keeps each value until the client has taken it, so
that it can send a lost value again. The service runs the generator only while the window has
room. So it keeps at most the window and one value more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zmqkit.core.dispatch.window import Answer, Window, Windows
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import END
from zmqkit.wire.rows import CHARGE_BYTES

_NO_ERROR = encode(None)


@dataclass(slots=True)
class Request:
    """One request that a service has accepted."""

    # The number that the service gave it when it was accepted.
    ticket: int
    # The client's incarnation, and the number that the client gave the request.
    client: int
    sequence: int
    method: str
    args: list[object]
    kwargs: dict[str, object]
    headers: dict[str, object] | None
    priority: int
    deadline_at: float
    oneway: bool
    # How many bytes of it came.
    size: int = 0
    # When it came.
    arrived_at: float = 0.0
    # The client gave the call up.
    cancelled: bool = False
    # When its handler began.
    begun_at: float = 0.0
    # It was answered, since it took too long, and its handler goes on.
    overdue: bool = False
    # Its id was forgotten: it may have run before.
    forgotten: bool = False
    # The client that made it and the number it has there, if a device passes it on.
    origin: tuple[int, int] | None = None
    # Takes what its handler says of its progress, encoded. The core does not use it.
    report: Callable[[Request, bytes], None] | None = None

    @property
    def id(self) -> str:
        """The id of the call as 32 hexadecimal digits; it is the same on each attempt."""
        client, sequence = self.origin or (self.client, self.sequence)
        return f"{client:016x}{sequence:016x}"


@dataclass(slots=True, eq=False)
class StreamRequest(Request):
    """A request for a stream, whose generator yields the values one by one."""

    # The window that the client granted: values, and bytes of values, that it has not taken.
    items_max: int = 1
    bytes_max: int = 1
    # How many values the generator has yielded, and how many bytes they have.
    sent: int = 0
    sent_bytes: int = 0
    # How many values the client has taken.
    taken: int = 0
    # The values that the client has not taken, and their bytes.
    kept: deque[Answer] = field(default_factory=deque)
    kept_bytes: int = 0
    # The generator may have been started, so it has to be closed in the end.
    begun: bool = False
    # The generator, once it was started. The core does not use it.
    running: object = None

    @property
    def has_room(self) -> bool:
        """Whether the window has room for another value."""
        return len(self.kept) < self.items_max and self.kept_bytes < self.bytes_max

    @property
    def goes_on(self) -> bool:
        """Whether the generator may yield another value now."""
        return self.has_room and not self.cancelled

    def keep(self, value: Answer) -> None:
        """Keep the next value that the generator yielded."""
        self.kept.append(value)
        self.kept_bytes += value.size
        self.sent += 1
        self.sent_bytes += value.size - CHARGE_BYTES

    def trim(self, taken: int) -> None:
        """Drop the values below number `taken`, for the client has taken them."""
        while self.taken < taken:
            self.kept_bytes -= self.kept.popleft().size
            self.taken += 1

    def check(self) -> None:
        """Assert that all untaken values are kept, and fit the window but for one value."""
        assert self.taken + len(self.kept) == self.sent
        assert self.kept_bytes == sum(value.size for value in self.kept)
        assert len(self.kept) <= self.items_max
        assert sum(value.size for value in list(self.kept)[:-1]) < self.bytes_max


class Ended(Answer):
    """The end of a stream as it is retained, with the values that were not taken by then."""

    __slots__ = ("count", "first", "values")

    def __init__(self, count: int, values: Sequence[Answer], error: Answer | None) -> None:
        super().__init__(END, _NO_ERROR if error is None else error.row)
        # How many values the stream had in all.
        self.count = count
        # The number of the first value in `values`.
        self.first = count - len(values)
        self.values = list(values)
        self.size += sum(value.size for value in values)


RequestWindow = Window[Request]
"""The reply window of one client of a service."""

RequestWindows = Windows[Request]
"""The reply windows of all clients of a service."""
