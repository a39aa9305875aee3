"""A service of ours at somebody else's broker, which speaks RFC 7 or RFC 18.

It is the service of any client, and the broker is its only one: `Registration` keeps the
connection, and what the broker asks for is translated as a broker of ours translates what a
client of an RFC asks for. So `RfcClients` stands here, too, with the broker in the place of a
client. The address in a request says for whom its reply is; there is one request at a time.

    the broker says     a request           goes to the handler of the method `mdp`
                        HEARTBEAT           it is there
                        DISCONNECT          the registration ends
                        anything else       the same: it may have been a request
    the handler has     a value             a reply of RFC 7, FINAL of RFC 18
                        values (RFC 18)     each is a PARTIAL, and the last one FINAL
                        an error, or there  no reply; it is noted, and the registration ends,
                        is no room for it   for a worker that was silent would stay busy
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from zmqkit.core.calls.endings import Result
from zmqkit.core.calls.request import Request, StreamRequest
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect, News, Send, Tell
from zmqkit.core.majordomo.bodies import MDP
from zmqkit.core.majordomo.feed import Deed, Feed, is_link
from zmqkit.core.majordomo.registration import Registration, State
from zmqkit.core.majordomo.rfc_clients import RfcClients
from zmqkit.errors import ConfigError
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.types import ServiceStats
from zmqkit.wire import mdp
from zmqkit.wire.encoding import Buffer, Malformed
from zmqkit.wire.mdp import ClientRequest, Kind, Version, WorkerCommand

_NONE: Mapping[str, bool] = {}
_LIMITS = MdpPeerLimits()
_BROKER = b"broker"
"""What the translator knows the broker by, as its client."""


class MdpServiceCore(ServiceCore):
    """Runs the requests of one broker, one at a time."""

    def __init__(
        self,
        incarnation: int,
        methods: Mapping[str, bool],
        concurrency: int,
        streams: Mapping[str, bool] = _NONE,
        *,
        name: str,
        version: Version,
        mdp_limits: MdpPeerLimits = _LIMITS,
    ) -> None:
        """Begin without a connection; `hear` learns where the broker is.

        name: that of the service. For the rest see ServiceCore.
        """
        super().__init__(incarnation, methods, concurrency, streams)
        self.name = name
        self._version = version
        self._registration = Registration(name, version, mdp_limits)
        self._clients = RfcClients(
            incarnation, mdp_limits.mdp, lambda service, now: incarnation, _no_mmi
        )
        # For whom the reply to the request is that the broker waits for.
        self._address: bytes | None = None
        self._is_leaving = False

    def check_handlers(self) -> None:
        """Raise ConfigError unless there is a handler for what a broker asks for."""
        if MDP in self._offered.streams and self._version is Version.V1:
            raise ConfigError(
                f"the handler of {MDP!r} is a generator, and RFC 7 has no replies in parts; "
                'return a list of bytes, or use protocol="mdp2"'
            )
        if MDP not in self._offered.streams and MDP not in self.methods:
            raise ConfigError(
                f"a broker asks service {self.name!r} for the method {MDP!r}, which has no "
                f'handler; add one with @service.handler(name="{MDP}")'
            )

    # Commands and answers to effects

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Learn where the broker is, and connect to it."""
        if self._closed or self._is_leaving or tell.news is not News.FOUND:
            return []
        return self._registration.found(tell.endpoint, now)

    def handled(self, results: list[Result], now: float) -> list[Effect]:
        """Take the handlers' answers; see ServiceCore."""
        return self._follow(super().handled(results, now), now)

    def report(self, request: Request, value: bytes, now: float) -> list[Effect]:
        """Do nothing: a broker takes no word of progress."""
        return []

    def yielded(self, request: StreamRequest, value: Answer, now: float) -> list[Effect]:
        """Take a stream's next value; see ServiceCore."""
        return self._follow(super().yielded(request, value, now), now)

    def paused(self, request: StreamRequest, now: float) -> list[Effect]:
        """Take back a stream whose generator has to stop; see ServiceCore."""
        return self._follow(super().paused(request, now), now)

    def ended(self, request: StreamRequest, error: Answer | None, now: float) -> list[Effect]:
        """Take the end of a stream; see ServiceCore."""
        return self._follow(super().ended(request, error, now), now)

    def leave(self) -> list[Effect]:
        """Have the next `flush` say DISCONNECT that finds no request under way."""
        self._is_leaving = True
        return self._follow(super().leave(), 0.0)

    def close(self) -> list[Effect]:
        """Drop the request that is not answered, and say DISCONNECT."""
        self._address = None
        last = self._registration.leave(0.0)
        return self._follow([*super().close(), *last], 0.0)

    def stats(self) -> ServiceStats:
        """Return the counters of a service, and what became of its registrations."""
        counts = self._registration.counts
        names = (
            "connections", "broken", "disconnect", "silent", "malformed", "failed", "unsent",
        )  # fmt: skip
        return {
            **super().stats(),
            "devices": int(self._registration.state is State.READY),
            "registrations": {name: counts[name] for name in names},
            "unanswered": dict(self._clients.failed),
        }

    # What the driver asks for

    def changed(self, peer: PeerId, now: float, *, up: bool) -> list[Effect]:
        """Learn that a connection was made, or broke."""
        return self._follow(self._registration.changed(peer, now, up=up), now)

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take what the broker sent. Never raises for what it is."""
        registration = self._registration
        if peer != registration.link or registration.state is not State.READY:
            return []
        try:
            command = mdp.read_at_worker(frames)
            if command.version is not self._version:
                raise Malformed("version")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return self._follow(registration.end("malformed", now), now)
        if command.kind is Kind.REQUEST and registration.is_busy:
            self.malformed["request"] += 1
            return []
        if command.kind is Kind.DISCONNECT:
            return self._follow(registration.refused(now), now)
        deeds: list[Deed] = [*registration.heard(now)]
        if command.kind is Kind.REQUEST:
            deeds += self._ask(command, now)
        return self._follow(deeds, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that something did not leave: the connection is no use any more."""
        if peer != self._registration.link or self._registration.state is not State.READY:
            return []
        return self._follow(self._registration.end("unsent", now), now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due for the request, and for the registration."""
        deeds: list[Deed] = [*super().tick(now)]
        deeds += self._clients.tick(now)
        deeds += self._registration.tick(now)
        return self._follow(deeds, now)

    def flush(self, now: float) -> list[Effect]:
        """Return the replies of this turn; at the end of all, a DISCONNECT."""
        effects = self._follow(super().flush(now), now)
        if effects:
            return effects
        effects = self._follow(self._clients.flush(now), now)
        if not effects and self._is_leaving and not self._registration.is_busy:
            return self._registration.leave(now)
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        translator = self._clients.deadline()
        return min(super().deadline(), translator, self._registration.deadline())

    def check(self) -> None:
        """Assert that the request, its translation and the registration agree."""
        super().check()
        self._clients.check()
        self._registration.check()
        assert self._registration.is_busy == (self._address is not None)

    # Inside

    def _ask(self, command: WorkerCommand, now: float) -> list[Deed]:
        self._address, self._registration.is_busy = command.address, True
        request = ClientRequest(self._version, self.name, command.body)
        return self._clients.receive(_BROKER, request, now)

    def _reply(self, frames: Frames, now: float) -> list[Effect]:
        """Return what tells the broker of a reply, or of a part of one."""
        address, registration = self._address, self._registration
        if address is None or not registration.is_busy:
            return []
        reply = mdp.read_at_client(frames)
        if reply.kind is Kind.PARTIAL:
            return [registration.tell(mdp.worker_partial(address, reply.body), now)]
        self._address = None
        registration.replied(now)
        final = mdp.worker_final(self._version, address, reply.body)
        return [registration.tell(final, now)]

    def _follow(self, deeds: Iterable[Deed], now: float) -> list[Effect]:
        """Do what service and broker have for each other; return what is for the driver.

        A request that ends without a reply ends the registration, and the other way round.
        """
        effects: list[Effect] = []
        due = deque(deeds)
        while True:
            while due:
                deed = due.popleft()
                if isinstance(deed, Feed):
                    due += super().receive(deed.peer, deed.frames, now)
                elif not isinstance(deed, Send) or is_link(deed.peer):
                    effects.append(deed)
                elif deed.peer == _BROKER:
                    effects += self._reply(deed.frames, now)
                else:
                    due += self._clients.take(deed.peer, deed.frames, now)
            if self._address is None:
                return effects
            if not self._registration.is_busy:
                self._address = None
                due += self._clients.unsent(_BROKER, now)
            elif not self._clients.in_flight:
                due += self._registration.end("failed", now)
            else:
                return effects


def _no_mmi(service: str, body: tuple[Buffer, ...]) -> list[bytes]:
    raise AssertionError("a service of ours has no reserved name")
