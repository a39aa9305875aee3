"""A link over ZeroMQ and TCP: a ROUTER or XPUB for each bind, a DEALER or XSUB to each peer."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from struct import Struct
from traceback import clear_frames
from typing import Any

import zmq

from zmqkit.errors import ConfigError
from zmqkit.limits import CONNECTION_DESCRIPTORS, LINGER_S_MAX, ROLE_DESCRIPTORS
from zmqkit.links.descriptors import check_spare
from zmqkit.links.listening import gave_back, listen
from zmqkit.links.profile import KINDS, Profile, frames_max, is_watched, options_of
from zmqkit.model import EVERY_PEER, Frames, PeerId, Reach, reach_of_endpoint
from zmqkit.wire.encoding import is_unchanging

# Plain integers: combining pyzmq's enums costs more than sending does.
_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_FD = int(zmq.FD)
_POLLIN = int(zmq.POLLIN)
_RCVMORE = int(zmq.RCVMORE)
_COPY_BYTES_MAX = 1 << 17
_SEND_COPY_BYTES_MAX = 1 << 17
"""Up to this size a copy takes less time than a notice, in a thread, that libzmq is done."""
_GONE_S = 0.002
"""How long libzmq gets, before a close, to tell the socket of connections that ended."""
_LEARNED_BYTES = 31 << 20
_WATCHED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)

# zmq_socket_monitor(3): the event's number and a value, in the machine's byte order. pyzmq's
# own reader imports asyncio, which takes a third of the time of `import zmqkit`.
_EVENT = Struct("=hi")

Socket = zmq.Socket[Any]

is_unchanging(zmq.Frame)  # a frame that arrived may be passed on without a copy

# This skips pyzmq's wrapper in Python, which serves options that only draft sockets have.
_send: Callable[..., Any] = zmq.backend.Socket.send


@cache
def keep_freed_memory() -> None:
    """Have glibc keep the memory of large frames for later frames, up to 64 MiB.

    Memory that glibc returns to the kernel comes back page by page. That takes half as long as
    receiving the data that goes there. glibc learns how much to keep from the largest block
    that was mapped and freed. Nobody writes to the block made here, so it takes no memory. With
    other C libraries the function has no effect.
    """
    bytes(_LEARNED_BYTES)


def _uncopied(data: bytes | memoryview) -> Any:
    """Return what to send so that pyzmq copies nothing.

    That is the received frame itself if `data` views all of it. For other memory, a thread of
    pyzmq's own has to learn when libzmq is done with it.
    """
    viewed: Any = data.obj if type(data) is memoryview else None
    return viewed if type(viewed) is zmq.Frame and len(viewed) == len(data) else data


@dataclass(slots=True, eq=False)
class _Port:
    """One socket: bound, or connected to a peer.

    The ids of a bound ROUTER's peers begin with `prefix`. Other sockets have an empty prefix.
    """

    socket: Socket
    receive: Callable[..., Any]
    get: Callable[[int], Any]
    fd: int
    prefix: bytes
    peer: PeerId
    reach: Reach  # of the address that it is bound or connected to
    full: bool = False  # it is known to have more, so reading goes on until there is no more
    large: bool = False  # its last raw body was large, so the next probably is too
    monitor: Socket | None = None
    monitor_fd: int = -1


class ZeromqLink:
    """A `Link` over ZeroMQ's tcp transport.

    The descriptor of a ZeroMQ socket shows only changes, and a send can swallow a change. So
    the link looks again, before any wait, at each socket that it sent to or did not drain.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        profile: Profile,
        linger_s_max: float = LINGER_S_MAX,
    ) -> None:
        check_spare(ROLE_DESCRIPTORS, "a role")
        self._context = context
        self._profile = profile
        self._linger_s_max = linger_s_max
        self._kinds = KINDS[profile]
        self._frames_max = frames_max(profile)
        self._is_watched = is_watched(profile)
        self._selector = selectors.DefaultSelector()
        self.descriptors: tuple[int, ...] = (self.fileno(),)
        self._bound: list[_Port] = []
        self._endpoints: list[str] = []  # where they listen
        self._peers: dict[PeerId, _Port] = {}
        self._hot: dict[_Port, None] = {}
        self._only: _Port | None = None  # while it is the one and only socket
        self._changes: list[tuple[PeerId, bool]] = []

    def bind(self, endpoint: str, ports: tuple[int, int], also: str = "") -> str:
        """Listen on a TCP endpoint and return the address.

        ports: if the endpoint's port is 0, the first and the last port to try; (0, 0) takes any
        free port. also: another address of this machine, to listen there at the same port.
        """
        socket = self._socket(self._kinds[0])
        if self._kinds[0] == zmq.ROUTER:
            # A send to an unknown peer fails, instead of being dropped silently. libzmq chooses
            # the ids of peers, so no peer can claim the id of another, and libzmq never refuses
            # a reconnection for that.
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # IPv6 is on only where it is meant. Else libzmq reports an IPv4 address as one mapped
        # into IPv6.
        host = endpoint.rpartition(":")[0]
        socket.setsockopt(zmq.IPV6, int("*" in host or "[" in host))
        try:
            bound = listen(socket, endpoint, ports, also)
        except ConfigError:
            socket.close(linger=0)
            raise
        self._add_bound(socket, reach_of_endpoint(endpoint))
        self._endpoints += bound
        return bound[0]

    def connect(self, peer: PeerId, endpoint: str) -> None:
        """Open a socket to the endpoint. It reconnects by itself until `disconnect`."""
        self.disconnect(peer)
        check_spare(CONNECTION_DESCRIPTORS, f"a connection to {endpoint}")
        socket = self._socket(self._kinds[1])
        port = self._peers[peer] = self._watch(socket, b"", peer, reach_of_endpoint(endpoint))
        if self._is_watched:
            port.monitor = socket.get_monitor_socket(_WATCHED)
            monitor_fd: Any = port.monitor.get(_FD)
            port.monitor_fd = monitor_fd
            self._selector.register(port.monitor_fd, selectors.EVENT_READ, port)
        socket.connect(endpoint)
        if port.monitor is not None:
            self._read_monitor(port)  # arms its descriptor
        self._recount()

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        """Close the connection of that name, if there is one.

        libzmq keeps sending in the background for `linger_s`.
        """
        port = self._peers.pop(peer, None)
        if port is not None:
            self._close_port(port, linger_s)
            self._recount()

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Hand the frames to libzmq.

        Return false for an unknown peer, no connection or a full queue.
        """
        port = self._peers.get(peer)
        try:
            if port is None:
                port = self._bound[peer[0]]
                _send(port.socket, peer[1:], _MORE)
            if len(frames) > 1:
                for frame in frames[:-1]:
                    _send(port.socket, frame, _MORE)
            last = frames[-1]
            if len(last) < _SEND_COPY_BYTES_MAX:
                _send(port.socket, last, _NOBLOCK)
            else:
                _send(port.socket, _uncopied(last), _NOBLOCK, False)
        except (zmq.ZMQError, IndexError):
            return False
        finally:
            if port is not None:
                self._hot[port] = None
        return True

    def receive(self, packets_max: int, bytes_max: int) -> list[tuple[PeerId, Frames]]:
        """Return whole messages from all sockets, until none is left or the budget is used up.

        From a socket that has just become readable, it takes only the first message. Mostly
        there is no other, and the waiting caller need not wait for the check.
        """
        messages: list[tuple[PeerId, Frames]] = []
        if self._only is not None:
            self._drain(self._only, messages, packets_max, bytes_max)
            return messages
        self._find_hot()
        for port in list(self._hot):
            bytes_max = self._drain(port, messages, packets_max, bytes_max)
            if len(messages) >= packets_max or bytes_max <= 0:
                if port in self._hot:
                    del self._hot[port]
                self._hot[port] = None  # behind those that wait already
                break
        return messages

    def reach(self, peer: PeerId) -> Reach:
        """Return how far a peer's connection reaches.

        The answer follows from the address that it was opened to, or from the bound address
        that the peer connected to.
        """
        return (self._peers.get(peer) or self._bound[peer[0]]).reach

    def changes(self) -> list[tuple[PeerId, bool]]:
        """Return handshakes made (true) and connections broken (false), on a watched link."""
        changes, self._changes = self._changes, []
        return changes

    def pending(self) -> bool:
        """Return whether a socket that was sent to, or not drained, has something to read."""
        hot = self._hot
        while hot:
            port = next(iter(hot))
            if port.get(_EVENTS) & _POLLIN:
                port.full = True
                return True
            del hot[port]
        return False

    def fileno(self) -> int:
        """Return the descriptor of a selector over all sockets."""
        descriptor = self._selector.fileno()
        assert isinstance(descriptor, int)
        return descriptor

    def close(self, linger_s: float) -> None:
        """Close all sockets. libzmq keeps sending in the background, for at most `linger_s`.

        For a peer that has just gone, libzmq would wait all that time: it keeps what was sent
        after the connection ended, if the socket closes before it hears of that end. So libzmq
        gets a moment to tell, and the socket, asked for its events, listens.
        """
        if linger_s:
            time.sleep(_GONE_S)
            for port in self._bound:
                port.get(_EVENTS)
        gave_back(self._endpoints)
        for port in [*self._bound, *self._peers.values()]:
            self._close_port(port, linger_s)
        self._bound.clear()
        self._peers.clear()
        self._selector.close()

    def _socket(self, kind: int) -> Socket:
        try:
            socket = self._context.socket(kind)
        except BaseException as error:
            # After an interrupt, only the traceback refers to the socket. The context would
            # wait for that socket when it ends.
            clear_frames(error.__traceback__)
            raise
        for option, value in options_of(self._profile, kind).items():
            socket.setsockopt(option, value)
        return socket

    def _add_bound(self, socket: Socket, reach: Reach) -> None:
        """Keep a bound socket. A socket that publishes has all its peers as EVERY_PEER."""
        if self._kinds[0] == zmq.ROUTER:
            self._bound.append(self._watch(socket, bytes((len(self._bound),)), b"", reach))
        else:
            self._peers[EVERY_PEER] = self._watch(socket, b"", EVERY_PEER, reach)
        self._recount()

    def _watch(self, socket: Socket, prefix: bytes, peer: PeerId, reach: Reach) -> _Port:
        fd: Any = socket.get(_FD)
        port = _Port(socket, socket.recv, socket.get, fd, prefix, peer, reach)
        self._selector.register(port.fd, selectors.EVENT_READ, port)
        self._hot[port] = None
        return port

    def _recount(self) -> None:
        ports = [*self._bound, *self._peers.values()]
        alone = len(ports) == 1 and not self._is_watched
        self._only = ports[0] if alone else None
        # The socket's own descriptor wakes a waiting thread sooner than the selector's.

        self.descriptors = (ports[0].fd if alone else self.fileno(),)

    def _find_hot(self) -> None:
        for key, _ in self._selector.select(0):
            port = key.data
            if key.fd == port.monitor_fd:
                self._read_monitor(port)
            else:
                self._hot[port] = None

    def _drain(
        self,
        port: _Port,
        messages: list[tuple[PeerId, Frames]],
        packets_max: int,
        bytes_max: int,
    ) -> int:
        """Receive until the socket is empty or the budget is used up.

        Return how many bytes of the budget are left.
        """
        receive, get, prefix, peer = port.receive, port.get, port.prefix, port.peer
        self._hot[port] = None
        try:
            while len(messages) < packets_max and bytes_max > 0:
                if prefix:
                    peer = prefix + receive(_NOBLOCK)
                frame = receive(_NOBLOCK)
                bytes_max -= len(frame)
                frames: Frames = (frame,)
                while get(_RCVMORE):
                    # A second frame is a raw body. A peer that sends more frames does not speak
                    # this protocol; a device may understand it. Read all of them, so that none
                    # is taken for another peer's packet, but keep only as many as are useful.
                    body = self._receive_body(port)
                    bytes_max -= len(body)
                    if len(frames) < self._frames_max:
                        frames = (*frames, body)
                messages.append((peer, frames))
                if not port.full:
                    return bytes_max
        except zmq.Again:
            port.full = False
            del self._hot[port]
        return bytes_max

    def _receive_body(self, port: _Port) -> memoryview:
        """Return the next frame of a message. Do not copy it if the last body was large."""
        keep_freed_memory()
        if not port.large:
            body = memoryview(port.receive(_NOBLOCK))
        else:
            body = port.receive(_NOBLOCK, False).buffer
        port.large = len(body) >= _COPY_BYTES_MAX
        return body

    def _read_monitor(self, port: _Port) -> None:
        monitor = port.monitor
        assert monitor is not None
        get: Callable[[int], Any] = monitor.get
        while get(_EVENTS) & _POLLIN:
            event, _ = _EVENT.unpack(monitor.recv_multipart(_NOBLOCK)[0])
            self._changes.append((port.peer, event == zmq.EVENT_HANDSHAKE_SUCCEEDED))

    def _close_port(self, port: _Port, linger_s: float) -> None:
        self._hot.pop(port, None)
        self._selector.unregister(port.fd)
        if port.monitor is not None:
            self._selector.unregister(port.monitor_fd)
            port.socket.disable_monitor()
            port.monitor.close(linger=0)
        port.socket.close(linger=int(min(linger_s, self._linger_s_max) * 1000))
