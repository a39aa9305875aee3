"""Both ends of simulated streams: a generator that takes its time, and a reader.

Each value names its stream, the run of the generator, and its own number. So a reader sees
whether it got a prefix of the values of one run, each value once and in order.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.calls.request import StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.errors import ZmqkitError
from zmqkit.limits import RAW_BYTES_MIN
from zmqkit.simulation.process import Role, SeekingRole
from zmqkit.wire.encoding import decode, encode
from zmqkit.wire.packet import ERROR, REPLY

STREAMS = {"count": False, "tell": True, "count-boom": False}
"""The streams of each simulated service, and whether each is idempotent."""

LENGTH_MAX = 60
_NIL = b"\xc0"


def length(token: int) -> int:
    """Return how many values the stream with this number as its argument has."""
    return token * 7919 % LENGTH_MAX


class Generator:
    """A simulated handler. After a while it yields some values, as many as it may."""

    def __init__(
        self,
        role: Role,
        core: ServiceCore,
        request: StreamRequest,
        token: int,
        run: int,
        pause: Callable[[], float],
    ) -> None:
        """Begin without a value. run: a number that no other run of the request has."""
        self.given = 0
        self.closed = False
        self._role = role
        self._core = core
        self._request = request
        self._token = token
        self._run = run
        self._pause = pause
        self._random = Random(token)

    def go_on(self) -> None:
        """Go on after a while."""
        self._role.driver.later(self._pause(), self._step)

    def _step(self, now: float) -> None:
        role, core, request = self._role, self._core, self._request
        if self.closed or role.closed:
            return
        for _ in range(self._random.choice((1, 1, 3, 10))):
            if not request.goes_on or self.given == length(self._token):
                break
            role.driver.perform(core.yielded(request, self._value(), now))
            self.given += 1
        if request.cancelled or self.given == length(self._token):
            self.closed = True
            error = self._error() if request.method == "count-boom" else None
            role.driver.perform(core.ended(request, error, now))
        elif not request.goes_on or self._random.random() < 0.3:
            role.driver.perform(core.paused(request, now))
        else:
            self.go_on()

    def _value(self) -> Answer:
        value = [self._request.method, self._token, self._run, self.given]
        if self.given % 17 == 16:
            return Answer(REPLY, _NIL, encode(value).ljust(RAW_BYTES_MIN, b"\xc0"))
        return Answer(REPLY, encode(value))

    def _error(self) -> Answer:
        return Answer(ERROR, encode([RAISED, "ValueError", str(self._token), "", True]))


class Reader:
    """A reader of a stream. It reads at a pace of its own, and perhaps not to the end."""

    def __init__(
        self,
        role: SeekingRole,
        core: ClientCore,
        call: StreamCall,
        random: Random,
        finished: Callable[[float], None],
        *,
        eager: bool,
    ) -> None:
        """Make a reader of the values of `call`.

        finished: called when the stream is over, or when the reader leaves it.
        eager: whether it reads to the end without pauses.
        """
        self.role = role
        self._core = core
        self.call = call
        self.values: list[object] = []
        self.waits_until = inf  # when its present wait must be over
        self.gone = False
        self._random = random
        self._finished = finished
        self._lazy = 0.0 if eager else random.choice((0.0, 0.0, 0.02, 0.2))
        stops_at = random.choice((inf, inf, inf, random.randrange(LENGTH_MAX)))
        self._stops_at = inf if eager else stops_at

    @property
    def error(self) -> ZmqkitError | None:
        """Why nothing more comes. None if the stream is complete or goes on."""
        return self.call.error

    def read_on(self, now: float) -> None:
        """Take the values that are here, at the reader's pace.

        Then wait, unless the stream is over.
        """
        role, core, call = self.role, self._core, self.call
        self.waits_until = inf
        if self.gone:
            return
        if len(self.values) >= self._stops_at:
            self.gone = True
            if not role.closed:
                role.driver.perform(core.cancel(call.sequence, now))
            self._finished(now)
            return
        if call.values:
            self.values.append(core.take(call))
            role.driver.later(self._random.random() * self._lazy, self.read_on)
        elif call.over:
            self._finished(now)
        else:
            begun = call.begun
            core.listen(call, self, now)
            self.waits_until = now + call.options.timeout_s if begun else call.deadline_at

    def read(self) -> list[list[object]]:
        """Return the values that were read: method, number of the stream, run, number."""
        return [_decoded(value) for value in self.values]


def _decoded(value: object) -> list[object]:
    """Return a value as the generator made it. Values that travel raw are padded."""
    if isinstance(value, memoryview):
        value = decode(bytes(value).rstrip(_NIL))
    assert isinstance(value, list)
    return value
