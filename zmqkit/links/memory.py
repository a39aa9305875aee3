"""A link within one process: bounded queues between objects, without sockets or copies."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable
from math import inf

from zmqkit.errors import AddressTaken
from zmqkit.limits import CREDIT, TOPIC_BYTES_MAX
from zmqkit.model import EVERY_PEER, Frames, PeerId, Reach

_lock = threading.RLock()
"""A finalizer may close a link in the middle of what holds it, so it is reentrant. A forked
child has another one: a thread that it lacks may hold this one for ever."""
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.RLock()))
_bound: dict[str, MemoryLink] = {}
_watchers: dict[str, list[Callable[[], None]]] = {}
_numbers = itertools.count(1)


class MemoryLink:
    """A `Link` to `memory://NAME` addresses of this process.

    The link at the other end calls `join`, `part`, `put` and `subscribe`. It holds the one lock
    of all memory links while it does so.
    """

    def __init__(
        self, identity: int, *, topics: bool = False, packets_max: int = 2 * CREDIT
    ) -> None:
        """Make a link that has no addresses and no connections yet.

        identity: what `owners` has for the addresses that this link binds; not 0.
        topics: the link that binds publishes to all links that connect, by topic.
        packets_max: how many packets that this link sent may wait at the other end.
        """
        self.identity = identity
        self._topics = topics
        self._packets_max = packets_max
        self._prefixes: dict[PeerId, set[bytes]] = {}
        self._inbox: deque[tuple[PeerId, Frames]] = deque()
        # Roles never ask for them: so no more are kept than may wait of anything else.
        self._changes: deque[tuple[PeerId, bool]] = deque(maxlen=packets_max)
        self._ends: dict[PeerId, tuple[MemoryLink, PeerId]] = {}
        self._names: list[str] = []
        self._waker, self._wake_end = os.pipe()
        self.descriptors: tuple[int, ...] = (self._waker,)
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wake_end, False)
        self._closed = False

    def bind(self, endpoint: str, ports: tuple[int, int]) -> str:
        """Own the address `memory://NAME`. Raise AddressTaken if another link owns it."""
        with _lock:
            if endpoint in _bound:
                raise AddressTaken(f"{endpoint} is bound already in this process")
            _bound[endpoint] = self
            self._names.append(endpoint)
        _tell(endpoint)
        return endpoint

    def connect(self, peer: PeerId, endpoint: str) -> None:
        """Join two queues. If no link has bound the address, `send` will return false."""
        self.disconnect(peer)
        with _lock:
            other = _bound.get(endpoint)
            if other is None:
                return
            theirs = b"\x00" + next(_numbers).to_bytes(8, "big")
            self._ends[peer] = (other, theirs)
            other.join(theirs, self, peer)
            self._changed(peer, up=True)

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        """Take the two queues apart. Messages sent before are in the other queue already."""
        with _lock:
            other = self._ends.pop(peer, None)
            self._prefixes.pop(peer, None)
            if other is not None:
                kept = [message for message in self._inbox if message[0] != peer]
                self._inbox = deque(kept)
                other[0].part(other[1])

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Put the frames in the other end's queue. Return false if that end is gone or full.

        A link that publishes puts the frames in each queue that subscribed to their beginning
        and has room.
        """
        with _lock:
            if self._topics and peer == EVERY_PEER and peer not in self._ends:
                start = bytes(frames[0][: TOPIC_BYTES_MAX + 1])
                for each, prefixes in list(self._prefixes.items()):
                    end = self._ends.get(each)  # none if a finalizer took them apart
                    if end is not None and start.startswith(tuple(prefixes)):
                        end[0].put(end[1], frames, self._packets_max)
                return True
            end = self._ends.get(peer)
            if end is None:
                return False
            if self._topics:
                return end[0].subscribe(end[1], frames, self._packets_max)
            return end[0].put(end[1], frames, self._packets_max)

    def join(self, peer: PeerId, other: MemoryLink, theirs: PeerId) -> None:
        """Remember a link that has connected here."""
        self._ends[peer] = (other, theirs)

    def part(self, peer: PeerId) -> None:
        """Forget a link that has disconnected."""
        self._ends.pop(peer, None)
        self._unsubscribe(peer)
        self._changed(peer, up=False)

    def put(self, peer: PeerId, frames: Frames, packets_max: float) -> bool:
        """Take the frames in. Return false if `packets_max` packets are waiting already."""
        if len(self._inbox) >= packets_max:
            return False
        self._inbox.append((peer, frames))
        self._wake()
        return True

    def subscribe(self, peer: PeerId, frames: Frames, packets_max: int) -> bool:
        """Take the frames that a subscriber sent. Return false if there is no room for them.

        As in ZeroMQ, the frames arrive as messages of EVERY_PEER. A subscription that another
        connection shares is not told again.
        """
        first, prefix = bytes(frames[0][:1]), bytes(frames[0][1:])
        if first not in (b"\x00", b"\x01"):
            return self.put(EVERY_PEER, frames, packets_max)
        prefixes = self._prefixes.setdefault(peer, set())
        if (prefix in prefixes) == (first == b"\x01"):
            return True  # nothing changes
        if not self._shared(peer, prefix) and not self.put(EVERY_PEER, frames, packets_max):
            return False
        (prefixes.add if first == b"\x01" else prefixes.remove)(prefix)
        return True

    def _unsubscribe(self, peer: PeerId) -> None:
        """Tell that all subscriptions of a connection end. There is always room for that."""
        for prefix in self._prefixes.pop(peer, ()):
            if not self._shared(peer, prefix):
                self.put(EVERY_PEER, (b"\x00" + prefix,), inf)

    def _shared(self, peer: PeerId, prefix: bytes) -> bool:
        """Return whether another connection has the same subscription."""
        return any(prefix in each for p, each in self._prefixes.items() if p != peer)

    def receive(self, packets_max: int, bytes_max: int) -> list[tuple[PeerId, Frames]]:
        """Return the messages that have arrived, within the budget."""
        with _lock:
            messages: list[tuple[PeerId, Frames]] = []
            while self._inbox and len(messages) < packets_max and bytes_max > 0:
                message = self._inbox.popleft()
                bytes_max -= sum(map(len, message[1]))
                messages.append(message)
            if not self._inbox:
                self._rest()
        return messages

    def reach(self, peer: PeerId) -> Reach:
        """Return LOCAL: every peer is within this process."""
        return Reach.LOCAL

    def changes(self) -> list[tuple[PeerId, bool]]:
        """Return which peers were joined (true) or taken apart (false) since the last call.

        Of more than `packets_max` changes the last ones.
        """
        with _lock:
            changes = list(self._changes)
            self._changes.clear()
        return changes

    def pending(self) -> bool:
        """Return whether messages are left in the queue."""
        return bool(self._inbox)

    def fileno(self) -> int:
        """Return the reading end of a pipe that holds a byte while something is queued."""
        return self._waker

    def close(self, linger_s: float) -> None:
        """Take all queues apart and give the addresses back."""
        for peer in list(self._ends):
            self.disconnect(peer)
        with _lock:
            names, self._names = self._names, []
            for name in names:
                del _bound[name]
            self._closed = True
            os.close(self._waker)
            os.close(self._wake_end)
        for name in names:
            _tell(name)

    def _changed(self, peer: PeerId, *, up: bool) -> None:
        self._changes.append((peer, up))
        self._wake()

    def _wake(self) -> None:
        if not self._closed:
            try:
                os.write(self._wake_end, b"\0")
            except BlockingIOError:
                return  # the pipe is full of wake-ups already

    def _rest(self) -> None:
        try:
            os.read(self._waker, 1 << 16)
        except BlockingIOError:
            return  # nobody woke us


def owners(place: str) -> dict[int, str]:
    """Return the addresses that begin with a place, by the identity of the link at each."""
    with _lock:
        bound = list(_bound.items())
        return {link.identity: each for each, link in bound if each.startswith(place)}


def watch(place: str, callback: Callable[[], None]) -> None:
    """Call `callback` whenever a link binds an address that begins so, or gives one back.

    The call may come on any thread.
    """
    with _lock:
        _watchers.setdefault(place, []).append(callback)


def unwatch(place: str, callback: Callable[[], None]) -> None:
    """Undo one `watch`."""
    with _lock:
        _watchers[place].remove(callback)
        if not _watchers[place]:
            del _watchers[place]


def _tell(endpoint: str) -> None:
    with _lock:
        told = [each for place, each in _watchers.items() if endpoint.startswith(place)]
        callbacks = [callback for each in told for callback in each]
    for callback in callbacks:
        callback()
