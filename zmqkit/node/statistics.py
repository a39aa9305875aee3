"""The statistics of processes, for tools: who counts what, how fast, and how long it takes.

A reader asks all processes at once, over connections of its own to their control addresses, and
keeps what they said. So each further reading also tells rates, which are those since the one
before, by the clock of the process that counts.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from zmqkit.core.membership.inquiry import Inquiry
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life
from zmqkit.model import LOOPBACK, Address, PeerId, Reach, Record
from zmqkit.node.lines import Lines
from zmqkit.node.node import Node
from zmqkit.node.presence import present
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.statistics import Figures, Told

RATES = ("accepted", "delivered", "failed", "expired", "dropped")
"""What has a rate, for each second."""


@dataclass(slots=True)
class Row:
    """A role of a process, or one part of that role. What is text may be any text."""

    host: str
    pid: int
    process: str  # 16 hexadecimal digits, as in `zmqkit ls`
    role: str  # `service`, `client`, `router` and so on
    name: str
    incarnation: str  # 16 hexadecimal digits; of a role whose number is not known, all are 0
    part: str  # `method`, `topic`, `queue` or `service`; empty for the role itself
    of: str  # the name of the part; empty for all those that have no row of their own
    accepted: int
    delivered: int
    failed: int
    expired: int
    dropped: dict[str, int]  # by reason
    malformed: int
    running: int
    waiting: int
    oldest_s: float
    credit: int
    peers: dict[str, int]  # by state, or of a device by kind
    talks_to: list[str]  # incarnations, each as 16 hexadecimal digits
    known_as: list[str]  # others of its own, by which peers know a service of a device
    # For each second since the reading before: by what, as in RATES. Empty at the first.
    rates: dict[str, float] = field(default_factory=dict)
    # How long it took, and waited before that, in all; None where it is not measured.
    took: Histogram | None = None
    waited: Histogram | None = None
    # What of `took` was recorded since the reading before; None at the first.
    recent: Histogram | None = None

    @property
    def p50_s(self) -> float | None:
        """How long half took at most, of `recent`, or of all if that is nothing."""
        return percentile_s(self.recent, self.took, 50)

    @property
    def p99_s(self) -> float | None:
        """How long 99 of 100 took at most, of `recent`, or of all if that is nothing."""
        return percentile_s(self.recent, self.took, 99)


_Key = tuple[int, str, str, str, str]
"""A row in its process: the number of the role, its kind and name, the part and its name."""


class Reader:
    """Reads the statistics of processes. One thread at a time may use it."""

    def __init__(self, node: Node) -> None:
        """node: of this process, which finds others while somebody wants them."""
        self._node = node
        self._lines = Lines(node.context, node.core.limits.connections_max)
        self._token = 0
        self._before: dict[PeerId, Told] = {}
        # What each process told of itself when it answered last: its pid, and all its names.
        self._known: dict[PeerId, tuple[int, set[str]]] = {}
        # Where those are asked that did not answer the last time; and of those that live and
        # have the name, the pid, or else the address.
        self._missing: dict[PeerId, str] = {}
        self.silent: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._lines.close()

    def read(
        self, name: str | None = None, *, reach: Reach = Reach.LOCAL, timeout_s: float = 1.0
    ) -> list[Row]:
        """Ask all processes that are known now; return their rows, process by process.

        name: of the roles whose rows are returned; None for all. reach: how far away processes
        may be. Returns after `timeout_s` at the latest, with those that answered.
        """
        endpoints = targets(self._node, reach)
        told = self._ask(endpoints, timeout_s)
        for peer, each in told.items():
            self._known[peer] = each.pid, {row.name for row in each.rows}
        self._missing = {peer: endpoints[peer] for peer in endpoints.keys() - told.keys()}
        self.silent = self.unheard(self._missing, name)
        rows: list[Row] = []
        for peer, each in sorted(told.items()):
            _sum_up(each.rows)
            rows += rows_of(each, self._before.get(peer))
        self._before = told
        return [row for row in rows if name in (None, row.name)]

    def silent_about(
        self, name: str, processes: Container[str], *, has_strangers: bool
    ) -> list[str]:
        """Return which of those that did not answer the last time matter to a name.

        They have it, or are among these processes, which its roles talk to. has_strangers:
        its roles have peers of whom nothing is known, so any process may be one of them of
        which no name is known.
        """
        return self.unheard(self._missing, name, processes, has_strangers=has_strangers)

    def unheard(
        self,
        missing: Mapping[PeerId, str],
        name: str | None,
        processes: Container[str] = (),
        *,
        has_strangers: bool = False,
    ) -> list[str]:
        """Return which of those that are missing live, and matter to a name if there is one.

        missing: where each is asked. The others are as for `silent_about`.
        """
        if not missing:
            return []
        names = self._node.ask(lambda: _names_of(self._node.core))
        living = self._node.ask(lambda: _connected(self._node.core))
        living |= {peer_of(process) for process in present(self._node.environment.space)}
        texts: list[str] = []
        for peer in sorted(missing.keys() & living):
            pid, told = self._known.get(peer, (0, set[str]()))
            known = names.get(peer, set()) | told
            if (
                name is None
                or name in known
                or peer.decode() in processes
                or (has_strangers and not known)
            ):
                texts.append(f"pid {pid}" if pid else missing[peer])
        return texts

    def _ask(self, endpoints: Mapping[PeerId, str], timeout_s: float) -> dict[PeerId, Told]:
        """Ask the processes at these endpoints, as many at a time as connections allow."""
        self._token += 1
        inquiry = Inquiry(self._node.process, self._token)
        until = time.monotonic() + timeout_s
        lines = self._lines
        for peer in [peer for peer in lines.endpoints if peer not in endpoints]:
            lines.disconnect(peer)
        waiting = [peer for peer in endpoints if peer not in lines.endpoints]
        asked: set[PeerId] = set()
        while len(inquiry.told) < len(endpoints):
            self._connect(waiting, endpoints, inquiry)
            for peer in lines.connected - asked:
                if lines.send(peer, inquiry.begin(peer).frames):
                    asked.add(peer)
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            lines.wait(left_s, asked)
            for peer, frames in lines.receive():
                for send in inquiry.receive(peer, frames):
                    lines.send(send.peer, send.frames)
        return inquiry.told

    def _connect(
        self, waiting: list[PeerId], endpoints: Mapping[PeerId, str], inquiry: Inquiry
    ) -> None:
        """Connect to those that wait; whoever has told all makes room if there is none."""
        lines = self._lines
        over = [peer for peer in lines.endpoints if inquiry.is_over(peer)]
        while waiting:
            if lines.is_full:
                if not over:
                    return
                lines.disconnect(over.pop())
            if not lines.connect(waiting[0], endpoints[waiting[0]]):
                return
            waiting.pop(0)


def percentile_s(
    recent: Histogram | None, took: Histogram | None, percent: float
) -> float | None:
    """Return how long so many percent took at most: recently, or ever if that is nothing."""
    value = recent.percentile(percent) if recent is not None else None
    return value if value is not None or took is None else took.percentile(percent)


def targets(node: Node, reach: Reach) -> dict[PeerId, str]:
    """Return where the processes that are known within that reach may be asked, each once.

    This process is one of them, if it has roles, and so are all of this user on this machine.
    """
    found = node.ask(lambda: {peer_of(p): where for p, where in places(node.core, reach)})
    for process, port in present(node.environment.space).items():
        found[peer_of(process)] = Address(LOOPBACK, port).endpoint
    if node.is_observed:
        here = node.core.offers.control_ports[Reach.LOCAL]
        found[peer_of(node.process)] = Address(LOOPBACK, here).endpoint
    return found


def known_roles(node: Node) -> dict[str, Record]:
    """Return the roles that discovery knows, by their incarnation, as in `talks_to`."""
    roles = node.core.roles
    return node.ask(lambda: {f"{number:016x}": e.record for (_, number), e in roles.items()})


def places(core: MembershipCore, reach: Reach) -> Iterator[tuple[int, str]]:
    """Return each process that is known, with where it answers, or else is heard nearest.

    One that nobody could reach when it was tried last is left out: it was killed, as a rule.
    """
    for process in {process for process, _ in core.roles}:
        neighbour = core.neighbours.get(process)
        if neighbour is not None and neighbour.given_up:
            continue
        if neighbour is not None and neighbour.life is Life.ALIVE:
            found = [neighbour.address]
        else:
            found = core.addresses(process, reach)
        yield from ((process, place.endpoint) for place in found[:1] if place.reach <= reach)


def _connected(core: MembershipCore) -> set[PeerId]:
    """Return the processes to which a connection stands."""
    return {peer_of(p) for p, each in core.neighbours.items() if each.life is Life.ALIVE}


def _names_of(core: MembershipCore) -> dict[PeerId, set[str]]:
    """Return the names of each process, as discovery knows them."""
    names: dict[PeerId, set[str]] = {}
    for (process, _), entry in core.roles.items():
        names.setdefault(peer_of(process), set()).add(entry.record.name)
    return names


def peer_of(process: int) -> PeerId:
    """Return what connections of tools call a process: its number in 16 hexadecimal digits."""
    return f"{process:016x}".encode()


def rows_of(told: Told, before: Told | None = None) -> list[Row]:
    """Return the rows that a process tells. before: what it told the last time."""
    elapsed_s = (told.at_ms - before.at_ms) / 1000 if before is not None else 0.0
    if before is None or before.process != told.process or elapsed_s <= 0:
        former: dict[_Key, Figures] = {}
    else:
        former = {_key(each): each for each in before.rows}
    return [_row(told, each, former.get(_key(each)), elapsed_s) for each in told.rows]


def _sum_up(rows: list[Figures]) -> None:
    """Have the row of each role say how long all of its parts took together."""
    roles = {(each.incarnation, each.role, each.name): each for each in rows if not each.part}
    for each in rows:
        role = roles.get((each.incarnation, each.role, each.name))
        if role is not None and role is not each and each.took is not None:
            if role.took is None:
                role.took = each.took.copy()
            else:
                role.took.add(each.took)


def _key(figures: Figures) -> _Key:
    return (figures.incarnation, figures.role, figures.name, figures.part, figures.of)


def _row(told: Told, now: Figures, before: Figures | None, elapsed_s: float) -> Row:
    """Return a row. before: the same row at the reading before, so many seconds ago."""
    rates: dict[str, float] = {}
    recent = None
    if before is not None:
        for what in RATES:
            rates[what] = max(0.0, (_count(now, what) - _count(before, what)) / elapsed_s)
        if now.took is not None and before.took is not None:
            recent = now.took.since(before.took)
    return Row(
        host=told.host, pid=told.pid, process=f"{told.process:016x}",
        role=now.role, name=now.name, incarnation=f"{now.incarnation:016x}",
        part=now.part, of=now.of,
        accepted=now.accepted, delivered=now.delivered, failed=now.failed,
        expired=now.expired, dropped=now.dropped, malformed=now.malformed,
        running=now.running, waiting=now.waiting, oldest_s=now.oldest_ms / 1000,
        credit=now.credit, peers=now.peers,
        talks_to=[f"{each:016x}" for each in now.talks_to],
        known_as=[f"{each:016x}" for each in now.known_as],
        rates=rates, took=now.took, waited=now.waited, recent=recent,
    )  # fmt: skip


def _count(figures: Figures, what: str) -> int:
    if what == "dropped":
        return sum(figures.dropped.values())
    count: int = getattr(figures, what)
    return count
