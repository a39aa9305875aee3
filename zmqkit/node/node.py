"""What a process has once: control connection, membership, discovery, keeper, one thread.

Made by the first role that needs it and gone with the last. Its thread runs an event loop of
its own, never the user's. Roles post commands to it; it tells them what became of instances.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

import zmq

from zmqkit.core.effects import Effect, Tell
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.wants import EVERYBODY
from zmqkit.drivers.aio import AioDriver
from zmqkit.drivers.blocking import BlockingDriver
from zmqkit.drivers.fork import current_process
from zmqkit.drivers.perform import Driver, Hands
from zmqkit.environment import Environment, read_environment
from zmqkit.errors import UsageError
from zmqkit.limits import (
    LINGER_S,
    LOOK_S,
    NODE_DESCRIPTORS,
    PLACES_MAX,
    ROLES_MAX,
    connections_max,
)
from zmqkit.links.descriptors import check_spare
from zmqkit.links.profile import Profile
from zmqkit.links.zeromq import ZeromqLink
from zmqkit.model import LOOPBACK, PeerId, Record, Url, is_loopback, parse_url
from zmqkit.node.keeper import Keeper
from zmqkit.node.listing import Listing, StaticPeer, listings, static_peers
from zmqkit.node.peers import Peers

if TYPE_CHECKING:
    from zmqkit.discovery.mdns import Mdns

log = logging.getLogger("zmqkit")

Listener = Callable[[Tell], None]
Answer = TypeVar("Answer")

_SOCKETS_MAX = 16_000
_CLOSE_S = 2.0
_DESCRIPTORS = 1024


class Node:
    """This process among the others. Every public method may be called from any thread."""

    def __init__(self, environment: Environment) -> None:
        check_spare(NODE_DESCRIPTORS, "the first role of a process")
        self.process = secrets.randbits(63) | 1
        self.environment = environment
        self._peers = Peers(environment)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
        self.owner = current_process()
        self.core = MembershipCore(self.process, connections_max(_descriptors()))
        self._link = ZeromqLink(self.context, Profile.CONTROL)
        try:
            self._bind(f"tcp://{LOOPBACK}:0")
        except BaseException:
            self._link.close(0)
            self.context.destroy(linger=0)
            raise
        self._lock = threading.Lock()
        self._roles = 0
        self._beyond = False
        self._listeners: dict[str, list[tuple[Listener, bool]]] = {}
        self._engines: dict[str, Mdns] = {}
        self._announced: dict[int, tuple[Record, bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seeded: dict[str, Url] = {}
        self._looking: asyncio.Task[None] | None = None
        self._discovering = asyncio.Lock()
        self._loop = asyncio.SelectorEventLoop()
        self._driver = AioDriver(
            Driver(self.core, self._link, Hands(tell=self._tell), changed=self._changed),
            self._loop,
        )
        self._keeper = Keeper(self._loop)
        self._thread = threading.Thread(target=self._run, name="zmqkit", daemon=True)
        self._thread.start()

    @property
    def control_port(self) -> int:
        """The port of the control connection on this machine's loopback."""
        return self.core.offers.control_ports[0]

    def open_to_lan(self) -> int:
        """Have a control connection that other machines reach too; gives its port.

        Raises ConfigError when no port is free.
        """
        return self.ask(self._open_to_lan)

    def admit(self) -> None:
        """Have room for one more role that others find; UsageError when there are too many."""
        with self._lock:
            if self._roles >= ROLES_MAX:
                raise UsageError(
                    f"this process has {self._roles} services and publishers, which is as many "
                    "as one can have; close some, or make another process"
                )
            self._roles += 1

    def dismiss(self) -> None:
        """Have room for another in place of one that was admitted."""
        with self._lock:
            self._roles -= 1

    def announce(self, record: Record, *, open: bool) -> None:
        """Let others find a role; beyond this machine only if open."""
        self._post(self._announce, record, open)

    def withdraw(self, incarnation: int) -> None:
        """Announce a role no longer; whoever asks this process still hears of it."""
        self._post(self._withdraw, incarnation)

    def retract(self, incarnation: int) -> None:
        """Tell nobody of a role any more: those that used it learn that it is gone."""
        self._post(self._retract, incarnation)

    def want(
        self, key: str, listener: Listener, *, role: str, open: bool, url: Url | None = None
    ) -> None:
        """Call the listener, on the node's thread, with the news of a key's instances.

        role: theirs. url: where to ask when the key is not a name.
        """
        self._post(self._want, key, listener, role, open, url)

    def unwant(self, key: str, listener: Listener, *, open: bool) -> None:
        """Stop calling the listener."""
        self._post(self._unwant, key, listener, open)

    def directory(self) -> list[Listing]:
        """A row for each role that somebody here wants or discovery told of."""
        return self.ask(lambda: listings(self.core, time.monotonic()))

    def static_peers(self) -> list[StaticPeer]:
        """A row for each address that was given for everybody."""
        return self.ask(
            lambda: static_peers(self.core, self._peers.unasked(beyond=self._beyond))
        )

    def explain(self, key: str, *, open: bool) -> str:
        """Why nobody is found under a key: where was searched, and what was seen instead."""
        return self.ask(lambda: self.core.search.explain(key, open=open))

    def keep(self, driver: BlockingDriver) -> None:
        """Drive a blocking role whenever no thread does."""
        self._post(self._keeper.keep, driver)

    def let_go(self, driver: BlockingDriver) -> None:
        """Stop driving a blocking role; it is left alone when this returns."""
        self.ask(lambda: self._keeper.release(driver))

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """The answer to a question that is put on the node's thread."""
        answer: Future[Answer] = Future()

        def put() -> None:
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - raised again where it was asked
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(put)
        return answer.result()

    def close(self) -> None:
        """Say goodbye and give everything back, in about half a second."""
        done = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        try:
            done.result(_CLOSE_S)
        except TimeoutError:
            log.warning("discovery did not close within %s s", _CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._link.close(LINGER_S)  # its last words may be on their way
        self._loop.close()
        self.context.destroy(linger=0)  # a socket left open would make term() wait for ever

    # On the node's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _post(self, command: Callable[..., None], *args: object) -> None:
        self._loop.call_soon_threadsafe(command, *args)

    def _bind(self, endpoint: str) -> None:
        bound = self._link.bind(endpoint, self.environment.ports)
        self.core.offers.control_ports.append(parse_url(bound).port)

    def _open_to_lan(self) -> int:
        ports = self.core.offers.control_ports
        if len(ports) == 1:
            self._bind("tcp://*:0")
            self._look_at_addresses()
        return ports[1]

    def _announce(self, record: Record, open: bool) -> None:
        self._driver.perform(self.core.offer(record, time.monotonic(), open=open))
        self._seed_peers(open=open)
        self._spawn(self._announce_by(record, open=open))

    async def _announce_by(self, record: Record, *, open: bool) -> None:
        async with self._discovering:
            for scope in await self._discover(open=open):
                port = self.core.offers.control_ports[scope == "lan"]
                await self._engines[scope].announce(replace(record, control_port=port))

    def _withdraw(self, incarnation: int) -> None:
        self._spawn(self._withdraw_by(incarnation))

    async def _withdraw_by(self, incarnation: int) -> None:
        async with self._discovering:
            for engine in self._engines.values():
                await engine.withdraw(incarnation)

    def _retract(self, incarnation: int) -> None:
        self._driver.perform(self.core.retract(incarnation, time.monotonic()))

    def _want(
        self, key: str, listener: Listener, role: str, open: bool, url: Url | None
    ) -> None:
        self._listeners.setdefault(key, []).append((listener, open))
        now = time.monotonic()
        self._driver.perform(self.core.want(key, now, open=open))
        if url is not None:
            self._driver.perform(self.core.seed(url, key, role, now))
            return
        self._seed_peers(open=open)
        for engine in self._engines.values():
            engine.remind("" if key == EVERYBODY else key.partition("/")[2])
        self._spawn(self._listen(open=open))

    def _seed_peers(self, *, open: bool) -> None:
        """Ask at the static peers, beyond this machine only if open."""
        self._beyond = self._beyond or open
        wanted = {
            url.endpoint: url
            for url in self._peers.urls
            if self._beyond or is_loopback(url.host)
        }
        self._peers.warn_of_unasked(beyond=self._beyond)
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
                self._seed_peers(open=False)
            self._look_at_addresses()

    def _look_at_addresses(self) -> None:
        """Have static peers tell others where this process is, if it is open to them."""
        if len(self.core.offers.control_ports) < 2 or not self._peers.are_any:
            return
        # ifaddr takes a moment to import, and only this needs it here.
        from zmqkit.discovery.addresses import here, reachable

        try:
            ours = here("lan")
        except OSError:
            ours = []
        addresses = reachable((each.text for each in ours), "lan", ours)
        shared = [each for each in addresses if "%" not in each][:PLACES_MAX]
        self._driver.perform(self.core.moved(tuple(shared), time.monotonic()))

    async def _listen(self, *, open: bool) -> None:
        async with self._discovering:
            await self._discover(open=open)

    def _unwant(self, key: str, listener: Listener, open: bool) -> None:
        self._listeners[key].remove((listener, open))
        if not self._listeners[key]:
            del self._listeners[key]
        self._driver.perform(self.core.unwant(key, open=open))

    async def _discover(self, *, open: bool) -> list[str]:
        """The engines for a role, opened if need be: this machine's, and the LAN's if open."""
        # zeroconf takes 100 ms to import, and many programs never need it.
        from zmqkit.discovery.mdns import Mdns

        scopes: list[Literal["loopback", "lan"]] = ["loopback", "lan"] if open else ["loopback"]
        for scope in scopes:
            if scope not in self._engines:
                engine = Mdns(
                    scope,
                    heard=self._heard,
                    known=self._known,
                    vanished=self._vanished,
                    renewed=self._readdressed,
                    note=_note,
                )
                await engine.open()
                self._engines[scope] = engine
        return [*scopes]

    def _heard(self, record: Record, source: str) -> None:
        self._driver.perform(self.core.heard(record, source, time.monotonic()))

    def _known(self, record: Record, source: str) -> None:
        self._driver.perform(self.core.reminded(record, source, time.monotonic()))

    def _vanished(self, record: Record, source: str) -> None:
        self._driver.perform(self.core.vanished(record, source))

    def _readdressed(self) -> None:
        self._look_at_addresses()
        self._driver.perform(self.core.readdressed(time.monotonic()))

    def _changed(self, peer: PeerId, up: bool, now: float) -> list[Effect]:
        return self.core.connected(peer, now) if up else self.core.disconnected(peer, now)

    def _tell(self, tell: Tell) -> None:
        near = tell.news != "found" or is_loopback(parse_url(tell.endpoint).host)
        for listener, open in self._listeners.get(tell.key, ()):
            if (near or open) and tell.open in (None, open):
                listener(tell)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("discovery failed: %s", error)

    async def _close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        engines = [engine.close() for engine in self._engines.values()]
        await asyncio.gather(*engines, return_exceptions=True)
        self._driver.close()


_lock = threading.Lock()
_node: Node | None = None
_users = 0


def acquire() -> Node:
    """The node of this process; made anew for the first user and in a forked child."""
    global _node, _users
    with _lock:
        if _node is None or _node.owner.forked:
            _node, _users = Node(read_environment(os.environ)), 0
        _users += 1
        return _node


def release(node: Node) -> None:
    """Give the node back; the last user closes it."""
    global _node, _users
    with _lock:
        if node is not _node or node.owner.forked:
            return
        _users -= 1
        if _users:
            return
        _node = None
    node.close()  # what it waits for is not waited for by those who begin anew


def _descriptors() -> int:
    """How many descriptors this process may have; the system's usual number if it says none."""
    try:
        import resource  # which Windows does not have
    except ImportError:
        return _DESCRIPTORS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _SOCKETS_MAX if soft == resource.RLIM_INFINITY else soft


def _note(event: str, fields: Mapping[str, object]) -> None:
    level = logging.WARNING if event == "mdns.failed" else logging.INFO
    log.log(level, "%s %s", event, dict(fields))
