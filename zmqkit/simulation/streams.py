"""Both ends of simulated streams: a generator that takes its time, and whoever reads it.

Each value says which stream it is of, which run of it, and its number. So a reader sees whether
it was given a prefix of what one run of the generator gives, each value once and in order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import TYPE_CHECKING

from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.calls.stream import StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.errors import ZmqkitError
from zmqkit.limits import RAW_BYTES_MIN
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.packet import ERROR, REPLY

if TYPE_CHECKING:
    from zmqkit.simulation.calls import ClientRole, ServiceRole

STREAMS = {"count": False, "tell": True, "count-boom": False}
"""What each simulated service streams, and whether it is idempotent."""

LENGTH_MAX = 60
_NIL = b"\xc0"


def length(token: int) -> int:
    """How many values the stream with that number in it has."""
    return token * 7919 % LENGTH_MAX


class Generator:
    """A simulated handler: gives some values at a time, after a while, as far as it may."""

    def __init__(
        self, role: ServiceRole, request: StreamRequest, token: int, pause: Callable[[], float]
    ) -> None:
        self.given = 0
        self.closed = False
        self._role = role
        self._request = request
        self._token = token
        self._pause = pause
        self._random = Random(token)

    def go_on(self) -> None:
        """Go on after a while."""
        self._role.driver.later(self._pause(), self._step)

    def _step(self, now: float) -> None:
        role, request = self._role, self._request
        if self.closed or role.closed:
            return
        for _ in range(self._random.choice((1, 1, 3, 10))):
            if not request.goes_on or self.given == length(self._token):
                break
            role.driver.perform(role.core.yielded(request, self._value(), now))
            self.given += 1
        if request.cancelled or self.given == length(self._token):
            self.closed = True
            error = self._error() if request.method == "count-boom" else None
            role.driver.perform(role.core.ended(request, error, now))
        elif not request.goes_on or self._random.random() < 0.3:
            role.driver.perform(role.core.paused(request, now))
        else:
            self.go_on()

    def _value(self) -> Answer:
        value = [self._request.method, self._token, self._role.record.incarnation, self.given]
        if self.given % 17 == 16:
            return Answer(REPLY, _NIL, encode(value).ljust(RAW_BYTES_MIN, b"\xc0"))
        return Answer(REPLY, encode(value))

    def _error(self) -> Answer:
        return Answer(ERROR, encode([RAISED, "ValueError", str(self._token), "", True]))


class Reader:
    """Whoever iterates over a stream: at a pace of its own, and perhaps not to the end.

    run: the instance whose values it reads. waits_until: when its present wait must be over.
    """

    def __init__(
        self,
        role: ClientRole,
        call: StreamCall,
        random: Random,
        finished: Callable[[float], None],
        *,
        eager: bool,
    ) -> None:
        """eager: it reads to the end, at once."""
        self.role = role
        self.call = call
        self.values: list[object] = []
        self.waits_until = inf
        self.gone = False
        self._random = random
        self._finished = finished
        self._lazy = 0.0 if eager else random.choice((0.0, 0.0, 0.02, 0.2))
        stops_at = random.choice((inf, inf, inf, random.randrange(LENGTH_MAX)))
        self._stops_at = inf if eager else stops_at

    @property
    def error(self) -> ZmqkitError | None:
        """Why nothing more comes, if not because it is complete."""
        return self.call.error

    def read_on(self, now: float) -> None:
        """Take what is here, at its pace; then wait for more, unless it is over."""
        role, call = self.role, self.call
        self.waits_until = inf
        if self.gone:
            return
        if len(self.values) >= self._stops_at:
            self.gone = True
            if not role.closed:
                role.driver.perform(role.core.cancel(call.sequence, now))
            self._finished(now)
            return
        if call.values:
            self.values.append(role.core.take(call))
            role.driver.later(self._random.random() * self._lazy, self.read_on)
        elif call.over:
            self._finished(now)
        else:
            begun = call.begun
            role.core.listen(call, self, now)
            self.waits_until = now + call.options.timeout_s if begun else call.deadline_at

    def read(self) -> list[list[object]]:
        """The values that were read: method, number of the stream, instance, number."""
        return [_decoded(value) for value in self.values]


def _decoded(value: object) -> list[object]:
    """A value as it was given; those that travel raw are padded."""
    if isinstance(value, memoryview):
        value = decode(bytes(value).rstrip(_NIL))
    assert isinstance(value, list)
    return value
