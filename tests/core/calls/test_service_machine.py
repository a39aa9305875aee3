"""A service under any order of events, against a model of what ran."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests import packets
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.calls.stream import StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Abort, Advance, Effect, Handle, Note, Request, Send
from zmqkit.limits import CREDIT, FORGET_CLIENT_S, ServiceLimits
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import END, ERROR, ITEM, REPLY, error_rows, reply_rows, unpack
from zmqkit.wire.streams import end_rows, item_rows

SERVICE = 0xA
CLIENTS = st.sampled_from([1, 2])
IDS = st.integers(1, 12)
MAY_HAVE_RUN = ("forgotten", "raised")


class ServiceMachine(RuleBasedStateMachine):
    """Clients send any id any number of times, settle what they like, and fall silent."""

    def __init__(self) -> None:
        super().__init__()
        self.streaming: list[StreamRequest] = []
        self.given: dict[tuple[int, int], int] = {}
        self.left: dict[tuple[int, int], int] = {}
        self.taken: dict[tuple[int, int], int] = {}
        self.over: set[tuple[int, int]] = set()
        self.now = 100.0
        self.running: list[Request] = []
        self.sent: set[tuple[int, int]] = set()
        self.told: set[tuple[int, int]] = set()
        self.ran: set[tuple[int, int]] = set()
        self.refused: set[tuple[int, int]] = set()
        self.below = {1: 0, 2: 0}
        self.open_below = {1: 0, 2: 0}
        self.settled: set[tuple[int, int]] = set()

    @initialize(kept=st.sampled_from([200, 10_000]), counted=st.sampled_from([1, 9999]))
    def begin(self, kept: int, counted: int) -> None:
        limits = ServiceLimits(
            clients_max=1, retained_bytes_max=kept, waiting_bytes_max=kept,
            unread_bytes_max=300, client_unread_bytes=200, counted_bytes_min=counted,
        )  # fmt: skip
        self.core = ServiceCore(SERVICE, {"add": False}, 2, {"count": False}, limits=limits)

    def perform(self, effects: list[Effect]) -> None:
        """What a driver does."""
        for effect in effects:
            if isinstance(effect, Handle):
                for request in effect.requests:
                    self.start(request)
            elif isinstance(effect, Advance):
                for stream in effect.requests:
                    if stream.running is None:
                        stream.running = "begun"
                        self.start(stream)
                        self.running.remove(stream)
                    assert stream not in self.streaming
                    assert stream.cancelled or stream.has_room
                    self.streaming.append(stream)
            elif isinstance(effect, Abort):
                # Streams that do not run just now are to be closed as well, at the end.
                for r in effect.requests:
                    assert r.cancelled
                    assert r in self.running or (isinstance(r, StreamRequest) and r.begun)
            elif isinstance(effect, Send):
                self.read(effect)

    def start(self, request: Request) -> None:
        name = (request.client, request.sequence)
        assert name not in self.ran, "ran twice"
        assert name not in self.refused, "ran after it was refused"
        assert name in self.sent, "came when it was settled"
        assert self.now < request.deadline_at
        self.ran.add(name)
        self.running.append(request)

    def read(self, effect: Send) -> None:
        packet = unpack(effect.frames)
        if packet.kind == REPLY:
            for sequence, value in reply_rows(packet):
                assert value is None or (packet.target, sequence) in self.ran
        elif packet.kind == ERROR:
            for sequence, code, *_, may_have_run in error_rows(packet):
                assert may_have_run is (code in MAY_HAVE_RUN)
                if not may_have_run:
                    assert (packet.target, sequence) not in self.ran
                    self.refused.add((packet.target, sequence))

        elif packet.kind == ITEM:
            for sequence, number, size, value in item_rows(packet):
                name = (packet.target, sequence)
                assert value in (number, None) and number < self.given[name] and size
                assert number >= self.taken.get(name, 0) or name in self.over
                self.left[name] = max(number + 1, self.left.get(name, 0))
        elif packet.kind == END:
            for sequence, count, _ in end_rows(packet):
                assert count == self.given.get((packet.target, sequence), 0)

    def receive(self, client: int, frames: tuple[bytes, ...], *names: int) -> None:
        """Have a packet come, with messages of these numbers."""
        effects = self.core.receive(b"p", frames, self.now)
        if Note("clients-full", {"clients": 1}) not in effects:
            self.told |= {(client, n) for n in range(unpack(frames).settled)}
        self.sent |= {(client, n) for n in names} - self.told
        self.perform(effects)

    @rule(
        client=CLIENTS,
        sequences=st.lists(IDS, min_size=1, max_size=5),
        method=st.sampled_from(["add", "add", "add", "nowhere"]),
        left_ms=st.sampled_from([1, 500, 60_000]),
        priority=st.integers(0, 9),
        settled=st.sampled_from([0, 0, 0, 1, 3, 8]),
        oneway=st.booleans(),
    )
    def request(
        self,
        client: int,
        sequences: list[int],
        method: str,
        left_ms: int,
        priority: int,
        settled: int,
        oneway: bool,
    ) -> None:
        self.settle(client, settled, set())
        frames = packets.request(
            client, SERVICE, *sequences, method=method, left_ms=left_ms,
            priority=priority, settled=self.below[client], oneway=oneway,
        )  # fmt: skip
        self.receive(client, frames, *sequences)

    def settle(self, client: int, below: int, still_open: set[int]) -> None:
        if not still_open:
            self.below[client] = max(self.below[client], below)
        self.settled |= {(client, n) for n in range(below) if n not in still_open}

    @rule(
        client=CLIENTS,
        sequences=st.lists(IDS, min_size=1, max_size=3),
        method=st.sampled_from(["count", "count", "count", "add"]),
        left_ms=st.sampled_from([1, 60_000]),
        window=st.sampled_from([(1, 9999), (3, 200), (1 << 40, 1 << 40)]),
    )
    def stream(
        self,
        client: int,
        sequences: list[int],
        method: str,
        left_ms: int,
        window: tuple[int, int],
    ) -> None:
        frames = packets.stream(
            client, SERVICE, *sequences, method=method, left_ms=left_ms, window=window,
            settled=self.below[client],
        )  # fmt: skip
        self.receive(client, frames, *sequences)

    @rule(
        client=CLIENTS,
        sequence=IDS,
        taken=st.integers(0, 6),
        missing=st.none() | st.integers(0, 6),
    )
    def grant(self, client: int, sequence: int, taken: int, missing: int | None) -> None:
        name = (client, sequence)
        taken = min(taken, self.left.get(name, 0))
        if name not in self.settled:
            self.taken[name] = max(taken, self.taken.get(name, 0))
            self.receive(client, packets.grant(client, SERVICE, sequence, taken, missing))

    @precondition(lambda self: self.streaming)
    @rule(
        data=st.data(),
        count=st.integers(0, 3),
        then=st.sampled_from(["goes on", "pauses", "ends", "raises"]),
    )
    def step(self, data: st.DataObject, count: int, then: str) -> None:
        """A generator gives values as far as it may, and goes on, gives way or ends."""
        stream = data.draw(st.sampled_from(self.streaming))
        name = (stream.client, stream.sequence)
        for _ in range(count):
            if stream.goes_on:
                value = Answer(REPLY, encode(self.given.get(name, 0)))
                self.perform(self.core.yielded(stream, value, self.now))
                self.given[name] = self.given.get(name, 0) + 1
        if stream.cancelled:
            then = "ends"
        elif not stream.goes_on and then == "goes on":
            then = "pauses"
        if then == "goes on" or (then == "pauses" and not self.given.get(name)):
            return
        self.streaming.remove(stream)
        if then == "pauses":
            self.perform(self.core.paused(stream, self.now))
        else:
            row = encode(["raised", "ValueError", "", "", True])
            error = Answer(ERROR, row) if then == "raises" else None
            self.over.add(name)
            self.perform(self.core.ended(stream, error, self.now))

    @rule(client=CLIENTS, below=IDS, still_open=st.sets(IDS), has_read=st.booleans())
    def ping(self, client: int, below: int, still_open: set[int], has_read: bool) -> None:
        self.settle(client, below, still_open)
        frames = packets.ping(
            client, SERVICE, 1, below, sorted(still_open), read=1 if has_read else 0
        )
        effects = self.core.receive(b"p", frames, self.now)
        heard = Note("clients-full", {"clients": 1}) not in effects
        if heard and below >= self.open_below[client]:  # an older one is passed over
            self.open_below[client] = below
            self.told |= {(client, n) for n in range(below) if n not in still_open}
        self.perform(effects)

    @rule(client=CLIENTS, sequences=st.lists(IDS, max_size=4))
    def cancel(self, client: int, sequences: list[int]) -> None:
        self.receive(client, packets.cancel(client, SERVICE, *sequences))

    @rule(client=CLIENTS)
    def hello(self, client: int) -> None:
        self.receive(client, packets.hello(client))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), raises=st.booleans(), raw=st.booleans())
    def finish(self, data: st.DataObject, raises: bool, raw: bool) -> None:
        picked = data.draw(st.sets(st.integers(0, len(self.running) - 1), min_size=1))
        done = [self.running[n] for n in sorted(picked)]
        self.running = [r for n, r in enumerate(self.running) if n not in picked]
        row = encode(["raised", "ValueError", "", "", True])
        answer = (
            Answer(ERROR, row) if raises else Answer(REPLY, encode(7), b"x" if raw else None)
        )
        self.perform(self.core.handled([(request, answer) for request in done], self.now))

    @rule()
    def end_turn(self) -> None:
        self.perform(self.core.flush(self.now))

    @rule(duration_s=st.sampled_from([0.01, 1.0, FORGET_CLIENT_S + 1]))
    def wait(self, duration_s: float) -> None:
        self.now += duration_s
        self.perform(self.core.tick(self.now))
        assert self.core.deadline() > self.now

    @precondition(lambda self: len(self.ran) > 5)
    @rule()
    def leave(self) -> None:
        self.perform(self.core.leave())

    @invariant()
    def is_sound(self) -> None:
        self.core.check()
        assert self.core.in_flight <= CREDIT

    def teardown(self) -> None:
        self.perform(self.core.close())
        self.core.check()
        stats = self.core.stats()
        assert stats["in_flight"] == stats["retained_bytes"] == stats["clients"] == 0


TestServiceMachine = pytest.mark.slow(ServiceMachine.TestCase)
TestServiceMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40
)
