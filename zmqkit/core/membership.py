"""Who is there: one core a process, fed by discovery, certain only of what answers itself.

Discovery's records and addresses given by hand are hints. What counts is the control connection
to the process behind them:

    CONNECTING --WELCOME--> ALIVE --connection broke--> LOST --WELCOME, same process--> ALIVE
        |                     | \\--no pong for EVASIVE_S: silent, told as such          |
        +--nobody answers--> GONE <------------------- GONE_S passed ------------------+
    GONE --back-off, or heard anew--> CONNECTING, while a record of it is left

Roles that want a name are told of each instance: found, silent, answering, lost, gone. A record
that vanishes makes us ask the process; it never disconnects one that talks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, Tell
from zmqkit.core.neighbour import (
    Life,
    Neighbour,
    Offers,
    Seed,
    Sighting,
    hello,
    ping,
    read_directory,
)
from zmqkit.model import Frames, PeerId, Record, Url, is_loopback
from zmqkit.options import EVASIVE_S, GONE_S, HELLO_S, HELLO_S_MAX, PING_S, RECORDS_MAX
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet

_ITS_OWN_WORD = frozenset({"hello", "static"})
"""Sources that count only while the process answers; discovery's records outlive it."""

EVERYBODY = "*/*"
"""The key of those who want to know about every role of every name."""


def key_of(role: str, name: str) -> str:
    """The key under which the instances of a name are wanted."""
    return f"{role}/{name}"


class MembershipCore:
    """The neighbours of one process, on behalf of all its roles."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.offers = Offers(process)
        self.malformed: Counter[str] = Counter()
        self.sightings: dict[int, Sighting] = {}
        self.neighbours: dict[int, Neighbour] = {}
        self._by_peer: dict[PeerId, Neighbour] = {}
        self._by_process: dict[int, set[int]] = {}
        self._seeds: dict[PeerId, Seed] = {}
        self._wants: dict[str, list[bool]] = {}
        self._check_at = inf

    # Commands

    def want(self, key: str, now: float, *, open: bool) -> list[Effect]:
        """Find and watch the instances of a key, beyond this machine only if open."""
        self._wants.setdefault(key, []).append(open)
        effects: list[Effect] = []
        for process in list(self._by_process):
            effects += self._reach(process, now)
            neighbour = self.neighbours.get(process)
            if neighbour is not None and neighbour.life is Life.ALIVE:
                effects += self._tell_found(neighbour, anew=True)
        return effects

    def unwant(self, key: str, *, open: bool) -> list[Effect]:
        """Undo one `want`; processes that nobody uses any more are left alone."""
        effects: list[Effect] = []
        if key in self._wants:
            self._wants[key].remove(open)
            if not self._wants[key]:
                del self._wants[key]
                for peer in [p for p, s in self._seeds.items() if s.key and s.key == key]:
                    del self._seeds[peer]
                    effects.append(Disconnect(peer))
        for neighbour in list(self.neighbours.values()):
            if not any(self._keys(i) for i in self._by_process.get(neighbour.process, ())):
                effects += self._disconnect(neighbour)
                del self.neighbours[neighbour.process]
        return effects

    def seed(self, url: Url, key: str, role: str, now: float) -> list[Effect]:
        """Ask who is at an address, until its process is a neighbour, and whenever it is lost."""
        peer = b"s" + (key or url.endpoint).encode()
        if peer in self._seeds:
            return []
        seed = self._seeds[peer] = Seed(url, key, role, peer)
        seed.next_at = now + HELLO_S
        self._wake(seed.next_at)
        return [Connect(peer, url.endpoint)]

    def heard(self, record: Record, source: str, now: float) -> list[Effect]:
        """Take a record from discovery, from a directory, or of a seed."""
        sighting = self.sightings.get(record.incarnation)
        if sighting is None:
            if len(self.sightings) >= RECORDS_MAX:
                self.malformed["records-full"] += 1
                return []
            sighting = self.sightings[record.incarnation] = Sighting({}, now)
            self._by_process.setdefault(record.process, set()).add(record.incarnation)
        elif sighting.record.process != record.process:
            self.malformed["conflict"] += 1
            return []
        sighting.sources[source] = record
        effects = self._reach(record.process, now)
        neighbour = self.neighbours.get(record.process)
        if neighbour is not None and neighbour.life is Life.ALIVE:
            effects += self._tell_found(neighbour)
        return effects

    def vanished(self, incarnation: int, source: str, now: float) -> list[Effect]:
        """Discovery withdrew a record: ask its process, or forget what nobody remembers."""
        sighting = self.sightings.get(incarnation)
        if sighting is None or sighting.sources.pop(source, None) is None:
            return []
        if not sighting.sources:
            return self._erase(incarnation)
        asked = [n for n in self._by_peer.values() if incarnation in n.told]
        return [hello(self.process, n.peer) for n in asked]

    def connected(self, peer: PeerId, now: float) -> list[Effect]:
        """The link reached an address: say hello."""
        return (
            [hello(self.process, peer)] if peer in self._by_peer or peer in self._seeds else []
        )

    def disconnected(self, peer: PeerId, now: float) -> list[Effect]:
        """The link lost a control connection; it keeps trying to open it anew."""
        neighbour = self._by_peer.get(peer)
        if neighbour is None or neighbour.life is not Life.ALIVE:
            return []
        neighbour.life = Life.LOST
        neighbour.give_up_at = now + GONE_S
        self._wake(neighbour.give_up_at)
        return self._tell("lost", neighbour, neighbour.told)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet of a control connection. Never raises for what was sent."""
        try:
            if len(frames) != 1:
                raise Malformed("frames")
            packet = wire.unpack(frames[0])
            if packet.kind == wire.HELLO:
                return [self.offers.welcome(peer)]
            if packet.kind == wire.PING:
                return [self.offers.pong(peer, packet)]
            neighbour, seed = self._by_peer.get(peer), self._seeds.get(peer)
            if packet.kind == wire.WELCOME and neighbour is not None:
                return self._welcomed(neighbour, packet, now)
            if packet.kind == wire.WELCOME and seed is not None:
                return self._seed_answered(seed, packet, now)
            if packet.kind == wire.PONG and neighbour is not None:
                return self._pong(neighbour, packet, now)
            raise Malformed("unexpected")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Nothing to do: hello and ping are repeated."""
        return []

    def tick(self, now: float) -> list[Effect]:
        """Ping, say hello again, give up, try again: whatever is due."""
        if now < self._check_at:
            return []
        self._check_at = inf
        effects: list[Effect] = []
        for neighbour in list(self.neighbours.values()):
            effects += self._look_after(neighbour, now)
        for seed in self._seeds.values():
            if now >= seed.next_at:
                seed.back_off_s = min(2 * seed.back_off_s, HELLO_S_MAX)
                seed.next_at = now + seed.back_off_s
                effects.append(hello(self.process, seed.peer))
            self._wake(seed.next_at)
        return effects

    def flush(self, now: float) -> list[Effect]:
        """Nothing to do: control packets leave at once."""
        return []

    def deadline(self) -> float:
        """When `tick` is due next."""
        return self._check_at

    def check(self) -> None:
        """Connections match lives, and what was told is known."""
        for neighbour in self.neighbours.values():
            assert (self._by_peer.get(neighbour.peer) is neighbour) == (
                neighbour.life is not Life.GONE
            )
            assert neighbour.told <= self.sightings.keys()
            assert neighbour.life in (Life.ALIVE, Life.LOST) or not neighbour.told
        for process, incarnations in self._by_process.items():
            assert incarnations
            assert all(self.sightings[i].record.process == process for i in incarnations)
        assert all(s.sources for s in self.sightings.values())

    # Neighbours

    def _reach(self, process: int, now: float) -> list[Effect]:
        """Connect to a process if a role of it is wanted and an address may be used."""
        wants = [want for i in self._by_process[process] for want in self._keys(i)]
        if not wants:
            return []
        beyond = any(open for key in wants for open in self._wants[key])
        places = {
            place: None
            for i in self._by_process[process]
            for place in self.sightings[i].places()
            if beyond or is_loopback(place[0])
        }
        neighbour = self.neighbours.get(process)
        if neighbour is None:
            if not places:
                return []
            neighbour = Neighbour(process, b"n" + process.to_bytes(8, "big"))
            self.neighbours[process] = neighbour
        fresh = [place for place in places if place not in neighbour.places]
        neighbour.places = fresh + [p for p in neighbour.places if p in places]
        return self._connect(neighbour, now) if fresh and neighbour.life is Life.GONE else []

    def _connect(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Try the next address; each has two chances to answer before its turn is over."""
        neighbour.place = neighbour.places.pop(0)
        neighbour.places.append(neighbour.place)
        neighbour.tries += 1
        neighbour.life = Life.CONNECTING
        neighbour.next_at = now + HELLO_S
        neighbour.give_up_at = now + 2 * HELLO_S
        self._by_peer[neighbour.peer] = neighbour
        self._wake(neighbour.next_at)
        return [Connect(neighbour.peer, neighbour.endpoint(neighbour.place[1]))]

    def _disconnect(self, neighbour: Neighbour) -> list[Effect]:
        neighbour.life = Life.GONE
        neighbour.silent = False
        neighbour.told = set()
        if self._by_peer.pop(neighbour.peer, None) is None:
            return []
        return [Disconnect(neighbour.peer)]

    def _look_after(self, neighbour: Neighbour, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if neighbour.life is Life.ALIVE:
            if now >= neighbour.next_at:
                neighbour.next_at = now + PING_S
                effects.append(ping(self.process, neighbour))
            if not neighbour.silent and now - neighbour.pong_at > EVASIVE_S:
                neighbour.silent = True
                effects += self._tell("silent", neighbour, neighbour.told)
        elif neighbour.life is Life.GONE:
            if now >= neighbour.next_at and neighbour.places:
                effects += self._connect(neighbour, now)
        elif now >= neighbour.give_up_at:
            if neighbour.life is Life.CONNECTING and neighbour.tries < len(neighbour.places):
                effects += [*self._disconnect(neighbour), *self._connect(neighbour, now)]
            else:
                effects += self._gone(neighbour, now)
        elif neighbour.life is Life.CONNECTING and now >= neighbour.next_at:
            neighbour.next_at = now + HELLO_S
            effects.append(hello(self.process, neighbour.peer))
        waits_for = {
            Life.LOST: neighbour.give_up_at,
            Life.CONNECTING: min(neighbour.next_at, neighbour.give_up_at),
        }
        if neighbour.process in self.neighbours:
            self._wake(waits_for.get(neighbour.life, neighbour.next_at))
        return effects

    def _gone(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Nobody answers there: tell, and try again while discovery still announces it."""
        effects = self._tell("gone", neighbour, neighbour.told)
        was_lost = neighbour.life is Life.LOST
        effects += self._disconnect(neighbour)
        neighbour.back_off_s = (
            HELLO_S if was_lost else min(2 * neighbour.back_off_s, HELLO_S_MAX)
        )
        neighbour.next_at = now + neighbour.back_off_s
        neighbour.tries = 0
        for incarnation in list(self._by_process.get(neighbour.process, ())):
            sources = self.sightings[incarnation].sources
            if sources.keys() <= _ITS_OWN_WORD:
                effects += self._erase(incarnation)
            else:
                for source in _ITS_OWN_WORD:
                    sources.pop(source, None)
        return effects + self._ask_seeds(neighbour.process, now)

    def _ask_seeds(self, process: int, now: float) -> list[Effect]:
        """Go back to the addresses that led to a process."""
        effects: list[Effect] = []
        for seed in self._seeds.values():
            if seed.process == process:
                seed.process = seed.incarnation = 0
                seed.back_off_s = HELLO_S
                seed.next_at = now + HELLO_S
                self._wake(seed.next_at)
                effects.append(Connect(seed.peer, seed.url.endpoint))
        return effects

    def _erase(self, incarnation: int) -> list[Effect]:
        """Forget a role, and its process when that was its last; tell whoever used it."""
        process = self.sightings[incarnation].record.process
        neighbour = self.neighbours.get(process)
        effects: list[Effect] = []
        if neighbour is not None and incarnation in neighbour.told:
            effects += self._tell("gone", neighbour, [incarnation])
            neighbour.told.discard(incarnation)
        del self.sightings[incarnation]
        self._by_process[process].discard(incarnation)
        if not self._by_process[process]:
            del self._by_process[process]
            if neighbour is not None:
                effects += self._disconnect(neighbour)
                del self.neighbours[process]
        return effects

    # Packets in

    def _welcomed(self, neighbour: Neighbour, packet: Packet, now: float) -> list[Effect]:
        directory = read_directory(packet)
        host = neighbour.place[0]
        if directory.process != neighbour.process:
            # Its port belongs to another process now, so the one we knew is gone.
            effects = self._gone(neighbour, now)
            for record in directory.records(host):
                effects += self.heard(record, "hello", now)
            return effects
        anew = neighbour.life is not Life.ALIVE
        neighbour.life = Life.ALIVE
        neighbour.revision = directory.revision
        neighbour.back_off_s = HELLO_S
        neighbour.tries = 0
        if anew:
            neighbour.next_at = now + PING_S
            self._wake(neighbour.next_at)
        effects = self._answered(neighbour, now)
        listed = {row[2] for row in directory.roles}
        for incarnation in self._by_process.get(neighbour.process, set()) - listed:
            effects += self._erase(incarnation)
        for record in directory.records(host):
            effects += self.heard(record, "hello", now)
        return effects + (self._tell_found(neighbour, anew=True) if anew else [])

    def _seed_answered(self, seed: Seed, packet: Packet, now: float) -> list[Effect]:
        directory = read_directory(packet)
        if seed.key:
            seed.incarnation, why = directory.pick(seed.role, seed.url.name)
            if not seed.incarnation:
                return [Tell("hint", seed.key, text=why)]
        seed.process = directory.process
        seed.next_at = inf
        effects: list[Effect] = [Disconnect(seed.peer)]
        for record in directory.records(seed.url.host):
            effects += self.heard(record, "static", now)
        return effects

    def _pong(self, neighbour: Neighbour, packet: Packet, now: float) -> list[Effect]:
        meta = packet.meta
        if type(meta) is not list or len(meta) != 2:
            raise Malformed("pong")
        effects = self._answered(neighbour, now)
        if meta[1] != neighbour.revision:
            effects.append(hello(self.process, neighbour.peer))
        return effects

    def _answered(self, neighbour: Neighbour, now: float) -> list[Effect]:
        neighbour.pong_at = now
        if not neighbour.silent:
            return []
        neighbour.silent = False
        return self._tell("answering", neighbour, neighbour.told)

    # Telling roles

    def _keys(self, incarnation: int) -> list[str]:
        """The keys under which somebody wants this instance."""
        sighting = self.sightings.get(incarnation)
        if sighting is None:
            return []
        own = (key_of(sighting.record.role, sighting.record.name), EVERYBODY)
        keys = [key for key in own if key in self._wants]
        return keys + [
            s.key
            for s in self._seeds.values()
            if s.incarnation == incarnation and s.key in self._wants
        ]

    def _tell_found(self, neighbour: Neighbour, *, anew: bool = False) -> list[Effect]:
        effects: list[Effect] = []
        for incarnation in self._by_process.get(neighbour.process, ()):
            keys = self._keys(incarnation)
            if keys and (anew or incarnation not in neighbour.told):
                neighbour.told.add(incarnation)
                endpoint = neighbour.endpoint(self.sightings[incarnation].record.port)
                effects.extend(Tell("found", key, incarnation, endpoint) for key in keys)
                if neighbour.silent:
                    effects.extend(Tell("silent", key, incarnation) for key in keys)
        return effects

    def _tell(
        self, news: str, neighbour: Neighbour, incarnations: Iterable[int]
    ) -> list[Effect]:
        return [Tell(news, key, i) for i in incarnations for key in self._keys(i)]

    def _wake(self, at: float) -> None:
        self._check_at = min(self._check_at, at)
