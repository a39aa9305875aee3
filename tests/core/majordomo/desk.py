"""A front with clients of RFCs, as a broker has them: whatever one says reaches the other."""

from __future__ import annotations

from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Advance, Effect, Handle, Note, Send
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.feed import Deed, Feed
from zmqkit.core.majordomo.rfc_clients import RfcClients
from zmqkit.limits import ServiceLimits
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire.encoding import Buffer, encode
from zmqkit.wire.mdp import ClientReply, ClientRequest, Kind, Version, read_at_broker
from zmqkit.wire.packet import ERROR, REPLY
from zmqkit.wire.rows import ReadArguments, arguments_of

BROKER, FRONT = 1000, 0xA
V1, V2 = Version.V1, Version.V2
ANN, BOB = b"\x00ann", b"\x00bob"


class Desk:
    """One service's front, and what its clients got."""

    def __init__(
        self,
        *,
        broker: int = BROKER,
        streams: bool = False,
        read: ReadArguments = arguments_of,
        limits: MdpLimits | None = None,
        front_limits: ServiceLimits | None = None,
    ) -> None:
        self.now = 0.0
        self.target = FRONT
        plain, many = ({}, {MDP: False}) if streams else ({MDP: False}, {})
        self.front = ServiceCore(
            FRONT, plain, 1000, many, limits=front_limits or ServiceLimits(), read=read
        )
        self.clients = RfcClients(
            broker, limits or MdpLimits(), lambda service, now: self.target, self.mmi
        )
        self.got: list[tuple[PeerId, ClientReply]] = []
        self.running: list[Request] = []
        self.notes: list[Note] = []
        self.fed: list[Frames] = []

    def mmi(self, service: str, body: tuple[Buffer, ...]) -> list[bytes]:
        return [b"200" if bytes(body[0]) == b"echo" else b"404"]

    def ask(self, peer: PeerId, version: Version, *body: bytes, service: str = "echo") -> None:
        """A client sends a request, and the broker reads it."""
        command = read_at_broker(mdp.request(version, service, body))
        assert isinstance(command, ClientRequest)
        self.follow(self.clients.receive(peer, command, self.now))

    def answer(self, value: object, raw: bytes | None = None) -> None:
        """The request that has run for longest is answered, and the turn ends."""
        self.finish(Answer(REPLY, encode(value), raw))

    def fail(self, code: str, text: str = "no") -> None:
        """The same with an error."""
        self.finish(Answer(ERROR, encode([code, "", text, "", False])))

    def finish(self, answer: Answer) -> None:
        self.perform(self.front.handled([(self.running.pop(0), answer)], self.now))
        self.turn()

    def give(self, *values: object) -> None:
        """The stream that has run for longest gives values; the turn goes on."""
        stream = self.running[0]
        assert isinstance(stream, StreamRequest)
        for value in values:
            assert stream.goes_on
            self.perform(self.front.yielded(stream, Answer(REPLY, encode(value)), self.now))

    def end(self, code: str = "") -> None:
        """Its generator ends, with an error if there is a code."""
        stream = self.running.pop(0)
        assert isinstance(stream, StreamRequest)
        error = Answer(ERROR, encode([code, "", "no", "", True])) if code else None
        self.perform(self.front.ended(stream, error, self.now))

    def turn(self) -> None:
        """The turn ends."""
        while effects := self.front.flush(self.now):
            self.perform(effects)
        self.follow(self.clients.flush(self.now))
        assert self.clients.flush(self.now) == []

    def wait(self, duration_s: float) -> None:
        """Time passes, and everything that is due is done."""
        until = self.now + duration_s
        while (due_at := min(self.clients.deadline(), self.front.deadline())) <= until:
            self.now = max(self.now, due_at)
            self.follow(self.clients.tick(self.now))
            self.perform(self.front.tick(self.now))
            self.turn()
        self.now = until

    def follow(self, deeds: list[Deed]) -> None:
        """Do what the translator asks for."""
        self.clients.check()
        for deed in deeds:
            if isinstance(deed, Feed):
                self.fed.append(deed.frames)
                if self.target == FRONT:
                    self.perform(self.front.receive(deed.peer, deed.frames, self.now))
            elif isinstance(deed, Send):
                self.got.append((deed.peer, mdp.read_at_client(deed.frames)))
            else:
                assert isinstance(deed, Note)
                self.notes.append(deed)

    def perform(self, effects: list[Effect]) -> None:
        """Do what the front asks for."""
        self.front.check()
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.peer in self.clients
                self.follow(self.clients.take(effect.peer, effect.frames, self.now))
            elif isinstance(effect, Handle):
                self.running += effect.requests
            elif isinstance(effect, Advance):
                self.running += [s for s in effect.requests if s not in self.running]

    def take(self) -> list[tuple[PeerId, Kind, tuple[bytes, ...]]]:
        """Return who got what since the last time."""
        got, self.got = self.got, []
        return [(peer, reply.kind, tuple(map(bytes, reply.body))) for peer, reply in got]
