"""Our client and our service at somebody else's broker, which is played by hand."""

from __future__ import annotations

from collections.abc import Iterable

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import (
    Abort,
    Advance,
    Connect,
    Disconnect,
    Effect,
    Handle,
    News,
    Note,
    Send,
    Settle,
    Tell,
)
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.feed import is_link
from zmqkit.core.majordomo.mdp_client import MdpClientCore
from zmqkit.core.majordomo.mdp_service import MdpServiceCore
from zmqkit.limits import ClientLimits
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire.encoding import encode
from zmqkit.wire.mdp import Version
from zmqkit.wire.packet import ERROR, REPLY
from zmqkit.wire.rows import request_row

V1, V2 = Version.V1, Version.V2
ENDPOINT, SERVICE = "tcp://127.0.0.1:5555", "echo"
CLIENT = 0xC
Sent = tuple[bytes, ...]


class Abroad:
    """One core, the connection that it has, and what left by that."""

    core: MdpClientCore | MdpServiceCore

    def __init__(self) -> None:
        self.now = 0.0
        self.link: PeerId | None = None
        self.is_up = False
        self.former: list[PeerId] = []
        # What left, and by which connection.
        self.sent: list[tuple[PeerId, Sent]] = []
        self.notes: list[Note] = []
        # Sends are refused while there is no room.
        self.is_full = False

    def found(self) -> None:
        """The role learns where the broker is."""
        self.perform(self.core.hear(Tell(News.FOUND, "", 0, ENDPOINT), self.now))
        self.turn()

    def up(self) -> None:
        """The connection is made."""
        assert self.link is not None and not self.is_up
        self.is_up = True
        self.perform(self.core.changed(self.link, self.now, up=True))
        self.turn()

    def down(self) -> None:
        """The connection breaks."""
        assert self.link is not None and self.is_up
        self.is_up = False
        self.perform(self.core.changed(self.link, self.now, up=False))
        self.turn()

    def comes(self, *frames: bytes, peer: PeerId | None = None) -> None:
        """The broker says something."""
        peer = peer or self.link
        assert peer is not None
        self.perform(self.core.receive(peer, frames, self.now))
        self.turn()

    def turn(self) -> None:
        """The turn ends."""
        while effects := self.core.flush(self.now):
            self.perform(effects)
        self.core.check()

    def wait(self, duration_s: float) -> None:
        """Time passes, and everything that is due is done."""
        until = self.now + duration_s
        while (due_at := self.core.deadline()) <= until:
            self.now = max(self.now, due_at)
            self.perform(self.core.tick(self.now))
            self.turn()
        self.now = until

    def perform(self, effects: Iterable[Effect]) -> None:
        """Do what the core asks for."""
        self.core.check()
        due = list(effects)
        for effect in due:
            if isinstance(effect, Send):
                due += self.send(effect.peer, effect.frames)
            elif isinstance(effect, Connect):
                assert effect.endpoint == ENDPOINT and is_link(effect.peer)
                assert self.link is None and effect.peer not in self.former
                self.link, self.is_up = effect.peer, False
            elif isinstance(effect, Disconnect):
                assert effect.peer == self.link
                self.former.append(effect.peer)
                self.link, self.is_up = None, False
            elif isinstance(effect, Note):
                self.notes.append(effect)
            else:
                self.other(effect)

    def send(self, peer: PeerId, frames: Frames) -> list[Effect]:
        """A message leaves, or there is no room for it."""
        if self.is_full or not self.is_up or peer != self.link:
            return self.core.unsent(peer, frames, self.now)
        self.sent.append((peer, tuple(map(bytes, frames))))
        return []

    def other(self, effect: Effect) -> None:
        """Do what only one of the roles asks for."""
        raise AssertionError(effect)

    def take(self) -> list[Sent]:
        """Return what left since the last time."""
        return [frames for _, frames in self.take_by_link()]

    def take_by_link(self) -> list[tuple[PeerId, Sent]]:
        """Return it with the connection by which each message left."""
        sent, self.sent = self.sent, []
        return sent

    def events(self) -> list[str]:
        """Return the events of the log, without those of instances."""
        return [note.event for note in self.notes if not note.event.startswith("instance-")]


class ClientAbroad(Abroad):
    """The client."""

    core: MdpClientCore

    def __init__(
        self,
        version: Version = V2,
        limits: MdpPeerLimits | None = None,
        client_limits: ClientLimits | None = None,
        *,
        up: bool = True,
    ) -> None:
        super().__init__()
        self.core = MdpClientCore(
            f"{ENDPOINT}/{SERVICE}", CLIENT, SERVICE, version,
            client_limits or ClientLimits(), mdp_limits=limits or MdpPeerLimits(),
        )  # fmt: skip
        self.outcomes: dict[object, object] = {}
        self.found()
        if up:
            self.up()

    def call(
        self,
        waiter: object,
        *args: object,
        timeout_s: float = 60.0,
        wait_s: float = 60.0,
        attempts: int = 3,
        method: str = MDP,
    ) -> int:
        """Somebody calls the service."""
        raw = args[-1] if args and isinstance(args[-1], memoryview) else None
        row = request_row(method, {}, args if raw is None else args[:-1], {})
        options = CallOptions(timeout_s=timeout_s, wait_s=wait_s, attempts=attempts)
        number = self.core.submit(method, row, raw, options, waiter, self.now)
        self.turn()
        return number

    def stream(self, *args: object, timeout_s: float = 60.0) -> StreamCall:
        """Somebody asks for a stream."""
        options = CallOptions(timeout_s=timeout_s, wait_s=60.0)
        call = self.core.stream(MDP, request_row(MDP, {}, args, {}), None, options, self.now)
        self.turn()
        return call

    def read(self, call: StreamCall) -> list[object]:
        """Take what has come of a stream, and whatever follows as there is room."""
        values: list[object] = []
        while call.values:
            values += [self.core.take(call) for _ in list(call.values)]
            self.turn()
        return values

    def other(self, effect: Effect) -> None:
        assert isinstance(effect, Settle)
        for waiter, value, error in effect.outcomes:
            assert waiter not in self.outcomes
            value = bytes(value) if isinstance(value, memoryview) else value
            self.outcomes[waiter] = value if error is None else error


class ServiceAbroad(Abroad):
    """The service."""

    core: MdpServiceCore

    def __init__(
        self,
        version: Version = V2,
        limits: MdpPeerLimits | None = None,
        *,
        streams: bool = False,
        up: bool = True,
    ) -> None:
        super().__init__()
        plain, many = ({}, {MDP: False}) if streams else ({MDP: False}, {})
        self.core = MdpServiceCore(
            0x5, plain, 1, many,
            name=SERVICE, version=version, mdp_limits=limits or MdpPeerLimits(),
        )  # fmt: skip
        self.running: list[Request] = []
        self.aborted: list[Request] = []
        self.found()
        if up:
            self.up()

    def finish(self, answer: Answer) -> None:
        self.perform(self.core.handled([(self.running.pop(0), answer)], self.now))
        self.turn()

    def answer(self, value: object, raw: bytes | None = None) -> None:
        """The handler returns a value."""
        self.finish(Answer(REPLY, encode(value), raw))

    def fail(self) -> None:
        """The handler raises."""
        self.finish(Answer(ERROR, encode(["raised", "ValueError", "no", "", True])))

    def give(self, *values: object, last: bool = False) -> None:
        """The generator yields values, and perhaps ends; then the turn ends."""
        stream = self.running[0]
        assert isinstance(stream, StreamRequest)
        for value in values:
            self.perform(self.core.yielded(stream, Answer(REPLY, encode(value)), self.now))
        if last:
            self.running.pop(0)
            self.perform(self.core.ended(stream, None, self.now))
        self.turn()

    def other(self, effect: Effect) -> None:
        if isinstance(effect, Handle):
            self.running += effect.requests
        elif isinstance(effect, Advance):
            self.running += [each for each in effect.requests if each not in self.running]
        else:
            assert isinstance(effect, Abort)
            self.aborted += effect.requests
