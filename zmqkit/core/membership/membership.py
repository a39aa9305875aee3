"""Who is there: one core for each process, which trusts only what a process itself answers.

Discovery's records and addresses given by hand are hints. What counts is the control connection
to the process behind them:

    CONNECTING --WELCOME--> ALIVE --connection broke--> LOST --WELCOME, same process--> ALIVE
        |                     | \\--no pong for EVASIVE_S: silent, told as such          |
        +--nobody answers--> GONE <------------------- GONE_S passed ------------------+
    GONE --back-off, or heard anew--> CONNECTING, while a record of it is left

Roles that want a name are told of each instance: found, silent, answering, lost, gone. When a
record vanishes or names a new address, the core asks the process again. That never disconnects
a process that answers.
"""

from __future__ import annotations

from collections import Counter
from math import inf

from zmqkit.core.effects import Effect, News
from zmqkit.core.membership.directory import Directory, read_ends, read_pong
from zmqkit.core.membership.elsewhere import Elsewhere
from zmqkit.core.membership.exchange import Referrals
from zmqkit.core.membership.interests import Interests
from zmqkit.core.membership.known import (
    HELLO,
    ITS_LIST,
    PEER,
    STATIC,
    KnownRoles,
    RoleId,
    near_first,
)
from zmqkit.core.membership.lacks import Lacks
from zmqkit.core.membership.neighbour import Life, Neighbour
from zmqkit.core.membership.neighbours import Neighbours, in_turn
from zmqkit.core.membership.offers import Offers
from zmqkit.core.membership.room import Room
from zmqkit.core.membership.search import Search
from zmqkit.core.membership.seed import Seeds
from zmqkit.core.membership.statistics import Statistics
from zmqkit.limits import PING_S, MembershipLimits
from zmqkit.model import Address, Frames, PeerId, Reach, Record, Url
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed

_DEFAULTS = MembershipLimits()


class MembershipCore:
    """The neighbours of one process, on behalf of all its roles."""

    def __init__(
        self, process: int, limits: MembershipLimits = _DEFAULTS, space: str = ""
    ) -> None:
        self.limits = limits
        self.process = process
        self.elsewhere = Elsewhere(space, limits.known_max)
        self.malformed: Counter[str] = Counter()
        self.neighbours = Neighbours()
        self._known = KnownRoles(limits)
        self.offers = Offers(process, self._known, limits, space)
        self.roles = self._known.by_role
        self.seeds = Seeds(process, space)
        self._interests = Interests(self._known, self.seeds)
        self.statistics = Statistics(process)
        self.lacks = lacks = Lacks(self._known, self._interests, self.neighbours)
        self.search = Search(self._known, self._interests, self.seeds, self.elsewhere, lacks)
        self._referrals = Referrals(process, self.malformed, limits)
        self._room = Room(self.neighbours, self._interests, limits.connections_max)

    # Commands

    def want(self, key: str, now: float, reach: Reach) -> list[Effect]:
        """Find and watch the instances that a key means, within that reach."""
        self._interests.add(key, reach)
        self.lacks.wake(now)
        effects = self.seeds.ask_all(now)
        for neighbour in self.neighbours.values():
            neighbour.tell_again(key)
        self._room.make()
        for process in in_turn(self._known.processes(), self.process):
            effects += self._reach(process, now)
        return effects + self._ask_around(now)

    def unwant(self, key: str, reach: Reach) -> list[Effect]:
        """Undo one `want`, and disconnect from processes that no role uses any more."""
        if not self._interests.remove(key, reach):
            return []
        effects = self.seeds.remove(key)
        for neighbour in self.neighbours.values():
            neighbour.untell(key)
        return effects + self._drop_unused()

    def offer(self, record: Record, now: float, reach: Reach) -> list[Effect]:
        """Tell processes that ask, within that reach, of a role of this process."""
        self.offers.add(record, reach)
        if len(self.offers) == 1 and not self._interests:
            return self.seeds.ask_all(now)
        return self.neighbours.greet_all(now)

    def retract(self, incarnation: int, now: float) -> list[Effect]:
        """Tell no process of a role of this process any more."""
        told = self.offers.remove(incarnation)
        return told + self.neighbours.greet_all(now) + self._drop_unused()

    def moved(self, hosts: tuple[str, ...], now: float) -> list[Effect]:
        """Take the addresses of this host, at which static peers tell others to ask."""
        if hosts == self.offers.hosts:
            return []
        self.offers.hosts = hosts
        return self.neighbours.greet_all(now) + self.readdressed(now)

    def readdressed(self, now: float) -> list[Effect]:
        """Check connections, and try gone processes again: this host's addresses changed."""
        return self.neighbours.doubt_all(now)

    def seed(self, url: Url, key: str, role: str, now: float) -> list[Effect]:
        """Ask at an address who is there, whenever the process there is not a neighbour.

        key: the URL that a role wants; empty for an address that is given for all roles.
        """
        return self.seeds.add(url, key, role, now)

    def unseed(self, url: Url) -> list[Effect]:
        """Stop asking at an address that was given for all roles."""
        return self.seeds.forget(url) + self._drop_unused()

    def heard(self, record: Record, source: str, now: float) -> list[Effect]:
        """Take a record from discovery; one of another space is for explanations only."""
        if self.elsewhere.takes(record, source, now):
            return []
        vouched = self.neighbours.vouch(record, self._known)
        effects: list[Effect] = []
        if not self._known.counts(record.process, record.incarnation):
            self.malformed["conflict"] += 1
        if surplus := self._known.surplus(record):
            self.malformed["rivals-full"] += 1
            effects += self._erase((surplus, record.incarnation))
        if refused := self._known.learn(record, source, now):
            self.malformed[refused] += 1
            return effects
        return effects if vouched else effects + self._reach(record.process, now)

    def reminded(self, record: Record, source: str, now: float) -> list[Effect]:
        """Take a record that discovery still knows, if there was no room for it before."""
        return [] if self._known.has_heard(record, source) else self.heard(record, source, now)

    def vanished(self, record: Record, source: str) -> list[Effect]:
        """Take the end of a record: ask its process, or forget a role without other records."""
        if self.elsewhere.drops(record, source):
            return []
        return self._unheard((record.process, record.incarnation), source, record.label)

    def _unheard(self, role: RoleId, source: str, label: str = "") -> list[Effect]:
        entry = self.roles.get(role)
        if entry is None or source not in entry.sources:
            return []
        if not self._known.unlearn(role, source, label=label):
            return self._erase(role)
        neighbour = self.neighbours.get(role[0])
        if neighbour is None:
            return []
        if not self.uses(role[0]):  # it was wanted by a name that only this record said it has
            return self._drop(neighbour)
        return [neighbour.greet(peer) for peer in neighbour.attempts]

    def connected(self, peer: PeerId, now: float) -> list[Effect]:
        """Say hello on a control connection that the link opened."""
        neighbour = self.neighbours.at(peer)
        return self.seeds.greet(peer) if neighbour is None else [neighbour.greet(peer)]

    def disconnected(self, peer: PeerId, now: float) -> list[Effect]:
        """Note that the link lost a control connection; the link keeps trying to reopen it."""
        neighbour = self.neighbours.at(peer)
        if neighbour is None:
            return []
        effects = neighbour.broke(peer, now)
        self.neighbours.wake(neighbour)
        self._room.make()
        return effects

    # What the driver asks for

    def receive(
        self, peer: PeerId, frames: Frames, now: float, reach: Reach = Reach.PLAIN
    ) -> list[Effect]:
        """Take one packet from a control connection. Never raises for what was sent.

        reach: how far the connection reaches; by default the sender may be anywhere.
        """
        try:
            packet = wire.unpack(frames)
            if packet.kind == wire.HELLO:
                if not self.offers.admit(peer, packet, now, reach):
                    self.malformed["registrations-full"] += 1
                return [self.offers.welcome(peer, reach, packet, self.neighbours.gone())]
            if packet.kind == wire.PING:
                return [self.offers.pong(peer, packet, now, reach)]
            if packet.kind in (wire.STATISTICS, wire.TAP):
                return [self.statistics.answer(peer, packet, now, reach)]
            neighbour, seed = self.neighbours.at(peer), self.seeds.get(peer)
            if packet.kind == wire.WELCOME and neighbour is not None:
                return self._welcomed(neighbour, peer, self.offers.read(packet), now)
            if packet.kind == wire.WELCOME and seed is not None:
                directory = self.offers.read(packet)
                seed.answered(directory)
                return self._list(directory, seed.url.host, STATIC, now)
            if neighbour is not None and peer == neighbour.peer:
                if packet.kind == wire.PONG:
                    return self._pong(neighbour, *read_pong(packet), now)
                if packet.kind == wire.BYE:
                    return self._parted(neighbour, read_ends(packet))
            raise Malformed("unexpected")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Forget a caller that a packet did not reach; hello and ping are repeated anyway."""
        self.offers.callers.pop(peer, None)
        return []

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: ping, say hello again, give up, or try again."""
        effects = [e for each in self.neighbours.due(now) for e in self._look_after(each, now)]
        self.offers.tick(now)
        self.search.tick(now)
        self.lacks.tick(now)
        self.statistics.tick(now)
        effects += self._untold(self._referrals.tick(now))
        if self._is_active():
            effects += self.seeds.tick(now)
        return effects + self._ask_around(now) + self._reach_freed(now) + self._let_in(now)

    def flush(self, now: float) -> list[Effect]:
        """Tell roles that want a name what is known of it, and callers what is new here."""
        return self.offers.flush(now) + self.search.flush(now) + self.lacks.flush()

    def deadline(self) -> float:
        """Return when `tick` is due next; minus infinity for at once."""
        if self._known.freed or self._room.is_due:
            return -inf
        told_at = self._referrals.deadline(asks=bool(self._interests))
        seeds_at = self.seeds.deadline() if self._is_active() else inf
        others_at = min(self.offers.deadline(), self.search.due_at, self.statistics.deadline())
        return min(self.neighbours.deadline(), self.lacks.due_at, seeds_at, told_at, others_at)

    def check(self) -> None:
        """Assert that connections match lives, and that what was told is known and wanted."""
        self._known.check()
        self._referrals.check()
        self.offers.registrations.check()
        self.neighbours.check()
        told: set[tuple[int, str]] = set()
        for process, neighbour in self.neighbours.items():
            assert self.uses(process)
            for incarnation, key in neighbour.told:
                assert key in self._interests and (process, incarnation) in self.roles
                assert self._known.counts(process, incarnation)
            assert told.isdisjoint(neighbour.told)  # a role is told of at one process alone
            told.update(neighbour.told)

    # Neighbours

    def _is_active(self, reach: Reach = Reach.LOCAL) -> bool:
        """Whether static peers within that reach are needed, to find others or to be found."""
        if reach is Reach.LOCAL:
            return bool(self._interests) or len(self.offers) > 0
        return self._interests.reach >= reach or bool(self.offers.addresses(reach))

    def uses(self, process: int) -> list[Reach]:
        """Return the reach of each reason to watch a process; none if nothing uses it."""
        uses = self._interests.reaches(process)
        uses += [reach for reach in self.seeds.reaches(process) if self._is_active(reach)]
        if self._interests and self._referrals.asks(process):
            uses.append(self._interests.reach)
        return uses

    def addresses(self, process: int, reach: Reach) -> list[Address]:
        """Return where a process may be asked within that reach, the nearest address first."""
        sources = (self._known, self._referrals, self.neighbours)
        found = {each for source in sources for each in source.addresses(process, reach)}
        return near_first(found | self.seeds.addresses(process))

    def _reach(self, process: int, now: float) -> list[Effect]:
        """Connect to a process if it is used, has an address within reach and there is room.

        A neighbour that is connected takes new addresses. One that is not used is dropped.
        """
        uses = self.uses(process)
        neighbour = self.neighbours.get(process)
        if not uses:
            return self._drop(neighbour) if neighbour is not None else []
        addresses = self.addresses(process, max(uses))
        away = neighbour is None or neighbour.life is Life.GONE
        room = away and bool(addresses) and self._has_room(process)
        if neighbour is None:
            if not room:
                return []
            neighbour = self.neighbours[process] = Neighbour(self.offers, process)
        neighbour.asks_others = bool(self.seeds.peers(process))
        effects = neighbour.take(addresses, now) + self.seeds.rest(process)
        if room:
            neighbour.away_at, neighbour.given_up = now, False
            effects += neighbour.connect(now)
        self.neighbours.wake(neighbour)
        return effects + self._interests.found(neighbour)

    def _has_room(self, process: int) -> bool:
        """Whether there is room to connect to this process; if not, it waits."""
        asked = bool(self.seeds.peers(process)) or self._referrals.asks(process)
        return self._room.takes(process, asked=asked)

    def _let_in(self, now: float) -> list[Effect]:
        """Connect to processes that wait, as far as there is room now."""
        if not self._room.opens():
            return []
        turns = in_turn(self._known.processes(), self.process)
        waiting = [each for each in turns if each not in self.neighbours]
        return [effect for each in waiting for effect in self._reach(each, now)]

    def _drop(self, neighbour: Neighbour) -> list[Effect]:
        """Disconnect from a process that no role uses any more, and forget its own word."""
        self._room.make()
        del self.neighbours[neighbour.process]
        effects = neighbour.tell(News.GONE) + neighbour.close()
        self._known.forget_word(neighbour.process)
        self._referrals.release(neighbour.process)
        self._referrals.lost(neighbour.process, -inf)
        return effects + self.seeds.wake(neighbour.process)

    def _drop_unused(self) -> list[Effect]:
        unused = [each for each in self.neighbours.values() if not self.uses(each.process)]
        return [effect for each in unused for effect in self._drop(each)]

    def _look_after(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Do what is due for a neighbour, and have it looked after again in time."""
        was_up = neighbour.is_up
        again = neighbour.life is Life.GONE and now >= neighbour.next_at
        if again and not self._has_room(neighbour.process):
            neighbour.next_at = now + PING_S
        effects = neighbour.look_after(now)
        if neighbour.is_over(now):
            effects += self._gone(neighbour, now)
        if was_up and not neighbour.is_up:
            self._room.make()
        self.neighbours.wake(neighbour)
        return effects

    def _gone(self, neighbour: Neighbour, now: float) -> list[Effect]:
        """Tell that a process does not answer, and try it again later while it is used."""
        effects = neighbour.tell(News.GONE) + neighbour.give_up(now)
        self._known.forget_word(neighbour.process)
        effects += self.seeds.wake(neighbour.process)
        self._referrals.lost(neighbour.process, now + self.limits.referral_s)
        self._referrals.release(neighbour.process)
        uses = self.uses(neighbour.process)
        self._referrals.missed(neighbour.process, now, kept=bool(uses))
        self._room.make()
        if uses:
            neighbour.take(self.addresses(neighbour.process, max(uses)), now)
            self.neighbours.wake(neighbour)
        else:
            del self.neighbours[neighbour.process]
        return effects

    def _erase(self, role: RoleId) -> list[Effect]:
        """Forget a role and tell those that used it; drop its process if it is not used now."""
        if role not in self.roles:
            return []  # its process was forgotten meanwhile
        process, incarnation = role
        self._known.erase(role)
        neighbour = self.neighbours.get(process)
        if neighbour is None:
            return []
        effects = neighbour.part(incarnation)
        if not self.uses(process):
            effects += self._drop(neighbour)
        return effects

    # Which process has a role that several are said to have

    def _own(self, record: Record, source: str, now: float) -> list[Effect]:
        """Take a process's own word of a role; let go of others that were said to have it."""
        process, incarnation = record.process, record.incarnation
        was_known = incarnation in self._known.owners
        if refused := self._known.learn(record, source, now):
            self.malformed[refused] += 1
            return []
        if process in self._referrals:
            self._known.learn(record, PEER, now)
        effects: list[Effect] = []
        for rival in () if was_known else self._known.rivals(process, incarnation):
            neighbour = self.neighbours.get(rival)
            if neighbour is not None:
                effects += neighbour.part(incarnation)
                effects += self._reach(rival, now)
        return effects

    def _reach_freed(self, now: float) -> list[Effect]:
        """Ask the other processes that may have a role which its owner no longer claims."""
        effects: list[Effect] = []
        while self._known.freed:
            for rival in self._known.rivals(0, self._known.freed.pop()):
                effects += self._reach(rival, now)
        return effects

    # Static peers and the processes that they tell of

    def _untold(self, processes: list[int]) -> list[Effect]:
        """Take the end of what static peers told of these processes, like that of a record."""
        effects: list[Effect] = []
        for process in processes:
            for incarnation in self._known.of(process):
                effects += self._unheard((process, incarnation), PEER)
            neighbour = self.neighbours.get(process)
            if neighbour is not None and not self.uses(process):
                effects += self._drop(neighbour)
        return effects

    def _ask_around(self, now: float) -> list[Effect]:
        """Ask a few of the processes that static peers tell of which roles they have."""
        effects: list[Effect] = []
        if not self._interests:
            return effects
        for process in self._referrals.pick(now, self._interests.reach):
            neighbour = self.neighbours.get(process)
            if neighbour is not None and neighbour.life is Life.ALIVE:
                effects.append(neighbour.greet(neighbour.peer))
            effects += self._reach(process, now)
        return effects

    # Packets in

    def _welcomed(
        self, neighbour: Neighbour, peer: PeerId, directory: Directory, now: float
    ) -> list[Effect]:
        address = neighbour.attempts[peer]
        if directory.process != neighbour.process:  # its port belongs to another process now
            effects = neighbour.missed(peer, now)
            if not neighbour.attempts:
                effects += self._gone(neighbour, now)
            return effects + self._list(directory, address.host, HELLO, now)
        effects = neighbour.answered_at(peer, now)
        self.neighbours.wake(neighbour)
        if peer != neighbour.peer:
            return effects  # what it says counts once this connection is the one in use
        neighbour.revision = directory.revision
        self._referrals.answered(neighbour.process, now)
        if neighbour.asks_others and directory.others is not None:
            effects += self._untold(
                self._referrals.told(neighbour.process, address.reach, directory.others, now)
            )
        return effects + self._list(directory, address.host, HELLO, now) + self._ask_around(now)

    def _list(self, directory: Directory, host: str, source: str, now: float) -> list[Effect]:
        """Take a process's directory: learn the roles in it, and forget those it lacks.

        A role that discovery just announced is kept for a moment; then the process is asked
        again. What the process says is forgotten at once if it is not used as a neighbour.
        """
        process, young = directory.process, False
        effects: list[Effect] = []
        for record in directory.records(host):
            effects += self._own(record, source, now)
        effects += self.seeds.pick(directory, self.neighbours.get(process))
        for incarnation in self._known.unlisted(process, {row[2] for row in directory.roles}):
            entry = self.roles.get((process, incarnation))
            if entry is None:
                continue  # erased together with the one before
            # The directories on one connection come in order. So if an earlier one listed the
            # role, the role has ended.
            is_over = source == HELLO and HELLO in entry.sources
            announced = self._known.unlearn((process, incarnation), *ITS_LIST)
            if announced and not is_over and now - entry.heard_at < self.limits.unlisted_s:
                young = True
            else:
                effects += self._erase((process, incarnation))
        effects += self._reach(process, now)
        neighbour = self.neighbours.get(process)
        if neighbour is None:
            self._known.forget_word(process)
        elif young or directory.revision != neighbour.revision:  # one is older, said elsewhere
            neighbour.revision = -1  # so that the next pong makes us ask again
        return effects

    def _pong(
        self, neighbour: Neighbour, token: int, revision: int, now: float
    ) -> list[Effect]:
        effects = neighbour.pong(token, now)
        if revision != neighbour.revision:
            effects.append(neighbour.greet(neighbour.peer))
        return effects

    def _parted(self, neighbour: Neighbour, ends: frozenset[int]) -> list[Effect]:
        """Forget roles of a neighbour that it says have ended."""
        theirs = ends.intersection(self._known.of(neighbour.process))
        return [e for each in theirs for e in self._erase((neighbour.process, each))]
