"""Brokers, routers, services and clients as cores, with packets carried between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.core.tasks.file import File
from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.devices.router import RouterCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import (
    Abort,
    Advance,
    Append,
    Connect,
    Disconnect,
    Effect,
    Handle,
    News,
    Note,
    Offer,
    Retract,
    Send,
    Settle,
    Tell,
)
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.core.majordomo.durable_back import DurableBack
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.membership.interests import key_of
from zmqkit.device_limits import RouterLimits
from zmqkit.errors import JournalError
from zmqkit.limits import CHOICE_S
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import SERVER, Frames, PeerId
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ITEM, REPLY
from zmqkit.wire.rows import request_row
from zmqkit.wire.submission import COLLECT, SUBMIT, submission

AnyCore = BrokerCore | RouterCore | ClientCore | ServiceCore
ADDRESS = "tcp://127.0.0.1:{}"


@dataclass(eq=False)
class Node:
    """A process: its core, and what its effects left behind."""

    number: int
    core: AnyCore
    # What is sent to and from it is lost without a word.
    is_cut: bool = False
    handed: deque[Request] = field(default_factory=deque)
    streams: deque[StreamRequest] = field(default_factory=deque)
    aborted: list[Request] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    outcomes: list[tuple[object, object, object]] = field(default_factory=list)
    offers: dict[str, int] = field(default_factory=dict)
    appends: deque[Append] = field(default_factory=deque)
    backs: dict[str, DurableBack] = field(default_factory=dict)
    # What its appends have written, by service.
    files: dict[str, File] = field(default_factory=dict)
    # By the name that the node has for it: the other end of a connection, and its name there.
    peers: dict[PeerId, tuple[Node, PeerId]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return ADDRESS.format(5000 + self.number)


class Town:
    """Everybody that is there; packets arrive when `settle` is called."""

    def __init__(self, limits: BrokerLimits | None = None) -> None:
        self.now = 100.0
        self.limits = limits or BrokerLimits()
        self.nodes: list[Node] = []
        # Whether appends reach the disk by themselves.
        self.writes = True
        # What was said to peers that are no nodes, such as those of an RFC.
        self.strangers: dict[PeerId, list[tuple[bytes, ...]]] = {}
        self._added = 0
        self._connections = 0
        self._incarnations = 1000
        self._post: deque[tuple[Node, Node, PeerId, Frames]] = deque()

    # Who is there

    def broker(self) -> Node:
        return self.add(BrokerCore("majordomo", self.draw(), self.draw, self.limits))

    def durable_broker(self, journal: int = 77, files: dict[str, File] | None = None) -> Node:
        """A broker whose journals are written when `settle` is called and `writes` is true.

        journal: the number of the first of them. files: what an earlier broker has written.
        """
        backs: dict[str, DurableBack] = {}
        files = files if files is not None else {}

        def make_back(name: str, front: FrontCore) -> DurableBack:
            number = journal + len(backs)
            back = backs[name] = DurableBack(name, number, lambda: 1.0, self.limits, front)
            files.setdefault(name, File()).open(back.core, self.now)
            return back

        core = BrokerCore("majordomo", self.draw(), self.draw, self.limits, make_back=make_back)
        node = self.add(core)
        node.backs, node.files = backs, files
        for name in files:
            self.perform(node, core.begin(name))
        return node

    def router(self, *names: str, limits: RouterLimits | None = None) -> Node:
        core = RouterCore("edge", self.draw(), self.draw, names, limits or RouterLimits())
        return self.add(core)

    def found(
        self,
        name: str,
        methods: Mapping[str, bool],
        *routers: Node,
        streams: Mapping[str, bool] | None = None,
    ) -> Node:
        """A service that routers find."""
        node = self.add(ServiceCore(self.draw(), methods, 1, streams or {}))
        for router in routers:
            assert isinstance(router.core, RouterCore)
            key = key_of(SERVER, name)
            tell = Tell(News.FOUND, key, node.core.incarnation, node.address)
            self.perform(router, router.core.hear(tell, self.now))
        self.settle()
        return node

    def restart(self, broker: Node, *services: Node) -> Node:
        """Kill a broker, and start another one with its files, which these services find."""
        self.kill(broker)
        broker = self.durable_broker(files=broker.files)
        for each in services:
            self.register(each, broker)
        return broker

    def register(self, service: Node, broker: Node) -> None:
        """Have a service find a broker."""
        assert isinstance(broker.core, BrokerCore | RouterCore)
        number = broker.core.relays.incarnation
        found = Tell(News.FOUND, "", number, broker.address)
        self.perform(service, service.core.hear(found, self.now))  # type: ignore[union-attr]  # a service's
        self.settle()

    def service(
        self,
        broker: Node,
        name: str,
        methods: Mapping[str, bool],
        streams: Mapping[str, bool] | None = None,
        concurrency: int = 1,
    ) -> Node:
        core = DiallingCore(
            self.draw(), methods, concurrency, streams or {}, device="majordomo", name=name
        )
        node = self.add(core)
        self.register(node, broker)
        return node

    def client(self, broker: Node, name: str) -> Node:
        """A client that found the service at the broker, if the broker told of it."""
        node = self.add(ClientCore(name, self.draw()))
        self.meet(node, broker, name)
        return node

    def meet(self, client: Node, broker: Node, name: str) -> None:
        """Tell a client that a broker has the service."""
        assert isinstance(client.core, ClientCore)
        found = Tell(News.FOUND, name, broker.offers[name], broker.address)
        self.perform(client, client.core.hear(found, self.now))
        self.wait(CHOICE_S)

    def draw(self) -> int:
        self._incarnations += 1
        return self._incarnations

    def kill(self, node: Node) -> None:
        """End a node's process; its connections break without a word."""
        node.is_cut = True
        self.nodes.remove(node)
        for other, name in node.peers.values():
            if name.startswith(b"\0"):  # who was connected to knows that nobody is there
                del other.peers[name]

    # What they do

    def call(self, client: Node, method: str, *args: object, **options: object) -> str:
        """Make a call; return its waiter, a text that no other call has."""
        return self.ask(client, method, None, *args, **options)

    def submit(self, client: Node, method: str, id: str, *args: object) -> str:
        headers = {SUBMIT: submission(method, id, 3600.0)}
        return self.ask(client, SUBMIT, headers, *args, id=id)

    def collect(self, client: Node, id: str) -> str:
        return self.ask(client, COLLECT, None, id, id=id)

    def ask(
        self,
        client: Node,
        method: str,
        headers: Mapping[str, object] | None,
        *args: object,
        **options: object,
    ) -> str:
        assert isinstance(client.core, ClientCore)
        chosen = CallOptions().changed({"timeout_s": 60.0, "wait_s": 60.0, **options})
        waiter = f"{method}-{len(client.outcomes)}-{client.core.in_flight}"
        row = request_row(method, headers, args, {})
        client.core.submit(method, row, None, chosen, waiter, self.now)
        self.settle()
        return waiter

    def stream(self, client: Node, method: str, *args: object) -> StreamCall:
        assert isinstance(client.core, ClientCore)
        chosen = CallOptions().changed({"timeout_s": 60.0})
        row = request_row(method, None, args, {})
        call = client.core.stream(method, row, None, chosen, self.now)
        self.settle()
        return call

    def answer(self, node: Node, value: object = "done") -> Request:
        """Have a service answer the request that it has longest."""
        request = node.handed.popleft()
        self.finish(node, request, Answer(REPLY, encode(value)))
        return request

    def finish(self, node: Node, request: Request, answer: Answer) -> None:
        assert isinstance(node.core, ServiceCore)
        self.perform(node, node.core.handled([(request, answer)], self.now))
        self.settle()

    def item(self, node: Node, request: StreamRequest, value: object) -> None:
        assert isinstance(node.core, ServiceCore)
        value_row = Answer(ITEM, encode(value))
        self.perform(node, node.core.yielded(request, value_row, self.now))
        self.settle()

    def end(self, node: Node, request: StreamRequest, error: Answer | None = None) -> None:
        assert isinstance(node.core, ServiceCore)
        self.perform(node, node.core.ended(request, error, self.now))
        self.settle()

    def values(self, node: Node) -> list[object]:
        """Return what the calls of a client came to, in order: values, or kinds of errors."""
        return [type(e).__name__ if e is not None else v for _, v, e in node.outcomes]

    # Time and packets

    def settle(self) -> None:
        """Carry packets until nothing moves; every core is checked."""
        for _ in range(10_000):
            for node in self.nodes:
                while effects := node.core.flush(self.now):
                    self.perform(node, effects)
            wrote = [self.write(node) for node in self.nodes if self.writes and node.appends]
            if not (self._post or wrote):
                break
            while self._post:
                sender, receiver, peer, frames = self._post.popleft()
                if not (sender.is_cut or receiver.is_cut):
                    self.perform(receiver, receiver.core.receive(peer, frames, self.now))
        else:
            raise AssertionError("packets go round and round")
        for node in self.nodes:
            node.core.check()

    def write(self, node: Node, error: JournalError | None = None) -> None:
        """Have the disk take the next append of a node, or refuse it."""
        append, core = node.appends.popleft(), node.core
        assert isinstance(core, BrokerCore)
        back = node.backs[append.queue]
        if error is None:
            node.files[append.queue].write(append)
            effects = back.appended(append.number, 0, self.now)
        else:
            effects = back.unwritten(append.number, error, self.now)
        self.perform(node, core.follow(append.queue, effects, self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass, with every tick that is due on the way."""
        until = self.now + seconds
        for _ in range(100_000):
            due = min((node.core.deadline() for node in self.nodes), default=until)
            self.now = max(self.now, min(due, until))
            for node in list(self.nodes):
                if node.core.deadline() <= self.now:
                    self.perform(node, node.core.tick(self.now))
            self.settle()
            if self.now >= until and due > until:
                return
        raise AssertionError("time stands still")

    def perform(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            take = _TAKES.get(type(effect))
            if take is not None:
                take(node, effect)
            elif isinstance(effect, Send):
                if effect.peer in self.strangers:
                    self.strangers[effect.peer].append(tuple(map(bytes, effect.frames)))
                elif effect.peer in node.peers:
                    other, name = node.peers[effect.peer]
                    self._post.append((node, other, name, effect.frames))
                else:
                    effects.extend(node.core.unsent(effect.peer, effect.frames, self.now))
            elif isinstance(effect, Connect):
                self._connect(node, effect.peer, effect.endpoint)
            elif isinstance(effect, Disconnect):
                node.peers.pop(effect.peer, None)
            else:
                raise AssertionError(effect)

    def _connect(self, node: Node, peer: PeerId, endpoint: str) -> None:
        others = [each for each in self.nodes if each.address == endpoint]
        if others:
            self._connections += 1
            name = b"\0" + self._connections.to_bytes(5, "big")
            node.peers[peer] = (others[0], name)
            others[0].peers[name] = (node, peer)

    def add(self, core: AnyCore) -> Node:
        self._added += 1
        node = Node(self._added, core)
        self.nodes.append(node)
        return node


def _retract(node: Node, effect: Retract) -> None:
    node.offers = {n: i for n, i in node.offers.items() if i != effect.incarnation}


_TAKES: dict[type, Callable[..., object]] = {
    Handle: lambda node, effect: node.handed.extend(effect.requests),
    Advance: lambda node, effect: node.streams.extend(effect.requests),
    Append: lambda node, effect: node.appends.append(effect),
    Abort: lambda node, effect: node.aborted.extend(effect.requests),
    Settle: lambda node, effect: node.outcomes.extend(effect.outcomes),
    Note: lambda node, effect: node.notes.append(effect),
    Offer: lambda node, effect: node.offers.update({effect.name: effect.incarnation}),
    Retract: _retract,
}
