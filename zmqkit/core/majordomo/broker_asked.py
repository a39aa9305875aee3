"""Somebody else's broker, which a client of ours takes for an instance of the service.

An instance here is one connection. The broker is greeted through it, and this module answers:
it runs one request at a time, has the method `mdp` alone, and may run it twice. That is what
the RFCs ask of workers.

The protocol has no ids, so a reply belongs to whatever was asked last. Hence a connection ends
with the first request that its client does not want any more; a late reply dies with it:

    the connection is made      it is an instance; what waits for one is sent
    it breaks                   the instance is gone: its request moves to the next one, or
                                fails; another connection is opened
    a request is not wanted     the same, by this side: it ran out of time, or was cancelled
    no other for `return_s`     there is no instance, until there is a connection again

What the client says of its request, and what the broker replies:

    REQUEST, NOTIFY             the request; what all its replies have is the REPLY
    STREAM                      the request; each PARTIAL and the FINAL are an ITEM
    PING                        answered by PONG; a request that it does not name is not wanted
    CANCEL                      the same
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf

from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import BUSY, FORGOTTEN
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Connect, Disconnect, News, Send, Tell
from zmqkit.core.majordomo.bodies import MDP, request_body, size_of
from zmqkit.core.majordomo.feed import BROKER_PEER, Deed, Feed
from zmqkit.core.majordomo.rfc_job import Parcel, RfcJob
from zmqkit.limits import CREDIT
from zmqkit.majordomo_limits import MdpPeerLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.mdp import Kind, Version
from zmqkit.wire.packet import Packet
from zmqkit.wire.rows import (
    CHARGE_BYTES,
    Arguments,
    Head,
    Window,
    answer_columns,
    arguments_of,
    read_grants,
    read_requests,
    read_streams,
)

_WELCOME: Parcel = (wire.WELCOME, encode({"credit": 1, "idempotent": [MDP]}), b"", None)
_WITH_REQUEST = frozenset({wire.REQUEST, wire.NOTIFY, wire.STREAM})
_NUMBERS = (1 << 63) - 1
_Receiver = Callable[[Packet, float], list[Deed]]


class AskedBroker:
    """The connection to a broker, and the one request that is under way there."""

    def __init__(
        self, service: str, version: Version, client: int, limits: MdpPeerLimits
    ) -> None:
        """Begin without a connection. client: the incarnation of the client."""
        self.counts: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._service = service
        self._version = version
        self._client = client
        self._limits = limits
        self._endpoint = ""
        # How many connections there were, and the number of this one: it is the instance's
        # incarnation, and part of the names that the link and the client have for it.
        self._made = 0
        self._number = _number(client, 0)
        # Whether there is a socket, and whether it is connected.
        self._is_open = self._is_up = False
        # Whether the client was told of the instance, and has greeted it.
        self._is_told = self._is_greeted = False
        self._job: RfcJob | None = None
        # The packet that brought the request.
        self._asked: Frames = ()
        # When the last socket was opened, when the next one is, and when the broker is gone.
        self._opened_at = -inf
        self._open_at = self._gone_at = inf
        self._receivers: dict[int, _Receiver] = {
            wire.HELLO: self._hello,
            wire.REQUEST: self._request,
            wire.NOTIFY: self._request,
            wire.STREAM: self._stream,
            wire.GRANT: self._grant,
            wire.CANCEL: self._cancel,
            wire.PING: self._ping,
        }

    @property
    def link(self) -> PeerId:
        """The link's name of the connection."""
        return BROKER_PEER + self._number.to_bytes(8, "big")

    @property
    def inner(self) -> PeerId:
        """The client's name of the connection."""
        return self._number.to_bytes(8, "big")

    # The connection

    def found(self, endpoint: str, now: float) -> list[Deed]:
        """Learn where the broker is, and connect to it."""
        self._endpoint = endpoint
        return self._open(now)

    def changed(self, peer: PeerId, now: float, *, up: bool) -> list[Deed]:
        """Learn that a connection was made, or broke."""
        if peer != self.link or not self._is_open or up is self._is_up:
            return []
        if not up:
            self.counts["broken"] += 1
            return self._anew(now)
        self._is_up, self._gone_at = True, inf
        if not self._is_told:
            self._is_told = True
            return [self._tell(News.FOUND)]
        return [self._say(_WELCOME)] if self._is_greeted else []

    def tick(self, now: float) -> list[Deed]:
        """Open the next connection, or give the broker up, when it is time."""
        deeds: list[Deed] = []
        if now >= self._open_at:
            deeds += self._open(now)
        if now >= self._gone_at:
            self._gone_at = inf
            self._is_told = self._is_greeted = False
            deeds.append(self._tell(News.GONE))
        return deeds

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self._open_at, self._gone_at)

    def close(self) -> list[Deed]:
        """Close the connection; nothing follows."""
        was_open, self._is_open, self._is_up = self._is_open, False, False
        self._open_at = self._gone_at = inf
        self._job = None
        return [Disconnect(self.link)] if was_open else []

    def _open(self, now: float) -> list[Deed]:
        self._is_open, self._opened_at, self._open_at = True, now, inf
        return [Connect(self.link, self._endpoint)]

    def _anew(self, now: float) -> list[Deed]:
        """Close the connection for good, and have another one, which is another instance.

        If the instance were not lost before it is gone, the client would wait for its last
        word.
        """
        deeds: list[Deed] = [Disconnect(self.link)]
        deeds += [self._tell(News.LOST), self._tell(News.GONE)]
        self._is_open = self._is_up = self._is_greeted = False
        self._job = None
        self._made += 1
        self._number = _number(self._client, self._made)
        self._gone_at = now + self._limits.return_s
        self._open_at = max(now, self._opened_at + self._limits.reconnect_s)
        if now >= self._open_at:
            deeds += self._open(now)
        return [*deeds, self._tell(News.FOUND)]

    def _tell(self, news: News) -> Tell:
        return Tell(news, self._service, self._number, self._endpoint)

    # From the broker

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Deed]:
        """Take what the broker sent. Never raises for what it is."""
        if peer != self.link or not self._is_up:
            return []
        try:
            reply = mdp.read_at_client(frames)
            if reply.version is not self._version or reply.service != self._service:
                raise Malformed("service")
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []
        job = self._job
        if job is None or job.ended:
            self.counts["unexpected"] += 1
            return []
        if job.kept_bytes + size_of(reply.body) > self._limits.reply_bytes_max:
            text = f"the reply has more than {self._limits.reply_bytes_max} bytes"
            return [self._refuse(job.sequence, refuse(FORGOTTEN, text)), *self._anew(now)]
        take = job.part if reply.kind is Kind.PARTIAL else job.final
        return self._told(job, take(reply.body))

    def unsent(self, peer: PeerId) -> Frames:
        """Learn that something did not leave; return the client's packet that it was in."""
        if peer != self.link or self._job is None or self._job.ended:
            return ()
        self._job = None
        return self._asked

    # From the client

    def take(self, peer: PeerId, frames: Frames, now: float) -> list[Deed]:
        """Take what the client says to the instance; what it said to another one is void."""
        if peer != self.inner:
            return []
        packet = wire.unpack(frames)
        self._asked = frames if packet.kind in _WITH_REQUEST else self._asked
        receiver = self._receivers.get(packet.kind)
        return receiver(packet, now) if receiver is not None else []

    def _hello(self, packet: Packet, now: float) -> list[Deed]:
        self._is_greeted = True
        return [self._say(_WELCOME)] if self._is_up else []

    def _request(self, packet: Packet, now: float) -> list[Deed]:
        [head], rows = read_requests(packet)
        return self._begin(packet.kind, head, None, arguments_of(rows)[0])

    def _stream(self, packet: Packet, now: float) -> list[Deed]:
        [head], [window], rows = read_streams(packet)
        return self._begin(packet.kind, head, window, arguments_of(rows)[0])

    def _begin(
        self, kind: int, head: Head, window: Window | None, arguments: Arguments | None
    ) -> list[Deed]:
        """Send a request; the client has checked that its arguments are frames."""
        sequence, job = head[0], self._job
        if job is not None:
            if job.sequence == sequence:
                return []
            return [self._refuse(sequence, refuse(BUSY))]
        body = request_body(arguments)
        assert body is not None
        self._job = RfcJob(sequence, kind, window)
        return [Send(self.link, mdp.request(self._version, self._service, body))]

    def _grant(self, packet: Packet, now: float) -> list[Deed]:
        deeds: list[Deed] = []
        for sequence, taken, _ in read_grants(packet):
            job = self._job
            if job is not None and job.sequence == sequence:
                deeds += self._told(job, job.granted(taken))
        return deeds

    def _cancel(self, packet: Packet, now: float) -> list[Deed]:
        sequences, job = wire.sequences_of(packet.meta, CREDIT), self._job
        if job is None or job.sequence not in sequences:
            return []
        return self._unwanted(job, now)

    def _ping(self, packet: Packet, now: float) -> list[Deed]:
        assert type(packet.meta) is list
        job = self._job
        if job is not None and job.sequence not in packet.meta[2]:
            return self._unwanted(job, now)
        held = [] if job is None else [job.sequence]
        told = [packet.meta[0], 1, held, len(held)]
        if job is not None and job.window is not None:
            told.append([[job.sequence, job.sent, job.taken]])
        return [self._say((wire.PONG, encode(told), b"", None))]

    def _unwanted(self, job: RfcJob, now: float) -> list[Deed]:
        """Have no late reply come; nothing more comes if the last one is here."""
        if job.ended:
            self._job = None
            return []
        self.counts["given_up"] += 1
        return self._anew(now)

    def _told(self, job: RfcJob, parcels: list[Parcel]) -> list[Deed]:
        """Tell the client of replies; the request ends with the last of them."""
        if job.is_over:
            self._job = None
        return [self._say(parcel) for parcel in parcels]

    def _refuse(self, sequence: int, answer: Answer) -> Feed:
        columns = answer_columns((sequence,), (answer.row,))
        return self._say((wire.ERROR, columns, answer.row, None))

    def _say(self, parcel: Parcel) -> Feed:
        kind, meta, rows, raw = parcel
        frames = wire.pack(kind, self._number, self._client, 0, meta, rows, raw)
        return Feed(self._service, self.inner, frames)

    def check(self) -> None:
        """Assert that there is a request only while there is a connection, and it is due."""
        job = self._job
        assert not self._is_up or self._is_open
        assert not self._is_open or self._open_at == inf
        assert job is None or self._is_up
        assert self._gone_at == inf or self._is_told
        if job is not None:
            job.check()
            assert not job.is_over
            assert job.kept_bytes <= self._limits.reply_bytes_max + CHARGE_BYTES


def _number(client: int, made: int) -> int:
    return 1 + (client + made) % _NUMBERS
