"""Another process that roles here use, or this one: its control connection and its roles.

A process may have many addresses, and only some of them lead to it from here. So they are
raced: one more is tried every RACE_S, the first at which the right process answers is kept, and
the others are closed.

A process that answers may move to another address, and its connection says nothing of that for
seconds. So once anything speaks for a move, the connection in use is doubted: it is pinged, and
from RACE_S on the other addresses are raced beside it. It is given up when the process answered
at one of them and has left one more ping unanswered for RACE_S; any pong ends the doubt.
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
"""How many connections to one process have names of their own."""


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
    """One process: where it is, how it lives, and what was told of its roles.

    offers: this process. asks_others: whether it is asked who else is there; again at greet_at.
    addresses: those to try, the next one first. attempts: the connections that are open, the
    one in use first if it is alive. address: where it answered, or was tried last. answered:
    where it answered last, whatever records say since. told: for each incarnation and key that
    was announced as found, and not withdrawn since, the endpoint; empty to announce it again.
    untried, race_at: how many this round has yet to try, and when the next. next_at: of a ping,
    a hello or the next round. since: its life began. away_at: since when it has not
    answered. given_up: nobody answered in the last round. wake_at: when the wheel has it looked
    after. doubted: the first ping whose answer ends the doubt, 0 when there is none. rival,
    judge_at: the connection that answered meanwhile, and when it takes the place of the one in
    use.
    """

    offers: Offers
    process: int
    asks_others: bool = False
    life: Life = Life.GONE
    addresses: list[Address] = field(default_factory=list)
    attempts: dict[PeerId, Address] = field(default_factory=dict)
    address: Address = _NOWHERE
    answered: set[Address] = field(default_factory=set)
    silent: bool = False
    revision: int = -1
    token: int = 0
    tries: int = 0
    untried: int = 0
    race_at: float = math.inf
    pong_at: float = 0.0
    next_at: float = 0.0
    greet_at: float = math.inf
    greet_s: float = GREET_S
    give_up_at: float = math.inf
    since: float = 0.0
    away_at: float = 0.0
    given_up: bool = False
    wake_at: float = math.inf
    doubted: int = 0
    rival: PeerId = b""
    judge_at: float = math.inf
    told: dict[tuple[int, str], str] = field(default_factory=dict)

    @property
    def peer(self) -> PeerId:
        """The connection that answered, or the one tried first; a name of none while gone."""
        return next(iter(self.attempts), peer_of(self.process))

    @property
    def is_up(self) -> bool:
        """Whether it answers, or may yet."""
        return self.life is Life.CONNECTING or (self.life is Life.ALIVE and not self.silent)

    def endpoint(self, port: int) -> str:
        """A port of the process at the address that answered."""
        return Address(self.address.host, port).endpoint

    def take(self, addresses: list[Address], now: float) -> list[Effect]:
        """Try these from now on, new ones first."""
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
        """Race these, and then all that are not being tried."""
        open = self.attempts.values()
        race = first + [a for a in self.addresses if a not in open and a not in first]
        self.addresses = race + [each for each in self.addresses if each not in race]
        self.untried = len(race)
        self.race_at = now + RACE_S if race else math.inf

    # Its connection

    def greet(self, peer: PeerId) -> Effect:
        """Ask it who it is, and who else is there."""
        reach = self.attempts[peer].reach
        registration = self.offers.registration(reach) if self.asks_others else None
        return hello(self.offers.process, peer, registration)

    def greet_often(self, now: float) -> list[Effect]:
        """Tell it at once of what changed here, and a few times more in case that is lost."""
        if not self.asks_others or self.life is not Life.ALIVE:
            return []
        self.greet_s = GREET_S
        self.greet_at = now + GREET_S
        return [self.greet(self.peer)]

    def connect(self, now: float) -> list[Effect]:
        """Begin a round of all addresses."""
        self._turn(Life.CONNECTING, now)
        self.tries = 0
        self.untried = len(self.addresses)
        self.next_at = now + HELLO_S
        return self._try(now)

    def _try(self, now: float) -> list[Effect]:
        """Try the next address; each has two chances to answer before its turn is over."""
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
        """The process itself answered on this connection: keep it and close all others.

        Beside one in use, which had no time yet to answer itself, it is a rival.
        """
        if self.life is Life.ALIVE and peer != self.peer:
            return self._answered_elsewhere(peer, now)
        if self.doubted:
            return self._answered(now)  # perhaps long ago: only a pong ends the doubt
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
        """Another process answered on this connection; `is_over` says if it was the last."""
        if self.life is Life.ALIVE and peer == self.peer:
            return self.close()
        if peer == self.rival:
            self.rival, self.judge_at = b"", math.inf
        effects = [self._close(peer)]
        return effects + self._try(now) if self.untried and not self.attempts else effects

    def broke(self, peer: PeerId, now: float) -> list[Effect]:
        """This connection was lost; the link keeps trying to open it anew.

        If it was the one in use, the process is asked wherever else it may be.
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
        """Nobody answers: it is tried again after a tenth of the time it has been away."""
        self._turn(Life.GONE, now)
        self.given_up = True
        away_s = max(0.0, now - self.away_at)
        self.next_at = now + min(max(HELLO_S, away_s / 10), RETRY_S_MAX)
        self.silent = False
        self.told = {}
        return self.close()

    def close(self) -> list[Effect]:
        """Close what is open."""
        return self._close_all_but(b"")

    def _close_all_but(self, *peers: PeerId) -> list[Effect]:
        """Try nothing any more, nor doubt."""
        self._settle()
        self.untried, self.race_at = 0, math.inf
        return [self._close(each) for each in [*self.attempts] if each not in peers]

    def _close(self, peer: PeerId) -> Effect:
        del self.attempts[peer]
        return Disconnect(peer)

    def _turn(self, life: Life, now: float) -> None:
        if self.life is not life:
            self.life, self.since = life, now

    # Doubts about it

    def doubt(self, now: float, *, again: bool = False) -> list[Effect]:
        """The process may answer elsewhere, or `again` where it is: see whether it still does.

        Within this machine nothing moves.
        """
        if self.life is not Life.ALIVE or self.rival or self.address.reach is Reach.LOCAL:
            return []
        if again or not self.doubted:
            self._line_up(now, [self.address] if again else [])
        self.doubted = self.doubted or self.token + 1
        return [self._ping(now)]

    def _answered_elsewhere(self, peer: PeerId, now: float) -> list[Effect]:
        """Have the connection in use answer soon, or this one takes its place."""
        if self.rival:
            return [] if peer == self.rival else [self._close(peer)]
        doubted = self.doubted
        effects = self._close_all_but(self.peer, peer)
        self.doubted, self.rival, self.judge_at = doubted, peer, now + RACE_S
        return [*effects, self._ping(now)]

    def pong(self, token: int, now: float) -> list[Effect]:
        """The connection in use answered a ping."""
        is_over = 0 < self.doubted <= token
        return (self._close_all_but(self.peer) if is_over else []) + self._answered(now)

    def _judge(self, now: float) -> list[Effect]:
        """Give the connection in use up, unless it was this process that looks late."""
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
        """Do what is due: ping, say hello again, try an address."""
        effects: list[Effect] = []
        if self.life is Life.ALIVE:
            return self._look_after_alive(now)
        if self.life is Life.GONE:
            return self.connect(now) if self.addresses and now >= self.next_at else []
        if now - self.give_up_at > PING_S:
            # It was this process that slept, so the other has its chance yet.
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
        """Whether nobody answers, at none of the addresses, or not again in time."""
        if self.life not in (Life.CONNECTING, Life.LOST):
            return False
        return now >= self.give_up_at or not (self.attempts or self.untried)

    def due_at(self) -> float:
        """When to look after it next; infinity when there is nothing to try."""
        if self.life is Life.GONE:
            return self.next_at if self.addresses else math.inf
        if self.life is not Life.ALIVE:
            return min(self.next_at, self.race_at, self.give_up_at)
        at = min(self.next_at, self.greet_at, self.race_at, self.judge_at)
        return at if self.silent else min(at, self.pong_at + EVASIVE_S)

    # What is told of its roles

    def tell(self, news: News) -> list[Effect]:
        """The same news of each of its roles, to everybody who was told of it."""
        return [Tell(news, key, incarnation) for incarnation, key in self.told]

    def lists(self, record: Record, known: KnownRoles) -> bool:
        """Whether it answers, and has said itself what the record says: that is no news then.

        Else each of a thousand announced roles would have us look at all the thousand.
        """
        addresses = {Address(host, record.control_port) for host in record.addresses}
        is_known = known.is_listed(record) and addresses <= {*self.addresses}
        return self.life is Life.ALIVE and is_known

    def part(self, incarnation: int) -> list[Effect]:
        """Tell that it has a role no more, whoever was told of that."""
        over = [pair for pair in self.told if pair[0] == incarnation]
        for pair in over:
            del self.told[pair]
        return [Tell(News.GONE, key, incarnation) for _, key in over]

    def tell_again(self, key: str = "") -> None:
        """Have each role announced once more, under one key or all."""
        for pair in self.told:
            if key in ("", pair[1]):
                self.told[pair] = ""

    def untell(self, key: str) -> None:
        """Nobody asks by this key any more."""
        self.told = {pair: at for pair, at in self.told.items() if pair[1] != key}

    def check(self) -> None:
        """Connections match its life."""
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
    """What the link calls a connection to a process: its first attempt, or a later one."""
    suffix = attempt.to_bytes(2, "big") if attempt else b""
    return b"n" + process.to_bytes(8, "big") + suffix


def process_of(peer: PeerId) -> int:
    """The process that a connection is meant for, 0 if it is none of a neighbour."""
    return int.from_bytes(peer[1:9], "big") if peer[:1] == b"n" else 0
