"""`zmqkit graph`: who talks to whom, as the roles themselves tell."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import click

from zmqkit.cli.grouping import rate_text
from zmqkit.cli.looking import looking
from zmqkit.cli.ls import listening
from zmqkit.cli.output import escaped, say, say_json, several
from zmqkit.cli.searched import searched_for_all
from zmqkit.cli.stats import WAIT_S, read, tell_what_is_missing
from zmqkit.limits import WAIT_S_MAX
from zmqkit.model import DEVICES, Record
from zmqkit.node.statistics import Reader, Row, known_roles

_RANKS = {"client": 0, "publisher": 0, "pusher": 0} | dict.fromkeys(DEVICES, 1)
_LAST = 2
"""Messages go from roles of a lower rank to those of a higher one."""

Place = tuple[str, str, str, str]
"""A role among all: the number of its process, its own, what it is, and its name."""


@click.command("graph", short_help="Show who talks to whom.")
@click.argument("name", required=False)
@click.option("--dot", is_flag=True, help="As a graph for Graphviz.")
@click.option("--json", "as_json", is_flag=True, help="One object, in one line.")
@looking(WAIT_S, "How long to look for processes; rates are those of the second half of it.")
def command(
    *, name: str | None, dot: bool, as_json: bool, wait_s: float, insecure: bool
) -> None:
    """Show which roles talk to which: all on this machine, or those of a NAME and their peers.

    Each role tells its peers, up to 100. Below each that sends stand those that it sends to,
    and how many messages a second end well between the two. There is no such rate where both
    have other peers, too.

    \b
    zmqkit graph
    zmqkit graph orders --dot | dot -Tsvg > orders.svg
    """
    if dot and as_json:
        raise click.UsageError("--dot and --json are two ways to print it; use one")
    with listening(threading.Event(), insecure=insecure) as node, Reader(node) as reader:
        reach = node.environment.reach(insecure=insecure or None)
        rows = read(reader, None, reach, min(wait_s, WAIT_S_MAX))
        graph = Graph(rows, known_roles(node))
        graph.keep(name)
        silent = reader.silent
        if name is not None:
            silent = reader.silent_about(
                name, graph.processes, has_strangers=graph.has_strangers
            )
        where = searched_for_all(name, insecure=insecure)
    if as_json:
        say_json(graph.as_object())
    else:
        for line in graph.dot() if dot else graph.lines():
            say(line)
    tell_what_is_missing(name, silent, wait_s, where, is_empty=not graph.roles)


@dataclass(slots=True)
class Role:
    """One role, and what it is for others."""

    role: str
    name: str
    # Empty, 0 and None of a role that did not tell, but that discovery knows.
    host: str = ""
    pid: int = 0
    rate: float | None = None
    # Peers that are known by their number alone.
    others: int = 0

    def text(self, *, with_host: bool) -> str:
        """Return the role for people."""
        words = [f"{self.role} {self.name}"]
        if with_host and self.host:
            words.append(self.host)
        if self.pid:
            words.append(f"pid {self.pid}")
        return ", ".join(words)


@dataclass(slots=True)
class Graph:
    """Roles, and which of them sends to which."""

    rows: Iterable[Row]
    # Roles that discovery knows, by their numbers.
    records: Mapping[str, Record] = field(default_factory=dict)
    roles: dict[Place, Role] = field(default_factory=dict)
    edges: dict[tuple[Place, Place], float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = list(self.rows)
        numbers: dict[str, Place] = {}
        for row in rows:
            place = _place(row)
            for number in (row.incarnation, *row.known_as):
                numbers.setdefault(number, place)
            if not row.part:
                rate = row.rates.get("delivered")
                self.roles[place] = Role(row.role, row.name, row.host, row.pid, rate)
        for row in rows:
            for number in row.talks_to if not row.part else ():
                self._connect(_place(row), numbers.get(number) or self._stranger(number))
        for pair in self.edges:
            self.edges[pair] = self._rate(*pair)

    def keep(self, name: str | None) -> None:
        """Leave out what neither has this name nor talks to it; None keeps all."""
        if name is None:
            return
        named = {place for place, role in self.roles.items() if role.name == name}
        self.edges = {pair: r for pair, r in self.edges.items() if not named.isdisjoint(pair)}
        kept = named.union(*self.edges)
        self.roles = {place: role for place, role in self.roles.items() if place in kept}

    @property
    def processes(self) -> set[str]:
        """The processes of all roles, those of roles that told nothing among them."""
        return {place[0] for place in self.roles}

    @property
    def has_strangers(self) -> bool:
        """Whether a role has peers that are known by their number alone."""
        return any(role.others for role in self.roles.values())

    def lines(self) -> list[str]:
        """Return the graph as text: each role that sends, and below it those it sends to."""
        with_host = len({role.host for role in self.roles.values() if role.host}) > 1
        reached = {target for _, target in self.edges}
        lines: list[str] = []
        for place, role in self._sorted():
            targets = [each for each, _ in self._sorted() if (place, each) in self.edges]
            if not targets and place in reached and not role.others:
                continue
            rate = rate_text(role.rate)
            lines.append(f"{role.text(with_host=with_host)}{', ' if rate else ''}{rate}")
            for target in targets:
                rate = rate_text(self.edges[place, target])
                text = self.roles[target].text(with_host=with_host)
                lines.append(f"    -> {text}{', ' if rate else ''}{rate}")
            if role.others:
                lines.append(f"    {several(role.others, 'peer')} that did not tell")
        return lines

    def dot(self) -> list[str]:
        """Return the graph in the language of Graphviz."""
        with_host = len({role.host for role in self.roles.values() if role.host}) > 1
        numbers = {place: f"n{at}" for at, (place, _) in enumerate(self._sorted())}
        lines = ["digraph zmqkit {", "    rankdir=LR;", "    node [shape=box];"]
        for place, role in self._sorted():
            label = _quoted([role.text(with_host=with_host), rate_text(role.rate)])
            lines.append(f"    {numbers[place]} [label={label}];")
        for (source, target), rate in self._sorted_edges():
            label = f" [label={_quoted([rate_text(rate)])}]" if rate is not None else ""
            lines.append(f"    {numbers[source]} -> {numbers[target]}{label};")
        return [*lines, "}"]

    def as_object(self) -> dict[str, object]:
        """Return the graph as a JSON object."""
        numbers = {place: at for at, (place, _) in enumerate(self._sorted())}
        roles = [
            {
                "role": role.role, "name": role.name, "host": role.host, "pid": role.pid,
                "process": place[0], "incarnation": place[1], "rate": role.rate,
                "others": role.others,
            }
            for place, role in self._sorted()
        ]  # fmt: skip
        edges = [
            {"from": numbers[source], "to": numbers[target], "rate": rate}
            for (source, target), rate in self._sorted_edges()
        ]
        return {"roles": roles, "edges": edges}

    def _stranger(self, number: str) -> Place | None:
        """Return a role that discovery knows and that told nothing, or None."""
        record = self.records.get(number)
        if record is None:
            return None
        place = (f"{record.process:016x}", number, record.role, record.name)
        self.roles.setdefault(place, Role(record.role, record.name))
        return place

    def _connect(self, teller: Place, peer: Place | None) -> None:
        """Take what a role tells: that it talks to a peer, or to somebody unknown."""
        if peer is None:
            self.roles[teller].others += 1
        elif _rank(peer) < _rank(teller):
            self.edges[peer, teller] = None
        elif (peer, teller) not in self.edges:
            self.edges[teller, peer] = None

    def _rate(self, source: Place, target: Place) -> float | None:
        """Return the rate between two of which one has no other peer on that side."""
        ends = self.roles[source], self.roles[target]
        sources = sum(1 for _, each in self.edges if each == target)
        targets = sum(1 for each, _ in self.edges if each == source)
        if sources == 1 and not ends[1].others and ends[1].rate is not None:
            return ends[1].rate
        return ends[0].rate if targets == 1 and not ends[0].others else None

    def _sorted(self) -> list[tuple[Place, Role]]:
        """Return the roles: by name, those that send first."""
        return sorted(
            self.roles.items(),
            key=lambda each: (each[0][3], _rank(each[0]), each[1].pid, each[0]),
        )

    def _sorted_edges(self) -> list[tuple[tuple[Place, Place], float | None]]:
        order = {place: at for at, (place, _) in enumerate(self._sorted())}
        return sorted(self.edges.items(), key=lambda each: [order[end] for end in each[0]])


def _place(row: Row) -> Place:
    return (row.process, row.incarnation, row.role, row.name)


def _rank(place: Place) -> int:
    return _RANKS.get(place[2], _LAST)


def _quoted(lines: Iterable[str]) -> str:
    """Return a label of several lines for Graphviz."""
    safe = (escaped(each).replace("\\", r"\\").replace('"', r"\"") for each in lines if each)
    return '"' + r"\n".join(safe) + '"'
