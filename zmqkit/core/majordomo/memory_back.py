"""The back of a relay that keeps requests in memory: each is a call to one of the workers.

Its core is that of a client. A request is a call whose waiter is the request, so the end of the
call is the answer. A stream passes value by value, as far as the client has granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from zmqkit.core.calls.answers import CANCELLED
from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.endings import Result
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.job import Instance, Job
from zmqkit.core.effects import Effect, Tell
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.majordomo.told import answer_of, item_of, reply_of
from zmqkit.errors import JournalError, ZmqkitError
from zmqkit.limits import ATTEMPTS, ClientLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import NOTIFY, Packet
from zmqkit.wire.passing import UNREAD_ANSWERS
from zmqkit.wire.rows import Origin

_OPTIONS = CallOptions()


class Passed(Call):
    """A request on its way to a worker, as a call whose waiter is the request."""

    def __init__(self, sequence: int, request: Request) -> None:
        # Written out instead of calling Call.__init__: every request passes here.
        row, raw = request.args
        self.sequence = sequence
        self.method = request.method
        self.priority = request.priority
        self.row = cast(bytes, row)
        self.raw = cast("Buffer | None", raw)
        self.deadline_at = request.deadline_at
        self.attempts = ATTEMPTS - 1
        self.options = _OPTIONS
        self.waiter = request
        if request.oneway:
            self.kind = NOTIFY

    @property
    def request(self) -> Request:
        """The request that it passes on."""
        return cast(Request, self.waiter)

    @property
    def give_up_at(self) -> float:
        """When the request ends if no worker is known."""
        return self.deadline_at

    def finish(self, error: ZmqkitError | None) -> Outcome:
        """End the call; return its outcome for the request."""
        return (self.waiter, None, error)


class PassedStream(StreamCall):
    """A request for a stream on its way to a worker; it is itself told of each value."""

    def __init__(self, sequence: int, request: StreamRequest, window: tuple[int, int]) -> None:
        row, raw = cast("tuple[bytes, Buffer | None]", request.args)
        super().__init__(sequence, request.method, row, raw, _OPTIONS, None, 0.0)
        self.priority, self.deadline_at = request.priority, request.deadline_at
        self.request = request
        self.window = window

    @property
    def give_up_at(self) -> float:
        """When the request ends if no worker is known."""
        return self.deadline_at


class CallsCore(ClientCore):
    """Gives the requests of one service to the workers that the relay tells of."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        limits: ClientLimits,
        settled_below: Callable[[int], int],
    ) -> None:
        """settled_below: returns below which number all of a client's requests are settled."""
        super().__init__(name, incarnation, limits, read=UNREAD_ANSWERS)
        self._dispatcher.meter = None  # the front knows how long all takes
        self._settled_below = settled_below
        self._instances.origin_of = self._origin_of
        # Whether there may be other workers than before, or other methods.
        self.has_news = False
        self._idempotent: frozenset[str] = frozenset()

    def pass_on(self, request: Request, now: float) -> Passed:
        """Accept a request; `flush` sends it."""
        passed = Passed(self._dispatcher.next, request)
        self._add(passed, now)
        return passed

    def pass_stream(self, request: StreamRequest, now: float) -> PassedStream:
        """Accept a request for a stream; `flush` sends it."""
        window = self.limits.stream_window
        stream = PassedStream(self._dispatcher.next, request, window)
        self._add(stream, now)
        return stream

    def _add(self, passed: Passed | PassedStream, now: float) -> None:
        self._dispatcher.add(passed, now)
        if self._dispatcher.line.count:  # it is behind those that no worker with room may have
            self._dispatcher.fill(now)

    def _origin_of(self, job: Job) -> Origin:
        """Return where a request comes from, which is told to the worker."""
        assert isinstance(job, Passed | PassedStream)
        request = job.request
        client, sequence = request.origin or (request.client, request.sequence)
        return (client, self._settled_below(client), sequence)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of a worker and decide what follows."""
        self.has_news = True
        return super().hear(tell, now)

    def place_of(self, incarnation: int) -> str:
        """Return where a worker is known to be; nothing if it is not known."""
        return self._connections.known.get(incarnation, "")

    def _welcome(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        self.has_news = True
        return super()._welcome(instance, packet, now)

    def _bye(self, instance: Instance, packet: Packet, now: float) -> list[Effect]:
        self.has_news = True
        return super()._bye(instance, packet, now)

    @property
    def room(self) -> int:
        """How many more requests the workers take now.

        What came back leaves first, unless each worker has refused it: that needs another one.
        """
        free, ready, line = 0, self._connections.ready, self._dispatcher.line
        for worker in ready:
            load = worker.load
            if load < worker.credit:
                free += worker.credit - load
        if free and line.count:
            here = {worker.incarnation for worker in ready}
            free -= sum(not here <= {*job.refused_by} for job in line)
        return max(0, free)

    @property
    def waiting(self) -> int:
        """How many requests came back from a worker and wait for another."""
        return self._dispatcher.line.count

    @property
    def idempotent(self) -> frozenset[str]:
        """The methods that may run twice at every worker; without any, those of the last."""
        each = [worker.idempotent for worker in self._connections.ready]
        if each:
            self._idempotent = frozenset.intersection(*each)
        return self._idempotent

    @property
    def worker_count(self) -> int:
        """How many workers are connected, or may return."""
        return len(self._connections.known)


class MemoryBack:
    """Passes requests on to workers, and what they answer to the front."""

    def __init__(
        self, name: str, incarnation: int, limits: ClientLimits, front: FrontCore
    ) -> None:
        """Begin without workers. incarnation: of the client that workers see."""
        self.incarnation = incarnation
        self.core = CallsCore(name, incarnation, limits, front.settled_below)
        self.at_home = self.core.at_home
        self._front = front
        # What became of each request that left the line, by the request's ticket.
        self._passed: dict[int, Passed | PassedStream] = {}

    def take(self, request: Request, now: float) -> list[Effect]:
        """Pass a request on that has left the line."""
        self._passed[request.ticket] = self.core.pass_on(request, now)
        return []

    @property
    def room(self) -> int:
        """How many more requests the workers take now."""
        return self.core.room

    @property
    def waiting(self) -> int:
        """How many requests came back from a worker and wait for another."""
        return self.core.waiting

    @property
    def worker_count(self) -> int:
        """How many workers are connected, or may return."""
        return self.core.worker_count

    @property
    def ready_count(self) -> int:
        """How many workers may get requests now."""
        return self.core.ready_count

    @property
    def keeps(self) -> int:
        """Return 0: nothing is kept for those who are away."""
        return 0

    @property
    def fault(self) -> JournalError | None:
        """Return None: there is no journal."""
        return None

    def news(self) -> frozenset[str] | None:
        """Return the methods that may be sent again, if they may have changed; else None."""
        if not self.core.has_news:
            return None
        self.core.has_news = False
        return self.core.idempotent

    def place_of(self, incarnation: int) -> str:
        """Return where a worker is known to be; nothing if it is not known."""
        return self.core.place_of(incarnation)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take news of a worker."""
        return self.core.hear(tell, now)

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take a packet from a worker. Never raises for what it sent."""
        return self.core.receive(peer, frames, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet to a worker did not leave; what it said is said again."""
        return self.core.unsent(peer, frames, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        return self.core.tick(now)

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered."""
        return self.core.flush(now)

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return self.core.deadline()

    def close(self) -> list[Effect]:
        """Close every connection."""
        self._passed.clear()
        return self.core.close()

    def check(self, running: Iterable[Request]) -> None:
        """Assert that each request that left the line has its call."""
        self.core.check()
        tickets = {request.ticket for request in running}
        assert tickets <= self._passed.keys()
        calls = {ticket for ticket, each in self._passed.items() if isinstance(each, Passed)}
        assert calls <= tickets

    def leave(self, now: float) -> list[Effect]:
        """Do nothing: the front gives back what waits in its line."""
        return []

    def settled(self, outcomes: Iterable[Outcome], now: float) -> list[Effect]:
        """Answer the requests whose calls have ended; pass on the values of streams."""
        answers: list[Result] = []
        effects: list[Effect] = []
        for waiter, value, error in outcomes:
            if isinstance(waiter, PassedStream):
                effects += self._drain(waiter, now)
            elif isinstance(waiter, Request):
                self._passed.pop(waiter.ticket, None)
                answers.append((waiter, reply_of(value) if error is None else answer_of(error)))
        return effects + (self._front.handled(answers, now) if answers else [])

    def give_up(
        self, requests: Iterable[Request], now: float, *, is_asked: bool
    ) -> list[Effect]:
        """Cancel the calls of requests that nobody waits for."""
        effects: list[Effect] = []
        answers: list[Result] = []
        for request in requests:
            passed = self._passed.pop(request.ticket, None)
            if passed is None:
                continue
            effects += self.core.cancel(passed.sequence, now)
            if isinstance(passed, PassedStream):
                effects += self._front.ended(passed.request, None, now)
            else:
                answers.append((request, CANCELLED))
        return effects + (self._front.handled(answers, now) if answers else [])

    def advance(self, request: StreamRequest, now: float) -> list[Effect]:
        """Begin a stream, or go on with it; one that was given up ends."""
        stream = self._passed.get(request.ticket)
        if request.cancelled:
            if stream is None:
                return self._front.ended(request, None, now)
            return self.give_up([request], now, is_asked=True)
        if stream is None:
            stream = self._passed[request.ticket] = self.core.pass_stream(request, now)
        assert isinstance(stream, PassedStream)
        return self._drain(stream, now)

    def _drain(self, stream: PassedStream, now: float) -> list[Effect]:
        """Pass on the values that came, as far as the client has granted."""
        request = stream.request
        if self._passed.get(request.ticket) is not stream:
            return []
        effects: list[Effect] = []
        while stream.values and request.goes_on:
            effects += self._front.yielded(request, item_of(self.core.take(stream)), now)
        if stream.values:
            return [*effects, *self._front.paused(request, now)]
        if not stream.over:
            stream.listener = stream
            return effects
        del self._passed[request.ticket]
        error = None if stream.error is None else answer_of(stream.error)
        return [*effects, *self._front.ended(request, error, now)]
