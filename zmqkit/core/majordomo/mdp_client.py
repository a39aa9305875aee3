"""A client of ours at somebody else's broker, which speaks RFC 7 or RFC 18.

It is the client of any service, and `AskedBroker` is the instance that it calls: what the
client sends there is translated on its way out, and what the broker replies on its way in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from zmqkit.core.calls.call import Call, CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.client_streams import StreamCall
from zmqkit.core.effects import Connect, Disconnect, Effect, News, Send, Tell
from zmqkit.core.majordomo.bodies import MDP, request_body
from zmqkit.core.majordomo.broker_asked import AskedBroker
from zmqkit.core.majordomo.feed import Deed, Feed, is_link
from zmqkit.errors import NoMethod, UsageError
from zmqkit.limits import ClientLimits
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.types import ClientStats
from zmqkit.wire.encoding import Buffer, decode
from zmqkit.wire.mdp import Version

_CLIENT_LIMITS = ClientLimits()
_LIMITS = MdpPeerLimits()
_HINT = "no broker answered there; check host and port, and that a Majordomo broker listens"


class MdpClientCore(ClientCore):
    """Makes requests to one service of a broker, one at a time; the others wait in line."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        service: str,
        version: Version,
        limits: ClientLimits = _CLIENT_LIMITS,
        *,
        mdp_limits: MdpPeerLimits = _LIMITS,
    ) -> None:
        """Begin without a connection. name: what errors call the service."""
        super().__init__(name, incarnation, limits)
        self._ends.hint = _HINT
        self._broker = AskedBroker(service, version, incarnation, mdp_limits)
        self._broker.malformed = self.malformed

    # Commands

    def call(
        self,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
    ) -> Call:
        """Accept a request that somebody waits for; for the rest see `submit`."""
        _check(method, body, options)
        return super().call(method, body, raw, options, waiter, now)

    def call_each(self, make: Callable[[], Call], now: float) -> list[Call]:
        """Raise UsageError, since nobody tells who is behind such a broker."""
        raise UsageError("a broker of another kind does not tell its instances; use call")

    def submit(
        self,
        method: str,
        body: bytes,
        raw: Buffer | None,
        options: CallOptions,
        waiter: object,
        now: float,
        *,
        oneway: bool = False,
    ) -> int:
        """Accept a request whose arguments are frames; for the rest see ClientCore.

        Raises NoMethod for any method but `mdp`, and UsageError for what is no frame.
        """
        _check(method, body, options)
        return super().submit(method, body, raw, options, waiter, now, oneway=oneway)

    def stream(
        self, method: str, body: bytes, raw: Buffer | None, options: CallOptions, now: float
    ) -> StreamCall:
        """Accept a request whose reply may come in parts; raises what `submit` raises."""
        _check(method, body, options)
        return super().stream(method, body, raw, options, now)

    def withdraw(self, calls: Iterable[Call], now: float) -> list[Effect]:
        """Give calls up; the connection ends with the one whose request is under way."""
        return self._follow(super().withdraw(calls, now), now)

    def await_ready(
        self, count: int, waiter: object, timeout_s: float, now: float
    ) -> list[Effect]:
        """End the wait once `count` instances are ready, or after `timeout_s`."""
        return self._follow(super().await_ready(count, waiter, timeout_s, now), now)

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Learn where the broker is; that it is there shows once there is a connection."""
        if self._closed or tell.news is not News.FOUND:
            return []
        return self._follow(self._broker.found(tell.endpoint, now), now)

    def close(self) -> list[Effect]:
        """End every call that is not settled, and close the connection."""
        closed = self._broker.close()
        return self._follow([*super().close(), *closed], 0.0)

    def stats(self) -> ClientStats:
        """Return the counters of a client, and why connections ended."""
        counts = self._broker.counts
        return {
            **super().stats(),
            "broken": counts["broken"],
            "given_up": counts["given_up"],
            "unexpected": counts["unexpected"],
        }

    # What the driver asks for

    def changed(self, peer: PeerId, now: float, *, up: bool) -> list[Effect]:
        """Learn that a connection was made, or broke."""
        return self._follow(self._broker.changed(peer, now, up=up), now)

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take what the broker sent. Never raises for what it is."""
        return self._follow(self._broker.receive(peer, frames, now), now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a request did not leave; it is sent soon."""
        asked = self._broker.unsent(peer)
        return super().unsent(self._broker.inner, asked, now) if asked else []

    def tick(self, now: float) -> list[Effect]:
        """Do what is due for the calls, and for the connection."""
        effects = self._follow(super().tick(now), now)
        return effects + self._follow(self._broker.tick(now), now)

    def flush(self, now: float) -> list[Effect]:
        """Return the request that may leave now, if there is one."""
        return self._follow(super().flush(now), now)

    def deadline(self) -> float:
        """Return when `tick`, and `flush` after it, are due next."""
        return min(super().deadline(), self._broker.deadline())

    def check(self) -> None:
        """Assert that the calls and the connection are consistent."""
        super().check()
        self._broker.check()

    # Inside

    def _follow(self, deeds: Iterable[Deed], now: float) -> list[Effect]:
        """Do what client and broker have for each other; return what is for the driver."""
        effects: list[Effect] = []
        due = deque(deeds)
        while due:
            deed = due.popleft()
            if isinstance(deed, Feed):
                due += super().receive(deed.peer, deed.frames, now)
            elif isinstance(deed, Tell):
                due += super().hear(deed, now)
            elif not isinstance(deed, Send | Connect | Disconnect) or is_link(deed.peer):
                effects.append(deed)
            elif isinstance(deed, Send):
                due += self._broker.take(deed.peer, deed.frames, now)
        return effects


def _check(method: str, body: bytes, options: CallOptions) -> None:
    """Raise NoMethod or UsageError unless this is what a broker can be asked for."""
    if method != MDP:
        raise NoMethod(
            f"a broker of another kind has no method {method!r}; what its service does is "
            f"{MDP!r}: call({MDP!r}, b'frame', ...)"
        )
    if options.instance is not None:
        raise UsageError("a broker of another kind has no instances; leave instance= out")
    if options.headers:
        raise UsageError("headers cannot travel by MDP; send them as a frame of the request")
    arguments = decode(body)
    assert type(arguments) is list
    if request_body((None, arguments[1], arguments[2])) is None:
        raise UsageError(
            f"the arguments of {MDP!r} are frames: bytes or text, each by its position"
        )
