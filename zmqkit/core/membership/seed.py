"""Addresses given by hand: asked who is there, until that process is a neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, News, Tell
from zmqkit.core.membership.directory import Directory, hello
from zmqkit.limits import HELLO_S, HELLO_S_MAX
from zmqkit.model import Address, PeerId, Reach, Url


@dataclass(slots=True, eq=False)
class Seed:
    """One address. It is asked again and again, slower each time, unless it rests.

    key: the URL that a role wants, or empty for a peer of everybody. role: what it must be.
    process, control_port: who answered there. incarnation: the role meant by the URL. next_at:
    when to ask; infinity while it rests, because membership holds a connection to that process.
    """

    url: Url
    key: str
    role: str
    peer: PeerId
    process: int = 0
    incarnation: int = 0
    control_port: int = 0
    next_at: float = 0.0
    back_off_s: float = HELLO_S


class Seeds:
    """The seeds of one process, by the peer that each is asked as."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._by_peer: dict[PeerId, Seed] = {}

    def __iter__(self) -> Iterator[Seed]:
        return iter(self._by_peer.values())

    def get(self, peer: PeerId) -> Seed | None:
        """The seed that is asked as this peer, unless it rests."""
        seed = self._by_peer.get(peer)
        return seed if seed is not None and seed.next_at < inf else None

    def add(self, url: Url, key: str, role: str, now: float) -> list[Effect]:
        """Start to ask at an address; nothing happens if it is asked already."""
        peer = b"s" + (key or url.endpoint).encode()
        if peer in self._by_peer:
            return []
        seed = self._by_peer[peer] = Seed(url, key, role, peer)
        seed.next_at = now + HELLO_S
        return [Connect(peer, url.endpoint)]

    def remove(self, key: str) -> list[Effect]:
        """Stop asking on behalf of a key."""
        effects: list[Effect] = []
        for peer in [peer for peer, seed in self._by_peer.items() if key and seed.key == key]:
            seed = self._by_peer.pop(peer)
            if seed.next_at < inf:
                effects.append(Disconnect(peer))
        return effects

    def forget(self, url: Url) -> list[Effect]:
        """Stop asking at a peer of everybody."""
        seed = self._by_peer.pop(b"s" + url.endpoint.encode(), None)
        return [Disconnect(seed.peer)] if seed is not None and seed.next_at < inf else []

    def peers(self, process: int) -> list[Seed]:
        """The peers of everybody that this process is."""
        return [seed for seed in self if not seed.key and seed.process == process]

    def reaches(self, process: int) -> list[Reach]:
        """For each peer of everybody that it is, how far one reaches for it."""
        return [seed.url.reach for seed in self.peers(process)]

    def addresses(self, process: int) -> set[Address]:
        """Where that peer of everybody may be asked on its control connection."""
        return {Address(seed.url.host, seed.control_port) for seed in self.peers(process)}

    def keys_of(self, process: int, incarnation: int) -> list[str]:
        """The URLs that mean this role of a process."""
        return [
            seed.key
            for seed in self
            if seed.key and (seed.process, seed.incarnation) == (process, incarnation)
        ]

    def pick(self, directory: Directory) -> list[Effect]:
        """Find the roles that URLs mean at a process, where those they meant are not listed."""
        effects: list[Effect] = []
        listed = {row[2] for row in directory.roles}
        for seed in self:
            meant = seed.process == directory.process and seed.key
            if meant and seed.incarnation not in listed:
                seed.incarnation, why = directory.pick(seed.role, seed.url.name)
                if not seed.incarnation:
                    effects.append(Tell(News.HINT, seed.key, text=why))
        return effects

    def rest(self, process: int) -> list[Effect]:
        """Ask no more where this process was found: there is a better connection to it."""
        effects: list[Effect] = []
        for seed in self:
            if seed.process == process and seed.next_at < inf:
                seed.next_at = inf
                effects.append(Disconnect(seed.peer))
        return effects

    def wake(self, process: int) -> list[Effect]:
        """Ask again, at once, at the addresses that led to a process."""
        effects: list[Effect] = []
        for seed in self:
            if seed.process == process and seed.next_at == inf:
                seed.process = seed.incarnation = 0
                seed.back_off_s = HELLO_S / 2
                seed.next_at = 0.0
                effects.append(Connect(seed.peer, seed.url.endpoint))
        return effects

    def ask_all(self, now: float) -> list[Effect]:
        """Ask at once wherever nobody has been found to hold on to."""
        effects: list[Effect] = []
        for seed in self:
            if seed.next_at < inf:
                seed.back_off_s = HELLO_S
                seed.next_at = now + HELLO_S
                effects.append(hello(self._process, seed.peer))
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Ask wherever it is time."""
        effects: list[Effect] = []
        for seed in self:
            if now >= seed.next_at:
                seed.back_off_s = min(2 * seed.back_off_s, HELLO_S_MAX)
                seed.next_at = now + seed.back_off_s
                effects.append(hello(self._process, seed.peer))
        return effects

    def deadline(self) -> float:
        """When `tick` is due next."""
        return min((seed.next_at for seed in self), default=inf)
