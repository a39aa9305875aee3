"""Tap: what passes the roles of a name, as their processes tell it, again and again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgpack

from zmqkit.model import BROKER, ROUTED, PeerId, Reach
from zmqkit.node.lines import Lines
from zmqkit.node.node import Node
from zmqkit.node.statistics import targets
from zmqkit.tap_limits import TAP_BODY_BYTES
from zmqkit.wire import packet as wire
from zmqkit.wire.encoding import Malformed, decode, values_at
from zmqkit.wire.tapping import Passed, Tapped, Wanted, question, read_answer

TAPPED_AS = ("service", "worker", "publisher", "pusher", "router", "forwarder", "bridge",
             "streamer", "majordomo", BROKER, ROUTED)  # fmt: skip
"""The roles whose traffic can be tapped."""
LOOK_S = 1.0
"""How often processes are asked of which nobody has told that they have the name: pushers are
announced nowhere."""
_TEXTS = (0xD9, 0xDA, 0xDB)
_HEADS = {0xD9: 2, 0xDA: 3, 0xDB: 5, 0xC4: 2, 0xC5: 3, 0xC6: 5}
"""How many bytes stand before long text and bytes in msgpack, by the first of them."""
_CUT_BYTES = TAP_BODY_BYTES - 5


@dataclass(slots=True)
class Seen:
    """One call or message, as a tapper sees it."""

    # The process, as 16 hexadecimal digits, and the time of day, in seconds since 1970.
    process: str
    at_s: float
    row: Passed


@dataclass(slots=True)
class Counts:
    """What passed while a tap was on, in all processes together."""

    seen: int = 0
    # Not chosen, as --every and --rate say; and chosen, and not fetched soon enough.
    skipped: int = 0
    dropped: int = 0
    roles: int = 0
    # The processes that too many tap already, and those that do not answer.
    full: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


class Tapper:
    """Taps all processes that have a role of a name. One thread at a time may use it."""

    def __init__(self, node: Node, wanted: Wanted) -> None:
        """node: of this process, which finds others while somebody wants them."""
        self._node = node
        self._wanted = wanted
        self._lines = Lines(node.context, node.core.limits.connections_max)
        self._tap = secrets.randbits(62)
        self._token = 0
        self._last: dict[PeerId, Tapped] = {}
        self._known: Mapping[PeerId, str] = {}
        # Those of which nobody told, and who are to be asked; when these were asked last.
        self._unasked: set[PeerId] = set()
        self._asked_at: dict[PeerId, float] = {}
        self._look_at = 0.0
        self._silent: set[PeerId] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()

    def find(self, reach: Reach) -> set[PeerId]:
        """Return the processes that have a role of that name, as they or others told."""
        return self._named(targets(self._node, reach))

    def _named(self, known: Mapping[PeerId, str]) -> set[PeerId]:
        name = self._wanted.name
        rows = [r for r in self._node.listings() if r.name == name and r.role in TAPPED_AS]
        named = {row.process.encode() for row in rows}
        named |= {peer for peer, told in self._last.items() if told.roles or told.is_full}
        return named & known.keys()

    def poll(self, *, reach: Reach = Reach.LOCAL, timeout_s: float = 1.0) -> list[Seen]:
        """Ask each process what passed since the last time; return it in order of time.

        Those are waited for that have the name. All others are asked now and then whether they
        do, and answer by the next time.
        """
        lines, now = self._lines, time.monotonic()
        known = self._known = targets(self._node, reach)
        named, until = self._named(known), now + timeout_s
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._unasked = known.keys() - named
            self._make_room(named, known)
        self._connect(named, known)
        self._token += 1
        frames = question(self._node.process, self._token, self._tap, self._wanted)
        due, told = set(named), dict[PeerId, Tapped]()
        while True:
            for peer in lines.connected & (due | self._unasked):
                if lines.send(peer, frames):
                    self._asked_at[peer] = now
                    due.discard(peer)
                    self._unasked.discard(peer)
            self._answers(told)
            left_s = until - time.monotonic()
            if told.keys() >= named or left_s <= 0:
                break
            lines.wait(left_s, lines.connected - due)
        self._silent = named - told.keys()
        self._last |= told
        seen = [
            Seen(peer.decode(), (each.wall_us - each.at_us + row.at_us) / 1e6, row)
            for peer, each in told.items()
            for row in each.rows
        ]
        return sorted(seen, key=lambda each: each.at_s)

    def _make_room(self, named: set[PeerId], known: Mapping[PeerId, str]) -> None:
        """Break connections to others than those of the name, if some find no place."""
        lines = self._lines
        if lines.is_full and not known.keys() <= lines.endpoints.keys():
            for peer in lines.endpoints.keys() - named:
                lines.disconnect(peer)

    def _connect(self, named: set[PeerId], known: Mapping[PeerId, str]) -> None:
        """Connect to those of the name, and to as many others, longest unasked, as may be."""
        lines = self._lines
        for peer in lines.endpoints.keys() - known.keys():
            lines.disconnect(peer)
        waiting = known.keys() - lines.endpoints.keys()
        for peer in sorted(
            waiting, key=lambda each: (each not in named, self._asked_at.get(each, 0.0))
        ):
            others = lines.endpoints.keys() - named
            if lines.is_full and peer in named and others:
                lines.disconnect(others.pop())
            if lines.is_full or not lines.connect(peer, known[peer]):
                return

    def _answers(self, told: dict[PeerId, Tapped]) -> None:
        """Add the answers that have arrived to those told since the last question."""
        for peer, received in self._lines.receive():
            try:
                packet = wire.unpack(received)
                answer = read_answer(packet) if packet.kind == wire.TAPPED else None
            except Malformed:
                continue
            if answer is not None and answer.process == int(peer, 16):
                # What came too late for the last round is shown with this one.
                earlier = told[peer].rows if peer in told else []
                answer.rows = earlier + answer.rows
                told[peer] = answer

    def counts(self) -> Counts:
        """Return what passed in all, as the last answers say."""
        counts = Counts(silent=sorted(peer.decode() for peer in self._silent))
        for peer, told in self._last.items():
            counts.seen += told.seen
            counts.skipped += told.skipped
            counts.dropped += told.dropped
            counts.roles += told.roles
            if told.is_full and peer in self._known:
                counts.full.append(peer.decode())
        return counts


def value_of(data: bytes) -> tuple[object, bool]:
    """Return the first value that these bytes begin with, and whether it is whole.

    Of what is cut off, text and bytes come as far as they go, and anything else as msgpack.
    """
    try:
        value = decode(values_at(data, 0, 1))
    except (Malformed, ValueError, msgpack.exceptions.UnpackException):
        head = _HEADS.get(data[0], 0) if data else 0
        if head and data[0] in _TEXTS:
            return data[head:].decode("utf-8", "ignore"), False
        return data[head:], False
    return value, not (type(value) is bytes and len(value) >= _CUT_BYTES)
