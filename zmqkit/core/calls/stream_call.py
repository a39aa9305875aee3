"""One stream as its caller has it: values that arrived in order, and how many were taken.

The caller grants a window of values and bytes when it asks, and moves it on by saying how many
values were taken: whenever that is a quarter of the window more than the service knows. What
arrives is numbered, so what is missing is noticed: by the next value, by the end, which says
how many there were, or by a pong, which says how many were sent. It is asked for once, and
again with each pong until it is there.
"""

from __future__ import annotations

from collections import deque
from math import inf

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.outcome import Outcome
from zmqkit.errors import ZmqkitError
from zmqkit.options import STREAM_BYTES, STREAM_ITEMS
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import STREAM, ErrorRow


class StreamCall(Call):
    """A call that gives many values.

    values: those that arrived and were not taken, with their sizes. have, taken, told: how many
    arrived, were taken, and of how many taken ones the service was told. listener: who waits
    for the next. end: how many there are in all, and what ended them, once that is known. over:
    nothing more comes; `error` says why, if not because it is complete. asked: which number
    was asked for last. missing: to be asked for with the next grant. window: how
    many values may be under way, and bytes of them.
    """

    kind = STREAM
    streams = True
    window = (STREAM_ITEMS, STREAM_BYTES)

    def __init__(
        self,
        sequence: int,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> None:
        super().__init__(sequence, method, body, raw, options, waiter, now)
        self.values: deque[tuple[int, object]] = deque()
        self.have = 0
        self.taken = 0
        self.told = 0
        self.listener: object = None
        self.end: tuple[int, ErrorRow | None] | None = None
        self.over = False
        self.error: ZmqkitError | None = None
        self.asked = -1
        self.missing = False
        self._untold_bytes = 0

    def restart(self) -> None:
        """Know nothing of what the instance before may have said."""
        super().restart()
        self.end = None
        self.asked = -1
        self.missing = False

    def take(self) -> object:
        """The next value that arrived; there must be one."""
        size, value = self.values.popleft()
        self.taken += 1
        self._untold_bytes += size
        return value

    @property
    def owes_credit(self) -> bool:
        """Whether so much was taken that the service is to be told."""
        items_max, bytes_max = self.window
        return not self.over and (
            4 * (self.taken - self.told) >= items_max or 4 * self._untold_bytes >= bytes_max
        )

    def tell(self) -> tuple[int, int, int | None]:
        """A row of GRANT: the service learns what was taken, and from where to send again."""
        self.told, self._untold_bytes = self.taken, 0
        missing, self.missing = self.have if self.missing else None, False
        return (self.sequence, self.taken, missing)

    def lacks(self, number: int) -> bool:
        """Whether values below that number are missing and were not asked for yet."""
        if self.have >= number or self.asked == self.have:
            return False
        self.asked = self.have
        self.missing = True
        return True

    def add(self, size: int, value: object) -> Outcome:
        """Take the next value in; tells whoever waits for it."""
        self.values.append((size, value))
        self.have += 1
        self.begun = True
        return self.wake()

    def wake(self) -> Outcome:
        """End the wait for a value; there may be none."""
        listener, self.listener = self.listener, None
        if self.begun:
            self.deadline_at = inf
        return (listener, None, None)

    def check(self) -> None:
        """What is here was neither taken nor too much."""
        assert self.told <= self.taken <= self.have
        assert len(self.values) == self.have - self.taken <= self.window[0]
        assert self.begun == (self.have > 0)


def end_stream(call: Call, error: ZmqkitError | None) -> Outcome:
    """Nothing more comes; the values that are here can still be taken."""
    assert isinstance(call, StreamCall)
    call.over, call.error = True, error
    return call.wake()


def answer_stream(call: Call, value: object) -> list[Outcome]:
    """Take the one value of a method that gives no more, and end; tells who waits, if any."""
    assert isinstance(call, StreamCall)
    outcome = call.add(0, value)
    call.over = True
    return [outcome] if outcome[0] is not None else []
