"""A link in virtual time: a `Link` in front of dialers and listeners of a simulated network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from zmqkit.errors import AddressTaken
from zmqkit.limits import CREDIT_PACKETS
from zmqkit.links.profile import Profile
from zmqkit.model import Frames, PeerId, Reach, reach_of_endpoint
from zmqkit.simulation.diary import summary, told
from zmqkit.simulation.network import Arrival, Dialer, Host, Listener, Network
from zmqkit.simulation.subscriptions import TopicDialer, TopicListener


class SimulatedLink:
    """A `Link` of a host. It has no descriptors; it calls `wake` when something arrives.

    trace: writes what the link carries into a diary.
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        profile: Profile,
        wake: Callable[[], None],
        trace: Callable[[str], None],
    ) -> None:
        self.descriptors: tuple[int, ...] = ()
        self.dialers: dict[PeerId, Dialer] = {}  # the connections that it opened
        self.listeners: list[Listener] = []  # the addresses that it bound
        self._network = network
        self._host = host
        self._watched = profile is Profile.CONTROL
        self._topics = profile in (
            Profile.TOPICS, Profile.TOPICS_WITH_CREDIT, Profile.FORWARDER
        )  # fmt: skip
        self._told = told if self._topics else summary
        waits = profile in (Profile.TOPICS_WITH_CREDIT, Profile.FORWARDER)
        self._room = CREDIT_PACKETS if waits else 0
        self._wake = wake
        self._trace = trace
        self._closed = False
        self._inbox: deque[Arrival] = deque()
        self._changes: list[tuple[Dialer, bool]] = []

    def bind(self, endpoint: str, ports: tuple[int, int]) -> str:
        """Own the address and return it. Raise AddressTaken if another link owns it."""
        network, host = self._network, self._host
        if endpoint in network.listeners:
            raise AddressTaken(f"{endpoint} is bound already in this network")
        number = len(self.listeners)
        if self._topics:
            listener: Listener = TopicListener(
                network, host, endpoint, self._take, number, room=self._room
            )
        else:
            listener = Listener(network, host, endpoint, self._take, number)
        self.listeners.append(network.bind(listener))
        return endpoint

    def connect(self, peer: PeerId, endpoint: str) -> None:
        """Dial now, and again whenever the connection breaks, until `disconnect`."""
        self.disconnect(peer)
        kind = TopicDialer if self._topics else Dialer
        watch = self._change if self._watched else None
        dialer = kind(self._network, self._host, peer, endpoint, self._take, watch)
        self.dialers[peer] = self._network.connect(dialer)

    def disconnect(self, peer: PeerId, linger_s: float = 0.0) -> None:
        """Stop dialing. Packets that are under way may get lost."""
        dialer = self.dialers.pop(peer, None)
        if dialer is not None:
            dialer.close()

    def send(self, peer: PeerId, frames: Frames) -> bool:
        """Hand over one message. Return false if there is no route or no room."""
        self._trace(f"> {self._told(frames)}")
        dialer = self.dialers.get(peer)
        if dialer is not None:
            return dialer.send(frames)
        sent = [listener.send(peer, frames) for listener in self.listeners]
        return any(sent)

    def receive(self, packets_max: int, bytes_max: int) -> list[tuple[PeerId, Frames]]:
        """Return the messages that have arrived, within the budget."""
        messages: list[tuple[PeerId, Frames]] = []
        while self._inbox and len(messages) < packets_max and bytes_max > 0:
            for peer, frames in self._inbox.popleft()():
                self._trace(f"< {self._told(frames)}")
                messages.append((peer, frames))
                bytes_max -= sum(map(len, frames))
        return messages

    def reach(self, peer: PeerId) -> Reach:
        """Return how far a peer's connection reaches.

        The answer follows from the address that it was opened to, or from the bound address
        that the peer connected to.
        """
        end = self.dialers.get(peer) or self.listeners[peer[0]]
        return reach_of_endpoint(end.endpoint)

    def changes(self) -> list[tuple[PeerId, bool]]:
        """Return which watched connections were made (true) or broke (false)."""
        changes, self._changes = self._changes, []
        return [(d.peer, up) for d, up in changes if self.dialers.get(d.peer) is d]

    def pending(self) -> bool:
        """Return whether something has arrived or changed."""
        return bool(self._inbox or self._changes)

    def fileno(self) -> int:
        """Return -1.

        No descriptor is needed, since virtual time stands still while anybody waits.
        """
        return -1

    def close(self, linger_s: float) -> None:
        """Break all connections and give the addresses back. Last messages may still arrive."""
        for peer in list(self.dialers):
            self.disconnect(peer)
        while self.listeners:
            self.listeners.pop().close()
        self._closed = True
        self._inbox.clear()

    # What the network calls

    def _take(self, arrival: Arrival) -> None:
        if not self._closed:
            self._inbox.append(arrival)
            self._wake()

    def _change(self, peer: PeerId, up: bool) -> None:
        self._changes.append((self.dialers[peer], up))
        self._wake()
