"""A client's view of one instance of its service, and one call on its way there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from zmqkit.model import PeerId
from zmqkit.options import BATCH_BYTES
from zmqkit.wire.packet import NOTIFY, REQUEST


class State(Enum):
    """Where an instance stands; only `UP` is chosen for new calls.

    OPENING: connecting, WELCOME not seen. UP: answers. EVASIVE: connected, but its process is
    silent. LEAVING: said BYE, finishes what it has. LOST: its connection broke and may return.
    """

    OPENING = "opening"
    UP = "up"
    EVASIVE = "evasive"
    LEAVING = "leaving"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Call:
    """One call from submission to its end.

    sent: a packet with it was handed to the link of its present instance. exposed: the same of an
    earlier instance. epoch: the ping token that was current when it was last sent. attempts: how
    many further instances it may try.
    """

    sequence: int
    method: str
    body: bytes
    raw: bytes | None
    deadline_at: float
    give_up_at: float
    priority: int
    attempts: int
    oneway: bool
    waiter: object
    instance: Instance | None = None
    sent: bool = False
    exposed: bool = False
    epoch: int = 0

    @property
    def may_have_run(self) -> bool:
        """False only if no packet with the call can have reached a handler."""
        return self.sent or self.exposed


@dataclass(slots=True, eq=False)
class Instance:
    """One instance: its connection, what it holds of ours, and when to look after it next.

    calls: all that were assigned to it and not settled. outbox: those to send this turn.
    ping_at: when to ask which ids it holds; infinity when nothing is owed either way.
    """

    incarnation: int
    peer: PeerId
    endpoint: str
    state: State = State.OPENING
    silent: bool = False
    credit: int = 0
    idempotent: frozenset[str] = frozenset()
    calls: dict[int, Call] = field(default_factory=dict)
    outbox: list[Call] = field(default_factory=list)
    hello_at: float = 0.0
    ping_at: float = math.inf
    ping_token: int = 0
    blocked_until: float = 0.0

    def may_move(self, call: Call) -> bool:
        """Whether the call may go elsewhere: it cannot have run here, or may run twice."""
        return not call.sent or (call.attempts > 0 and call.method in self.idempotent)

    def unnamed(self, token: int, held: set[int]) -> list[Call]:
        """The calls sent before ping `token` that its answer does not name: they got lost."""
        due = {call.sequence for call in self.outbox}
        return [
            call
            for call in self.calls.values()
            if call.epoch < token and call.sequence not in held and call.sequence not in due
        ]

    def take_outbox(self) -> Iterator[tuple[int, list[Call]]]:
        """Empty the outbox as packets: kind and calls, a raw body alone, the rest by size."""
        calls, self.outbox = self.outbox, []
        group: list[Call] = []
        size = 0
        for call in calls:
            if group and (
                size > BATCH_BYTES
                or call.raw is not None
                or group[0].raw is not None
                or call.oneway is not group[0].oneway
            ):
                yield NOTIFY if group[0].oneway else REQUEST, group
                group, size = [], 0
            group.append(call)
            size += len(call.body)
        if group:
            yield NOTIFY if group[0].oneway else REQUEST, group
