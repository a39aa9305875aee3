"""A client's view of one instance of its service."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from zmqkit.core.calls.call import Call
from zmqkit.model import PeerId
from zmqkit.options import BATCH_BYTES, HELLO_S
from zmqkit.wire.packet import NOTIFY


class State(Enum):
    """Where an instance stands; only `UP` is chosen for new calls.

    OPENING: connecting, WELCOME not seen. UP: answers. EVASIVE: connected, but its process is
    silent. LEAVING: said BYE, finishes what it has. LEFT: closed, and its last answers may be
    under way. LOST: its connection broke and may return.
    """

    OPENING = "opening"
    UP = "up"
    EVASIVE = "evasive"
    LEAVING = "leaving"
    LEFT = "left"
    LOST = "lost"


@dataclass(slots=True, eq=False)
class Instance:
    """One instance: its connection, what it holds of ours, and when to look after it next.

    far: on another machine, so that packets are compressed both ways. sends: whether its outbox
    may leave, not while nobody listens there. calls: all that were assigned to it and not
    settled. outbox: those to send this turn. ping_at: when to ask which ids it holds; infinity
    when nothing is owed either way. left_until: until when one that left is listened to.
    pong_token: of the last pong that was read. untold_bytes: of answers that were read since
    the last ping.
    """

    incarnation: int
    peer: PeerId
    endpoint: str
    state: State = State.OPENING
    far: bool = False
    sends: bool = False
    silent: bool = False
    credit: int = 0
    idempotent: frozenset[str] = frozenset()
    calls: dict[int, Call] = field(default_factory=dict)
    outbox: list[Call] = field(default_factory=list)
    hello_at: float = 0.0
    hello_s: float = HELLO_S
    ping_at: float = math.inf
    ping_token: int = 0
    pong_token: int = 0
    untold_bytes: int = 0
    blocked_until: float = 0.0
    left_until: float = math.inf

    def may_move(self, call: Call) -> bool:
        """Whether the call may go elsewhere: it cannot have run here, or may run twice."""
        repeats = call.attempts > 0 and call.method in self.idempotent
        return not call.copies or (repeats and not call.begun)

    def movable(self) -> list[Call]:
        """The calls that may go elsewhere."""
        return [call for call in self.calls.values() if self.may_move(call)]

    def unsent(self) -> list[Call]:
        """The calls that never left for it."""
        return [call for call in self.calls.values() if not call.copies]

    def unnamed(self, token: int, held: set[int]) -> list[Call]:
        """The calls sent before ping `token` that its answer does not name: they got lost."""
        due = {call.sequence for call in self.outbox}
        return [
            call
            for call in self.calls.values()
            if call.epoch < token and call.sequence not in held and call.sequence not in due
        ]

    def give_back(self, sequences: list[int], until: float) -> None:
        """Take a packet's calls back into the outbox: it found no room. Send again `until`."""
        due = {call.sequence for call in self.outbox}
        for sequence in sequences:
            call = self.calls.get(sequence)
            if call is not None and call.copies:
                call.copies -= 1
                if sequence not in due:
                    self.outbox.append(call)
        self.blocked_until = until

    def take_outbox(self) -> list[tuple[int, list[Call]]]:
        """Empty the outbox as packets: kind and calls, a raw body alone, the rest by size."""
        calls, self.outbox = self.outbox, []
        if len(calls) == 1:
            return [(NOTIFY if calls[0].oneway else calls[0].kind, calls)]
        packets: list[tuple[int, list[Call]]] = []
        group: list[Call] = []
        size, kind, alone = 0, 0, True
        for call in calls:
            size += len(call.body)
            own = NOTIFY if call.oneway else call.kind
            if alone or size > BATCH_BYTES or own is not kind or call.raw is not None:
                group = []
                packets.append((own, group))
                size, kind, alone = len(call.body), own, call.raw is not None
            group.append(call)
        return packets
