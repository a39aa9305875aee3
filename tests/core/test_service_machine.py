"""A service under any order of events, against a model of what ran."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zmqkit.core import service as service_module
from zmqkit.core import windows as windows_module
from zmqkit.core.effects import Abort, Effect, Handle, Request, Send
from zmqkit.core.service import ServiceCore
from zmqkit.core.window import Answer
from zmqkit.options import CREDIT, FORGET_CLIENT_S
from zmqkit.testing import packets
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ERROR, REPLY, error_rows, reply_rows, unpack

SERVICE = 0xA
CLIENTS = st.sampled_from([1, 2])
IDS = st.integers(1, 12)
MAY_HAVE_RUN = ("forgotten", "raised")


class ServiceMachine(RuleBasedStateMachine):
    """Clients send any open id any number of times, settle what they like, and fall silent."""

    def __init__(self) -> None:
        super().__init__()
        windows_module.CLIENTS_MAX = 1
        self.core = ServiceCore(SERVICE, {"add": False}, 2)
        self.now = 100.0
        self.running: list[Request] = []
        self.ran: set[tuple[int, int]] = set()
        self.refused: set[tuple[int, int]] = set()
        self.below = {1: 0, 2: 0}
        self.settled: set[tuple[int, int]] = set()

    def perform(self, effects: list[Effect]) -> None:
        """What a driver does."""
        for effect in effects:
            if isinstance(effect, Handle):
                for request in effect.requests:
                    self.start(request)
            elif isinstance(effect, Abort):
                assert all(r in self.running and r.cancelled for r in effect.requests)
            elif isinstance(effect, Send):
                self.read(effect)

    def start(self, request: Request) -> None:
        name = (request.client, request.sequence)
        assert name not in self.ran, "ran twice"
        assert name not in self.refused, "ran after it was refused"
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

    def receive(self, client: int, frames: tuple[bytes, ...]) -> None:
        self.perform(self.core.receive(b"p", frames, self.now))

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
        open_ones = [n for n in sequences if (client, n) not in self.settled]
        if open_ones:
            frames = packets.request(
                client, SERVICE, *open_ones, method=method, left_ms=left_ms,
                priority=priority, settled=self.below[client], oneway=oneway,
            )  # fmt: skip
            self.receive(client, frames)

    def settle(self, client: int, below: int, still_open: set[int]) -> None:
        if not still_open:
            self.below[client] = max(self.below[client], below)
        self.settled |= {(client, n) for n in range(below) if n not in still_open}

    @rule(client=CLIENTS, below=IDS, still_open=st.sets(IDS))
    def ping(self, client: int, below: int, still_open: set[int]) -> None:
        self.settle(client, below, still_open)
        self.receive(client, packets.ping(client, SERVICE, 1, below, sorted(still_open)))

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

    @rule(kept=st.sampled_from([200, 10_000]))
    def change_limit(self, kept: int) -> None:
        service_module.RETAINED_BYTES_MAX = windows_module.RETAINED_BYTES_MAX = kept

    @precondition(lambda self: len(self.ran) > 5)
    @rule()
    def leave(self) -> None:
        self.perform(self.core.leave())

    @invariant()
    def is_sound(self) -> None:
        self.core.check()
        assert self.core.in_flight <= CREDIT

    def teardown(self) -> None:
        service_module.RETAINED_BYTES_MAX = windows_module.RETAINED_BYTES_MAX = 64 << 20
        windows_module.CLIENTS_MAX = 10_000
        self.perform(self.core.close())
        self.core.check()
        stats = self.core.stats()
        assert stats["in_flight"] == stats["retained_bytes"] == stats["clients"] == 0


TestServiceMachine = pytest.mark.slow(ServiceMachine.TestCase)
TestServiceMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40
)
