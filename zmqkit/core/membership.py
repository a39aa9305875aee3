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

from zmqkit.core.directory import Directory, Offers, hello, read_directory
from zmqkit.core.effects import Effect, Tell
from zmqkit.core.neighbour import Life, Neighbour, process_of
from zmqkit.core.seed import Seed, Seeds
from zmqkit.core.sighting import HELLO, ITS_OWN_WORD, STATIC, Sightings
from zmqkit.core.timers import Wheel
from zmqkit.core.wants import EVERYBODY, Wants, key_of
from zmqkit.model import Frames, PeerId, Record, Url
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
        refused = self._known.learn(record, source, now)
        if refused:
            self.malformed[refused] += 1
            return []
        return self._reach(record.process, now)

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
        asked = self._at(peer) is not None or self._seeds.get(peer) is not None
        return [hello(self.process, peer)] if asked else []

    def disconnected(self, peer: PeerId, now: float) -> list[Effect]:
        """The link lost a control connection; it keeps trying to open it anew."""
        neighbour = self._at(peer)
        if neighbour is None or neighbour.life is not Life.ALIVE:
            return []
        neighbour.broke(now)
        self._wake(neighbour)
        return neighbour.tell("lost")

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet of a control connection. Never raises for what was sent."""
        try:
            packet = wire.unpack(frames)
            if packet.kind == wire.HELLO:
                return [self.offers.welcome(peer)]
            if packet.kind == wire.PING:
                return [self.offers.pong(peer, packet)]
            neighbour, seed = self._at(peer), self._seeds.get(peer)
            if packet.kind == wire.WELCOME and neighbour is not None:
                return self._welcomed(neighbour, peer, read_directory(packet), now)
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
            if neighbour is not None and now >= neighbour.wake_at:
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
            neighbour.check()
            for incarnation, key in neighbour.told:
                assert self.sightings[incarnation].record.process == process
                assert key in self._wants

    # Neighbours

    def _at(self, peer: PeerId) -> Neighbour | None:
        """The neighbour that has this connection open."""
        neighbour = self.neighbours.get(process_of(peer))
        return neighbour if neighbour is not None and peer in neighbour.attempts else None

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
            neighbour = self.neighbours[process] = Neighbour(self.process, process)
        neighbour.take_places(places, now)
        effects = self._seeds.rest(process)
        if neighbour.life is Life.GONE and neighbour.places:
            neighbour.away_at = now
            effects += neighbour.connect(now)
        self._wake(neighbour)
        return effects + self._tell_found(neighbour)

    def _drop(self, neighbour: Neighbour) -> list[Effect]:
        """Leave a process alone that nobody uses any more."""
        del self.neighbours[neighbour.process]
        effects = neighbour.tell("gone") + neighbour.close()
        self._known.forget_word(neighbour.process)
        return effects + self._seeds.wake(neighbour.process)

    def _look_after(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Do what is due for one neighbour, and have it looked after again in time."""
        neighbour.wake_at = inf
        effects = neighbour.look_after(now)
        if neighbour.is_over(now):
            effects += self._gone(neighbour, now)
        self._wake(neighbour)
        return effects

    def _wake(self, neighbour: Neighbour) -> None:
        """Have the neighbour looked after when its next thing is due."""
        at = neighbour.due_at()
        if at < neighbour.wake_at and self.neighbours.get(neighbour.process) is neighbour:
            neighbour.wake_at = at
            self._wheel.add(neighbour.process, at)

    def _gone(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Nobody answers there: tell, and try again while discovery still announces it."""
        effects = neighbour.tell("gone") + neighbour.give_up(now)
        self._known.forget_word(neighbour.process)
        effects += self._seeds.wake(neighbour.process)
        wanted = self._wants.opens(neighbour.process)
        if wanted:
            places = self._known.places(neighbour.process, beyond=any(wanted))
            neighbour.take_places(places, now)
            self._wake(neighbour)
        else:
            del self.neighbours[neighbour.process]
        return effects

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
        if not self._wants.opens(process):
            effects += self._drop(neighbour)
        return effects

    # Packets in

    def _welcomed(
        self, neighbour: Neighbour, peer: PeerId, directory: Directory, now: float
    ) -> list[Effect]:
        host = neighbour.attempts[peer][0]
        if directory.process != neighbour.process:
            # Its port belongs to another process now: the one we knew is not there.
            effects = neighbour.missed(peer, now)
            if not neighbour.attempts:
                effects += self._gone(neighbour, now)
            return effects + self._list(directory, host, HELLO, now)
        neighbour.revision = directory.revision
        effects = neighbour.answered_at(peer, now) + self._answered(neighbour, now)
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
            self._known.forget_word(process)
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
        return neighbour.tell("answering")

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
