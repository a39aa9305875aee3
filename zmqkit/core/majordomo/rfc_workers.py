"""Workers of RFC 7 and RFC 18, each of which a back takes for an instance of a service of ours.

A worker says READY and is told to the back as an instance that was found (Tell, whose key is
the service). The back greets it, and this module answers for it: it runs one request at a time,
has the method `mdp` alone, and may run it twice. That is what the RFCs ask of workers.

                    no worker       idle            busy
    READY           is one now      expelled        expelled
    PARTIAL, FINAL  expelled        expelled        is passed on, if the address is right;
                                                    else expelled
    HEARTBEAT       expelled        is there        is there
    REQUEST         expelled        expelled        expelled
    DISCONNECT      nothing         gone            gone, so its request moves to another
    silent          -               expelled        when its lease is over: expelled, and its
                                                    request moves to another
    no route        nothing         gone            gone, so its request moves to another

To expel is to say DISCONNECT and to forget. The heartbeats of an RFC do not name the request
that a worker has, so it has a lease for that; each PARTIAL begins the lease anew. A worker
cannot be told that nobody wants its reply any more; until it has replied, it is busy.

A worker that has replied may go while parts of its reply still wait for credit. Then it is
away: the back is told that it leaves, and, once all parts were told, that it is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from zmqkit.core.calls.answers import refuse
from zmqkit.core.calls.outcome import BAD_ARGUMENTS, BUSY, FORGOTTEN, NO_METHOD
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import News, Send, Tell
from zmqkit.core.majordomo.bodies import MDP, request_body, size_of
from zmqkit.core.majordomo.feed import INNER, Deed, Feed, Notes
from zmqkit.core.majordomo.rfc_job import Parcel, RfcJob
from zmqkit.core.majordomo.rfc_leases import RfcLeases
from zmqkit.limits import CREDIT
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import Frames, PeerId
from zmqkit.wire import mdp
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, encode
from zmqkit.wire.mdp import Kind, Version, WorkerCommand
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

RFC_ENDPOINT = "mdp://"
"""Begins what stands for the address of a worker of an RFC, to which nobody can connect."""

_NUMBERS = (1 << 56) - 1
_NO_METHOD = refuse(NO_METHOD, f"a worker of MDP has the method {MDP!r} alone")
_BAD_ARGUMENTS = refuse(
    BAD_ARGUMENTS, f"the arguments of {MDP!r} are frames: bytes or text, each by its position"
)
_WELCOME: Parcel = (wire.WELCOME, encode({"credit": 1, "idempotent": [MDP]}), b"", None)
_BYE: Parcel = (wire.BYE, encode(None), b"", None)


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker of an RFC, as the back of its service knows it."""

    peer: PeerId
    version: Version
    service: str
    incarnation: int
    inner: PeerId
    # When it said something last, and when it was last told something.
    heard_at: float
    told_at: float
    # The incarnation of the back, once that has greeted it.
    back: int = 0
    job: RfcJob | None = None
    # It is gone, and the end of its last reply is still to be told.
    is_away: bool = False

    def say(self, parcel: Parcel) -> Feed:
        """Return a packet to the back."""
        kind, meta, rows, raw = parcel
        frames = wire.pack(kind, self.incarnation, self.back, 0, meta, rows, raw)
        return Feed(self.service, self.inner, frames)

    def refuse(self, sequence: int, answer: Answer) -> Feed:
        """Return an ERROR to the back."""
        row = answer.row
        return self.say((wire.ERROR, answer_columns((sequence,), (row,)), row, None))

    def tell(self, news: News) -> Tell:
        """Return news of this worker for the back."""
        endpoint = f"{RFC_ENDPOINT}{self.peer.hex()}"
        return Tell(news, self.service, self.incarnation, endpoint)


_Receiver = Callable[[_Worker, Packet, float], list[Deed]]


class RfcWorkers:
    """Translates between workers of RFCs and the backs of relays."""

    def __init__(
        self, incarnation: int, limits: MdpLimits, leases: Mapping[str, float]
    ) -> None:
        """Begin without workers. incarnation: that of the broker.

        leases: services whose workers have a lease of other seconds than the limits say.
        """
        self.counts: Counter[str] = Counter()
        # Why requests have no answer; and why workers were told to go.
        self.dropped: Counter[str] = Counter()
        self.expelled: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self._incarnation = incarnation
        self._limits = limits
        self._notes = Notes()
        self._made = 0
        self._by_peer: dict[PeerId, _Worker] = {}
        self._by_inner: dict[PeerId, _Worker] = {}
        self._leases: RfcLeases[_Worker] = RfcLeases(limits.lease_s, leases)
        # When heartbeats are due, and before when nobody is expelled for being silent.
        self._beat_at = inf
        self._grace_at = -inf
        self._receivers: dict[int, _Receiver] = {
            wire.HELLO: self._hello,
            wire.REQUEST: self._request,
            wire.NOTIFY: self._request,
            wire.STREAM: self._stream,
            wire.GRANT: self._grant,
            wire.CANCEL: self._cancel,
            wire.PING: self._ping,
        }

    def __contains__(self, inner: PeerId) -> bool:
        """Return whether this is the inner id of a worker."""
        return inner in self._by_inner

    # From workers

    def receive(self, peer: PeerId, command: WorkerCommand, now: float) -> list[Deed]:
        """Take what a worker says. The Tells among the result are for the back."""
        deeds: list[Deed] = []
        worker = self._by_peer.get(peer)
        if worker is not None and worker.version is not command.version:
            deeds, worker = self._part(worker, "gone"), None
        kind = command.kind
        if kind is Kind.DISCONNECT:
            return deeds + (self._part(worker, "gone") if worker is not None else [])
        if kind is Kind.READY and worker is None:
            return deeds + self._ready(peer, command, now)
        if worker is None:
            self.expelled["unknown"] += 1
            return [*deeds, Send(peer, mdp.disconnect(command.version))]
        worker.heard_at = now
        if kind is Kind.HEARTBEAT:
            return []
        if kind in (Kind.PARTIAL, Kind.FINAL):
            return self._replied(worker, command, now)
        return self._expel(worker, "unexpected", now)

    def distrust(self, peer: PeerId, now: float) -> list[Deed]:
        """Expel a peer, if it is a worker, for it sent what is malformed."""
        worker = self._by_peer.get(peer)
        return self._expel(worker, "malformed", now) if worker is not None else []

    def unsent(self, peer: PeerId, now: float) -> list[Deed]:
        """Learn that something could not be sent to a peer; if it is a worker, it is gone."""
        worker = self._by_peer.get(peer)
        return self._part(worker, "gone") if worker is not None else []

    def _ready(self, peer: PeerId, command: WorkerCommand, now: float) -> list[Deed]:
        reason, service = "", command.service
        if service.startswith((mdp.MMI, mdp.TITANIC)):
            reason = "reserved"
        elif len(self._by_inner) >= self._limits.workers_max:
            reason = "workers-full"
        if reason:
            self.expelled[reason] += 1
            told = self._notes.note("mdp-worker-expelled", service, now, reason=reason)
            return [Send(peer, mdp.disconnect(command.version)), *told]
        number = (self._incarnation + self._made) & _NUMBERS
        self._made += 1
        inner = INNER + number.to_bytes(7, "big")
        incarnation = int.from_bytes(inner, "big")
        worker = _Worker(peer, command.version, service, incarnation, inner, now, now)
        self._by_peer[peer] = self._by_inner[inner] = worker
        self.counts["workers"] += 1
        self._beat_at = min(self._beat_at, now + self._limits.heartbeat_s)
        return [worker.tell(News.FOUND)]

    def _replied(self, worker: _Worker, command: WorkerCommand, now: float) -> list[Deed]:
        job = worker.job
        if worker not in self._leases or job is None or command.address != job.address:
            return self._expel(worker, "unexpected", now)
        bytes_max = self._limits.reply_bytes_max
        if not job.cancelled and job.kept_bytes + size_of(command.body) > bytes_max:
            text = f"the worker sent more than {bytes_max} bytes that could not be passed on"
            self._end(worker, "too-much")
            failed = worker.refuse(job.sequence, refuse(FORGOTTEN, text))
            return [worker.say(_BYE), failed, *self._expel(worker, "too-much", now)]
        if command.kind is Kind.PARTIAL:
            self._leases.begin(worker, worker.service, now)
            deeds = self._tell(worker, job.part(command.body))
        else:
            self._leases.end(worker)
            deeds = self._tell(worker, job.final(command.body))
        if job.is_over:
            self.counts["unwanted" if job.cancelled else "delivered"] += 1
            worker.job = None
        return deeds

    def _tell(self, worker: _Worker, parcels: list[Parcel]) -> list[Deed]:
        return [worker.say(parcel) for parcel in parcels]

    def _expel(self, worker: _Worker, reason: str, now: float) -> list[Deed]:
        """Say DISCONNECT to a worker and forget it."""
        self.expelled[reason] += 1
        return [
            Send(worker.peer, mdp.disconnect(worker.version)),
            *self._part(worker, reason),
            *self._notes.note("mdp-worker-expelled", worker.service, now, reason=reason),
        ]

    def _part(self, worker: _Worker, reason: str) -> list[Deed]:
        """Forget a worker; what it has moves to another. A reply is told to its end first."""
        del self._by_peer[worker.peer]
        if worker.job is not None and worker.job.ended:
            worker.is_away = True
            return [worker.say(_BYE)]
        if worker.job is not None:
            self._end(worker, reason)
        return self._gone(worker)

    def _gone(self, worker: _Worker) -> list[Deed]:
        """Tell the back that a worker is gone.

        If it were not lost before, the back would wait for its last word.
        """
        del self._by_inner[worker.inner]
        return [worker.tell(News.LOST), worker.tell(News.GONE)]

    def _end(self, worker: _Worker, reason: str) -> None:
        """Drop the request of a worker."""
        worker.job = None
        self._leases.end(worker)
        self.dropped[reason] += 1

    # From backs

    def take(self, inner: PeerId, frames: Frames, now: float) -> list[Deed]:
        """Take what a back sends to one of the workers. Never raises for what it sent."""
        worker = self._by_inner.get(inner)
        if worker is None:
            return []
        try:
            packet = wire.unpack(frames)
            is_known = packet.source == worker.back or packet.kind == wire.HELLO
            if packet.target != worker.incarnation or not is_known:
                raise Malformed("unexpected")
            receiver = self._receivers.get(packet.kind)
            return receiver(worker, packet, now) if receiver is not None else []
        except Malformed as error:
            self.malformed[str(error)] += 1
            return []

    def _hello(self, worker: _Worker, packet: Packet, now: float) -> list[Deed]:
        worker.back = packet.source
        return [worker.say(_WELCOME)]

    def _request(self, worker: _Worker, packet: Packet, now: float) -> list[Deed]:
        heads, rows = read_requests(packet)
        deeds: list[Deed] = []
        for head, arguments in zip(heads, arguments_of(rows), strict=True):
            deeds += self._begin(worker, packet.kind, head, None, arguments, now)
        return deeds

    def _stream(self, worker: _Worker, packet: Packet, now: float) -> list[Deed]:
        heads, windows, rows = read_streams(packet)
        deeds: list[Deed] = []
        for head, window, arguments in zip(heads, windows, arguments_of(rows), strict=True):
            deeds += self._begin(worker, packet.kind, head, window, arguments, now)
        return deeds

    def _begin(
        self,
        worker: _Worker,
        kind: int,
        head: Head,
        window: Window | None,
        arguments: Arguments | None,
        now: float,
    ) -> list[Deed]:
        """Give a request to a worker, or refuse it."""
        sequence, _, method, _ = head
        if worker.job is not None and worker.job.sequence == sequence:
            self.counts["duplicates"] += 1
            return []
        refusal: Answer | None = None
        body = request_body(arguments)
        if method != MDP:
            refusal = _NO_METHOD
        elif body is None:
            refusal = _BAD_ARGUMENTS
        elif worker.job is not None or worker.is_away:
            refusal = refuse(BUSY)
        if refusal is not None:
            self.counts["refused"] += 1
            return [worker.refuse(sequence, refusal)]
        assert body is not None
        self.counts["accepted"] += 1
        job = worker.job = RfcJob(sequence, kind, window)
        worker.told_at = now
        self._leases.begin(worker, worker.service, now)
        return [Send(worker.peer, mdp.worker_request(worker.version, job.address, body))]

    def _grant(self, worker: _Worker, packet: Packet, now: float) -> list[Deed]:
        deeds: list[Deed] = []
        for sequence, taken, _ in read_grants(packet):
            job = worker.job
            if job is not None and job.sequence == sequence:
                deeds += self._tell(worker, job.granted(taken))
                deeds += self._over(worker, job, "delivered")
        return deeds

    def _cancel(self, worker: _Worker, packet: Packet, now: float) -> list[Deed]:
        """Note that nobody wants a reply; its worker is busy until it has sent it."""
        sequences, job = wire.sequences_of(packet.meta, CREDIT), worker.job
        if job is None or job.sequence not in sequences:
            return []
        job.cancelled = True
        job.give_up()
        return self._over(worker, job, "unwanted")

    def _over(self, worker: _Worker, job: RfcJob, count: str) -> list[Deed]:
        """Note that a request is over, if so; a worker that is away has gone then."""
        if not job.is_over:
            return []
        self.counts[count] += 1
        worker.job = None
        return self._gone(worker) if worker.is_away else []

    def _ping(self, worker: _Worker, packet: Packet, now: float) -> list[Deed]:
        if type(packet.meta) is not list or not packet.meta:
            raise Malformed("ping")
        job = worker.job
        held = [] if job is None else [job.sequence]
        told = [packet.meta[0], 1, held, len(held)]
        if job is not None and job.window is not None:
            told.append([[job.sequence, job.sent, job.taken]])
        return [worker.say((wire.PONG, encode(told), b"", None))]

    # What the broker asks for

    def tick(self, now: float) -> list[Deed]:
        """Say heartbeats, and expel the workers that are silent or whose lease is over."""
        beats = now >= self._beat_at
        if now >= self._beat_at + self._limits.heartbeat_s:
            # The broker was held up itself; what workers said meanwhile is still to be read.
            self._grace_at = now + self._limits.heartbeat_s
        deeds: list[Deed] = []
        if now >= self._grace_at:
            for worker in self._leases.over(now):
                deeds += self._expel(worker, "late", now)
        return deeds + self._beat(now) if beats else deeds

    def _beat(self, now: float) -> list[Deed]:
        """Tell each worker that the broker is there, unless it was told something just now."""
        deeds: list[Deed] = []
        pause_s = self._limits.heartbeat_s
        silent_at = now - self._limits.liveness * pause_s
        for worker in list(self._by_peer.values()):
            is_silent = worker.heard_at <= silent_at and worker not in self._leases
            if is_silent and now >= self._grace_at:
                deeds += self._expel(worker, "silent", now)
            elif worker.told_at <= now - pause_s / 2:
                worker.told_at = now
                deeds.append(Send(worker.peer, mdp.heartbeat(worker.version)))
        self._beat_at = now + pause_s if self._by_peer else inf
        return deeds

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(self._beat_at, max(self._grace_at, self._leases.deadline()))

    def close(self) -> list[Send]:
        """Say DISCONNECT to each worker, and forget all of them."""
        last = [
            Send(worker.peer, mdp.disconnect(worker.version))
            for worker in self._by_peer.values()
        ]
        for worker in self._by_inner.values():
            if worker.job is not None:
                self._end(worker, "closed")
        self._by_peer.clear()
        self._by_inner.clear()
        self._beat_at = inf
        return last

    def stats(self) -> dict[str, object]:
        """Return counters; accepted = delivered + unwanted + dropped + in flight."""
        names = ("accepted", "delivered", "unwanted", "refused", "duplicates")
        return {
            **{name: self.counts[name] for name in names},
            "dropped": dict(self.dropped),
            "in_flight": sum(w.job is not None for w in self._by_inner.values()),
            "workers": len(self._by_peer),
            "expelled": dict(self.expelled),
            "malformed": dict(self.malformed),
        }

    def check(self) -> None:
        """Assert that the maps agree, that leases are of busy workers, and counters balance."""
        workers = set(self._by_inner.values())
        assert all(self._by_inner[worker.inner] is worker for worker in workers)
        assert len(workers) <= self._limits.workers_max
        for worker in workers:
            job = worker.job
            assert worker.is_away != (self._by_peer.get(worker.peer) is worker)
            assert (worker in self._leases) == (job is not None and not job.ended)
            assert not worker.is_away or job is not None
            if job is not None:
                job.check()
                assert not job.is_over
                assert job.kept_bytes <= self._limits.reply_bytes_max + CHARGE_BYTES
        self._leases.check()
        assert self._leases.workers() <= set(self._by_peer.values()) <= workers
        assert not self._by_peer or self._beat_at < inf
        in_flight = sum(worker.job is not None for worker in workers)
        ended = self.counts["delivered"] + self.counts["unwanted"] + self.dropped.total()
        assert self.counts["accepted"] == ended + in_flight, "stats do not balance"
