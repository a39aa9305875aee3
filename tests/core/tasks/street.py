"""Pushers, streamers and workers as cores, with packets carried between them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from tests.core.tasks.file import File
from tests.core.tasks.world import NAME, task
from zmqkit.core.calls.dialling import DEVICE_PEER, DiallingCore
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import (
    Append,
    Connect,
    Disconnect,
    Effect,
    Handle,
    News,
    Note,
    Page,
    Send,
    Settle,
    Tell,
)
from zmqkit.core.tasks.lease import SINK, STREAMER, TASK
from zmqkit.core.tasks.pusher import PusherCore
from zmqkit.core.tasks.share import Share
from zmqkit.core.tasks.streamer import StreamerCore
from zmqkit.core.tasks.task import Task
from zmqkit.errors import JournalError
from zmqkit.limits import PusherLimits
from zmqkit.model import Frames
from zmqkit.roles.results import sink_core
from zmqkit.wire.encoding import encode
from zmqkit.wire.packet import REPLY

AnyCore = PusherCore | StreamerCore | ServiceCore


@dataclass(eq=False)
class Node:
    """A process: its core, and what its effects left behind."""

    number: int
    core: AnyCore
    is_sink: bool = False
    # The network in which others find it, and the one in which it finds others.
    network: int = 0
    looks_in: int = 0
    is_dead: bool = False
    # What is sent to and from it is lost without a word.
    is_cut: bool = False
    # What a worker that dials is called at the other end; each connection has its own name.
    connections: int = 0
    handed: deque[Request] = field(default_factory=deque)
    appends: deque[Append] = field(default_factory=deque)
    # What its appends wrote, where it has a journal.
    file: File | None = None
    notes: list[Note] = field(default_factory=list)
    outcomes: list[tuple[object, object, object]] = field(default_factory=list)
    # What waits for each peer: by the node, and the id that the node has for the sender.
    outbox: deque[tuple[Node, bytes, Frames]] = field(default_factory=deque)
    peers: dict[bytes, Node] = field(default_factory=dict)

    @property
    def incarnation(self) -> int:
        return self.core.incarnation

    @property
    def name(self) -> bytes:
        return b"\0" + bytes((self.connections,)) + self.number.to_bytes(4, "big")


class Street:
    """A name with everybody that is there; packets arrive when `settle` is called."""

    def __init__(self, limits: PusherLimits | None = None) -> None:
        self.now = 100.0
        self.limits = replace(limits or PusherLimits(), choice_s=0)
        self.nodes: list[Node] = []
        # Kinds of packets of which the next one is lost.
        self.loses: list[int] = []
        # Whether appends reach the disk by themselves.
        self.writes = True
        # Which streamer answers at the one address that workers dial.
        self.answers: Node | None = None
        # Where those are who come next.
        self.network = 0

    # Who is there

    def pusher(self, journal: int = 0, file: File | None = None) -> Node:
        core = PusherCore(NAME, journal or self._incarnation(), lambda: 1.0, self.limits)
        return self._add(core, file=self._open(core, file) if journal else None)

    def streamer(
        self, journal: int = 0, file: File | None = None, *, upstream: bool = False
    ) -> Node:
        """upstream: tasks go to a streamer of the next network."""
        core = StreamerCore(
            NAME, self._incarnation(), lambda: 1.0, self.limits, journal=journal,
            upstream=upstream,
        )  # fmt: skip
        opened = self._open(core.tasks, file) if journal else None
        return self._add(core, file=opened, upstream=upstream)

    def restart(self, node: Node) -> Node:
        """Kill the process of a node that has a journal; another one opens the file."""
        assert node.file is not None
        self.kill(node)
        if isinstance(node.core, PusherCore):
            return self.pusher(node.core.incarnation, node.file)
        assert isinstance(node.core, StreamerCore)
        self.network = node.network
        upstream = node.looks_in != node.network
        return self.streamer(node.core.tasks.incarnation, node.file, upstream=upstream)

    def worker(self, concurrency: int = 1, attempts: int = 3) -> Node:
        core = ServiceCore(self._incarnation(), {TASK: False}, concurrency, shares=Share)
        core.about[TASK] = {"attempts": attempts, "backoff_s": 1.0, "places": concurrency}
        return self._add(core)

    def dialling(self, concurrency: int = 1, name: str = NAME, number: int = 0) -> Node:
        """A worker that dials; with the number of another one, the same once more."""
        incarnation = number or self._incarnation()
        core = DiallingCore(
            incarnation, {TASK: False}, concurrency, device=STREAMER, name=name, shares=Share
        )
        core.about[TASK] = {"attempts": 3, "backoff_s": 1.0, "places": concurrency}
        node = self._add(core)
        found = Tell(News.FOUND, "", 0, "tcp://127.0.0.1:5000")
        self.perform(node, core.hear(found, self.now))
        self.settle()
        return node

    def sink(self) -> Node:
        core = sink_core(self._incarnation())
        core.about[TASK] = {"attempts": 1000, "backoff_s": 0.0, "places": 1}
        return self._add(core, is_sink=True)

    def kill(self, node: Node, *, returns: bool = False) -> None:
        """End a node's process; its connections break, and others hear of it."""
        node.is_dead = True
        node.outbox.clear()
        node.appends.clear()
        for other in self.nodes:
            self.tell(other, node, News.LOST)
            if not returns:
                self.tell(other, node, News.GONE)
        self.settle()

    def tell(self, to: Node, about: Node, news: News) -> None:
        core = to.core
        is_announced = not isinstance(about.core, DiallingCore)
        if to.is_dead or to is about or isinstance(core, ServiceCore) or not is_announced:
            return
        if to.looks_in != about.network:
            return
        if not isinstance(about.core, PusherCore):
            endpoint = f"tcp://127.0.0.1:{5000 + about.number}"
            key = f"{SINK if about.is_sink else 'worker'}/{NAME}"
            tell = Tell(news, key, about.incarnation, endpoint)
            self.perform(to, core.hear(tell, self.now))

    # What they do

    def push(self, pusher: Node, *bodies: object, **options: object) -> list[Task]:
        assert isinstance(pusher.core, PusherCore)
        tasks = [task(body, **options) for body in bodies]
        for each in tasks:
            pusher.core.submit(each, self.now)
        self.settle()
        return tasks

    def finish(self, worker: Node, answer: Answer | None = None) -> object:
        """Have a worker finish the task at hand, after a while; return its body."""
        assert isinstance(worker.core, ServiceCore)
        self.now += 0.02
        request = worker.handed.popleft()
        made = answer or Answer(REPLY, encode(request.args[0]))
        self.perform(worker, worker.core.handled([(request, made)], self.now))
        self.settle()
        return request.args[0]

    def work(self, worker: Node) -> list[object]:
        """Have a worker finish what comes to it, one by one; return the bodies."""
        bodies: list[object] = []
        while worker.handed:
            bodies.append(self.finish(worker))
        return bodies

    def write(self, node: Node, error: JournalError | None = None) -> None:
        """Have the next append of a node reach its disk, or fail."""
        core = node.core
        assert isinstance(core, PusherCore | StreamerCore)
        append = node.appends.popleft()
        if error is None:
            if node.file is not None:
                node.file.write(append)
            effects = core.appended(append.number, 0, self.now)
        else:
            effects = core.unwritten(append.number, error, self.now)
        self.perform(node, effects)
        self.settle()

    # Time and packets

    def pass_(self, seconds: float) -> None:
        """Let time pass, and the cores do what is due."""
        until = self.now + seconds
        for _ in range(10_000):
            alive = [node for node in self.nodes if not node.is_dead]
            due = min(alive, key=lambda node: node.core.deadline())
            if due.core.deadline() > until:
                break
            self.now = max(self.now, due.core.deadline())
            self.perform(due, due.core.tick(self.now))
            self.settle()
        self.now = until

    def close(self, pusher: Node) -> None:
        """Have a pusher close, and its process end."""
        assert isinstance(pusher.core, PusherCore)
        self.perform(pusher, pusher.core.close())
        self._carry(pusher)
        self.kill(pusher)

    def settle(self) -> None:
        """Carry packets to and fro until nothing moves; check all cores."""
        for _ in range(1000):
            for node in self.nodes:
                while not node.is_dead and (effects := node.core.flush(self.now)):
                    self.perform(node, effects)
                if self.writes and node.appends:
                    self.write(node)
            carried = [self._carry(node) for node in self.nodes]
            if not any(carried):
                break
        else:
            raise AssertionError("it never came to rest")
        for node in self.nodes:
            if not node.is_dead:
                node.core.check()

    def perform(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                to = node.peers.get(effect.peer)
                if to is not None and not to.is_dead:
                    node.outbox.append((to, node.name, effect.frames))
                elif effect.peer[:1] == b"\0":  # the other side connected, and is gone
                    unsent = node.core.unsent(effect.peer, effect.frames, self.now)
                    self.perform(node, unsent)
            elif isinstance(effect, Connect) and effect.peer == DEVICE_PEER:
                node.connections += 1
                if self.answers is not None:
                    node.peers[effect.peer] = self.answers
                    self.answers.peers[node.name] = node
            elif isinstance(effect, Disconnect) and effect.peer == DEVICE_PEER:
                there = node.peers.pop(effect.peer, None)
                if there is not None and not node.is_cut:
                    there.peers.pop(node.name, None)
            elif isinstance(effect, Connect):
                incarnation = int.from_bytes(effect.peer, "big")
                [to] = [each for each in self.nodes if each.incarnation == incarnation]
                node.peers[effect.peer] = to
                to.peers[node.name] = node
            elif isinstance(effect, Disconnect):
                node.peers.pop(effect.peer, None)
            elif isinstance(effect, Handle):
                node.handed.extend(effect.requests)
            elif isinstance(effect, Settle):
                node.outcomes += effect.outcomes
            elif isinstance(effect, Note):
                node.notes.append(effect)
            elif isinstance(effect, Append):
                node.appends.append(effect)
            elif isinstance(effect, Page) and node.file is not None:
                assert isinstance(node.core, PusherCore | StreamerCore)
                paged = node.file.page(effect.priority, effect.after, effect.count_max)
                self.perform(node, node.core.paged(paged, self.now))

    def _carry(self, node: Node) -> bool:
        moved = bool(node.outbox)
        while node.outbox:
            to, name, frames = node.outbox.popleft()
            if to.is_dead or to.is_cut or node.is_cut:
                continue
            if (kind := frames[0][3]) in self.loses:
                self.loses.remove(kind)
                continue
            # Whoever connected knows the other by its incarnation.
            peer = node.incarnation.to_bytes(8, "big")
            sender = peer if peer in to.peers else name
            sender = DEVICE_PEER if to.peers.get(DEVICE_PEER) is node else sender
            self.perform(to, to.core.receive(sender, frames, self.now))
        return moved

    def _incarnation(self) -> int:
        return (100 + len(self.nodes)) << 32

    def _open(self, core: PusherCore, file: File | None) -> File:
        file = file or File()
        file.open(core, self.now)
        return file

    def _add(
        self,
        core: AnyCore,
        *,
        is_sink: bool = False,
        file: File | None = None,
        upstream: bool = False,
    ) -> Node:
        here = self.network
        node = Node(len(self.nodes), core, is_sink, here, here + upstream, file=file)
        self.nodes.append(node)
        for other in self.nodes:
            if other is not node and not other.is_dead:
                self.tell(node, other, News.FOUND)
                self.tell(other, node, News.FOUND)
        self.settle()
        return node
