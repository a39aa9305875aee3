"""What must hold of all calls of a world, whatever befalls it; `Broken` says what did not.

Each call settles exactly once and in time. A handler that is not idempotent runs at most once
for an id in the whole world, any handler at most once for an id in one service that remembers
it. A delivered value is that call's own. What ended with may_have_run=False never ran and never
will.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf
from random import Random

from zmqkit.core.call import CallOptions
from zmqkit.core.effects import Request
from zmqkit.core.outcome import RAISED, Outcome
from zmqkit.core.window import Answer
from zmqkit.errors import (
    CallCancelled,
    CallTimeout,
    NoMethod,
    NoService,
    PeerError,
    RemoteError,
    ZmqkitError,
)
from zmqkit.options import FORGET_CLIENT_S, PRIORITY, RAW_BYTES_MIN
from zmqkit.testing.process import ClientRole, ServiceRole
from zmqkit.testing.timeline import Timeline
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import encode

SLACK_S = 0.1
EARLY_S = 0.005

METHODS = {
    "add": False, "price": True, "slow": False, "slow-price": True, "boom": False, "blob": True,
}  # fmt: skip
"""What each simulated service offers, and whether it is idempotent."""

NOWHERE = "nowhere"
"""A method that nobody has."""

_NIL = b"\xc0"
_FAULTS = {
    NoService: "NoService", NoMethod: "NoMethod", RemoteError: "RemoteError",
    CallTimeout: "CallTimeout", CallCancelled: "CallCancelled",
}  # fmt: skip


class Broken(AssertionError):
    """An invariant does not hold; the text says which, and for what."""


def expect(holds: object, invariant: str, *about: object) -> None:
    """Raise Broken unless the invariant holds."""
    if not holds:
        raise Broken(f"{invariant} {' '.join(map(str, about))}".rstrip())


@dataclass(slots=True, eq=False)
class Called:
    """One call as the world remembers it. void: its caller crashed, so nobody waits."""

    token: int
    role: ClientRole
    sequence: int
    method: str
    deadline_at: float
    headers: dict[str, object] | None
    priority: int
    oneway: bool
    runs: list[int] = field(default_factory=list)
    ran_at: float = -inf
    settled_at: float = inf
    error: ZmqkitError | None = None
    void: bool = False

    def __str__(self) -> str:
        return f"({self.method} {self.token} of {self.role.name}, id {self.sequence})"

    @property
    def value(self) -> object:
        """What its reply must be."""
        if self.oneway:
            return None
        if self.method == "blob":
            return self.token.to_bytes(8, "big") * (RAW_BYTES_MIN // 8)
        return [self.method, self.token]


class Oracle:
    """Knows every call of the world and judges what becomes of it."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.random = Random(timeline.random.random())
        self.calls: dict[tuple[int, int], Called] = {}
        self.ends: Counter[str] = Counter()
        self.runs = 0
        self.slow = True

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
        """Make a call, with a number in it that tells it from all others."""
        now = self.timeline.now
        token = len(self.calls) + 1
        body_raw = token.to_bytes(8, "big") * (RAW_BYTES_MIN // 8) if raw else None
        body = wire.request_body(method, priority, headers, () if raw else (token,), {})
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
        self.calls[role.core.incarnation, called.sequence] = called
        role.process.trace(f"calls {called}")
        return called

    # What the driver asks for

    def settled(self, role: ClientRole, outcomes: list[Outcome]) -> None:
        """Judge the ends of calls."""
        now = self.timeline.now
        for called, value, error in outcomes:
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
                expect(called.runs or called.oneway, "what was answered ran", called)
            else:
                self.ends[type(error).__name__] += 1
                self._judge(called, error)

    def _judge(self, called: Called, error: ZmqkitError) -> None:
        assert isinstance(error, PeerError)
        if not error.may_have_run:
            expect(not called.runs, "may_have_run=False means it did not", called, repr(error))
        if isinstance(error, RemoteError):
            expect(called.method == "boom" and called.runs, "only boom raises", called)
            expect(error.type == "ValueError", "an error's type travels", called, error.type)
            expect(error.message == str(called.token), "an error's text travels", called)
        elif isinstance(error, NoMethod):
            expect(called.method == NOWHERE, "what is offered is found", called)
        elif isinstance(error, CallTimeout):
            early = called.deadline_at - called.settled_at
            expect(early < EARLY_S, "a call times out no earlier than asked", called, early)
        elif isinstance(error, NoService):
            expect(not error.may_have_run, "nobody there means it did not run", called)

    def handle(self, role: ServiceRole, request: Request) -> tuple[float, Answer]:
        """Judge a run and answer it."""
        self.runs += 1
        called = self.calls.get((request.client, request.sequence))
        if called is None:  # a stranger's, out of garbage
            return 0.0, Answer(wire.REPLY, encode("stranger"))
        role.process.trace(f"runs {called}")
        idempotent = METHODS[called.method]
        long_ago = idempotent and self.timeline.now - called.ran_at >= FORGET_CLIENT_S
        again = role.record.incarnation in called.runs
        expect(not again or long_ago, "a service runs an id once", called)
        called.runs.append(role.record.incarnation)
        called.ran_at = self.timeline.now
        expect(idempotent or len(called.runs) == 1, "what may not repeat runs once", called)
        expect(self.timeline.now < request.deadline_at, "what expired does not run", called)
        expect(request.method == called.method, "a method's name travels", called)
        expect(request.headers == called.headers, "headers travel", called, request.headers)
        expect(request.priority == called.priority, "a priority travels", called)
        if isinstance(called.error, PeerError):
            expect(called.error.may_have_run, "may_have_run=False means it never will", called)
        return self._duration(called), _answer(called, request)

    def _duration(self, called: Called) -> float:
        random = self.random
        if not self.slow:
            return 0.0
        if called.method.startswith("slow"):
            return random.uniform(0.0, 1.0) ** 3
        return 0.0 if random.random() < 0.5 else random.uniform(0.0, 0.02)

    # Ends

    def void(self, roles: list[ClientRole]) -> None:
        """These clients crashed: nobody waits for their calls."""
        for called in self.calls.values():
            if called.role in roles and called.settled_at == inf:
                called.void = True

    def judge_client(self, role: ClientRole) -> None:
        """A client's counters are those of its calls."""
        stats = role.core.stats()
        mine = [called for called in self.calls.values() if called.role is role]
        ended = [called for called in mine if called.settled_at < inf]
        dropped = stats["dropped"]
        assert isinstance(dropped, dict)
        cancelled = [called for called in ended if isinstance(called.error, CallCancelled)]
        expect(stats["accepted"] == len(mine), "accepted counts the calls", role.name, stats)
        expect(
            stats["in_flight"] == len(mine) - len(ended), "in_flight counts", role.name, stats
        )
        expect(
            stats["delivered"] == sum(called.error is None for called in ended),
            "delivered counts", role.name, stats,
        )  # fmt: skip
        expect(sum(dropped.values()) == len(cancelled), "dropped counts", role.name, stats)

    def judge_all(self) -> None:
        """Every call has ended."""
        for called in self.calls.values():
            expect(called.void or called.settled_at < inf, "a call settles", called)


def _answer(called: Called, request: Request) -> Answer:
    value = called.value
    argument = request.args[0]
    token = argument
    if isinstance(argument, memoryview):
        token = int.from_bytes(argument[:8], "big")
    expect(token == called.token, "arguments travel", called, request.args)
    if called.method == "boom":
        row = [RAISED, "ValueError", str(called.token), "", True]
        return Answer(wire.ERROR, encode(row))
    if isinstance(value, bytes):
        return Answer(wire.REPLY, _NIL, value)
    return Answer(wire.REPLY, encode(value))
