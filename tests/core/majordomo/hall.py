"""A back with workers of RFCs, as a broker has them: whatever one says reaches the other."""

from __future__ import annotations

from collections.abc import Mapping

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send, Settle, Tell
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.feed import Deed, Feed
from zmqkit.core.majordomo.rfc_workers import RFC_ENDPOINT, RfcWorkers
from zmqkit.limits import ClientLimits
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.mdp import Kind, Version, WorkerCommand, read_at_broker, read_at_worker
from zmqkit.wire.rows import request_row

BROKER, BACK = 1000, 0xB
V1, V2 = Version.V1, Version.V2
ANN, BOB, EVE = b"\x00ann", b"\x00bob", b"\x00eve"
SERVICE = "echo"


class Hall:
    """One service's back, and what its workers got."""

    def __init__(
        self,
        limits: MdpLimits | None = None,
        back_limits: ClientLimits | None = None,
        leases: Mapping[str, float] | None = None,
    ) -> None:
        self.now = 0.0
        self.back = ClientCore(SERVICE, BACK, back_limits or ClientLimits())
        self.workers = RfcWorkers(BROKER, limits or MdpLimits(), leases or {})
        self.got: list[tuple[PeerId, WorkerCommand]] = []
        self.tells: list[Tell] = []
        self.notes: list[Note] = []
        # What the calls came to, by what waits for them.
        self.outcomes: dict[object, object] = {}

    # What workers say

    def says(self, peer: PeerId, frames: Frames) -> None:
        """A worker says something, and the broker reads it."""
        command = read_at_broker(frames)
        assert isinstance(command, WorkerCommand)
        self.follow(self.workers.receive(peer, command, self.now))

    def ready(self, *peers: PeerId, version: Version = V2, service: str = SERVICE) -> None:
        for peer in peers:
            self.says(peer, mdp.worker_ready(version, service))

    def beat(self, peer: PeerId, version: Version = V2) -> None:
        self.says(peer, mdp.heartbeat(version))

    def leave(self, peer: PeerId, version: Version = V2) -> None:
        self.says(peer, mdp.disconnect(version))

    def final(self, peer: PeerId, address: bytes, *body: bytes, version: Version = V2) -> None:
        self.says(peer, mdp.worker_final(version, address, body))

    def partial(self, peer: PeerId, address: bytes, *body: bytes) -> None:
        self.says(peer, mdp.worker_partial(address, body))

    # What callers do

    def call(
        self, waiter: object, *args: object, method: str = MDP, timeout_s: float = 60.0
    ) -> int:
        """Somebody calls the service."""
        raw = args[-1] if args and isinstance(args[-1], memoryview) else None
        row = request_row(method, {}, args if raw is None else args[:-1], {})
        options = CallOptions(timeout_s=timeout_s, wait_s=timeout_s)
        number = self.back.submit(method, row, raw, options, waiter, self.now)
        self.turn()
        return number

    def stream(self, *args: object) -> StreamCall:
        """Somebody asks for a stream."""
        options = CallOptions(timeout_s=60.0, wait_s=60.0)
        call = self.back.stream(MDP, request_row(MDP, {}, args, {}), None, options, self.now)
        self.turn()
        return call

    def read(self, call: StreamCall) -> list[object]:
        """Take what has come of a stream, and whatever follows as there is room."""
        values: list[object] = []
        while call.values:
            values += [self.back.take(call) for _ in list(call.values)]
            self.turn()
        return values

    def turn(self) -> None:
        """The turn ends."""
        while effects := self.back.flush(self.now):
            self.perform(effects)

    def wait(self, duration_s: float) -> None:
        """Time passes, and everything that is due is done."""
        until = self.now + duration_s
        while (due_at := min(self.workers.deadline(), self.back.deadline())) <= until:
            self.now = max(self.now, due_at)
            self.follow(self.workers.tick(self.now))
            self.perform(self.back.tick(self.now))
            self.turn()
        self.now = until

    # The broker

    def follow(self, deeds: list[Deed]) -> None:
        """Do what the translator asks for."""
        self.workers.check()
        for deed in deeds:
            if isinstance(deed, Feed):
                assert deed.service == SERVICE
                self.perform(self.back.receive(deed.peer, deed.frames, self.now))
            elif isinstance(deed, Send):
                self.got.append((deed.peer, read_at_worker(deed.frames)))
            elif isinstance(deed, Tell):
                self.tells.append(deed)
                if deed.key == SERVICE:
                    self.perform(self.back.hear(deed, self.now))
            else:
                assert isinstance(deed, Note)
                self.notes.append(deed)

    def perform(self, effects: list[Effect]) -> None:
        """Do what the back asks for."""
        self.back.check()
        for effect in effects:
            if isinstance(effect, Send):
                self.follow(self.workers.take(effect.peer, effect.frames, self.now))
            elif isinstance(effect, Connect):
                assert effect.endpoint.startswith(RFC_ENDPOINT)
            elif isinstance(effect, Settle):
                for waiter, value, error in effect.outcomes:
                    self.outcomes[waiter] = value if error is None else error
            else:
                assert isinstance(effect, Note | Disconnect)

    # What came of it

    def take(self) -> list[tuple[PeerId, Kind]]:
        """Return who was told what since the last time."""
        got, self.got = self.got, []
        return [(peer, command.kind) for peer, command in got]

    def asked(self, peer: PeerId) -> tuple[bytes, tuple[Buffer, ...]]:
        """Return the address and the body of the last request to a worker."""
        theirs = [c for to, c in self.got if to == peer and c.kind is Kind.REQUEST]
        return theirs[-1].address, tuple(map(bytes, theirs[-1].body))

    @property
    def stats(self) -> dict[str, object]:
        """The counters of the translator."""
        return self.workers.stats()
