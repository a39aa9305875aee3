"""A broker under any order of events, with clients and services that are the real cores."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.core.majordomo.town import Node
from tests.core.majordomo.village import METHODS, STREAMS, Village
from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.dialling import DiallingCore
from zmqkit.core.calls.outcome import RAISED
from zmqkit.core.calls.request import StreamRequest
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import News
from zmqkit.core.majordomo.broker import BrokerCore
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import ITEM, REPLY

NAMES = st.sampled_from(["orders", "stock"])
PICK = st.integers(0, 1000)
FEW = 3


class BrokerMachine(RuleBasedStateMachine):
    """Packets arrive in any order that connections allow, get lost, or arrive twice."""

    @initialize(
        credit=st.sampled_from([1, 2, 64]),
        room=st.sampled_from([2, 100_000]),
        window=st.sampled_from([2, 1000]),
    )
    def begin(self, credit: int, room: int, window: int) -> None:
        self.village = Village(
            BrokerLimits(
                worker_credit_max=credit, requests_max=room, client_requests_max=window
            )
        )
        self.village.broker()
        self.names: dict[Node, str] = {}
        for _ in range(2):
            self.service("orders", 1)
        self.village.deliver_all()
        self.client("orders")
        self.village.deliver_all()

    # Who is there

    def pick(self, kind: type, at: int) -> Node | None:
        nodes = self.village.of(kind)
        return nodes[at % len(nodes)] if nodes else None

    @rule()
    def broker(self) -> None:
        if len(self.village.of(BrokerCore)) < 2:
            self.village.broker()

    @rule(name=NAMES, concurrency=st.integers(1, 2))
    def service(self, name: str, concurrency: int) -> None:
        if len(self.village.of(DiallingCore)) < FEW:
            self.names[self.village.serve(name, concurrency)] = name
            self.find()

    @rule(name=NAMES)
    def client(self, name: str) -> None:
        if len(self.village.of(ClientCore)) < FEW:
            self.names[self.village.look(name)] = name
            self.find()

    @rule()
    def find(self) -> None:
        """Have everybody hear of all brokers, and of the services that brokers tell of."""
        village = self.village
        for broker in village.of(BrokerCore):
            for node in village.of(DiallingCore):
                village.tell(node, News.FOUND, broker.core.incarnation, broker.address)
            for node in village.of(ClientCore):
                incarnation = broker.offers.get(self.names[node])
                if incarnation is not None:
                    village.tell(node, News.FOUND, incarnation, broker.address)

    @rule(
        at=PICK,
        which=PICK,
        news=st.sampled_from([News.LOST, News.SILENT, News.ANSWERING, News.GONE]),
    )
    def news(self, at: int, which: int, news: News) -> None:
        """Have one hear of a broker, or of a service of it, what may or may not be true."""
        nodes = [node for node in self.village.nodes if not isinstance(node.core, BrokerCore)]
        brokers = [n for n in (*self.village.nodes, *self.village.gone) if n.offers]
        if nodes and brokers:
            node, broker = nodes[at % len(nodes)], brokers[which % len(brokers)]
            known = broker.core.incarnation
            if isinstance(node.core, ClientCore):
                known = broker.offers.get(self.names[node], 0)
            self.village.tell(node, news, known)

    @rule(at=PICK, silently=st.booleans())
    def kill(self, at: int, silently: bool) -> None:
        nodes = self.village.nodes
        if nodes:
            self.village.kill(nodes[at % len(nodes)], silently=silently)

    @rule(at=PICK, seconds=st.sampled_from([0.0, 8.0]))
    def kill_busy(self, at: int, seconds: float) -> None:
        """Kill a service that has requests; let its broker notice, or not yet."""
        busy = [node for node in self.village.of(DiallingCore) if node.handed or node.streams]
        if busy:
            self.village.kill(busy[at % len(busy)])
            self.village.pass_time(seconds)

    @rule(at=PICK)
    def leave(self, at: int) -> None:
        node = self.village.nodes[at % len(self.village.nodes)] if self.village.nodes else None
        if node is not None and isinstance(node.core, BrokerCore):
            self.village.perform(node, node.core.leave(self.village.now))
        elif node is not None and isinstance(node.core, DiallingCore):
            self.village.perform(node, node.core.leave())

    @rule(at=PICK)
    def close(self, at: int) -> None:
        """Have one close; its last packets are under way, and then it is not there any more."""
        village = self.village
        if village.nodes:
            node = village.nodes[at % len(village.nodes)]
            village.perform(node, node.core.close())
            node.core.check()
            village.nodes.remove(node)
            village.gone.append(node)

    # Calls

    @rule(
        at=PICK,
        method=st.sampled_from([*METHODS, *STREAMS]),
        oneway=st.booleans(),
        priority=st.sampled_from([4, 4, 9]),
        timeout_s=st.sampled_from([0.5, 60.0, 60.0]),
        arrives=st.booleans(),
    )
    def ask(
        self,
        at: int,
        method: str,
        oneway: bool,
        priority: int,
        timeout_s: float,
        arrives: bool,
    ) -> None:
        client = self.pick(ClientCore, at)
        if client is not None:
            self.village.ask(
                client, method, oneway=oneway, priority=priority, timeout_s=timeout_s
            )
            if arrives:
                self.village.deliver_all()

    @precondition(lambda self: self.village.asked)
    @rule(at=PICK)
    def cancel(self, at: int) -> None:
        asked = [a for a in self.village.asked.values() if a.client in self.village.nodes]
        if asked:
            one = asked[at % len(asked)]
            core = one.client.core
            assert isinstance(core, ClientCore)
            self.village.perform(one.client, core.cancel(one.sequence, self.village.now))

    @rule(at=PICK, which=PICK, raises=st.booleans())
    def answer(self, at: int, which: int, raises: bool) -> None:
        """Have a service answer one of its requests, in any order."""
        node = self.pick(DiallingCore, at)
        if node is not None and node.handed:
            request = node.handed[which % len(node.handed)]
            node.handed.remove(request)
            value = Answer(REPLY, encode(request.args[0]))
            self.village.finish(node, request, refuse(RAISED, "no") if raises else value)

    @rule(
        at=PICK,
        which=PICK,
        count=st.integers(0, 3),
        then=st.sampled_from(["goes on", "pauses", "ends", "raises"]),
    )
    def step(self, at: int, which: int, count: int, then: str) -> None:
        """Have a generator yield values as far as it may, and go on, give way or end."""
        node = self.pick(DiallingCore, at)
        if node is None or not node.streams:
            return
        request = node.streams[which % len(node.streams)]
        given = int(str(request.running).partition(" ")[2] or 0)
        for _ in range(count):
            if request.goes_on:
                row = encode([request.args[0], given])
                self.perform_on(node, "yielded", request, Answer(ITEM, row))
                given += 1
        request.running = f"begun {given}"
        if request.cancelled:
            then = "ends"
        elif not request.goes_on and then == "goes on":
            then = "pauses"
        if then == "goes on":
            return
        node.streams.remove(request)
        if then == "pauses":
            self.perform_on(node, "paused", request)
        else:
            self.perform_on(
                node, "ended", request, refuse(RAISED, "no") if then == "raises" else None
            )

    def perform_on(
        self, node: Node, command: str, request: StreamRequest, *values: Answer | None
    ) -> None:
        effects = getattr(node.core, command)(request, *values, self.village.now)
        self.village.perform(node, effects)
        self.village.settle()

    # Packets and time

    @precondition(lambda self: self.village.letters)
    @rule(at=PICK)
    def deliver(self, at: int) -> None:
        letters = self.village.next_letters
        self.village.deliver(letters[at % len(letters)])

    @precondition(lambda self: self.village.letters)
    @rule(at=PICK)
    def deliver_twice(self, at: int) -> None:
        letters = self.village.next_letters
        letter = letters[at % len(letters)]
        self.village.deliver(letter, twice=True)
        self.village.deliver(letter)

    @precondition(lambda self: self.village.letters)
    @rule(at=PICK)
    def lose(self, at: int) -> None:
        self.village.letters.pop(at % len(self.village.letters))

    @rule()
    def deliver_all(self) -> None:
        self.village.deliver_all()

    @rule(at=PICK)
    def part(self, at: int) -> None:
        """Break a connection."""
        ends = [(n, peer) for n, peer in self.village.dialled if peer in n.peers]
        if ends:
            self.village.part(*ends[at % len(ends)])

    @rule()
    def redial(self) -> None:
        self.village.redial()

    @rule(seconds=st.sampled_from([0.01, 1.0, 4.0, 8.0, 61.0]), quiet=st.booleans())
    def wait(self, seconds: float, quiet: bool) -> None:
        self.village.pass_time(seconds, quiet=quiet)

    # What holds

    @invariant()
    def is_sound(self) -> None:
        for node in self.village.nodes:
            node.core.check()
            if isinstance(node.core, BrokerCore):
                stats = node.core.stats()
                assert node.core.in_flight == stats["in_flight"]
                assert node.core.in_flight <= node.core.limits.requests_max

    def teardown(self) -> None:
        """Let all that is left end by itself: every call ends, and nothing is held then."""
        if not hasattr(self, "village"):
            return
        village = self.village
        village.redial()
        self.find()
        for _ in range(20):
            village.redial()
            village.pass_time(4.0)
            for node in village.of(DiallingCore):
                while node.handed:
                    request = node.handed.popleft()
                    village.finish(node, request, Answer(REPLY, encode(request.args[0])))
                while node.streams:
                    self.perform_on(node, "ended", node.streams.popleft(), None)
        for asked in village.asked.values():
            is_gone = asked.client not in village.nodes
            assert asked.is_over or asked.is_void or is_gone, (asked.method, asked.token)
        for node in village.of(BrokerCore):
            assert isinstance(node.core, BrokerCore)
            assert node.core.in_flight == 0
            services = node.core.stats()["services"]
            assert isinstance(services, dict)
            assert all(each["workers"] for each in services.values())


TestBrokerMachine = pytest.mark.slow(BrokerMachine.TestCase)
TestBrokerMachine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=50
)
