"""A process that roles here use, possibly this one: its control connection and its roles.

A process may have many addresses, and only some of them lead to it from here. So they are
raced: one more is tried every RACE_S. The first address at which the right process answers is
kept, and the connections to the others are closed.

A process that answers may move to another address, and its old connection does not show that
for seconds. So once anything suggests a move, the connection in use is doubted. It is pinged,
and after RACE_S the other addresses are raced beside it. If the process answers at one of them,
the connection in use is pinged once more. It is given up when that ping stays unanswered for
RACE_S. A pong for a ping of the doubt ends the doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from zmqkit.core.effects import Connect, Disconnect, Effect, News, Tell
from zmqkit.core.membership.directory import hello, ping
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.offers import Offers
from zmqkit.limits import (
    EVASIVE_S,
    GONE_S,
    GREET_S,
    GREET_S_MAX,
    HELLO_S,
    PING_S,
    RACE_S,
    RETRY_S_MAX,
)
from zmqkit.model import LOOPBACK, Address, PeerId, Reach, Record

_NOWHERE = Address(LOOPBACK, 0)
_NAMES = 1 << 16
"""How many connections to one process have different names."""


class Life(Enum):
    """Where another process stands.

    CONNECTING: its addresses are being tried. ALIVE: it answers on its control connection.
    LOST: that connection broke a moment ago. GONE: it stayed away; tried again now and then.
    """

    CONNECTING = "connecting"
    ALIVE = "alive"
    LOST = "lost"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Neighbour:
    """One process: where it is, whether it answers, and what was told of its roles."""

    offers: Offers  # of this process
    process: int
    asks_others: bool = False  # whether it is also asked who else is there
    life: Life = Life.GONE
    addresses: list[Address] = field(default_factory=list)  # to try, the next one first
    # The connections that are open. While the process is alive, the first is the one in use.
    attempts: dict[PeerId, Address] = field(default_factory=dict)
    address: Address = _NOWHERE  # where it answered, or was tried last
    answered: set[Address] = field(default_factory=set)  # where it answered last
    silent: bool = False  # it is connected, and has not answered for EVASIVE_S
    revision: int = -1  # of the last directory that it sent
    token: int = 0  # of the last ping
    tries: int = 0  # attempts of this round, which name their connections
    untried: int = 0  # how many addresses this round has yet to try
    race_at: float = math.inf  # when to try the next address
    pong_at: float = 0.0  # when it answered last
    next_at: float = 0.0  # when to send a ping or a hello, or to begin the next round
    greet_at: float = math.inf  # when to ask again who else is there
    greet_s: float = GREET_S
    give_up_at: float = math.inf
    since: float = 0.0  # when its life turned to what it is
    away_at: float = 0.0  # since when it has not answered
    given_up: bool = False  # nobody answered in the last round
    wake_at: float = math.inf  # when the timer wheel has it looked after
    doubted: int = 0  # the first ping whose answer ends the doubt; 0 without a doubt
    rival: PeerId = b""  # another connection that answered during a doubt
    judge_at: float = math.inf  # when the rival takes the place of the connection in use
    # The endpoint that was told for each incarnation and key, until the role was told gone;
    # empty to tell of the role again.
    told: dict[tuple[int, str], str] = field(default_factory=dict)

    @property
    def peer(self) -> PeerId:
        """The connection in use, or else the oldest attempt; an unused name while gone."""
        return next(iter(self.attempts), peer_of(self.process))

    @property
    def is_up(self) -> bool:
        """Whether the process answers, or its addresses are being tried."""
        return self.life is Life.CONNECTING or (self.life is Life.ALIVE and not self.silent)

    def endpoint(self, port: int) -> str:
        """Return the endpoint of a port of the process, at the address that answered."""
        return Address(self.address.host, port).endpoint

    def take(self, addresses: list[Address], now: float) -> list[Effect]:
        """Take the addresses to try from now on, new ones first."""
        fresh = [each for each in addresses if each not in self.addresses]
        self.addresses = fresh + [each for each in self.addresses if each in addresses]
        self.untried = min(self.untried, len(self.addresses))
        effects: list[Effect] = []
        if self.life is Life.ALIVE and not self.doubted:
            elsewhere = fresh and not set(fresh) <= set(self.attempts.values())
            effects = self.doubt(now) if elsewhere else []
        elif fresh and self.life is not Life.GONE and not self.rival:
            self.untried = min(self.untried + len(fresh), len(self.addresses))
            self.race_at = min(self.race_at, now + RACE_S)
        if not self.untried:
            self.race_at = math.inf
        return effects

    def _line_up(self, now: float, first: list[Address]) -> None:
        """Race the addresses in `first`, and then all others that are not being tried."""
        open = self.attempts.values()
        race = first + [a for a in self.addresses if a not in open and a not in first]
        self.addresses = race + [each for each in self.addresses if each not in race]
        self.untried = len(race)
        self.race_at = now + RACE_S if race else math.inf

    # Its connection

    def greet(self, peer: PeerId) -> Effect:
        """Ask the process who it is, and if `asks_others` also who else is there."""
        reach = self.attempts[peer].reach
        registration = self.offers.registration(reach) if self.asks_others else {}
        return hello(self.offers.process, peer, registration, self.offers.space)

    def greet_often(self, now: float) -> list[Effect]:
        """Tell a static peer of a change here, and repeat that in case a packet is lost."""
        if not self.asks_others or self.life is not Life.ALIVE:
            return []
        self.greet_s = GREET_S
        self.greet_at = now + GREET_S
        return [self.greet(self.peer)]

    def connect(self, now: float) -> list[Effect]:
        """Begin a round in which each address is tried."""
        self._turn(Life.CONNECTING, now)
        self.tries = 0
        self.untried = len(self.addresses)
        self.next_at = now + HELLO_S
        return self._try(now)

    def _try(self, now: float) -> list[Effect]:
        """Try the next address, and leave it time to answer two hellos."""
        effects: list[Effect] = []
        was_used = self.life is not Life.CONNECTING
        if len(self.attempts) >= self.offers.limits.attempts_max:
            effects.append(self._close([*self.attempts][was_used]))
        while (peer := peer_of(self.process, self.tries % _NAMES)) in self.attempts:
            self.tries += 1
        address = self.attempts[peer] = self.addresses.pop(0)
        self.addresses.append(address)
        self.tries += 1
        self.untried -= 1
        self.race_at = now + RACE_S if self.untried else math.inf
        if not was_used:
            self.address = address
            self.give_up_at = now + 2 * HELLO_S
        return [*effects, Connect(peer, address.endpoint)]

    def answered_at(self, peer: PeerId, now: float) -> list[Effect]:
        """Note that the process answered on a connection: keep it and close all others.

        If another connection is in use, this one becomes its rival instead: the other may just
        not have had time to answer.
        """
        if self.life is Life.ALIVE and peer != self.peer:
            return self._answered_elsewhere(peer, now)
        if self.doubted:
            return self._answered(now)  # it may have been sent long ago; only a pong is proof
        if self.life is not Life.ALIVE:
            self._turn(Life.ALIVE, now)
            self.given_up = False
            self.next_at = now + PING_S
            self.greet_s = GREET_S
            self.greet_at = now + GREET_S if self.asks_others else math.inf
            self.tell_again()
        self.address = self.attempts[peer]
        self.answered = {self.address}
        if self.address in self.addresses:
            self.addresses.remove(self.address)
            self.addresses.insert(0, self.address)
        return self._close_all_but(peer) + self._answered(now)

    def _answered(self, now: float) -> list[Effect]:
        was_silent, self.silent = self.silent, False
        self.pong_at = now
        return self.tell(News.ANSWERING) if was_silent else []

    def missed(self, peer: PeerId, now: float) -> list[Effect]:
        """Close a connection on which another process answered.

        Afterwards `is_over` says whether that was the last chance.
        """
        if self.life is Life.ALIVE and peer == self.peer:
            return self.close()
        if peer == self.rival:
            self.rival, self.judge_at = b"", math.inf
        effects = [self._close(peer)]
        return effects + self._try(now) if self.untried and not self.attempts else effects

    def broke(self, peer: PeerId, now: float) -> list[Effect]:
        """Note that a connection was lost; the link keeps trying to reopen it.

        If it was the one in use, the process is also asked at its other addresses.
        """
        if peer == self.rival:
            self.rival, self.judge_at = b"", math.inf
        if self.life is not Life.ALIVE or peer != self.peer:
            return []
        return self._lose(now)

    def _lose(self, now: float) -> list[Effect]:
        self._turn(Life.LOST, now)
        self.away_at = now
        self.next_at = now + HELLO_S
        self.give_up_at = now + GONE_S
        self._settle()
        self._line_up(now, [])
        return [*self.tell(News.LOST), *map(self.greet, self.attempts)]

    def give_up(self, now: float) -> list[Effect]:
        """Give up a process that does not answer, until its next round.

        That begins after a tenth of the time that the process has been away, within HELLO_S and
        RETRY_S_MAX.
        """
        self._turn(Life.GONE, now)
        self.given_up = True
        away_s = max(0.0, now - self.away_at)
        self.next_at = now + min(max(HELLO_S, away_s / 10), RETRY_S_MAX)
        self.silent = False
        self.told = {}
        return self.close()

    def close(self) -> list[Effect]:
        """Close all connections."""
        return self._close_all_but(b"")

    def _close_all_but(self, *peers: PeerId) -> list[Effect]:
        """Close all connections but these, and end the race and the doubt."""
        self._settle()
        self.untried, self.race_at = 0, math.inf
        return [self._close(each) for each in [*self.attempts] if each not in peers]

    def _close(self, peer: PeerId) -> Effect:
        del self.attempts[peer]
        return Disconnect(peer)

    def _turn(self, life: Life, now: float) -> None:
        if self.life is not life:
            self.life, self.since = life, now

    # Doubts about the connection in use

    def doubt(self, now: float, *, again: bool = False) -> list[Effect]:
        """Doubt the connection in use: ping, and race the other addresses after RACE_S.

        again: race the address in use as well, over a new connection. Nothing is doubted within
        this machine, where nothing moves.
        """
        if self.life is not Life.ALIVE or self.rival or self.address.reach is Reach.LOCAL:
            return []
        if again or not self.doubted:
            self._line_up(now, [self.address] if again else [])
        self.doubted = self.doubted or self.token + 1
        return [self._ping(now)]

    def _answered_elsewhere(self, peer: PeerId, now: float) -> list[Effect]:
        """Have the connection in use answer within RACE_S, or this one takes its place."""
        if self.rival:
            return [] if peer == self.rival else [self._close(peer)]
        doubted = self.doubted
        effects = self._close_all_but(self.peer, peer)
        self.doubted, self.rival, self.judge_at = doubted, peer, now + RACE_S
        return [*effects, self._ping(now)]

    def pong(self, token: int, now: float) -> list[Effect]:
        """Note that the connection in use answered a ping."""
        is_over = 0 < self.doubted <= token
        return (self._close_all_but(self.peer) if is_over else []) + self._answered(now)

    def _judge(self, now: float) -> list[Effect]:
        """Give up the connection in use, unless this process looks too late to judge."""
        if now - self.judge_at > RACE_S:
            self.judge_at = now + RACE_S
            return [self._ping(now)]
        return [self._close(self.peer), *self._lose(now)]

    def _settle(self) -> None:
        self.doubted, self.rival, self.judge_at = 0, b"", math.inf

    def _ping(self, now: float) -> Effect:
        self.next_at = now + PING_S
        self.token += 1
        return ping(self.offers.process, self.peer, self.token)

    # Time

    def look_after(self, now: float) -> list[Effect]:
        """Do what is due: ping, say hello again, or try an address."""
        effects: list[Effect] = []
        if self.life is Life.ALIVE:
            return self._look_after_alive(now)
        if self.life is Life.GONE:
            return self.connect(now) if self.addresses and now >= self.next_at else []
        if now - self.give_up_at > PING_S:
            # It was this process that slept, so the other still gets its chance.
            self.give_up_at = now + 2 * HELLO_S
        if now >= self.race_at:
            effects += self._try(now)
        if now >= self.next_at and not self.is_over(now):
            self.next_at = now + HELLO_S
            effects += map(self.greet, self.attempts)
        return effects

    def _look_after_alive(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if now - self.next_at > PING_S:
            # It was this process that slept, so nothing is known of the other.
            self.pong_at = now
        if now >= self.judge_at:
            return self._judge(now)
        if now >= self.race_at:
            effects += self._try(now)
        if now >= self.next_at:
            effects.append(self._ping(now))
        if now >= self.greet_at:
            self.greet_s = min(2 * self.greet_s, GREET_S_MAX)
            self.greet_at = now + self.greet_s
            effects.append(self.greet(self.peer))
        if not self.silent and now >= self.pong_at + EVASIVE_S:
            self.silent = True
            effects += [*self.tell(News.SILENT), *self.doubt(now)]
        return effects

    def is_over(self, now: float) -> bool:
        """Whether this round is over: no address answered, or none did again in time."""
        if self.life not in (Life.CONNECTING, Life.LOST):
            return False
        return now >= self.give_up_at or not (self.attempts or self.untried)

    def due_at(self) -> float:
        """Return when to look after it next; infinity when there is nothing to try."""
        if self.life is Life.GONE:
            return self.next_at if self.addresses else math.inf
        if self.life is not Life.ALIVE:
            return min(self.next_at, self.race_at, self.give_up_at)
        at = min(self.next_at, self.greet_at, self.race_at, self.judge_at)
        return at if self.silent else min(at, self.pong_at + EVASIVE_S)

    # What is told of its roles

    def tell(self, news: News) -> list[Effect]:
        """Return the same news of each of its roles, for all who were told of that role."""
        return [Tell(news, key, incarnation) for incarnation, key in self.told]

    def lists(self, record: Record, known: KnownRoles) -> bool:
        """Whether it answers, and itself said what the record says, which then is no news.

        Otherwise each record of a process with a thousand roles would make us look at all of
        its roles.
        """
        addresses = {Address(host, record.control_port) for host in record.addresses}
        is_known = known.is_listed(record) and addresses <= {*self.addresses}
        return self.life is Life.ALIVE and is_known

    def part(self, incarnation: int, key: str = "") -> list[Effect]:
        """Tell that a role is gone to all who were told of it, or under that key alone."""
        over = [p for p in self.told if p[0] == incarnation and key in ("", p[1])]
        for pair in over:
            del self.told[pair]
        return [Tell(News.GONE, key, incarnation) for _, key in over]

    def tell_again(self, key: str = "") -> None:
        """Have its roles told of once more, under one key or, if it is empty, under all."""
        for pair in self.told:
            if key in ("", pair[1]):
                self.told[pair] = ""

    def untell(self, key: str) -> None:
        """Forget what was told under a key that nobody wants any more."""
        self.told = {pair: at for pair, at in self.told.items() if pair[1] != key}

    def check(self) -> None:
        """Assert that connections and doubts match its life."""
        assert bool(self.attempts) == (self.life is not Life.GONE)
        races = self.life in (Life.CONNECTING, Life.LOST) or self.doubted
        assert races or len(self.attempts) <= 1
        assert self.life is Life.ALIVE or not self.doubted
        assert bool(self.rival) == (self.judge_at < math.inf)
        assert not self.rival or (self.doubted and self.rival in [*self.attempts][1:])
        assert self.life in (Life.ALIVE, Life.LOST) or not self.told
        assert len(self.attempts) <= self.offers.limits.attempts_max
        assert self.untried <= len(self.addresses)


def peer_of(process: int, attempt: int = 0) -> PeerId:
    """Return the link's name of a connection to a process, by the number of its attempt."""
    suffix = attempt.to_bytes(2, "big") if attempt else b""
    return b"n" + process.to_bytes(8, "big") + suffix


def process_of(peer: PeerId) -> int:
    """Return the process that a connection is meant for; 0 if it is not a neighbour's."""
    return int.from_bytes(peer[1:9], "big") if peer[:1] == b"n" else 0
