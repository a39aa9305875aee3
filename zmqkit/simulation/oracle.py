"""What must hold of all calls of a world, whatever befalls it. `Broken` says what did not hold.

Each call settles exactly once and in time. A handler that is not idempotent runs at most once
for an id in the whole world. Any handler runs at most once for an id in one service that
remembers the id, whatever devices it came through. A delivered value is that call's own. A call
that ended with may_have_run=False never ran and never will. All this holds end to end, whatever
devices are on the way. To a service a broker with a journal is the client, with ids of its own:
there a call is known by its argument.

A reader of a stream reads a prefix of the values of one run of its generator, each value once
and in order. It reads all of them if the stream ends by itself. Each wait for a value ends in
time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.outcome import RAISED, Outcome
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.errors import (
    CallCancelled,
    CallTimeout,
    NoMethod,
    NoService,
    PeerError,
    RemoteError,
    ZmqkitError,
)
from zmqkit.limits import FORGET_CLIENT_S, PRIORITY, RAW_BYTES_MIN
from zmqkit.simulation.calls import ClientRole, RegisteredRole, Serving
from zmqkit.simulation.streams import STREAMS, Generator, Reader, length
from zmqkit.simulation.timeline import Timeline
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode
from zmqkit.wire.rows import request_row

FIRST_TOKEN = 1 << 20
"""The argument of the first call. Garbage has smaller numbers."""
SLACK_S = 0.1
EARLY_S = 0.005
HANGING_S = (2.0, 6.0, 6.0, inf)
"""How long handlers take that take long."""

METHODS = {
    "add": False, "price": True, "slow": False, "slow-price": True, "boom": False, "blob": True,
}  # fmt: skip
"""The methods of each simulated service, and whether each is idempotent."""

NOWHERE = "nowhere"
"""A method that no service has."""

_NIL = b"\xc0"


class Broken(AssertionError):
    """An invariant does not hold. The text says which invariant, and for what."""


def expect(holds: object, invariant: str, *about: object) -> None:
    """Raise Broken unless the invariant holds."""
    if not holds:
        raise Broken(f"{invariant} {' '.join(map(str, about))}".rstrip())


@dataclass(slots=True, eq=False)
class Called:
    """One call as the world remembers it."""

    token: int
    role: ClientRole
    sequence: int
    method: str
    deadline_at: float
    headers: dict[str, object] | None
    priority: int
    oneway: bool
    # For each run a number that no other run has; for a service's first run, the service's.
    runs: list[int] = field(default_factory=list)
    # Who gave it to which service; 0 for devices, among which services tell copies.
    given: set[tuple[int, int]] = field(default_factory=set)
    ran_at: float = -inf
    settled_at: float = inf
    error: ZmqkitError | None = None
    void: bool = False  # its caller crashed, so nobody waits for it
    reader: Reader | None = None  # reads the stream, if the call asked for one

    def __str__(self) -> str:
        return f"({self.method} {self.token} of {self.role.name}, id {self.sequence})"

    @property
    def ended(self) -> bool:
        """Whether the client has settled the call.

        The reader of a stream may still have values to read.
        """
        return self.settled_at < inf or (self.reader is not None and self.reader.call.over)

    @property
    def left(self) -> bool:
        """Whether the call is a stream whose reader went away."""
        return self.reader is not None and self.reader.gone

    @property
    def failure(self) -> ZmqkitError | None:
        """The error that the call ended with, if it has ended and failed."""
        return self.reader.error if self.reader is not None else self.error

    @property
    def value(self) -> object:
        """The value that the reply must have."""
        return None if self.oneway else value_of(self.method, self.token)

    @property
    def is_idempotent(self) -> bool:
        """Whether it may run twice; its method is one that is offered."""
        return METHODS.get(self.method) or STREAMS.get(self.method, False)


class Oracle:
    """An oracle knows every call of the world and judges what becomes of each."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.random = Random(timeline.random.random())
        self.calls: dict[tuple[int, int], Called] = {}
        self.by_token: dict[int, Called] = {}
        # The share of runs that take longer than most callers wait, or until they are freed.
        self.hanging = 0.0
        self.hanging_s = HANGING_S
        # Whether what is on the way forgets answers early, for want of space.
        self.forgetful = False
        # Whether a packet may arrive twice, as TCP has it arrive once.
        self.doubles = False
        # Whether brokers want a reply to each request, and note it.
        self.all_answer = False
        self.ends: Counter[str] = Counter()
        self.runs = 0
        self.slow = True
        self.stormy = True

    def call(
        self,
        role: ClientRole,
        method: str,
        *,
        timeout_s: float = 5.0,
        wait_s: float = 5.0,
        priority: int = PRIORITY,
        attempts: int = 3,
        oneway: bool = False,
        raw: bool = False,
        headers: dict[str, object] | None = None,
    ) -> Called:
        """Make a call. Its argument is a number that no other call has."""
        now = self.timeline.now
        token = self.next_token
        body_raw = token.to_bytes(8, "big") * (RAW_BYTES_MIN // 8) if raw else None
        body = request_row(method, headers, () if raw else (token,), {})
        called = Called(token, role, 0, method, now + timeout_s, headers, priority, oneway)
        called.sequence = role.core.submit(
            method,
            body,
            body_raw,
            CallOptions(timeout_s, wait_s, priority, attempts),
            called,
            now,
            oneway=oneway,
        )
        self._know(called)
        role.process.trace(f"calls {called}")
        return called

    def stream(self, role: ClientRole, method: str, options: CallOptions) -> Called:
        """Ask for a stream. Its argument is a number that no other call has."""
        token = self.next_token
        deadline_at = self.timeline.now + options.timeout_s
        called = Called(token, role, 0, method, deadline_at, None, PRIORITY, oneway=False)
        body = request_row(method, None, (token,), {})
        call = role.core.stream(method, body, None, options, self.timeline.now)
        called.sequence = call.sequence
        called.reader = Reader(
            role,
            role.core,
            call,
            self.random,
            lambda now: self._read(called, now),
            eager=not self.slow,
        )
        self._know(called)
        role.process.trace(f"asks for {called}")
        return called

    @property
    def next_token(self) -> int:
        """The argument of the next call."""
        return FIRST_TOKEN + len(self.calls)

    def _know(self, called: Called) -> None:
        self.calls[called.role.core.incarnation, called.sequence] = called
        self.by_token[called.token] = called

    # What the driver asks for

    def settled(self, role: ClientRole, outcomes: Sequence[Outcome]) -> None:
        """Judge the ends of calls."""
        now = self.timeline.now
        for called, value, error in outcomes:
            if isinstance(called, Reader):
                self._woken(role, called, now)
                continue
            assert isinstance(called, Called)
            role.process.trace(f"settled {called} {error!r}")
            expect(called.settled_at == inf, "a call settles once", called)
            expect(not called.void, "a crashed client settles nothing", called)
            expect(called.role is role, "a client settles its own calls", called)
            called.settled_at, called.error = now, error
            due_at = max(called.deadline_at, role.process.resumed_at) + SLACK_S
            expect(now <= due_at, "a call ends by its deadline", called, now - due_at)
            if error is None:
                self.ends["delivered"] += 1
                expect(value == called.value, "a value is that call's own", called, value)
                expect(called.runs, "what was answered ran", called)
            else:
                self.ends[type(error).__name__] += 1
                self._judge(called, error)

    def _woken(self, role: ClientRole, reader: Reader, now: float) -> None:
        """Judge the end of a reader's wait, for a value or for the end of the stream."""
        expect(reader.role is role, "a client wakes its own readers", role.name)
        expect(reader.call.values or reader.call.over, "a wait ends for a reason", role.name)
        due_at = max(reader.waits_until, role.process.resumed_at) + SLACK_S
        expect(now <= due_at, "a wait for a value ends in time", role.name, now - due_at)
        if isinstance(reader.call.error, CallTimeout):
            early = reader.waits_until - now
            expect(early < EARLY_S, "a wait times out no earlier than asked", role.name, early)
        role.driver.post(reader.read_on)

    def _read(self, called: Called, now: float) -> None:
        """Judge what was read of a stream, up to its end or to where its reader left."""
        reader = called.reader
        assert reader is not None
        error = called.error = reader.error
        called.settled_at = now
        called.role.process.trace(f"read {len(reader.values)} of {called} {error!r}")
        values, whole = reader.read(), length(called.token)
        runs = {run for _, _, run, _ in values}
        expect(len(runs) <= 1 and runs <= set(called.runs), "one run is read", called, runs)
        expected = [[called.method, called.token, run, n] for run in runs for n in range(whole)]
        expect(values == expected[: len(values)], "a prefix is read", called, values)
        if reader.gone:
            self.ends["left"] += 1
            return
        if error is None or isinstance(error, RemoteError):
            expect(len(values) == whole, "a stream that ends is whole", called, len(values))
            boom = called.method == "count-boom"
            expect(boom == (error is not None), "what it raised arrives", called, repr(error))
        self.ends["streamed" if error is None else type(error).__name__] += 1
        if error is not None:
            called.deadline_at = min(called.deadline_at, now)  # the wait was judged already
            self._judge(called, error)
        if values and error is not None:
            assert isinstance(error, PeerError)
            expect(error.may_have_run, "what gave values ran", called, repr(error))

    def _judge(self, called: Called, error: ZmqkitError) -> None:
        assert isinstance(error, PeerError)
        if not error.may_have_run:
            # What refused it may have given that up for space when its copy came and ran.
            ran = called.runs and not (self._repeats(called) and self.doubles)
            expect(not ran, "may_have_run=False means it did not", called, repr(error))
        if isinstance(error, RemoteError):
            booms = called.method in ("boom", "count-boom")
            expect(booms and called.runs, "only boom raises", called)
            expect(error.type == "ValueError", "an error's type travels", called, error.type)
            expect(error.message == str(called.token), "an error's text travels", called)
        elif isinstance(error, NoMethod):
            expect(called.method == NOWHERE, "what is offered is found", called)
        elif isinstance(error, CallTimeout):
            early = called.deadline_at - called.settled_at
            expect(early < EARLY_S, "a call times out no earlier than asked", called, early)
        elif isinstance(error, NoService):
            expect(not error.may_have_run, "nobody there means it did not run", called)

    def _repeats(self, called: Called) -> bool:
        """Whether a copy of a request may run whose answer was given up for space."""
        return self.forgetful and called.is_idempotent

    def handle(self, role: Serving, request: Request) -> tuple[float, Answer]:
        """Judge a run of a handler. Return how many seconds it takes, and its answer."""
        called = self._run(role, request)
        if called is None:
            return 0.0, Answer(wire.REPLY, encode("stranger"))
        expect(token_of(request) == called.token, "arguments travel", called, request.args)
        return self.duration(called.method), answer_to(called.method, called.token)

    def begin(self, role: Serving, request: StreamRequest) -> Generator:
        """Judge the start of a generator, and make the generator."""
        called = self._run(role, request)
        token, run = (0, 0) if called is None else (called.token, called.runs[-1])
        expect(called is None or request.args == [token], "arguments travel", called)
        return Generator(role, role.core, request, token, run, self._pause)

    def _run(self, role: Serving, request: Request) -> Called | None:
        """Return the call that a service runs now.

        Return None for a stranger's call, made of garbage.
        """
        self.runs += 1
        called = self.calls.get(request.origin or (request.client, request.sequence))
        if isinstance(role, RegisteredRole) and request.origin is None:
            called = self.by_token.get(token_of(request))
        if called is None:
            return None
        role.process.trace(f"runs {called}")
        idempotent = called.is_idempotent
        age_s = self.timeline.now - called.ran_at
        forgotten = idempotent and (age_s >= FORGET_CLIENT_S or self.forgetful)
        service = role.core.incarnation
        passed = request.origin is not None and not isinstance(request, StreamRequest)
        by = 0 if passed else request.client
        expect(
            (by, service) not in called.given or forgotten, "a service runs an id once", called
        )
        called.given.add((by, service))
        called.runs.append(service + len(called.runs) if service in called.runs else service)
        called.ran_at = self.timeline.now
        expect(idempotent or len(called.runs) == 1, "what may not repeat runs once", called)
        expect(self.timeline.now < request.deadline_at, "what expired does not run", called)
        expect(request.method == called.method, "a method's name travels", called)
        expect(request.headers == called.headers, "headers travel", called, request.headers)
        expect(request.priority == called.priority, "a priority travels", called)
        oneway = called.oneway and not self.all_answer
        expect(request.oneway == oneway, "one way stays one way", called)
        if isinstance(called.error, PeerError):
            # What refused it may have given that up for space, and a copy came later.
            may_run = called.error.may_have_run or self._repeats(called)
            expect(may_run, "may_have_run=False means it never will", called)
        return called

    def _pause(self) -> float:
        pause_s = self.random.choice((0.0, 0.0, 0.01, 0.2)) * self.random.random()
        return pause_s if self.stormy else 0.0

    def duration(self, method: str) -> float:
        """Return how many seconds a run of a method takes; chance decides."""
        random = self.random
        if not self.slow:
            return 0.0
        if self.hanging and random.random() < self.hanging:
            return random.choice(self.hanging_s)
        if method.startswith("slow"):
            return random.uniform(0.0, 1.0) ** 3
        return 0.0 if random.random() < 0.5 else random.uniform(0.0, 0.02)

    # Ends

    def void(self, roles: list[ClientRole]) -> None:
        """Note that these clients crashed: nobody waits for their calls."""
        for called in self.calls.values():
            if called.role in roles and called.settled_at == inf:
                called.void = True
                if called.reader is not None:
                    called.reader.gone = True

    def judge_client(self, role: ClientRole) -> None:
        """Judge whether a client's counters agree with its calls."""
        stats = role.core.stats()
        mine = [called for called in self.calls.values() if called.role is role]
        ended = [called for called in mine if called.ended]
        dropped = stats["dropped"]
        assert isinstance(dropped, dict)
        cancelled = [called for called in ended if isinstance(called.failure, CallCancelled)]
        expect(stats["accepted"] == len(mine), "accepted counts the calls", role.name, stats)
        expect(
            stats["in_flight"] == len(mine) - len(ended), "in_flight counts", role.name, stats
        )
        expect(
            stats["delivered"] == sum(called.failure is None for called in ended),
            "delivered counts", role.name, stats,
        )  # fmt: skip
        expect(sum(dropped.values()) == len(cancelled), "dropped counts", role.name, stats)

    def judge_all(self) -> None:
        """Judge that every call has ended.

        The values of a stream must have been read too, unless its reader crashed.
        """
        for called in self.calls.values():
            dead = called.ended and not called.role.process.host.alive
            expect(called.void or dead or called.settled_at < inf, "a call settles", called)


def token_of(request: Request) -> int:
    """Return the argument of a call; 0 if it is no number, as that of garbage may be."""
    args = request.args
    argument = args[0] if isinstance(args, list) and len(args) == 1 else None
    if isinstance(argument, memoryview):
        return int.from_bytes(argument[:8], "big")
    return argument if type(argument) is int else 0


def value_of(method: str, token: int) -> object:
    """Return what a method returns for an argument."""
    if method == "blob":
        return token.to_bytes(8, "big") * (RAW_BYTES_MIN // 8)
    return [method, token]


def answer_to(method: str, token: int) -> Answer:
    """Return how a handler answers."""
    if method == "boom":
        return Answer(wire.ERROR, encode([RAISED, "ValueError", str(token), "", True]))
    value = value_of(method, token)
    if isinstance(value, bytes):
        return Answer(wire.REPLY, _NIL, value)
    return Answer(wire.REPLY, encode(value))
