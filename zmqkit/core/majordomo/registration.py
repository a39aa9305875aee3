"""A service's registration with somebody else's broker, as a worker of RFC 7 or RFC 18.

Theory of operation. A registration lasts as long as one connection, on a socket of its own, as
the RFCs have it. READY is the first word on that connection. Then both sides say HEARTBEAT
unless they say something else, and the broker sends a request at a time. `LIFE` has what
follows from each event in each state.

    APART       no broker is known yet, or the service has left
    PAUSING     the last registration ended; the next one begins after a pause
    CONNECTING  there is a socket, and nobody has answered yet
    READY       the service has offered itself

    FOUND       it is known where the broker is
    DUE         the pause is over
    UP          the connection was made
    ENDED       the connection broke, the broker said DISCONNECT or what is malformed, it was
                silent for too long, or a request has no answer (see below)
    LEFT        the service leaves

The RFCs have no word for a request that failed. A worker that said nothing and stayed would
never be given another request. So the registration ends without a word, as that of a worker
that crashed, and the next one begins.

A broker's silence counts only while the service has no request: there are brokers that say
HEARTBEAT to idle workers only. A broken connection ends the registration at any time.

The pause doubles each time that a registration ends before the broker said anything of use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum, auto
from math import inf

from zmqkit.core.effects import Connect, Disconnect, Effect, Note, Send
from zmqkit.core.majordomo.feed import BROKER_PEER
from zmqkit.limits import LINGER_S
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire.mdp import Version

_RFCS = {Version.V1: "RFC 7", Version.V2: "RFC 18"}


class State(Enum):
    """The state of a registration; the text at the top of the module says what each means."""

    APART = "apart"
    PAUSING = "pausing"
    CONNECTING = "connecting"
    READY = "ready"


class Event(Enum):
    """What may happen to a registration."""

    FOUND = auto()
    DUE = auto()
    UP = auto()
    ENDED = auto()
    LEFT = auto()


class Act(Enum):
    """What follows from an event."""

    NOTHING = auto()
    # Open a socket.
    DIAL = auto()
    # Say READY.
    OFFER = auto()
    # Close the socket, and pause.
    DROP = auto()
    # Wait for nothing any more; also close the socket; also say DISCONNECT before that.
    REST = auto()
    HANG_UP = auto()
    BID_FAREWELL = auto()


def _row(cells: str) -> dict[State, tuple[Act, State]]:
    pairs = [cell.rpartition(":") for cell in cells.split()]
    row = [(Act[act.upper() or "NOTHING"], State[state]) for act, _, state in pairs]
    return dict(zip(State, row, strict=True))


LIFE: Mapping[Event, Mapping[State, tuple[Act, State]]] = {
    #                  APART           PAUSING         CONNECTING      READY
    Event.FOUND: _row("dial:CONNECTING PAUSING         CONNECTING      READY"),
    Event.DUE:   _row("APART           dial:CONNECTING CONNECTING      READY"),
    Event.UP:    _row("APART           PAUSING         offer:READY     READY"),
    Event.ENDED: _row("APART           PAUSING         drop:PAUSING    drop:PAUSING"),
    Event.LEFT:  _row("APART           rest:APART      hang_up:APART   bid_farewell:APART"),
}  # fmt: skip


class Registration:
    """The connection to a broker, from the first to the last registration."""

    def __init__(self, service: str, version: Version, limits: MdpPeerLimits) -> None:
        """Begin without a broker."""
        self.state = State.APART
        self.counts: Counter[str] = Counter()
        # Whether the broker waits for the reply to a request; its owner says so.
        self.is_busy = False
        self._service = service
        self._version = version
        self._limits = limits
        self._endpoint = ""
        # When the next socket is opened; when to tell that there is no connection yet.
        self._dial_at = self._tell_at = inf
        # When the broker was told something last, and said something last.
        self._told_at = self._heard_at = -inf
        # Before when silence does not count.
        self._grace_at = -inf
        # Whether the broker has said anything of use this time, and how many times it did not.
        self._is_proven = False
        self._failures = 0
        # What was told of the broker last, for it is told once.
        self._said = ""

    @property
    def link(self) -> PeerId:
        """The link's name of the connection, which differs from that of the one before."""
        return BROKER_PEER + self.counts["connections"].to_bytes(8, "big")

    # What happens

    def found(self, endpoint: str, now: float) -> list[Effect]:
        """Learn where the broker is."""
        self._endpoint = endpoint
        return self._turn(Event.FOUND, now)

    def changed(self, peer: PeerId, now: float, *, up: bool) -> list[Effect]:
        """Learn that a connection was made, or broke."""
        if peer != self.link or (not up and self.state is not State.READY):
            return []
        return self._turn(Event.UP, now) if up else self.end("broken", now)

    def heard(self, now: float) -> list[Effect]:
        """Note that the broker said something of use."""
        self._heard_at = now
        if self._is_proven:
            return []
        self._is_proven, self._failures = True, 0
        return self._say("device-found")

    def refused(self, now: float) -> list[Effect]:
        """Take a DISCONNECT."""
        return self.end("disconnect", now)

    def end(self, reason: str, now: float) -> list[Effect]:
        """End the registration; the next one begins after a pause."""
        self.counts[reason] += 1
        told: list[Effect] = []
        if self._is_proven:
            fields = {"name": self._service, "endpoint": self._endpoint, "reason": reason}
            told = [Note("registration-ended", fields)]
            self._said = ""
        elif reason == "disconnect":
            text = f"it does not take workers of {self._service!r}; see what it logs"
            told = self._say("device-refused", text)
        elif reason in ("silent", "malformed"):
            text = f"it does not answer as a broker of {_RFCS[self._version]} does"
            told = self._say("device-unreachable", text)
        return [*told, *self._turn(Event.ENDED, now)]

    def leave(self, now: float) -> list[Effect]:
        """Say DISCONNECT, and be registered no more."""
        return self._turn(Event.LEFT, now)

    def tell(self, frames: Frames, now: float) -> Send:
        """Return a message to the broker, by which it also knows that the service is there."""
        self._told_at = now
        return Send(self.link, frames)

    def replied(self, now: float) -> None:
        """Note that the broker has its reply, so that its silence counts again from now on."""
        self.is_busy = False
        self._heard_at = now

    def tick(self, now: float) -> list[Effect]:
        """Open the next socket, say HEARTBEAT, or give up a broker that was silent."""
        if now >= self._dial_at:
            return self._turn(Event.DUE, now)
        told: list[Effect] = []
        if now >= self._tell_at:
            self._tell_at = inf
            text = "nobody answers there; check host and port, and that a broker listens"
            told = self._say("device-unreachable", text)
        if self.state is not State.READY:
            return told
        pause_s = self._limits.heartbeat_s
        if now >= self._told_at + 2 * pause_s:
            # This side was held up itself; what the broker said meanwhile is still to be read.
            self._grace_at = now + pause_s
        if now >= max(self._silent_at, self._grace_at):
            return [*told, *self.end("silent", now)]
        if now >= self._told_at + pause_s:
            told.append(self.tell(mdp.heartbeat(self._version), now))
        return told

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        if self.state is not State.READY:
            return min(self._dial_at, self._tell_at)
        silent_at = max(self._silent_at, self._grace_at)
        return min(self._told_at + self._limits.heartbeat_s, silent_at, self._tell_at)

    def check(self) -> None:
        """Assert that each state has the time that it waits for."""
        assert (self._dial_at < inf) == (self.state is State.PAUSING)
        assert not self.is_busy or self.state is State.READY
        assert self.state is State.READY or not self._is_proven
        assert self._tell_at == inf or self.state in (State.CONNECTING, State.PAUSING)

    # Inside

    @property
    def _silent_at(self) -> float:
        if self.is_busy:
            return inf
        return self._heard_at + self._limits.liveness * self._limits.heartbeat_s

    def _turn(self, event: Event, now: float) -> list[Effect]:
        """Let an event happen; `LIFE` says what follows."""
        act, self.state = LIFE[event][self.state]
        match act:
            case Act.NOTHING:
                return []
            case Act.DIAL:
                return self._dial(now)
            case Act.OFFER:
                self._tell_at, self._heard_at = inf, now
                return [self.tell(mdp.worker_ready(self._version, self._service), now)]
            case Act.DROP:
                self._pause(now)
                return [Disconnect(self.link)]
            case Act.REST:
                self._rest()
                return []
            case Act.HANG_UP:
                self._rest()
                return [Disconnect(self.link)]
            case Act.BID_FAREWELL:
                self._rest()
                last = self.tell(mdp.disconnect(self._version), now)
                return [last, Disconnect(self.link, LINGER_S)]

    def _dial(self, now: float) -> list[Effect]:
        self.counts["connections"] += 1
        self._dial_at = inf
        self._tell_at = min(self._tell_at, now + self._limits.connect_s)
        return [Connect(self.link, self._endpoint)]

    def _pause(self, now: float) -> None:
        self._rest()
        pause_s = self._limits.reconnect_s * 2.0 ** min(self._failures, 20)
        self._dial_at = now + min(pause_s, self._limits.reconnect_longest_s)
        self._failures += 1

    def _rest(self) -> None:
        self._dial_at = self._tell_at = inf
        self._is_proven = self.is_busy = False

    def _say(self, event: str, text: str = "") -> list[Effect]:
        if self._said == event:
            return []
        self._said = event
        fields = {"device": "majordomo", "name": self._service, "endpoint": self._endpoint}
        return [Note(event, {**fields, "text": text} if text else fields)]
