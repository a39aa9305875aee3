"""A town in which packets wait until somebody has them delivered, and connections break."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from tests.core.majordomo.town import AnyCore, Node, Town
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.effects import (
    Advance,
    Connect,
    Disconnect,
    Effect,
    Handle,
    News,
    Send,
    Settle,
    Tell,
)
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.errors import CallTimeout, PeerError, ZmqkitError
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire.rows import request_row

METHODS = {"price": True, "buy": False}
STREAMS = {"watch": True, "tail": False}
REPEATS = {**METHODS, **STREAMS}


@dataclass(eq=False)
class Asked:
    """A call, and what became of it."""

    token: int
    method: str
    client: Node
    sequence: int = 0
    runs: int = 0
    is_over: bool = False
    error: ZmqkitError | None = None
    # The client is gone, so nobody learns what becomes of it.
    is_void: bool = False

    def end(self, error: ZmqkitError | None) -> None:
        assert not self.is_over, "a call ends once"
        self.is_over, self.error = True, error
        if isinstance(error, PeerError) and not error.may_have_run:
            assert not self.runs, "it did run"


@dataclass(eq=False)
class Letter:
    """A packet under way."""

    sender: Node
    receiver: Node
    # How each side calls the connection.
    here: PeerId
    there: PeerId
    frames: Frames


class Village(Town):
    """Brokers, services and clients; nothing arrives by itself, and each run is looked at."""

    def __init__(self, limits: BrokerLimits) -> None:
        super().__init__(limits)
        self.letters: list[Letter] = []
        self.asked: dict[int, Asked] = {}
        # What each node dials, by its name for the connection.
        self.dialled: dict[tuple[Node, PeerId], str] = {}
        self.gone: list[Node] = []
        self._numbers = 0

    def of(self, kind: type[AnyCore]) -> list[Node]:
        return [node for node in self.nodes if isinstance(node.core, kind)]

    # Who is there

    def serve(self, name: str, concurrency: int) -> Node:
        core = DiallingCore(
            self.draw(), METHODS, concurrency, STREAMS, device="majordomo", name=name
        )
        return self._add(core)

    def look(self, name: str) -> Node:
        return self._add(ClientCore(name, self.draw()))

    def tell(self, node: Node, news: News, incarnation: int, endpoint: str = "") -> None:
        """Have membership tell a client or a service of a broker, or of a broker's service."""
        assert isinstance(node.core, ClientCore | DiallingCore)
        self.perform(node, node.core.hear(Tell(news, "", incarnation, endpoint), self.now))
        self.settle()

    def kill(self, node: Node, *, silently: bool = False) -> None:
        """End a process. silently: its kernel tells the other sides nothing."""
        node.is_cut = True
        self.nodes.remove(node)
        self.gone.append(node)
        for peer in [] if silently else list(node.peers):
            self.part(node, peer)
        for asked in self.asked.values():
            asked.is_void = asked.is_void or (asked.client is node and not asked.is_over)

    # Calls

    def ask(self, client: Node, method: str, *, oneway: bool, **options: object) -> Asked:
        assert isinstance(client.core, ClientCore)
        token = len(self.asked) + 1
        asked = self.asked[token] = Asked(token, method, client)
        chosen = CallOptions().changed({"timeout_s": 60.0, "wait_s": 60.0, **options})
        row = request_row(method, None, (token,), {})
        if method in STREAMS:
            call = client.core.stream(method, row, None, chosen, self.now)
            asked.sequence = call.sequence
            client.core.listen(call, (asked, call), self.now)
        else:
            asked.sequence = client.core.submit(
                method, row, None, chosen, None if oneway else asked, self.now, oneway=oneway
            )
            asked.is_void = oneway
        self.settle()
        return asked

    def run(self, token: int) -> None:
        """Look at a run of a call."""
        asked = self.asked[token]
        asked.runs += 1
        assert REPEATS[asked.method] or asked.runs == 1, "what may not run twice did"
        if isinstance(asked.error, PeerError):
            assert asked.error.may_have_run, "it ran after all"

    # Time and packets

    def settle(self) -> None:
        """Have every core send; nothing arrives yet."""
        for node in self.nodes:
            while effects := node.core.flush(self.now):
                self.perform(node, effects)
            node.core.check()

    @property
    def next_letters(self) -> list[Letter]:
        """The first packet of each direction of each connection."""
        lanes: dict[tuple[int, PeerId], Letter] = {}
        for letter in self.letters:
            lanes.setdefault((id(letter.sender), letter.here), letter)
        return list(lanes.values())

    def deliver(self, letter: Letter, *, twice: bool = False) -> None:
        """Have a packet arrive, if its connection is still there."""
        if not twice:
            self.letters.remove(letter)
        sender, receiver = letter.sender, letter.receiver
        is_there = receiver.peers.get(letter.there) == (sender, letter.here)
        if is_there and receiver in self.nodes:
            effects = receiver.core.receive(letter.there, letter.frames, self.now)
            self.perform(receiver, effects)
        self.settle()

    def deliver_all(self) -> None:
        """Have packets arrive until none is under way."""
        self.settle()
        for _ in range(20_000):
            if not self.letters:
                return
            self.deliver(self.letters[0])
        raise AssertionError("packets go round and round")

    def pass_time(self, seconds: float, *, quiet: bool = False) -> None:
        """Let time pass, with every tick that is due; quiet: and no packet arrives."""
        until = self.now + seconds
        for _ in range(100_000):
            due = min((node.core.deadline() for node in self.nodes), default=inf)
            self.now = max(self.now, min(due, until))
            for node in list(self.nodes):
                if node.core.deadline() <= self.now:
                    self.perform(node, node.core.tick(self.now))
            self.settle()
            if not quiet:
                self.deliver_all()
            if self.now >= until and due > until:
                return
        raise AssertionError("time stands still")

    def perform(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(node, effect, effects)
            elif isinstance(effect, Settle):
                for waiter, value, error in effect.outcomes:
                    self._outcome(node, waiter, value, error)
            elif isinstance(effect, Disconnect):
                self.dialled.pop((node, effect.peer), None)
                self.part(node, effect.peer)
            else:
                if isinstance(effect, Handle):
                    for request in effect.requests:
                        self.run(request.args[0])  # type: ignore[arg-type]  # a token
                elif isinstance(effect, Advance):
                    for stream in effect.requests:
                        if stream.running is None:
                            stream.running = "begun"
                            self.run(stream.args[0])  # type: ignore[arg-type]  # a token
                elif isinstance(effect, Connect):
                    self.part(node, effect.peer)
                    self.dialled[node, effect.peer] = effect.endpoint
                super().perform(node, [effect])

    def part(self, node: Node, peer: PeerId) -> None:
        """Break a connection; whoever listened knows at once, packets under way are lost."""
        other = node.peers.pop(peer, None)
        if other is not None:
            other[0].peers.pop(other[1], None)

    def redial(self) -> None:
        """Have every node dial again what it is not connected to."""
        for (node, peer), endpoint in self.dialled.items():
            if node in self.nodes and peer not in node.peers:
                self._connect(node, peer, endpoint)

    def _send(self, node: Node, effect: Send, effects: list[Effect]) -> None:
        if effect.peer in node.peers:
            other, name = node.peers[effect.peer]
            if not (node.is_cut or other.is_cut):
                self.letters.append(Letter(node, other, effect.peer, name, effect.frames))
        else:
            effects.extend(node.core.unsent(effect.peer, effect.frames, self.now))

    def _outcome(
        self, node: Node, waiter: object, value: object, error: ZmqkitError | None
    ) -> None:
        if isinstance(waiter, Asked):
            assert waiter.client is node
            assert error is not None or value == waiter.token, "the value of another call"
            waiter.end(error)
        else:
            asked, call = waiter  # type: ignore[misc]  # of a stream
            self.read(asked, call)

    def read(self, asked: Asked, call: object) -> None:
        """Take the values of a stream, and go on waiting unless it is over."""
        from zmqkit.core.calls.client_streams import StreamCall

        core = asked.client.core
        assert isinstance(call, StreamCall) and isinstance(core, ClientCore)
        while call.values:
            token, number = core.take(call)  # type: ignore[misc]  # as services make them
            assert token == asked.token and number == call.taken - 1, "a value is missing"
        if not call.over:
            core.listen(call, (asked, call), self.now)
        elif not asked.is_over:
            error = call.error
            if isinstance(error, PeerError) and call.taken:
                assert error.may_have_run or isinstance(error, CallTimeout)
            asked.end(error)

    def _add(self, core: AnyCore) -> Node:
        self._numbers += 1
        node = Node(self._numbers, core)
        self.nodes.append(node)
        return node


def is_broker(node: Node) -> bool:
    return isinstance(node.core, BrokerCore)
