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
from math import inf

from zmqkit.core.directory import Directory, Offers, hello, ping, read_directory
from zmqkit.core.effects import Connect, Disconnect, Effect, Tell
from zmqkit.core.neighbour import Life, Neighbour
from zmqkit.core.seed import Seed, Seeds
from zmqkit.core.sighting import HELLO, ITS_OWN_WORD, STATIC, Sightings
from zmqkit.core.timers import Wheel
from zmqkit.core.wants import EVERYBODY, Wants, key_of
from zmqkit.model import Frames, PeerId, Record, Url
from zmqkit.options import EVASIVE_S, GONE_S, HELLO_S, HELLO_S_MAX, PING_S
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed
from zmqkit.wire.packet import Packet

__all__ = ["EVERYBODY", "UNLISTED_S", "MembershipCore", "key_of"]

UNLISTED_S = 5.0
"""How long discovery's word of a role counts though its process does not list it: an older
directory may still be under way when a new role is announced."""


class MembershipCore:
    """The neighbours of one process, on behalf of all its roles."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.offers = Offers(process)
        self.malformed: Counter[str] = Counter()
        self.neighbours: dict[int, Neighbour] = {}
        self._known = Sightings()
        self.sightings = self._known.by_incarnation
        self._by_peer: dict[PeerId, Neighbour] = {}
        self._seeds = Seeds(process)
        self._wants = Wants(self._known, self._seeds)
        self._wheel = Wheel()

    # Commands

    def want(self, key: str, now: float, *, open: bool) -> list[Effect]:
        """Find and watch the instances of a key, beyond this machine only if open."""
        self._wants.add(key, open=open)
        effects = self._seeds.ask_all(now)
        for neighbour in self.neighbours.values():
            neighbour.tell_again(key)
        for process in self._known.processes():
            effects += self._reach(process, now)
        return effects

    def unwant(self, key: str, *, open: bool) -> list[Effect]:
        """Undo one `want`; processes that nobody uses any more are left alone."""
        if not self._wants.remove(key, open=open):
            return []
        effects = self._seeds.remove(key)
        for neighbour in list(self.neighbours.values()):
            neighbour.untell(key)
            if not self._wants.opens(neighbour.process):
                effects += self._drop(neighbour)
        return effects

    def seed(self, url: Url, key: str, role: str, now: float) -> list[Effect]:
        """Ask who is at an address whenever the process there is not a neighbour."""
        return self._seeds.add(url, key, role, now)

    def heard(self, record: Record, source: str, now: float) -> list[Effect]:
        """Take a record from discovery."""
        neighbour = self.neighbours.get(record.process)
        news = neighbour is None or not neighbour.lists(record, self._known)
        refused = self._known.learn(record, source, now)
        if refused:
            self.malformed[refused] += 1
            return []
        return self._reach(record.process, now) if news else []

    def vanished(self, incarnation: int, source: str, now: float) -> list[Effect]:
        """Discovery withdrew a record: ask its process, or forget what nobody remembers."""
        sighting = self.sightings.get(incarnation)
        if sighting is None or source not in sighting.sources:
            return []
        if not self._known.unlearn(incarnation, source):
            return self._erase(incarnation)
        neighbour = self.neighbours.get(sighting.record.process)
        if neighbour is None or neighbour.life is Life.GONE:
            return []
        return [hello(self.process, neighbour.peer)]

    def connected(self, peer: PeerId, now: float) -> list[Effect]:
        """The link reached an address: say hello."""
        asked = peer in self._by_peer or self._seeds.get(peer) is not None
        return [hello(self.process, peer)] if asked else []

    def disconnected(self, peer: PeerId, now: float) -> list[Effect]:
        """The link lost a control connection; it keeps trying to open it anew."""
        neighbour = self._by_peer.get(peer)
        if neighbour is None or neighbour.life is not Life.ALIVE:
            return []
        neighbour.life = Life.LOST
        neighbour.next_at = now + HELLO_S
        neighbour.give_up_at = now + GONE_S
        self._wake(neighbour)
        return self._tell("lost", neighbour)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet of a control connection. Never raises for what was sent."""
        try:
            packet = wire.unpack(frames)
            if packet.kind == wire.HELLO:
                return [self.offers.welcome(peer)]
            if packet.kind == wire.PING:
                return [self.offers.pong(peer, packet)]
            neighbour, seed = self._by_peer.get(peer), self._seeds.get(peer)
            if packet.kind == wire.WELCOME and neighbour is not None:
                return self._welcomed(neighbour, read_directory(packet), now)
            if packet.kind == wire.WELCOME and seed is not None:
                return self._seed_answered(seed, read_directory(packet), now)
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
        effects: list[Effect] = []
        for process in self._wheel.due(now):
            neighbour = self.neighbours.get(process)
            if neighbour is not None:
                effects += self._look_after(neighbour, now)
        return effects + self._seeds.tick(now) if self._wants else effects

    def flush(self, now: float) -> list[Effect]:
        """Nothing to do: control packets leave at once."""
        return []

    def deadline(self) -> float:
        """When `tick` is due next."""
        return min(self._wheel.deadline(), self._seeds.deadline() if self._wants else inf)

    def check(self) -> None:
        """Connections match lives, and what was told is known and wanted."""
        self._known.check()
        for process, neighbour in self.neighbours.items():
            assert neighbour.process == process and self._wants.opens(process)
            assert (self._by_peer.get(neighbour.peer) is neighbour) == (
                neighbour.life is not Life.GONE
            )
            assert neighbour.life in (Life.ALIVE, Life.LOST) or not neighbour.told
            for incarnation, key in neighbour.told:
                assert self.sightings[incarnation].record.process == process
                assert key in self._wants
        assert len(self._by_peer) <= len(self.neighbours)

    # Neighbours

    def _reach(self, process: int, now: float) -> list[Effect]:
        """Connect to a process if a role of it is wanted and an address may be used."""
        wanted = self._wants.opens(process)
        neighbour = self.neighbours.get(process)
        if not wanted:
            return self._drop(neighbour) if neighbour is not None else []
        places = self._known.places(process, beyond=any(wanted))
        if neighbour is None:
            if not places:
                return []
            neighbour = Neighbour(process, b"n" + process.to_bytes(8, "big"))
            self.neighbours[process] = neighbour
        neighbour.take_places(places)
        effects = self._seeds.rest(process)
        if neighbour.life is Life.GONE and neighbour.places:
            return effects + self._connect(neighbour, now)
        return effects + self._tell_found(neighbour)

    def _connect(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Try the next address; each has two chances to answer before its turn is over."""
        neighbour.life = Life.CONNECTING
        neighbour.next_at = now + HELLO_S
        neighbour.give_up_at = now + 2 * HELLO_S
        self._by_peer[neighbour.peer] = neighbour
        self._wake(neighbour)
        return [Connect(neighbour.peer, neighbour.next_place())]

    def _disconnect(self, neighbour: Neighbour) -> list[Effect]:
        neighbour.life = Life.GONE
        neighbour.silent = False
        neighbour.told = {}
        if self._by_peer.pop(neighbour.peer, None) is None:
            return []
        return [Disconnect(neighbour.peer)]

    def _drop(self, neighbour: Neighbour) -> list[Effect]:
        """Leave a process alone that nobody uses any more."""
        del self.neighbours[neighbour.process]
        effects = self._tell("gone", neighbour) + self._disconnect(neighbour)
        self._forget_word(neighbour.process)
        return effects + self._seeds.wake(neighbour.process)

    def _look_after(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Do what is due for one neighbour, and have it looked after again in time."""
        effects: list[Effect] = []
        life = neighbour.life
        if life is Life.ALIVE:
            effects += self._look_after_alive(neighbour, now)
        elif life is Life.GONE:
            if now >= neighbour.next_at and neighbour.places:
                effects += self._connect(neighbour, now)
        elif now >= neighbour.give_up_at:
            if life is Life.CONNECTING and neighbour.tries < len(neighbour.places):
                effects += [*self._disconnect(neighbour), *self._connect(neighbour, now)]
            else:
                effects += self._gone(neighbour, now)
        elif now >= neighbour.next_at:
            neighbour.next_at = now + HELLO_S
            effects.append(hello(self.process, neighbour.peer))
        self._wake(neighbour)
        return effects

    def _look_after_alive(self, neighbour: Neighbour, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if now - neighbour.next_at > PING_S:
            # It was this process that slept, so nothing is known of the other.
            neighbour.pong_at = now
        if now >= neighbour.next_at:
            neighbour.next_at = now + PING_S
            effects.append(ping(self.process, neighbour))
        if not neighbour.silent and now >= neighbour.pong_at + EVASIVE_S:
            neighbour.silent = True
            effects += self._tell("silent", neighbour)
        return effects

    def _wake(self, neighbour: Neighbour) -> None:
        """Have the neighbour looked after when its next thing is due."""
        at = neighbour.due_at()
        if at < inf and self.neighbours.get(neighbour.process) is neighbour:
            self._wheel.add(neighbour.process, at)

    def _gone(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Nobody answers there: tell, and try again while discovery still announces it."""
        effects = self._tell("gone", neighbour)
        was_lost = neighbour.life is Life.LOST
        effects += self._disconnect(neighbour)
        longer_s = min(2 * neighbour.back_off_s, HELLO_S_MAX)
        neighbour.back_off_s = HELLO_S if was_lost else longer_s
        neighbour.next_at = now + neighbour.back_off_s
        neighbour.tries = 0
        self._forget_word(neighbour.process)
        effects += self._seeds.wake(neighbour.process)
        wanted = self._wants.opens(neighbour.process)
        if wanted:
            neighbour.take_places(self._known.places(neighbour.process, beyond=any(wanted)))
            self._wake(neighbour)
        else:
            del self.neighbours[neighbour.process]
        return effects

    def _forget_word(self, process: int) -> None:
        """A process that does not answer vouches for nothing: only discovery's word is left."""
        for incarnation in self._known.of(process):
            if not self._known.unlearn(incarnation, *ITS_OWN_WORD):
                self._known.erase(incarnation)

    def _erase(self, incarnation: int) -> list[Effect]:
        """Forget a role, and its process when that was its last; tell whoever used it."""
        process = self._known.erase(incarnation)
        neighbour = self.neighbours.get(process)
        if neighbour is None:
            return []
        keys = [key for i, key in neighbour.told if i == incarnation]
        effects: list[Effect] = [Tell("gone", key, incarnation) for key in keys]
        for key in keys:
            del neighbour.told[incarnation, key]
        return effects if self._wants.opens(process) else effects + self._drop(neighbour)

    # Packets in

    def _welcomed(self, neighbour: Neighbour, directory: Directory, now: float) -> list[Effect]:
        host = neighbour.place[0]
        if directory.process != neighbour.process:
            # Its port belongs to another process now, so the one we knew is gone.
            return self._gone(neighbour, now) + self._list(directory, host, HELLO, now)
        anew = neighbour.life is not Life.ALIVE
        neighbour.life = Life.ALIVE
        neighbour.revision = directory.revision
        neighbour.back_off_s = HELLO_S
        neighbour.tries = 0
        if anew:
            neighbour.next_at = now + PING_S
            neighbour.tell_again()
        effects = self._answered(neighbour, now)
        self._wake(neighbour)
        return effects + self._list(directory, host, HELLO, now)

    def _list(self, directory: Directory, host: str, source: str, now: float) -> list[Effect]:
        """Believe what a process says of its own roles, as long as it is a neighbour."""
        process, young = directory.process, False
        for record in directory.records(host):
            refused = self._known.learn(record, source, now)
            if refused:
                self.malformed[refused] += 1
        effects = self._seeds.pick(directory)
        for incarnation in self._known.unlisted(process, {row[2] for row in directory.roles}):
            if incarnation not in self.sightings:
                continue  # erased together with the one before
            heard_at = self.sightings[incarnation].heard_at
            announced = self._known.unlearn(incarnation, *ITS_OWN_WORD)
            if announced and now - heard_at < UNLISTED_S:
                young = True
            else:
                effects += self._erase(incarnation)
        effects += self._reach(process, now)
        neighbour = self.neighbours.get(process)
        if neighbour is None:
            self._forget_word(process)
        elif young:
            neighbour.revision = -1  # so that the next pong makes us ask again
        return effects

    def _seed_answered(self, seed: Seed, directory: Directory, now: float) -> list[Effect]:
        seed.process = directory.process
        return self._list(directory, seed.url.host, STATIC, now)

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
        return self._tell("answering", neighbour)

    # Telling roles

    def _tell_found(self, neighbour: Neighbour) -> list[Effect]:
        """Tell of each role that answers, and that its readers do not know of, or not there."""
        effects: list[Effect] = []
        if neighbour.life is not Life.ALIVE:
            return effects
        for incarnation in self._known.of(neighbour.process):
            endpoint = neighbour.endpoint(self.sightings[incarnation].record.port)
            for key in self._wants.keys(incarnation):
                if neighbour.told.get((incarnation, key)) != endpoint:
                    neighbour.told[incarnation, key] = endpoint
                    effects.append(Tell("found", key, incarnation, endpoint))
                    if neighbour.silent:
                        effects.append(Tell("silent", key, incarnation))
        return effects

    def _tell(self, news: str, neighbour: Neighbour) -> list[Effect]:
        return [Tell(news, key, incarnation) for incarnation, key in neighbour.told]
