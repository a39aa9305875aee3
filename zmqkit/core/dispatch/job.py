"""A job, and the instance that a job is given to."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from zmqkit.core.dispatch.connections import Connection
from zmqkit.limits import BATCH_BYTES
from zmqkit.model import Reach
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import REQUEST

LACKS_MAX = 100
"""How many methods are remembered that an instance does not have."""


class Job:
    """Something that one instance is to do once: a call, or a task.

    Until it is settled, a job either stands in line or belongs to exactly one instance. Its id
    is the incarnation of the role that gives it out, and `sequence`. The id stays the same on
    each attempt.
    """

    # These defaults fit almost every new job. They stand in the class, which halves the cost
    # of making a job.

    # The kind of packet that the job leaves in.
    kind = REQUEST
    # Whether its result is a stream of values.
    streams = False
    # Who is told of its end; None if nobody on this side of the network waits for it.
    waiter: object = None
    # A part of its result came, so the job stays with its instance.
    begun = False
    # The instance that it belongs to; None while it stands in line.
    instance: Instance | None = None
    # How many packets with it the link to its present instance took.
    copies = 0
    # An instance that had it before may have run it.
    exposed = False
    # The ping token that was current when the job was last sent.
    epoch = 0
    # It must not leave yet.
    waits = False
    # When it was accepted, if somebody is to know how long it took.
    begun_at = 0.0
    # The id under which a broker keeps it, or is asked for it; empty if it is a plain job.
    kept_as = ""
    # An instance that would have to be asked, too, had no room for it or did not answer.
    misses_one = False
    # The upper half of the incarnation of the instance that it is for alone; 0 if any will do.
    only = 0
    # The incarnations of the instances that refused it.
    refused_by: tuple[int, ...] = ()

    def __init__(
        self,
        sequence: int,
        method: str,
        priority: int,
        row: bytes,
        raw: Buffer | None,
        deadline_at: float,
        attempts: int,
    ) -> None:
        self.sequence = sequence
        self.method = method
        self.priority = priority
        # The arguments, encoded; only the handler's side decodes them.
        self.row = row
        self.raw = raw
        self.deadline_at = deadline_at
        # How many further instances may try the job.
        self.attempts = attempts - 1

    @property
    def may_have_run(self) -> bool:
        """Whether a packet with the job can have reached a handler."""
        return self.copies > 0 or self.exposed

    @property
    def may_move(self) -> bool:
        """Whether it may move to another instance: it cannot have run, or may run twice."""
        if self.only:
            return False
        if not self.copies:
            return True
        instance = self.instance
        repeats = instance is not None and self.method in instance.idempotent
        return repeats and self.attempts > 0 and not self.begun

    @property
    def give_up_at(self) -> float:
        """When the job ends if no instance is known that could take it."""
        return self.deadline_at

    def restart(self) -> None:
        """Prepare the job to be done by another instance, from the beginning."""
        self.copies = 0


@dataclass(slots=True, eq=False)
class Instance(Connection):
    """An instance that jobs are given to: its connection, and the jobs that it has."""

    # How far away it is. Beyond this machine, packets are compressed both ways.
    reach: Reach = Reach.LOCAL
    # How many jobs it takes at a time.
    credit: int = 0
    # The methods that may run twice there.
    idempotent: frozenset[str] = frozenset()
    # Whether it is a device which said that it has nobody for this service.
    lacks_workers: bool = False
    # The number of its journal, if it is a broker with one.
    journal: int = 0
    # Whether it takes requests that are passed on with their origins.
    takes_origins: bool = False
    # Methods that it is known not to have.
    lacks: set[str] = field(default_factory=set)
    # Every job that was given to it and is not settled, by sequence number.
    jobs: dict[int, Job] = field(default_factory=dict)
    # Those of `jobs` that are still to be sent.
    outbox: list[Job] = field(default_factory=list)
    # Jobs that ended on this side while the instance may still have them. Each has the ping
    # token that was current when the job was last sent.
    occupied: dict[int, int] = field(default_factory=dict)
    # When to ask what the instance holds; infinity when neither side owes the other anything.
    ping_at: float = inf
    # The token of the last ping, and when it was sent.
    ping_token: int = 0
    pinged_at: float = -inf
    # The token of the last answer to a ping that was read.
    pong_token: int = 0
    # Above every id whose large answer was read.
    read_below: int = 0
    # Bytes of large answers read that the instance has not been told of.
    untold_bytes: int = 0
    # Nothing in the outbox is sent before this time, for the link had no room.
    blocked_until: float = 0.0
    # How long to listen to an instance that left.
    left_until: float = inf

    @property
    def load(self) -> int:
        """How many jobs the instance has, as far as this side knows."""
        return len(self.jobs) + len(self.occupied)

    def unsent(self) -> list[Job]:
        """Return the jobs that no packet to this instance has carried."""
        return [job for job in self.jobs.values() if not job.copies]

    def unnamed(self, token: int, held: frozenset[int]) -> list[Job]:
        """Return the jobs that were lost: sent before ping `token`, and not in its answer."""
        due = {job.sequence for job in self.outbox}
        return [
            job
            for job in self.jobs.values()
            if job.epoch < token and job.sequence not in held and job.sequence not in due
        ]

    def give_back(self, sequences: list[int], until: float) -> None:
        """Put the jobs of a packet that found no room back into the outbox.

        The outbox is not sent again before `until`.
        """
        due = {job.sequence for job in self.outbox}
        for sequence in sequences:
            job = self.jobs.get(sequence)
            if job is not None and job.copies:
                job.copies -= 1
                if sequence not in due:
                    self.outbox.append(job)
        self.blocked_until = until

    def take_outbox(self) -> list[tuple[int, list[Job]]]:
        """Empty the outbox; return the packets to send, each as its kind and its jobs.

        A job with a raw body has a packet of its own. Other jobs share packets of limited size.
        """
        jobs, self.outbox = self.outbox, []
        if len(jobs) == 1:
            return [(jobs[0].kind, jobs)]
        packets: list[tuple[int, list[Job]]] = []
        group: list[Job] = []
        size, kind, alone = 0, 0, True
        for job in jobs:
            size += len(job.row)
            if alone or size > BATCH_BYTES or job.kind is not kind or job.raw is not None:
                group = []
                packets.append((job.kind, group))
                size, kind, alone = len(job.row), job.kind, job.raw is not None
            group.append(job)
        return packets
