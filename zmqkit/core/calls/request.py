"""Requests as a service has them: of one value, or of many.

The caller of a stream grants a window: so many values, and so many bytes of them, may be under
way that it has not taken. The service keeps each value until it is taken, so that a lost one is
sent again from here, and runs the generator on only while the window has room. So what is kept
is bounded by the window and one value more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from zmqkit.core.dispatch.window import Answer, Window, Windows
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import END

_NO_ERROR = encode(None)


@dataclass(slots=True)
class Request:
    """One request as its handler sees it. `cancelled` is set when the caller gave up.

    size: the bytes of it that came.
    """

    ticket: int
    client: int
    sequence: int
    method: str
    args: list[object]
    kwargs: dict[str, object]
    headers: dict[str, object] | None
    priority: int
    deadline_at: float
    oneway: bool
    size: int = 0
    cancelled: bool = False

    @property
    def id(self) -> str:
        """The message id as 32 hexadecimal digits, the same on each attempt."""
        return f"{self.client:016x}{self.sequence:016x}"


@dataclass(slots=True, eq=False)
class StreamRequest(Request):
    """A request whose generator gives values one by one.

    sent: how many it gave. taken: how many of them the caller took; `kept` has those above.
    begun: its generator may have been started, so it is to be closed. running: whatever the
    driver runs it with.
    """

    items_max: int = 1
    bytes_max: int = 1
    sent: int = 0
    taken: int = 0
    kept: deque[Answer] = field(default_factory=deque)
    kept_bytes: int = 0
    begun: bool = False
    running: object = None

    @property
    def has_room(self) -> bool:
        """Whether the window has room for a value."""
        return len(self.kept) < self.items_max and self.kept_bytes < self.bytes_max

    @property
    def goes_on(self) -> bool:
        """Whether the generator may give another value now."""
        return self.has_room and not self.cancelled

    def keep(self, value: Answer) -> None:
        """Take the generator's next value."""
        self.kept.append(value)
        self.kept_bytes += value.size
        self.sent += 1

    def trim(self, taken: int) -> None:
        """Let go of the values below number `taken`: the caller has used them."""
        while self.taken < taken:
            self.kept_bytes -= self.kept.popleft().size
            self.taken += 1

    def check(self) -> None:
        """What is kept is what was sent and not taken, and within the window but for one."""
        assert self.taken + len(self.kept) == self.sent
        assert self.kept_bytes == sum(value.size for value in self.kept)
        assert len(self.kept) <= self.items_max
        assert sum(value.size for value in list(self.kept)[:-1]) < self.bytes_max


class Ended(Answer):
    """The end of a stream as it is retained, with the values that were not taken by then.

    first: the number of the first of these. count: how many there were in all.
    """

    __slots__ = ("count", "first", "values")

    def __init__(self, count: int, values: Sequence[Answer], error: Answer | None) -> None:
        super().__init__(END, _NO_ERROR if error is None else error.row)
        self.count = count
        self.first = count - len(values)
        self.values = list(values)
        self.size += sum(value.size for value in values)


RequestWindow = Window[Request]
"""The reply window of one client of a service."""

RequestWindows = Windows[Request]
"""Those of all its clients."""
