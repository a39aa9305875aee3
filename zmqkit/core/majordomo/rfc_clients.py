"""Clients of RFC 7 and RFC 18, each of which a front takes for a client of ours.

A client of an RFC asks and waits; nothing else is known of it. So a client here is a peer, a
version and a service. It has a number, an inner peer id and sequence numbers of its own.

    a request of RFC 7      a REQUEST; its REPLY is the reply
    a request of RFC 18     a STREAM; each ITEM is a PARTIAL, but the last one before END is the
                            FINAL; a REPLY, from whoever gives one value alone, is the FINAL too
    an ERROR                is counted and noted; a client of an RFC can be told of none, so it
                            asks anew when it has waited long enough, as the RFCs have it
    mmi.* is asked for      answered at once
    titanic.* is asked for  likewise; but a request that is to be kept is a SUBMIT to the front
                            of its service, whose reply is the id, and whose ERROR is told

An item waits until the turn ends: only an END in the same turn shows that it was the last.

The front retains answers until they are settled, so it is told of them: by a CANCEL of no
requests when the client has none open, else by PING, once much was answered. A PING every
`refresh_s` also keeps streams whose items are far apart, and its PONG shows which requests the
front does not have. A front answers a PING at once, if it has room for the client at all.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from math import inf
from typing import cast

from zmqkit.core.calls.outcome import (
    BAD_ARGUMENTS,
    BUSY,
    EXPIRED,
    FORGOTTEN,
    LEAVING,
    NO_METHOD,
    RAISED,
    RECALLED,
)
from zmqkit.core.effects import Send
from zmqkit.core.majordomo.bodies import MDP, answer_body, request_part, travels
from zmqkit.core.majordomo.feed import INNER, Deed, Feed, Notes
from zmqkit.core.majordomo.rfc_client import OpenRequest, RfcClient
from zmqkit.core.majordomo.titanic import OK, REQUEST, Titanic, not_kept
from zmqkit.limits import BATCH_BYTES, BODY_BYTES_MAX, CREDIT, PRIORITY
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Buffer, Malformed, decode, encode
from zmqkit.wire.mdp import ClientRequest, Version
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import (
    Rows,
    read_ends,
    read_errors,
    read_items,
    read_rows,
    request_columns,
)
from zmqkit.wire.submission import SUBMIT, submission

_INCARNATIONS = (1 << 63) - 1
_WINDOW = (1_000_000, BODY_BYTES_MAX)
_UNTOLD_MAX = CREDIT // 10
_EMPTY: Frames = (b"",)
_CODES = frozenset({
    RAISED, NO_METHOD, BAD_ARGUMENTS, BUSY, LEAVING, RECALLED, EXPIRED, FORGOTTEN,
})  # fmt: skip
_TEXT_CHARS_MAX = 200


_Clients = dict[tuple[Version, str], RfcClient]
_Receiver = Callable[[RfcClient, Packet, float], list[Deed]]


class RfcClients:
    """Translates between clients of RFCs and the fronts of relays."""

    def __init__(
        self,
        incarnation: int,
        limits: MdpLimits,
        target_of: Callable[[str, float], int],
        mmi: Callable[[str, tuple[Buffer, ...]], list[bytes]],
        titanic: Titanic | None = None,
    ) -> None:
        """Begin without clients. incarnation: that of the broker.

        target_of: returns the incarnation of a service's front; 0 if there are too many.
        mmi: answers a request for a service of the broker's own. titanic: those of RFC 9.
        """
        self.counts: Counter[str] = Counter()
        # Why requests were not passed on, and what became of those that have no answer: the
        # code of an error, or why they were given up here.
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._incarnation = incarnation
        self._limits = limits
        self._target_of = target_of
        self._mmi = mmi
        self._titanic = titanic
        self._notes = Notes()
        self._made = 0
        self._by_peer: dict[PeerId, _Clients] = {}
        self._by_inner: dict[PeerId, RfcClient] = {}
        # Clients with open requests; and the others, the one that is idle for longest first.
        self._busy: dict[RfcClient, None] = {}
        self._idle: OrderedDict[RfcClient, None] = OrderedDict()
        self._refresh_at = inf
        # Of which requests items came in this turn.
        self._moved: dict[RfcClient, dict[int, None]] = {}
        self._receivers: dict[int, _Receiver] = {
            wire.REPLY: self._reply,
            wire.ERROR: self._error,
            wire.ITEM: self._item,
            wire.END: self._end,
            wire.PONG: self._pong,
            wire.BYE: self._bye,
        }

    def __contains__(self, inner: PeerId) -> bool:
        """Return whether this is the inner id of a client."""
        return inner in self._by_inner

    # From clients

    def receive(self, peer: PeerId, command: ClientRequest, now: float) -> list[Deed]:
        """Take a request from a client, and pass it on or answer it."""
        service, body = command.service, command.body
        if service.startswith(mdp.MMI):
            self.counts["mmi"] += 1
            answer = tuple(self._mmi(service, body)) or _EMPTY
            return [Send(peer, mdp.final(command.version, service, answer))]
        if self._titanic is None or not service.startswith(mdp.TITANIC):
            return self._accept(peer, command, OpenRequest(), now)
        self.counts["titanic"] += 1
        kept = self._titanic.to_keep(service, body)
        if kept is None:
            told, effects = self._titanic.answer(service, body, now)
            return [*effects, Send(peer, mdp.final(command.version, service, told))]
        inner = ClientRequest(command.version, kept.service, kept.body)
        return self._accept(peer, inner, OpenRequest(kept.id), now)

    def unsent(self, peer: PeerId, now: float) -> list[Deed]:
        """Learn that a client is gone or does not read; its requests are cancelled."""
        deeds: list[Deed] = []
        for client in list(self._by_peer.get(peer, {}).values()):
            given_up = list(client.open)
            self._drop(client, given_up, "unsent", now)
            if given_up:
                deeds.append(client.say(wire.CANCEL, encode(given_up)))
            self._forget(client)
        return deeds

    def _client(self, peer: PeerId, command: ClientRequest, target: int) -> RfcClient | None:
        """Return the client; a new one in place of the one that is idle for longest if need be.

        Returns None if there are too many, and none of them is idle.
        """
        key = (command.version, command.service)
        client = self._by_peer.get(peer, {}).get(key)
        if client is not None:
            return client
        if len(self._by_inner) >= self._limits.clients_max:
            if not self._idle:
                return None
            self._forget(next(iter(self._idle)))
        incarnation = 1 + (self._incarnation + self._made) % _INCARNATIONS
        self._made += 1
        inner = INNER + incarnation.to_bytes(8, "big")
        client = RfcClient(peer, *key, incarnation, inner, target)
        self._by_peer.setdefault(peer, {})[key] = self._by_inner[inner] = client
        return client

    def _accept(
        self, peer: PeerId, command: ClientRequest, request: OpenRequest, now: float
    ) -> list[Deed]:
        """Pass a request on, or refuse it."""
        if not travels(command.body):
            return self._refuse("too-large", peer, command, request, now)
        target = self._target_of(command.service, now)
        if not target:
            return self._refuse("services-full", peer, command, request, now)
        client = self._client(peer, command, target)
        if client is None:
            return self._refuse("clients-full", peer, command, request, now)
        deeds: list[Deed] = []
        if client.target != target:
            deeds = self._drop(client, list(client.open), "replaced", now)
            client.target = target
        if len(client.open) >= self._limits.client_requests_max:
            return deeds + self._refuse("busy", peer, command, request, now)
        return [*deeds, self._ask(client, command.body, request, now)]

    def _ask(self, client: RfcClient, body: Frames, request: OpenRequest, now: float) -> Feed:
        number = client.next
        client.next += 1
        client.open[number] = request
        self.counts["accepted"] += 1
        self._idle.pop(client, None)
        self._busy[client] = None
        self._refresh_at = min(self._refresh_at, now + self._limits.refresh_s)
        method, headers, streams = MDP, {}, client.version is Version.V2
        if request.kept:
            about = submission(MDP, request.kept, self._limits.kept_s)
            method, headers, streams = SUBMIT, {SUBMIT: about}, False
        row, raw = request_part(body, headers)
        left_ms = max(1, int(self._limits.request_s * 1000))
        columns = request_columns(
            (number,),
            (left_ms,),
            (method,),
            (PRIORITY,),
            (row,),
            _WINDOW if streams else None,
        )
        return client.say(wire.STREAM if streams else wire.REQUEST, columns, row, raw)

    def _refuse(
        self,
        reason: str,
        peer: PeerId,
        command: ClientRequest,
        request: OpenRequest,
        now: float,
    ) -> list[Deed]:
        self.refused[reason] += 1
        told = not_kept(peer, command.version, request.kept)
        return told + self._notes.note(
            "mdp-request-refused", command.service, now, reason=reason
        )

    # From fronts

    def take(self, inner: PeerId, frames: Frames, now: float) -> list[Deed]:
        """Take what a front sends to one of the clients. Never raises for what it sent."""
        client = self._by_inner.get(inner)
        if client is None:
            return []
        try:
            packet = wire.unpack(frames)
            if packet.source != client.target or packet.target != client.incarnation:
                raise Malformed("unexpected")
            receiver = self._receivers.get(packet.kind)
            return receiver(client, packet, now) if receiver is not None else []
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def flush(self, now: float) -> list[Deed]:
        """Send the items of this turn that nothing followed, and grant credit for all of them.

        The broker calls it once a turn, when all that came has been handed on.
        """
        moved, self._moved = self._moved, {}
        deeds: list[Deed] = []
        for client, numbers in moved.items():
            rows: list[tuple[int, int, None]] = []
            for number in numbers:
                request = client.open.get(number)
                if request is not None:
                    deeds += self._partial(client, request)
                    rows.append((number, request.have, None))
            if rows:
                columns = [list(column) for column in zip(*rows, strict=True)]
                deeds.append(client.say(wire.GRANT, encode(columns)))
        return deeds

    def _reply(self, client: RfcClient, packet: Packet, now: float) -> list[Deed]:
        deeds: list[Deed] = []
        unreadable: list[int] = []
        numbers, rows = read_rows(packet)
        pieces = rows.pieces() if rows.raw is None else [rows.raw]
        for number, row in zip(numbers, pieces, strict=True):
            try:
                value = row if rows.raw is not None else decode(row)
            except Malformed:
                unreadable.append(number)
                continue
            request = client.open.pop(number, None)
            if request is None:
                self.counts["duplicates"] += 1
                continue
            self.counts["delivered"] += 1
            deeds += self._partial(client, request)
            deeds.append(self._final(client, request, answer_body(value, row)))
        for number in unreadable:
            self.malformed["reply"] += 1
            deeds += self._drop(client, [number], "unreadable", now)
        return deeds + self._tell(client, packet.size, now)

    def _error(self, client: RfcClient, packet: Packet, now: float) -> list[Deed]:
        deeds: list[Deed] = []
        for number, code, _, text, _, _ in read_errors(packet):
            deeds += self._fail(client, number, code, text, now)
        return deeds + self._tell(client, packet.size, now)

    def _item(self, client: RfcClient, packet: Packet, now: float) -> list[Deed]:
        deeds: list[Deed] = []
        items = read_items(packet)
        sizes = cast("list[list[int]]", packet.meta)[-1]
        pieces = Rows(packet, sizes, None).pieces()
        for (number, at, _, value), row in zip(items, pieces, strict=True):
            request = client.open.get(number)
            if request is None or at < request.have:
                self.counts["duplicates"] += 1
            elif at > request.have:
                self.malformed["item"] += 1
            else:
                deeds += self._partial(client, request)
                request.have += 1
                request.last = answer_body(value, row)
                self._moved.setdefault(client, {})[number] = None
        return deeds

    def _end(self, client: RfcClient, packet: Packet, now: float) -> list[Deed]:
        deeds: list[Deed] = []
        for number, count, error in read_ends(packet):
            request = client.open.get(number)
            if request is None:
                self.counts["duplicates"] += 1
            elif error is not None:
                deeds += self._fail(client, number, error[1], error[3], now)
            elif count != request.have:
                self.malformed["end"] += 1
                deeds += self._drop(client, [number], "unreadable", now)
            else:
                del client.open[number]
                self.counts["delivered"] += 1
                deeds.append(self._final(client, request, request.last or _EMPTY))
        return deeds + self._tell(client, packet.size, now)

    def _pong(self, client: RfcClient, packet: Packet, now: float) -> list[Deed]:
        """Give up the requests that the front does not have, though they were sent before."""
        pong = wire.read_pong(packet, client.token, client.next)
        client.ponged = pong.token
        if pong.token != client.token:
            return []
        lost = [n for n in client.open.keys() - pong.held if n < client.pinged]
        return self._lose(client, lost, now)

    def _bye(self, client: RfcClient, packet: Packet, now: float) -> list[Deed]:
        """Give up what is open if the front has closed; one that leaves goes on answering."""
        if packet.meta is None:
            return []
        return self._drop(client, list(client.open), "closed", now)

    # Inside

    def _partial(self, client: RfcClient, request: OpenRequest) -> list[Deed]:
        """Return the item of a stream that waits, as a part of the reply."""
        body, request.last = request.last, None
        if body is None:
            return []
        self.counts["partials"] += 1
        return [Send(client.peer, mdp.partial(client.service, body))]

    def _final(self, client: RfcClient, request: OpenRequest, body: Frames) -> Send:
        """Return the reply to a request; of one that is kept, that is its id."""
        service = client.service
        if request.kept:
            service, body = REQUEST, (OK, *body)
        return Send(client.peer, mdp.final(client.version, service, body))

    def _fail(
        self, client: RfcClient, number: int, code: str, text: str, now: float
    ) -> list[Deed]:
        """End a request that has no answer; what came of a stream so far is sent."""
        request = client.open.pop(number, None)
        if request is None:
            self.counts["duplicates"] += 1
            return []
        self.failed[code if code in _CODES else "other"] += 1
        told = self._notes.note(
            "mdp-request-failed", client.service, now,
            code=code[:_TEXT_CHARS_MAX], text=text[:_TEXT_CHARS_MAX],
        )  # fmt: skip
        told += not_kept(client.peer, client.version, request.kept)
        return self._partial(client, request) + told

    def _lose(self, client: RfcClient, numbers: list[int], now: float) -> list[Deed]:
        """Give up requests that the front does not have."""
        if not numbers:
            return []
        told = self._drop(client, numbers, "lost", now)
        return told + self._notes.note(
            "mdp-requests-lost", client.service, now, count=len(numbers)
        )

    def _drop(
        self, client: RfcClient, numbers: list[int], reason: str, now: float
    ) -> list[Deed]:
        told: list[Deed] = []
        for number in numbers:
            request = client.open.pop(number, None)
            if request is not None:
                self.dropped[reason] += 1
                told += not_kept(client.peer, client.version, request.kept)
        self._rest(client, now)
        return told

    def _rest(self, client: RfcClient, now: float) -> None:
        """Note that a client has nothing open any more, if so."""
        if not client.open and client in self._busy:
            del self._busy[client]
            self._idle[client] = None
            client.idle_at = now

    def _tell(self, client: RfcClient, size: int, now: float) -> list[Deed]:
        """Have the front free what was read, now or when there is more of it."""
        self._rest(client, now)
        client.untold += 1
        client.untold_bytes += size
        if client.open and client.untold < _UNTOLD_MAX and client.untold_bytes < BATCH_BYTES:
            return []
        client.untold = client.untold_bytes = 0
        return [client.ping() if client.open else client.say(wire.CANCEL, encode([]))]

    def _forget(self, client: RfcClient) -> None:
        del self._by_inner[client.inner]
        theirs = self._by_peer[client.peer]
        del theirs[client.version, client.service]
        if not theirs:
            del self._by_peer[client.peer]
        self._idle.pop(client, None)
        self._busy.pop(client, None)
        self._moved.pop(client, None)

    # What the broker asks for

    def tick(self, now: float) -> list[Deed]:
        """Forget clients that are idle for long; tell the fronts of those that are not."""
        while self._idle:
            client = next(iter(self._idle))
            if now < client.idle_at + self._limits.client_idle_s:
                break
            self._forget(client)
        if now < self._refresh_at:
            return []
        told: list[Deed] = []
        for client in list(self._busy):
            if client.ponged < client.token:  # the front has no room for this client
                told += self._lose(client, list(client.open), now)
        self._refresh_at = now + self._limits.refresh_s if self._busy else inf
        return [*told, *(client.ping() for client in self._busy)]

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        if not self._idle:
            return self._refresh_at
        idle_at = next(iter(self._idle)).idle_at
        return min(self._refresh_at, idle_at + self._limits.client_idle_s)

    @property
    def in_flight(self) -> int:
        """How many requests are not answered."""
        return sum(len(client.open) for client in self._busy)

    def stats(self) -> dict[str, object]:
        """Return counters; accepted = delivered + failed + dropped + in flight."""
        return {
            **{name: self.counts[name] for name in ("accepted", "delivered", "partials")},
            "failed": dict(self.failed),
            "dropped": dict(self.dropped),
            "in_flight": self.in_flight,
            "refused": dict(self.refused),
            "mmi": self.counts["mmi"],
            "titanic": self.counts["titanic"],
            "duplicates": self.counts["duplicates"],
            "clients": len(self._by_inner),
            "malformed": dict(self.malformed),
        }

    def check(self) -> None:
        """Assert that the maps agree and that the counters balance."""
        clients = set(self._by_inner.values())
        assert clients == {c for theirs in self._by_peer.values() for c in theirs.values()}
        assert clients == self._busy.keys() | self._idle.keys()
        assert all(client.open for client in self._busy)
        assert not any(client.open for client in self._idle)
        assert len(clients) <= self._limits.clients_max
        idle = [client.idle_at for client in self._idle]
        assert idle == sorted(idle)
        assert not self._busy or self._refresh_at < inf
        in_flight = sum(len(client.open) for client in clients)
        ended = self.counts["delivered"] + self.failed.total() + self.dropped.total()
        assert self.counts["accepted"] == ended + in_flight, "stats do not balance"
        for client in clients:
            assert list(client.open) == sorted(client.open)
            assert all(number < client.next for number in client.open)
            assert len(client.open) <= self._limits.client_requests_max
            waits = [n for n, request in client.open.items() if request.last is not None]
            assert self._moved.get(client, {}).keys() >= set(waits)
