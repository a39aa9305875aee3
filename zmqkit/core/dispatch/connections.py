"""The instances of one name: where each of them is, and whether it can be used.

Theory of operation. Membership tells of instances by number: `found` at an endpoint, `silent`
and `answering`, `lost`, `gone`. Each has a connection of its own, on which it is greeted
(HELLO, with back-off) until it answers (WELCOME), and on which it says that it is leaving
(BYE). `LIFE` has the state that follows from each event in each state; whatever differs between
patterns (a client closes the socket of a lost instance, a subscriber keeps that of a publisher;
a client listens to one that left) is done by whoever owns the table.

    OPENING  connecting; WELCOME has not come since the last greeting
    UP       answers; it is chosen for new work unless its process is silent
    LEAVING  said BYE: it finishes what it has
    LEFT     closed, and not lost: what it said last may still be under way
    LOST     out of reach; it may return
    OVER     forgotten: what is known of it is that it may be found again

More instances may be known than are connected. Which ones are connected is decided by a
rendezvous hash, and those whose process is silent come last. A connected one that is silent, or
never answers, gives way to a known one that is not, once nothing is under way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2b
from math import inf
from typing import Generic, TypeVar

from zmqkit.limits import HELLO_S, HELLO_S_MAX
from zmqkit.model import PeerId

_DEAF_S = 4 * HELLO_S
"""An instance whose back-off came this far has not answered three greetings."""


class State(Enum):
    """Where an instance stands; the module's theory says what each means."""

    OPENING = "opening"
    UP = "up"
    LEAVING = "leaving"
    LEFT = "left"
    LOST = "lost"
    OVER = "over"


class Event(Enum):
    """What may happen to an instance.

    FOUND: it can be reached, for the first time, anew or elsewhere. WELCOME: it answered.
    RENEWED: it is to answer once more, for what it was told has changed. BYE: it takes nothing
    new. LOST: it is out of reach. GONE: it has closed. OVER: it is given up.
    """

    FOUND = auto()
    WELCOME = auto()
    RENEWED = auto()
    BYE = auto()
    LOST = auto()
    GONE = auto()
    OVER = auto()


def _row(states: str) -> dict[Event, State]:
    return dict(zip(Event, (State[name] for name in states.split()), strict=True))


LIFE: Mapping[State, Mapping[Event, State]] = {
    #                    FOUND   WELCOME RENEWED BYE     LOST GONE OVER
    State.OPENING: _row("OPENING UP      OPENING OPENING LOST OVER OVER"),
    State.UP:      _row("OPENING UP      OPENING LEAVING LOST LEFT OVER"),
    State.LEAVING: _row("OPENING LEAVING LEAVING LEAVING LOST LEFT OVER"),
    State.LEFT:    _row("OPENING LEFT    LEFT    LEFT    LEFT LEFT OVER"),
    State.LOST:    _row("OPENING UP      LOST    LOST    LOST OVER OVER"),
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Connection:
    """One instance and the connection to it.

    silent: its process does not answer, though its connection stands. hello_at: when to greet
    it again while it does not answer. hello_s: after how long then.
    """

    incarnation: int
    peer: PeerId
    endpoint: str
    state: State = State.OPENING
    silent: bool = False
    hello_at: float = inf
    hello_s: float = HELLO_S

    @property
    def chosen(self) -> bool:
        """Whether new work may be given to it."""
        return self.state is State.UP and not self.silent

    @property
    def is_deaf(self) -> bool:
        """Whether there is reason to use another one in its place."""
        return self.silent or (self.state is State.OPENING and self.hello_s >= _DEAF_S)


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """What is known of the instances of a name, and the connections to some of them.

    known: the endpoint of each that membership told of and did not take back. ready: those that
    are chosen for new work, least recently used first. due_at: when `unanswered` or
    `awaited_over` has something to return next; it may be too early and never too late.
    """

    def __init__(
        self,
        incarnation: int,
        make: Callable[[int, str], C],
        *,
        connections_max: int,
        known_max: int,
    ) -> None:
        """`incarnation` is that of the role that uses them; `make` is given that of another
        one and its endpoint."""
        self.due_at = inf
        self.known: dict[int, str] = {}
        self.by_incarnation: dict[int, C] = {}
        self.by_peer: dict[PeerId, C] = {}
        self.ready: list[C] = []
        self._incarnation = incarnation
        self._make = make
        self._connections_max = connections_max
        self._known_max = known_max
        self._silent: set[int] = set()
        self._awaited: list[tuple[int, float, object]] = []

    # News

    def learn(self, incarnation: int, endpoint: str) -> bool:
        """Know where an instance is; False when there are too many."""
        if incarnation not in self.known and len(self.known) >= self._known_max:
            return False
        self.known[incarnation] = endpoint
        return True

    def forget(self, incarnation: int) -> None:
        """Know no more where an instance is; its connection stays as it is."""
        self.known.pop(incarnation, None)
        self._silent.discard(incarnation)

    def hush(self, incarnation: int, *, silent: bool) -> C | None:
        """Learn that a process fell silent, or answers again; returns its connection."""
        if silent and incarnation in self.known:
            self._silent.add(incarnation)
        else:
            self._silent.discard(incarnation)
        connection = self.by_incarnation.get(incarnation)
        if connection is not None:
            connection.silent = silent
            self._choose(connection)
        return connection

    def shift(self, connection: C, event: Event) -> State:
        """Have an event happen to an instance; returns the state that follows."""
        opening = connection.state is State.OPENING
        state = connection.state = LIFE[connection.state][event]
        if event is Event.WELCOME:
            connection.hello_s = HELLO_S
        self._choose(connection)
        if opening:
            self._reckon()
        return state

    # Connections

    def open(self, connection: C, now: float) -> None:
        """Use a connection that was just made and greeted."""
        self.by_peer[connection.peer] = connection
        self.greeted(connection, now)

    def greeted(self, connection: C, now: float) -> None:
        """A greeting leaves; the next one is due if nothing answers it."""
        self.greet_at(connection, now + connection.hello_s)

    def greet_at(self, connection: C, at: float) -> None:
        """Have a connection greeted at a point in time, if it does not answer before."""
        connection.hello_at = at
        self.due_at = min(self.due_at, connection.hello_at)

    def close(self, connection: C) -> bool:
        """Hear no more of a connection, which is to be closed; False if it was not open."""
        return self.by_peer.pop(connection.peer, None) is not None

    def best(self, is_idle: Callable[[C], bool]) -> tuple[list[C], list[C]]:
        """Choose which of the known instances to connect to; returns those that begin, and
        those that have to make room for them.

        is_idle: whether nothing is under way to a connected one.
        """
        connected = self.by_incarnation
        room = max(0, self._connections_max - len(connected))
        spare = [
            c for c in connected.values() if c.state is State.LEFT or (c.is_deaf and is_idle(c))
        ]
        if not room and not spare:
            return [], []
        others = sorted((i for i in self.known if i not in connected), key=self._rank)
        better = [i for i in others[room:] if i not in self._silent]
        spare = spare[: len(better)]
        return [self._begin(i) for i in others[:room] + better[: len(spare)]], spare

    def add(self, connection: C) -> None:
        """Have one more connection."""
        self.by_incarnation[connection.incarnation] = connection

    def remove(self, connection: C) -> None:
        """Give an instance up; its connection is closed."""
        if connection.state is not State.OVER:
            self.shift(connection, Event.OVER)
        del self.by_incarnation[connection.incarnation]

    def clear(self) -> None:
        """Forget every instance."""
        self.by_incarnation.clear()
        self.by_peer.clear()
        self.ready.clear()
        self.known.clear()
        self._silent.clear()
        self.due_at = inf

    def unanswered(self, now: float) -> list[C]:
        """The connections that are to be greeted again; each is with twice its back-off."""
        if now < self.due_at:
            return []
        due = [
            c
            for c in self.by_incarnation.values()
            if c.state is State.OPENING and now >= c.hello_at
        ]
        for connection in due:
            connection.hello_s = min(2 * connection.hello_s, HELLO_S_MAX)
            self.greeted(connection, now)
        self._reckon()
        return due

    # Waits for a number of them

    def await_ready(self, count: int, waiter: object, until: float) -> None:
        """Have `awaited_over` tell the waiter once so many are chosen."""
        self._awaited.append((count, until, waiter))
        self.due_at = min(self.due_at, until)

    def await_no_more(self, waiter: object) -> None:
        """The waiter has given up."""
        self._awaited = [wait for wait in self._awaited if wait[2] is not waiter]

    def awaited_over(self, now: float) -> list[object]:
        """The waiters whose wait is over, for there are enough or it is late."""
        if not self._awaited:
            return []
        count = len(self.ready)
        over = [wait for wait in self._awaited if count >= wait[0] or now >= wait[1]]
        if over:
            self._awaited = [wait for wait in self._awaited if wait not in over]
            self._reckon()
        return [waiter for _, _, waiter in over]

    def check(self) -> None:
        """Only what can be used is chosen, and both ways to look agree."""
        for incarnation, connection in self.by_incarnation.items():
            assert connection.incarnation == incarnation
            assert connection.state is not State.OVER
            assert (connection in self.ready) == connection.chosen
            assert connection.state in (State.LEFT, State.LOST) or incarnation in self.known
        assert len(self.ready) == len({c.incarnation for c in self.ready})
        assert all(c.chosen for c in self.ready)
        assert all(self.by_incarnation[c.incarnation] is c for c in self.by_peer.values())
        assert len(self.by_incarnation) <= self._connections_max
        assert self._silent <= self.known.keys()
        due_at = self.due_at
        self._reckon()
        assert due_at <= self.due_at

    def _choose(self, connection: C) -> None:
        """Have a connection among those that are chosen, or not."""
        chosen = connection.chosen
        if chosen != (connection in self.ready):
            (self.ready.append if chosen else self.ready.remove)(connection)

    def _reckon(self) -> None:
        greet_at = (
            c.hello_at for c in self.by_incarnation.values() if c.state is State.OPENING
        )
        self.due_at = min((*greet_at, *(until for _, until, _ in self._awaited)), default=inf)

    def _begin(self, incarnation: int) -> C:
        connection = self._make(incarnation, self.known[incarnation])
        connection.silent = incarnation in self._silent
        return connection

    def _rank(self, incarnation: int) -> tuple[bool, bytes]:
        pair = self._incarnation.to_bytes(8, "big") + incarnation.to_bytes(8, "big")
        return incarnation in self._silent, blake2b(pair, digest_size=8).digest()
