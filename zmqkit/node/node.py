"""What each process has once: control connection, membership, discovery, keeper, one thread.

The first role that needs the node makes it; the last role that leaves it closes it. The node's
thread runs an event loop of its own, never the user's. Roles post commands to the node, and the
node tells them what became of the instances that they want.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

import zmq

from zmqkit.core.effects import Effect, Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.observed import Observed
from zmqkit.drivers.aio import AioDriver, OwnLoop
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.notes import contained, log
from zmqkit.drivers.perform import Driver, Hooks
from zmqkit.environment import Environment, read_environment
from zmqkit.errors import UsageError
from zmqkit.limits import LINGER_S, LOOK_S, NODE_DESCRIPTORS, MembershipLimits, connections_max
from zmqkit.links.descriptors import check_spare, may_open
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import (
    LOOPBACK,
    Frames,
    PeerId,
    Reach,
    Record,
    Url,
    parse_url,
    reach_of_endpoint,
)
from zmqkit.node.engines import Engines
from zmqkit.node.keeper import Keeper
from zmqkit.node.listings import Listing, StaticPeer, listings, static_peers
from zmqkit.node.peers import Peers
from zmqkit.node.presence import Entry
from zmqkit.node.time_of_day import wall_us
from zmqkit.wire.statistics import Figures

OnNews = Callable[[Tell], None]
Value = TypeVar("Value")

_SOCKETS_MAX = 16_000
_CLOSE_S = 2.0


class Node:
    """This process among other processes. Every public method may be called from any thread."""

    def __init__(
        self, environment: Environment, limits: MembershipLimits | None = None
    ) -> None:
        """limits: of membership; by default those that this process's descriptors allow.

        Raises ConfigError when too few descriptors or no port is free.
        """
        check_spare(NODE_DESCRIPTORS, "the first role of a process")
        if limits is None:
            limits = MembershipLimits(connections_max=connections_max(may_open(_SOCKETS_MAX)))
        self.process = secrets.randbits(63) | 1
        self.environment = environment
        self._peers = Peers(environment)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
        self.owner = current_process()
        self.core = MembershipCore(self.process, limits, environment.space)
        about = self.core.statistics.about
        about.pid, about.host = os.getpid(), socket.gethostname()
        self.core.statistics.wall_us = wall_us
        self._link = ZeromqLink(self.context, Profile.CONTROL)
        try:
            self._bind(Reach.LOCAL)
        except BaseException:
            self._link.close(0)
            self.context.destroy(linger=0)
            raise
        self._lock = threading.Lock()
        self._roles = 0
        self._reach = Reach.LOCAL
        self._on_news: dict[str, list[tuple[OnNews, Reach]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seeded: dict[str, Url] = {}
        self._looking: asyncio.Task[None] | None = None
        at = self.core.offers.control_ports[Reach.LOCAL]
        self._entry = Entry(self.process, at, environment.space)
        self._loop = OwnLoop()
        self._driver = AioDriver(
            Driver(
                self.core,
                self._link,
                Hooks(tell=self._tell, ask=lambda effect: self._engines.ask(effect.reach)),
                changed=self._changed,
                receive_all=self._receive_all,
            ),
            self._loop,
        )
        self._engines = Engines(self.core, self._driver.perform, self._look_at_addresses)
        self._keeper = Keeper(self._loop)
        self._thread = threading.Thread(target=self._run, name="zmqkit", daemon=True)
        self._thread.start()

    def open_control(self, reach: Reach) -> int:
        """Open the control connection for peers within that reach, and return its port.

        Raises ConfigError when no port is free.
        """
        return self.ask(lambda: self._open_control(reach))

    def admit(self) -> None:
        """Reserve room for one more role that others can find.

        Raises UsageError when this process has too many of them.
        """
        with self._lock:
            if self._roles >= self.core.limits.own_max:
                raise UsageError(
                    f"this process has {self._roles} services and publishers, which is as many "
                    "as one can have; close some, or make another process"
                )
            self._roles += 1

    def dismiss(self) -> None:
        """Give back the room of a role that was admitted."""
        with self._lock:
            self._roles -= 1

    def announce(self, record: Record, reach: Reach) -> None:
        """Let other processes within that reach find a role."""
        self._post(self._announce, record, reach)

    def offer(self, record: Record, reach: Reach) -> None:
        """Tell processes within that reach of a role when they ask, and announce it nowhere.

        `retract` undoes it. So a broker tells of its services; `admit` says whether there is
        room for one more, and `dismiss` gives that back.
        """
        self._post(lambda: self._offer(record, reach))

    def withdraw(self, incarnation: int) -> None:
        """Announce a role no longer. Processes that ask this one are still told of it."""
        self._post(lambda: self._spawn(self._engines.withdraw(incarnation)))

    def retract(self, incarnation: int) -> None:
        """Tell no process of a role any more. Processes that used it learn that it is gone."""
        self._post(
            lambda: self._driver.perform(self.core.retract(incarnation, time.monotonic()))
        )

    def observe(self, observed: Observed) -> None:
        """Tell whoever asks of a role's statistics; `look` is called on the node's thread.

        From the first one on, other processes of this user find this one without discovery.
        """
        self._post(self.core.statistics.add, observed)
        self._post(self._entry.appear)

    def figures(self) -> list[Figures]:
        """Return the rows of all roles of this process that are observed."""
        return self.ask(lambda: list(self.core.statistics.figures(time.monotonic())))

    @property
    def is_observed(self) -> bool:
        """Whether this process has roles that it tells of."""
        return len(self.core.statistics) > 0

    def unobserve(self, observed: Observed) -> None:
        """Undo one `observe`."""
        self._post(self.core.statistics.remove, observed)

    def want(
        self, key: str, on_news: OnNews, *, role: str, reach: Reach, url: Url | None = None
    ) -> None:
        """Find the instances of a key, and call `on_news` with all news of them.

        on_news: called on the node's thread. role: the kind of role of the instances. reach:
        how far away they may be. url: where to ask, if the key is not a name.
        """
        self._post(self._want, key, on_news, role, reach, url)

    def unwant(self, key: str, on_news: OnNews, reach: Reach) -> None:
        """Undo one `want`: `on_news` is called no longer."""
        self._post(self._unwant, key, on_news, reach)

    def listings(self, *, all_spaces: bool = False) -> list[Listing]:
        """Return a row for each role that a role here wants or discovery told of.

        all_spaces: roles of other spaces that discovery told of follow.
        """
        return self.ask(lambda: listings(self.core, time.monotonic(), all_spaces=all_spaces))

    def static_peers(self) -> list[StaticPeer]:
        """Return a row for each static peer."""
        return self.ask(lambda: static_peers(self.core, self._peers.unasked(self._reach)))

    def explain(self, key: str, reach: Reach) -> str:
        """Return why nothing is found under a key: where was searched, and what was seen."""
        return self.ask(lambda: self.core.search.explain(key, reach))

    def keep(self, driver: BlockingDriver) -> None:
        """Drive a blocking role whenever no thread does, from now on."""
        self._post(self._keeper.keep, driver)

    def let_go(self, driver: BlockingDriver) -> None:
        """Stop driving a blocking role. Once this returns, the node does not touch it."""
        self.ask(lambda: self._keeper.release(driver))

    def ask(self, question: Callable[[], Value]) -> Value:
        """Call `question` on the node's thread. Returns its result, or raises its exception.

        The caller may be on that thread already: any thread may have to run a finalizer that
        closes a role.
        """
        if self._is_here():
            return question()
        answer: Future[Value] = Future()

        def put() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - raised again where it was asked
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(put)
        return answer.result()

    def close(self) -> None:
        """Withdraw all roles and release all resources, in about half a second.

        On the node's own thread, which has a part in this, another thread does it later.
        """
        if self._is_here():
            threading.Thread(target=self.close, name="zmqkit-close").start()
            return
        done = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        try:
            done.result(_CLOSE_S)
        except TimeoutError:
            contained(log.warning, "discovery did not close within %s s", _CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._entry.close()
        self._link.close(LINGER_S)  # the last packets may still be on their way
        self._loop.close()
        self.context.destroy(linger=0)  # a socket left open would make term() wait for ever

    def _is_here(self) -> bool:
        return threading.get_ident() == self._thread.ident

    # On the node's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _post(self, command: Callable[..., None], *args: object) -> None:
        self._loop.call_soon_threadsafe(command, *args)

    def _bind(self, reach: Reach) -> None:
        host = LOOPBACK if reach is Reach.LOCAL else "*"
        bound = self._link.bind(f"tcp://{host}:0", self.environment.ports)
        self.core.offers.control_ports[reach] = parse_url(bound).port

    def _open_control(self, reach: Reach) -> int:
        ports = self.core.offers.control_ports
        if reach not in ports:
            self._bind(reach)
            self._look_at_addresses()
        return ports[reach]

    def _receive_all(
        self, messages: Sequence[tuple[PeerId, Frames]], now: float
    ) -> list[Effect]:
        effects: list[Effect] = []
        for peer, frames in messages:
            effects += self.core.receive(peer, frames, now, self._link.reach(peer))
        return effects

    def _announce(self, record: Record, reach: Reach) -> None:
        self._offer(record, reach)
        self._seed_peers(reach)
        self._spawn(self._engines.announce(record, reach))

    def _offer(self, record: Record, reach: Reach) -> None:
        self._driver.perform(self.core.offer(record, time.monotonic(), reach))

    def _want(
        self, key: str, on_news: OnNews, role: str, reach: Reach, url: Url | None
    ) -> None:
        self._on_news.setdefault(key, []).append((on_news, reach))
        now = time.monotonic()
        self._driver.perform(self.core.want(key, now, reach))
        if url is not None:
            self._driver.perform(self.core.seed(url, key, role, now))
            return
        self._seed_peers(reach)
        self._engines.remind("" if key == EVERYBODY else key.partition("/")[2])
        self._spawn(self._engines.listen(reach))

    def _seed_peers(self, reach: Reach) -> None:
        """Ask the static peers within that reach, or within the reach of an earlier role."""
        self._reach = max(self._reach, reach)
        wanted = {url.endpoint: url for url in self._peers.urls if url.reach <= self._reach}
        self._peers.warn_of_unasked(self._reach)
        now = time.monotonic()
        for endpoint in self._seeded.keys() - wanted.keys():
            self._driver.perform(self.core.unseed(self._seeded.pop(endpoint)))
        for endpoint, url in wanted.items():
            if endpoint not in self._seeded:
                self._seeded[endpoint] = url
                self._driver.perform(self.core.seed(url, "", "service", now))
        if self._looking is None and self._peers.are_any:
            self._look_at_addresses()
            self._looking = self._loop.create_task(self._look_forever())
            self._looking.add_done_callback(self._done)

    async def _look_forever(self) -> None:
        """Notice when the peers file or the addresses of this host change."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._peers.refresh():
                self._seed_peers(Reach.LOCAL)
            self._look_at_addresses()

    def _look_at_addresses(self) -> None:
        """Let static peers tell other machines where this process is, if it is open to them."""
        if Reach.PLAIN not in self.core.offers.control_ports or not self._peers.are_any:
            return
        # ifaddr takes a moment to import, and only this needs it here.
        from zmqkit.discovery.addresses import here, reachable

        try:
            ours = here(Reach.PLAIN)
        except OSError:
            ours = []
        addresses = reachable((each.text for each in ours), Reach.PLAIN, ours)
        shared = [each for each in addresses if "%" not in each][
            : self.core.limits.addresses_max
        ]
        self._driver.perform(self.core.moved(tuple(shared), time.monotonic()))

    def _unwant(self, key: str, on_news: OnNews, reach: Reach) -> None:
        self._on_news[key].remove((on_news, reach))
        if not self._on_news[key]:
            del self._on_news[key]
        self._driver.perform(self.core.unwant(key, reach))

    def _changed(self, peer: PeerId, up: bool, now: float) -> list[Effect]:
        return self.core.connected(peer, now) if up else self.core.disconnected(peer, now)

    def _tell(self, tell: Tell) -> None:
        at = reach_of_endpoint(tell.endpoint)
        for on_news, reach in self._on_news.get(tell.key, ()):
            if at <= reach and tell.reach in (None, reach):
                on_news(tell)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            contained(log.error, "discovery failed: %s", error)

    async def _close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engines.close()
        self._driver.close()


_lock = threading.RLock()
"""A finalizer may close a role in the middle of what holds it, so it is reentrant. A forked
child has another one: a thread that it lacks may hold this one for ever."""
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.RLock()))
_nodes: dict[str, list[Node]] = {}
"""The node of each space, as often as it is used."""


def acquire(space: str | None = None) -> Node:
    """Return the node of this process in a space; None stands for that of the environment.

    It is made for the first user, and in a forked child.
    """
    environment = read_environment(os.environ)
    if space is not None:
        environment = replace(environment, space=space)
    with _lock:
        uses = _nodes.get(environment.space)
        if uses is None or uses[0].owner.forked:
            uses = _nodes[environment.space] = [Node(environment)]
        else:
            uses.append(uses[0])
        return uses[0]


def figures() -> list[Figures]:
    """Return the rows of all roles of this process, whatever their space."""
    with _lock:
        used = [uses for uses in _nodes.values() if not uses[0].owner.forked]
        for uses in used:
            uses.append(uses[0])
        nodes = [uses[0] for uses in used]
    try:
        return [row for node in nodes for row in node.figures()]
    finally:
        for node in nodes:
            release(node)


def release(node: Node) -> None:
    """Give the node back. The last user closes it."""
    with _lock:
        uses = _nodes.get(node.environment.space, [])
        if node not in uses or node.owner.forked:
            return
        uses.pop()
        if uses:
            return
        del _nodes[node.environment.space]
    node.close()  # without the lock, so that a new node can be made meanwhile
