"""Addresses given by hand, asked who is there until the process that answers is a neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, News, Tell
from zmqkit.core.membership.directory import Directory, hello
from zmqkit.core.membership.elsewhere import refusal
from zmqkit.core.membership.neighbour import Neighbour
from zmqkit.limits import HELLO_S, HELLO_S_MAX
from zmqkit.model import Address, PeerId, Reach, Url


@dataclass(slots=True, eq=False)
class Seed:
    """One address, which is asked again and again, more slowly each time, unless it rests."""

    url: Url
    key: str  # the URL that a role wants; empty for a static peer, which all roles use
    role: str  # the kind of role that the URL means
    peer: PeerId
    process: int = 0  # the process that answered there
    space: str = ""  # the one that this process is in
    incarnation: int = 0  # the role that the URL means
    control_port: int = 0  # the control port of the process that answered
    # When to ask; infinity while it rests, because membership is connected to that process.
    next_at: float = 0.0
    back_off_s: float = HELLO_S

    def answered(self, directory: Directory) -> None:
        """Note which process answered, and in which space it is."""
        self.process, self.space = directory.process, directory.space
        self.control_port = directory.control_port


class Seeds:
    """The seeds of this process, by the name of the connection over which each is asked."""

    def __init__(self, process: int, space: str = "") -> None:
        """process, space: of who asks."""
        self._process = process
        self._space = space
        self._by_peer: dict[PeerId, Seed] = {}

    def __iter__(self) -> Iterator[Seed]:
        return iter(self._by_peer.values())

    def get(self, peer: PeerId) -> Seed | None:
        """Return the seed that is asked over this connection, or None while it rests."""
        seed = self._by_peer.get(peer)
        return seed if seed is not None and seed.next_at < inf else None

    def greet(self, peer: PeerId) -> list[Effect]:
        """Say hello where a seed is asked over this connection."""
        return [] if self.get(peer) is None else [hello(self._process, peer, space=self._space)]

    def add(self, url: Url, key: str, role: str, now: float) -> list[Effect]:
        """Start to ask at an address; does nothing if that address is asked already."""
        peer = b"s" + (key or url.endpoint).encode()
        if peer in self._by_peer:
            return []
        seed = self._by_peer[peer] = Seed(url, key, role, peer)
        seed.next_at = now + HELLO_S
        return [Connect(peer, url.endpoint)]

    def remove(self, key: str) -> list[Effect]:
        """Stop asking at the address of a key."""
        effects: list[Effect] = []
        for peer in [peer for peer, seed in self._by_peer.items() if key and seed.key == key]:
            seed = self._by_peer.pop(peer)
            if seed.next_at < inf:
                effects.append(Disconnect(peer))
        return effects

    def forget(self, url: Url) -> list[Effect]:
        """Stop asking at a static peer."""
        seed = self._by_peer.pop(b"s" + url.endpoint.encode(), None)
        return [Disconnect(seed.peer)] if seed is not None and seed.next_at < inf else []

    def peers(self, process: int) -> list[Seed]:
        """Return the static peers that a process answers for."""
        return [seed for seed in self if not seed.key and seed.process == process]

    def reaches(self, process: int) -> list[Reach]:
        """Return the reach of the address of each static peer that a process answers for."""
        return [seed.url.reach for seed in self.peers(process)]

    def addresses(self, process: int) -> set[Address]:
        """Return where a process, if it is a static peer, has its control connection."""
        return {Address(seed.url.host, seed.control_port) for seed in self.peers(process)}

    def keys_of(self, process: int, incarnation: int) -> list[str]:
        """Return the URLs that mean this role of a process."""
        return [
            seed.key
            for seed in self
            if seed.key and (seed.process, seed.incarnation) == (process, incarnation)
        ]

    def urls(self, process: int, role: str) -> set[str]:
        """Return the URLs that mean a role of this kind where the process answered."""
        return {seed.key for seed in self if seed.process == process and seed.role == role}

    def pick(self, directory: Directory, neighbour: Neighbour | None) -> list[Effect]:
        """Find the roles that URLs mean in a directory, which is that of this neighbour.

        For a URL that meant another role before, that one is gone. A URL for which no role is
        found gets a hint that says why.
        """
        effects: list[Effect] = []
        for seed in self:
            if seed.process != directory.process or not seed.key:
                continue
            before, url = seed.incarnation, seed.url
            seed.incarnation, why = directory.pick(seed.role, url.name, url.port, before)
            if directory.space != self._space:
                why = refusal(url.endpoint, directory.space, self._space)
            if neighbour is not None and seed.incarnation not in (0, before):
                effects += neighbour.part(before, seed.key)
            if not seed.incarnation:
                effects.append(Tell(News.HINT, seed.key, text=why))
        return effects

    def rest(self, process: int) -> list[Effect]:
        """Stop asking where a process was found: membership has its own connection to it."""
        effects: list[Effect] = []
        for seed in self:
            if seed.process == process and seed.next_at < inf:
                seed.next_at = inf
                effects.append(Disconnect(seed.peer))
        return effects

    def wake(self, process: int) -> list[Effect]:
        """Ask at once, again, at the addresses where a process was found."""
        effects: list[Effect] = []
        for seed in self:
            if seed.process == process and seed.next_at == inf:
                seed.process = seed.incarnation = 0
                seed.back_off_s = HELLO_S / 2
                seed.next_at = 0.0
                effects.append(Connect(seed.peer, seed.url.endpoint))
        return effects

    def ask_all(self, now: float) -> list[Effect]:
        """Ask at once at every address that does not rest."""
        effects: list[Effect] = []
        for seed in self:
            if seed.next_at < inf:
                seed.back_off_s = HELLO_S
                seed.next_at = now + HELLO_S
                effects.append(hello(self._process, seed.peer, space=self._space))
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Ask at each address where it is time."""
        effects: list[Effect] = []
        for seed in self:
            if now >= seed.next_at:
                seed.back_off_s = min(2 * seed.back_off_s, HELLO_S_MAX)
                seed.next_at = now + seed.back_off_s
                effects.append(hello(self._process, seed.peer, space=self._space))
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min((seed.next_at for seed in self), default=inf)
