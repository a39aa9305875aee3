"""Workers of RFCs that say anything at any time, against a model of who is busy with what."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.majordomo.hall import ANN, BOB, EVE, SERVICE, V1, V2, Hall
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.errors import ZmqkitError
from zmqkit.limits import ClientLimits
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire.mdp import Kind, Version

PEERS = st.sampled_from([ANN, BOB, EVE])
VERSIONS = st.sampled_from([None] * 9 + [V1, V2])
"""The one that the peer had last, or one that it changes to."""
ODD = st.sampled_from([False] * 7 + [True])
"""Whether a peer does what makes no sense."""
WRONG = b"\x00wrong"


class WorkersMachine(RuleBasedStateMachine):
    """Each reply repeats the request, so a reply to the wrong one would be seen."""

    def __init__(self) -> None:
        super().__init__()
        limits = MdpLimits(workers_max=3, reply_bytes_max=500)
        self.hall = Hall(limits, ClientLimits(stream_items_max=3))
        # Who is a worker, and the address and body of what it has to do.
        self.workers: dict[PeerId, Version] = {}
        self.jobs: dict[PeerId, tuple[bytes, bytes]] = {}
        # How many parts of the reply it has sent.
        self.parts: dict[PeerId, int] = {}
        self.seen = 0
        self.calls: set[bytes] = set()
        self.streams: dict[bytes, StreamCall] = {}
        self.values: dict[bytes, list[object]] = {}

    def look(self) -> int:
        """See what workers were told; return how many were told to go."""
        told, self.seen = self.hall.got[self.seen :], len(self.hall.got)
        gone = 0
        for peer, command in told:
            if command.kind is Kind.DISCONNECT:
                self.forget(peer)
                gone += 1
                continue
            assert self.workers[peer] is command.version
            if command.kind is Kind.REQUEST:
                assert peer not in self.jobs, "two requests at a time"
                [body] = command.body
                self.jobs[peer] = (command.address, bytes(body))
                self.parts[peer] = 0
        return gone

    def forget(self, peer: PeerId) -> None:
        self.workers.pop(peer, None)
        self.jobs.pop(peer, None)

    def version(self, peer: PeerId, drawn: Version | None, *, odd: bool) -> Version:
        """The version that a peer uses now; unless it is odd, it is a worker by then."""
        if not odd and peer not in self.workers:
            self.ready(peer, drawn, twice=False)
        return drawn or self.workers.get(peer, V1 if peer == EVE else V2)

    def says(self, peer: PeerId, frames: Frames, version: Version) -> int:
        """A peer says something; whoever has another version begins anew by that."""
        if self.workers.get(peer, version) is not version:
            self.forget(peer)
        self.hall.says(peer, frames)
        return self.look()

    @rule(peer=PEERS, drawn=VERSIONS, twice=ODD)
    def ready(self, peer: PeerId, drawn: Version | None, twice: bool) -> None:
        version = self.version(peer, drawn, odd=True)
        known = self.workers.get(peer) is version
        if known and not twice:
            return
        if not known:
            self.forget(peer)
            self.workers[peer] = version
        assert self.says(peer, mdp.worker_ready(version, SERVICE), version) == known

    @rule(peer=PEERS, drawn=VERSIONS, odd=ODD)
    def heartbeat(self, peer: PeerId, drawn: Version | None, odd: bool) -> None:
        version = self.version(peer, drawn, odd=odd)
        known = self.workers.get(peer) is version
        assert self.says(peer, mdp.heartbeat(version), version) == (not known)

    @rule(peer=PEERS, drawn=VERSIONS, odd=ODD)
    def request(self, peer: PeerId, drawn: Version | None, odd: bool) -> None:
        if odd:  # only brokers make sense of it
            version = self.version(peer, drawn, odd=True)
            frames = mdp.worker_request(version, b"x", (b"x",))
            assert self.says(peer, frames, version) == 1

    @rule(peer=PEERS, drawn=VERSIONS, odd=ODD)
    def leave(self, peer: PeerId, drawn: Version | None, odd: bool) -> None:
        version = self.version(peer, drawn, odd=odd)
        self.forget(peer)
        assert self.says(peer, mdp.disconnect(version), version) == 0

    @rule(peer=PEERS, drawn=VERSIONS, odd=ODD)
    def final(self, peer: PeerId, drawn: Version | None, odd: bool) -> None:
        version = self.version(peer, drawn, odd=odd)
        job = self.job(peer, version, odd=odd)
        address, body = job or (WRONG, b"")
        if job is not None:
            del self.jobs[peer]
        gone = self.says(peer, mdp.worker_final(version, address, (body,)), version)
        # It may be too much, behind parts that are kept.
        assert gone == (job is None) or (gone == 1 and self.parts[peer])

    @rule(peer=PEERS, drawn=VERSIONS, odd=ODD)
    def partial(self, peer: PeerId, drawn: Version | None, odd: bool) -> None:
        if self.version(peer, drawn, odd=odd) is V1:
            return
        job = self.job(peer, V2, odd=odd)
        address, body = job or (WRONG, b"")
        if job is not None:
            self.parts[peer] += 1
        gone = self.says(peer, mdp.worker_partial(address, (body,)), V2)
        assert gone in ((0, 1) if job is not None else (1,))  # it may be too much

    def job(self, peer: PeerId, version: Version, *, odd: bool) -> tuple[bytes, bytes] | None:
        """What a peer may reply to; unless it is odd, there should be something."""
        if odd or self.workers.get(peer) is not version:
            return None
        if peer not in self.jobs:
            self.call() if (len(self.calls) + len(self.streams)) % 2 else self.stream()
        return self.jobs.get(peer)

    @rule()
    def call(self) -> None:
        body = f"call {len(self.calls)}".encode()
        self.calls.add(body)
        self.hall.call(body, body)
        self.look()

    @rule()
    def stream(self) -> None:
        body = f"stream {len(self.streams)}".encode()
        self.streams[body] = self.hall.stream(body)
        self.values[body] = []
        self.look()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """The caller of what a worker has to do gives it up; the worker goes on."""
        address, _ = data.draw(st.sampled_from([*self.jobs.values()]))
        number = int.from_bytes(address, "big")
        self.hall.perform(self.hall.back.cancel(number, self.hall.now))
        self.look()

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        body = data.draw(st.sampled_from([*self.streams]))
        self.values[body] += self.hall.read(self.streams[body])
        self.look()

    @rule(duration_s=st.sampled_from([0.1, 1.0, 2.5, 11.0]))
    def wait(self, duration_s: float) -> None:
        self.hall.wait(duration_s)
        self.look()

    @rule()
    def sleep(self) -> None:
        """The broker is held up, and nobody is expelled for that."""
        self.hall.now += 30.0
        self.hall.follow(self.hall.workers.tick(self.hall.now))
        assert self.look() == 0

    @rule(peer=PEERS)
    def lose(self, peer: PeerId) -> None:
        self.forget(peer)
        self.hall.follow(self.hall.workers.unsent(peer, self.hall.now))
        self.look()

    @rule(peer=PEERS)
    def distrust(self, peer: PeerId) -> None:
        known = peer in self.workers
        self.hall.follow(self.hall.workers.distrust(peer, self.hall.now))
        assert self.look() == known

    @invariant()
    def is_sound(self) -> None:
        self.hall.workers.check()
        self.hall.back.check()
        stats = self.hall.stats
        assert stats["workers"] == len(self.workers)
        assert stats["malformed"] == {} and not self.hall.back.malformed
        assert self.hall.workers.deadline() > self.hall.now or self.workers
        for body, value in self.hall.outcomes.items():
            if not isinstance(value, ZmqkitError):
                pieces = value if isinstance(value, list) else [value]
                assert set(pieces) == {body}
        for body, values in self.values.items():
            assert set(values) <= {body}

    def teardown(self) -> None:
        """Whoever is there does what is left, and every call comes to its end."""
        for _ in range(200):
            if not self.workers:
                self.ready(ANN, V2, twice=False)
            for peer in list(self.jobs):
                self.final(peer, None, odd=False)
            for peer in list(self.workers):
                self.heartbeat(peer, None, odd=False)
            for body in self.streams:
                self.values[body] += self.hall.read(self.streams[body])
            self.look()
            if not self.hall.back.in_flight:
                break
            self.wait(1.0)
        assert not self.hall.back.in_flight
        assert self.hall.outcomes.keys() == self.calls
        for body, call in self.streams.items():
            self.values[body] += self.hall.read(call)
            assert call.over and (call.error is not None or self.values[body])
        self.is_sound()
        self.hall.follow([*self.hall.workers.close()])
        self.hall.workers.check()
        assert self.hall.stats["in_flight"] == 0


TestWorkersMachine = pytest.mark.slow(WorkersMachine.TestCase)
TestWorkersMachine.settings = settings(stateful_step_count=40)
