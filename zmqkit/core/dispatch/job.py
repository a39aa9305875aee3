"""A job, and the instance that has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from zmqkit.core.dispatch.connections import Connection
from zmqkit.limits import BATCH_BYTES
from zmqkit.model import Reach
from zmqkit.wire.encoding import Buffer
from zmqkit.wire.packet import REQUEST

LACKS_MAX = 100
"""Methods that an instance is known not to have."""


class Job:
    """Something that one instance is to do once: a call, or a task.

    It stands in line or belongs to exactly one instance until it is settled. Its id (the
    incarnation of whoever gives it out, and `sequence`) stays the same on each attempt.

    sequence, method, priority, deadline_at: what everybody on its way may read. row, raw: its
    arguments, which nobody on its way decodes. attempts: how many further instances it may try.
    copies: packets with it that the link of its present instance took. exposed: an instance
    before may have run it. epoch: the ping token that was current when it was last sent.
    refused_by: the instances that refused it. begun: a part of its result came, so it belongs
    to its instance for good.

    What almost every job begins with stands in the class: that halves the cost of making one.
    kind: the packet that it leaves in. waiter: whom its end is told, if somebody waits for it
    on this side of the network.
    """

    kind = REQUEST
    streams = False
    waiter: object = None
    begun = False
    instance: Instance | None = None
    copies = 0
    exposed = False
    epoch = 0
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
        self.row = row
        self.raw = raw
        self.deadline_at = deadline_at
        self.attempts = attempts - 1

    @property
    def may_have_run(self) -> bool:
        """False only if no packet with the job can have reached a handler."""
        return self.copies > 0 or self.exposed

    @property
    def may_move(self) -> bool:
        """Whether another instance may have it: it cannot have run here, or may run twice."""
        if not self.copies:
            return True
        instance = self.instance
        repeats = instance is not None and self.method in instance.idempotent
        return repeats and self.attempts > 0 and not self.begun

    @property
    def give_up_at(self) -> float:
        """When it ends if nobody is known who could have it."""
        return self.deadline_at

    def restart(self) -> None:
        """Another instance is to have it from the beginning."""
        self.copies = 0


@dataclass(slots=True, eq=False)
class Instance(Connection):
    """One instance that jobs are given to: its connection, and what it has.

    reach: how far its connection reaches; beyond this machine packets are compressed both ways.
    credit: how many jobs it takes at a time. idempotent: the methods that may run twice there.
    lacks: methods that it is known not to have. jobs: all that were given to it and not
    settled. outbox: those of them to send this turn. occupied: jobs that ended here while it
    may have them still, with the ping token that was current when they were sent last. ping_at:
    when to ask what it holds; infinity when nothing is owed either way. left_until: until when
    one that left is listened to. pong_token: of the last answer to a ping that was read.
    read_below: above each id whose large answer was read. untold_bytes: of such answers since
    it was told of all.
    """

    reach: Reach = Reach.LOCAL
    credit: int = 0
    idempotent: frozenset[str] = frozenset()
    lacks: set[str] = field(default_factory=set)
    jobs: dict[int, Job] = field(default_factory=dict)
    outbox: list[Job] = field(default_factory=list)
    occupied: dict[int, int] = field(default_factory=dict)
    ping_at: float = inf
    ping_token: int = 0
    pinged_at: float = -inf
    pong_token: int = 0
    read_below: int = 0
    untold_bytes: int = 0
    blocked_until: float = 0.0
    left_until: float = inf

    @property
    def load(self) -> int:
        """How many jobs it has, as far as is known here."""
        return len(self.jobs) + len(self.occupied)

    def unsent(self) -> list[Job]:
        """The jobs that never left for it."""
        return [job for job in self.jobs.values() if not job.copies]

    def unnamed(self, token: int, held: frozenset[int]) -> list[Job]:
        """The jobs sent before ping `token` that its answer does not name: they got lost."""
        due = {job.sequence for job in self.outbox}
        return [
            job
            for job in self.jobs.values()
            if job.epoch < token and job.sequence not in held and job.sequence not in due
        ]

    def give_back(self, sequences: list[int], until: float) -> None:
        """Take a packet's jobs back into the outbox: it found no room. Send again `until`."""
        due = {job.sequence for job in self.outbox}
        for sequence in sequences:
            job = self.jobs.get(sequence)
            if job is not None and job.copies:
                job.copies -= 1
                if sequence not in due:
                    self.outbox.append(job)
        self.blocked_until = until

    def take_outbox(self) -> list[tuple[int, list[Job]]]:
        """Empty the outbox as packets: kind and jobs, a raw body alone, the rest by size."""
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
