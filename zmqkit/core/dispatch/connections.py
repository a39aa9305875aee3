"""The instances of one name: where each of them is, and whether it can be used.

Theory of operation. Membership tells of an instance by its incarnation: `found` at an endpoint,
`silent`, `answering`, `lost` or `gone`. Each instance has a connection of its own. On it, the
instance is greeted (HELLO, with back-off) until it answers (WELCOME). When the instance leaves,
it says so on that connection (BYE). `LIFE` holds the state that follows from each event in each
state.

Some things differ between patterns. A client closes the socket of a lost instance and listens
to an instance that left; a subscriber keeps the socket of a lost publisher. The owner of the
connections does these things.

    OPENING  connecting; WELCOME has not come since the last greeting
    UP       it answers, and gets new work unless its process is silent
    LEAVING  it said BYE and finishes what it has
    LEFT     it closed and was not lost; its last packets may still be under way
    LOST     out of reach; it may return
    OVER     given up; if it is found again, it begins anew

More instances may be known than are connected. A rendezvous hash decides which ones to connect
to; devices come first, and instances whose process is silent come last. A connected instance
that is silent, or never answers, gives way to a known instance that is not silent. A connected
instance that is no device gives way to a device. Both do so only when no work is under way to
them.
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
"""An instance whose back-off has grown to this did not answer its first two greetings."""


class State(Enum):
    """The state of an instance; the text at the top of the module says what each means."""

    OPENING = "opening"
    UP = "up"
    LEAVING = "leaving"
    LEFT = "left"
    LOST = "lost"
    OVER = "over"


class Event(Enum):
    """What may happen to an instance."""

    # It can be reached: for the first time, again, or at another endpoint.
    FOUND = auto()
    # It answered a greeting.
    WELCOME = auto()
    # What it was told has changed, so it is greeted again and has to answer again.
    RENEWED = auto()
    # It takes no new work.
    BYE = auto()
    # It is out of reach.
    LOST = auto()
    # It has closed.
    GONE = auto()
    # It is given up.
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
    """One instance and the connection to it."""

    incarnation: int
    peer: PeerId
    endpoint: str
    state: State = State.OPENING
    # Its process does not answer, though its connection stands.
    silent: bool = False
    # Since when it has not answered; infinite while it answers, as far as is known.
    away_at: float = inf
    # It is a device, which passes on what it is given.
    is_device: bool = False
    # Its owner prefers instances of another kind, and gives it no new work.
    passed_over: bool = False
    # Whether work may be sent to it: it answers, or it is leaving.
    sends: bool = False
    # When to greet it again if it does not answer.
    hello_at: float = inf
    # The back-off: the time between two greetings.
    hello_s: float = HELLO_S

    @property
    def answers(self) -> bool:
        """Whether the instance can be sent to and takes new work."""
        return self.state is State.UP and not self.silent

    @property
    def is_going(self) -> bool:
        """Whether the instance said that it takes no new work, or that it has closed."""
        return self.state in (State.LEAVING, State.LEFT)

    @property
    def word(self) -> str:
        """The word for its state, as people are shown it."""
        return "evasive" if self.silent and self.state is State.UP else self.state.value

    @property
    def chosen(self) -> bool:
        """Whether the instance may get new work."""
        return self.answers and not self.passed_over

    @property
    def is_deaf(self) -> bool:
        """Whether another instance should be used in its place, for it does not answer."""
        return self.silent or (self.state is State.OPENING and self.hello_s >= _DEAF_S)


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """What is known of the instances of a name, and the connections to some of them."""

    def __init__(
        self,
        incarnation: int,
        make: Callable[[int, str], C],
        *,
        connections_max: int,
        known_max: int,
    ) -> None:
        """Begin without instances.

        incarnation: that of the role which uses these connections.
        make: makes a connection from an instance's incarnation and endpoint.
        """
        # When `unanswered` or `awaited_over` next has something to return. It may be too
        # early, never too late.
        self.due_at = inf
        # The endpoint of each instance that membership told of and did not take back.
        self.known: dict[int, str] = {}
        self.by_incarnation: dict[int, C] = {}
        # The connections that are open.
        self.by_peer: dict[PeerId, C] = {}
        # The connections that are chosen for new work, least recently used first.
        self.ready: list[C] = []
        self._incarnation = incarnation
        self._make = make
        self._connections_max = connections_max
        self._known_max = known_max
        self._devices: set[int] = set()
        self._silent: set[int] = set()
        self._awaited: list[tuple[int, float, object]] = []

    # News

    def learn(self, incarnation: int, endpoint: str, *, is_device: bool = False) -> bool:
        """Remember where an instance is; return False when too many are known already."""
        if incarnation not in self.known and len(self.known) >= self._known_max:
            return False
        self.known[incarnation] = endpoint
        if is_device:
            self._devices.add(incarnation)
        return True

    def forget(self, incarnation: int) -> None:
        """Forget where an instance is; its connection stays as it is."""
        self.known.pop(incarnation, None)
        self._devices.discard(incarnation)
        self._silent.discard(incarnation)

    def hush(self, incarnation: int, *, silent: bool) -> C | None:
        """Note that a process fell silent or answers again; return its connection if any."""
        if silent and incarnation in self.known:
            self._silent.add(incarnation)
        else:
            self._silent.discard(incarnation)
        connection = self.by_incarnation.get(incarnation)
        if connection is not None:
            connection.silent = silent
            self._choose(connection)
        return connection

    def pass_over(self, connection: C, *, passed_over: bool) -> None:
        """Give an instance no new work, or use it again; what it has stays with it."""
        connection.passed_over = passed_over
        self._choose(connection)

    def shift(self, connection: C, event: Event) -> State:
        """Apply an event to an instance; return its new state."""
        opening = connection.state is State.OPENING
        state = connection.state = LIFE[connection.state][event]
        if event is Event.WELCOME:
            connection.hello_s, connection.away_at = HELLO_S, inf
        self._choose(connection)
        if opening:
            self._reckon()
        return state

    # Connections

    def open(self, connection: C, now: float) -> None:
        """Note that the connection is opened and greeted now."""
        self.by_peer[connection.peer] = connection
        self.greeted(connection, now)

    def greeted(self, connection: C, now: float) -> None:
        """Note that a greeting leaves now; another is due if the instance does not answer."""
        self.greet_at(connection, now + connection.hello_s)

    def greet_at(self, connection: C, at: float) -> None:
        """Have a connection greeted at `at`, unless the instance answers before."""
        connection.hello_at = at
        self.due_at = min(self.due_at, connection.hello_at)

    def close(self, connection: C) -> bool:
        """Stop using a connection, which the caller closes; return False if it was not open."""
        return self.by_peer.pop(connection.peer, None) is not None

    def best(self, is_idle: Callable[[C], bool]) -> tuple[list[C], list[C]]:
        """Choose which of the known instances to connect to.

        is_idle: says of a connection whether no work is under way to it.
        Returns the new connections, and the old ones that have to make room for them.
        """
        connected = self.by_incarnation
        room = max(0, self._connections_max - len(connected))
        spare = [
            c for c in connected.values() if c.state is State.LEFT or (c.is_deaf and is_idle(c))
        ]
        if not room and not spare and self._devices <= connected.keys():
            return [], []
        others = sorted((i for i in self.known if i not in connected), key=self._rank)
        better = [i for i in others[room:] if i not in self._silent]
        devices = sum(i in self._devices for i in better)
        if devices > len(spare):
            rest = [
                c for c in connected.values() if not (c.is_device or c in spare) and is_idle(c)
            ]
            spare += rest[: devices - len(spare)]
        spare = spare[: len(better)]
        return [self._begin(i) for i in others[:room] + better[: len(spare)]], spare

    def add(self, connection: C) -> None:
        """Keep a new connection."""
        self.by_incarnation[connection.incarnation] = connection

    def remove(self, connection: C) -> None:
        """Give an instance up; the caller closes its connection."""
        if connection.state is not State.OVER:
            self.shift(connection, Event.OVER)
        del self.by_incarnation[connection.incarnation]

    def clear(self) -> None:
        """Forget every instance."""
        self.by_incarnation.clear()
        self.by_peer.clear()
        self.ready.clear()
        self.known.clear()
        self._devices.clear()
        self._silent.clear()
        self.due_at = inf

    def unanswered(self, now: float) -> list[C]:
        """Return the connections to greet again now; each one's back-off is doubled."""
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

    # Waits for a number of instances

    def await_ready(self, count: int, waiter: object, until: float) -> None:
        """Have `awaited_over` return the waiter once `count` are ready, or at `until`."""
        self._awaited.append((count, until, waiter))
        self.due_at = min(self.due_at, until)

    def await_no_more(self, waiter: object) -> None:
        """Forget a waiter, which has given up."""
        self._awaited = [wait for wait in self._awaited if wait[2] is not waiter]

    def awaited_over(self, now: float) -> list[object]:
        """Return the waiters that have enough ready instances, or whose time is over."""
        if not self._awaited:
            return []
        count = len(self.ready)
        over = [wait for wait in self._awaited if count >= wait[0] or now >= wait[1]]
        if over:
            self._awaited = [wait for wait in self._awaited if wait not in over]
            self._reckon()
        return [waiter for _, _, waiter in over]

    def check(self) -> None:
        """Assert that only usable instances are ready, and that both maps agree."""
        for incarnation, connection in self.by_incarnation.items():
            assert connection.incarnation == incarnation
            assert connection.state is not State.OVER
            assert (connection in self.ready) == connection.chosen
            assert connection.state in (State.LEFT, State.LOST) or incarnation in self.known
        assert len(self.ready) == len({c.incarnation for c in self.ready})
        assert all(c.chosen for c in self.ready)
        assert all(self.by_incarnation[c.incarnation] is c for c in self.by_peer.values())
        assert len(self.by_incarnation) <= self._connections_max
        assert self._silent <= self.known.keys() and self._devices <= self.known.keys()
        due_at = self.due_at
        self._reckon()
        assert due_at <= self.due_at

    def _choose(self, connection: C) -> None:
        """Keep `sends` and `ready` in step with the state of a connection."""
        chosen = connection.chosen
        connection.sends = connection.answers or connection.state is State.LEAVING
        if chosen != (connection in self.ready):
            (self.ready.append if chosen else self.ready.remove)(connection)

    def _reckon(self) -> None:
        greet_at = (
            c.hello_at for c in self.by_incarnation.values() if c.state is State.OPENING
        )
        self.due_at = min((*greet_at, *(until for _, until, _ in self._awaited)), default=inf)

    def _begin(self, incarnation: int) -> C:
        connection = self._make(incarnation, self.known[incarnation])
        connection.is_device = incarnation in self._devices
        connection.silent = incarnation in self._silent
        return connection

    def _rank(self, incarnation: int) -> tuple[bool, bool, bytes]:
        pair = self._incarnation.to_bytes(8, "big") + incarnation.to_bytes(8, "big")
        rank = blake2b(pair, digest_size=8).digest()
        return incarnation in self._silent, incarnation not in self._devices, rank
