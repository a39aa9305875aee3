"""What to tell a role that finds nothing: where was searched, and what was seen instead."""

from __future__ import annotations

from itertools import islice
from math import inf
from shlex import quote

from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.elsewhere import Elsewhere, refusal
from zmqkit.core.membership.interests import EVERYBODY, Interests
from zmqkit.core.membership.known import KnownRoles
from zmqkit.core.membership.lacks import Lacks
from zmqkit.core.membership.seed import Seeds
from zmqkit.limits import EXPLAIN_S
from zmqkit.model import (
    BROKER,
    MAJORDOMO,
    ROUTED,
    ROUTER,
    SERVER,
    Address,
    Reach,
    Record,
    kind_of,
    kinds_of,
    reach_of,
)

_HOW_TO_OPEN = "insecure=True, --insecure or ZMQKIT_INSECURE=1"
_START = {
    "service": "start one with zmqkit.Service or `zmqkit serve`",
    "publisher": "start one with zmqkit.Publisher or `zmqkit pub`",
    "worker": "start one with zmqkit.Worker or `zmqkit work`",
    "sink": "start one with zmqkit.Sink",
    MAJORDOMO: "start one with `zmqkit run majordomo --name NAME`",
}
_USE = {
    "service": "use zmqkit.Client or `zmqkit call`",
    "publisher": "use zmqkit.Subscriber or `zmqkit sub`",
    "worker": "use zmqkit.Pusher or `zmqkit push`",
    BROKER: "use zmqkit.Client or `zmqkit call`",
    ROUTED: "use zmqkit.Client or `zmqkit call`",
    MAJORDOMO: "call its services by their own names",
}


_NAMES_MAX = 5
_CAUSES = 2
_NEAR_MAX = 256
"""Of so many roles the names are compared with one that nobody has."""
_SHARED_MIN, _OTHER_MAX = 3, 2
"""Names are alike if they share so many letters, and differ in so few at one place."""


class Search:
    """Explains to the roles that want a name why its instances are not found.

    It names the two likeliest causes. It looks through all that is known. So it does that only
    at the end of a turn in which something was learned, and every EXPLAIN_S at most. An
    explanation is told when it differs from the last one.
    """

    def __init__(
        self,
        known: KnownRoles,
        interests: Interests,
        seeds: Seeds,
        elsewhere: Elsewhere,
        lacks: Lacks,
    ) -> None:
        self._known = known
        self._elsewhere = elsewhere
        self._seeds = seeds
        self._interests = interests
        self._lacks = lacks
        self._told: dict[tuple[str, Reach], str] = {}
        # Whether this host has no address by which the network could be searched.
        self.is_stranded = False
        self._seen = (0, 0, False, 0, 0)
        self._looked_at = -inf
        self.due_at = inf  # when `tick` is due next

    def flush(self, now: float) -> list[Effect]:
        """Tell the explanations that are new, or all of them if a name is wanted since.

        A new want is answered at once; other news waits until EXPLAIN_S have passed.
        """
        silent = sum(not seed.process for seed in self._seeds)
        changes = self._known.changes + self._elsewhere.changes
        deaf = len(self._lacks.deaf)
        seen = (changes, self._interests.changes, self.is_stranded, silent, deaf)
        if seen == self._seen:
            return []
        if seen[1] != self._seen[1]:
            self._told.clear()
        elif now < self._looked_at + EXPLAIN_S:
            self.due_at = self._looked_at + EXPLAIN_S
            return []
        self._seen, self._looked_at, self.due_at = seen, now, inf
        effects: list[Effect] = []
        pairs = [pair for pair in self._interests.pairs() if "://" not in pair[0]]
        records = self._records({key for key, _ in pairs})
        for key, reach in pairs:
            text = self._explain(key, records, reach)
            if self._told.get((key, reach)) != text:
                self._told[key, reach] = text
                effects.append(Tell(News.HINT, key, text=text, reach=reach))
        return effects

    def tick(self, now: float) -> None:
        """Take note that the time has come; `flush` at the end of this turn then explains."""
        if now >= self.due_at:
            self.due_at = inf

    def explain(self, key: str, reach: Reach) -> str:
        """Return why nothing is found under a key within that reach, and what to do."""
        return self._explain(key, self._records({key}), reach)

    def _records(self, keys: set[str]) -> dict[str, list[Record]]:
        """Return what is known of the names in these keys, by name."""
        records: dict[str, list[Record]] = {key.partition("/")[2]: [] for key in keys}
        for entry in self._known.by_role.values():
            record = entry.record
            if record.name in records:
                records[record.name].append(record)
        return records

    def _explain(self, key: str, records: dict[str, list[Record]], reach: Reach) -> str:
        where, elsewhere = self._where(reach)
        if key == EVERYBODY:
            they = elsewhere.replace("it is", "they are", 1)
            return (
                f"{where}; {self._others()}; perhaps one is stopped or stuck, and does not "
                f"answer; or {they}"
            )
        kind, _, name = key.partition("/")
        ours = [each for each in records[name] if kind in kinds_of(each.role)]
        role = "service" if kind == SERVER else kind
        start = _START[role].replace("NAME", name)
        found = self._out_of_reach(ours, reach)
        found += [self._elsewhere.explain(kind, name), _namesake(role, records[name])]
        nor = self._of_brokers() if role == "service" and not any(found) else ""
        found += [self._mistyped(kind, name), self._silent_peers(), self._deafness(reach)]
        if not any(_START[role] in each for each in found):
            found += [f"none is running{nor}: {start}"]
        likeliest = list(filter(None, [*found, elsewhere]))[:_CAUSES]
        return f"{'; or '.join(likeliest)}; {where}; `zmqkit doctor {quote(name)}` looks closer"

    def _others(self) -> str:
        """Return which names there are, if any."""
        names = sorted({entry.record.name for entry in self._known.by_role.values()})
        if not names:
            return "none is running: start a service or publisher"
        more = ", …" if len(names) > _NAMES_MAX else ""
        return f"the names that were found are {', '.join(map(repr, names[:_NAMES_MAX]))}{more}"

    def _where(self, reach: Reach) -> tuple[str, str]:
        """Return where was searched, and the likeliest cause if one runs elsewhere."""
        if reach is Reach.LOCAL:
            return (
                "searched on this machine only, the network was not searched",
                f"it is on another machine: use {_HOW_TO_OPEN} on both sides",
            )
        if self.is_stranded:
            return (
                "searched on this machine only, since it has no address on a network",
                "it is on another machine: connect this machine to a network",
            )
        where = "searched on this machine and on the network"
        there = f"it is not open to the network: use {_HOW_TO_OPEN} there too"
        if any(_is_far(entry.record) for entry in self._known.by_role.values()):
            return where, there
        return where, f"{there}, or multicast does not pass: set ZMQKIT_PEERS=HOST:PORT"

    def _mistyped(self, kind: str, name: str) -> str:
        """Return a name of that kind that is like this one; only some are compared."""
        known = (entry.record for entry in self._known.by_role.values())
        names = (each.name for each in known if kind in kinds_of(each.role))
        near = (each for each in islice(names, _NEAR_MAX) if _is_like(each, name))
        found = next(near, "")
        return f"perhaps the name is mistyped: there is {found!r}" if found else ""

    def _silent_peers(self) -> str:
        """Return which static peer is in another space, or does not answer."""
        ours = self._elsewhere.space
        for seed in self._seeds:
            if not seed.key and seed.process and seed.space != ours:
                return refusal(seed.url.endpoint, seed.space, ours)
        silent = [seed.url for seed in self._seeds if not seed.key and not seed.process]
        if not silent:
            return ""
        address = Address(silent[0].host, silent[0].port)
        return f"the static peer {address} does not answer: see that it runs, and its port"

    def _deafness(self, reach: Reach) -> str:
        """Return what to say where announcements do not arrive, or nothing if they do."""
        if not any(each <= reach for each in self._lacks.deaf):
            return ""
        return (
            "one that has just started is found some seconds later, since announcements do not "
            "arrive here: a firewall of this machine drops UDP port 5353, or the network drops "
            "multicast"
        )

    def _of_brokers(self) -> str:
        """Return which brokers have no such service, or nothing if no broker answered."""
        owned = (self._known.by_role[p, i].record for i, p in self._known.owners.items())
        brokers = sorted({each.name for each in owned if each.role == MAJORDOMO})
        if not brokers:
            return ""
        theirs = ", ".join(map(repr, brokers[:_NAMES_MAX]))
        more = ", …" if len(brokers) > _NAMES_MAX else ""
        have = f"brokers {theirs}{more} have" if len(brokers) > 1 else f"broker {theirs} has"
        return f", and the {have} no such service"

    def _out_of_reach(self, records: list[Record], reach: Reach) -> list[str]:
        """Return why none of these roles is found: it does not answer, or may not be asked."""
        for record in records:
            if addresses := self._known.addresses(record.process, reach):
                return [
                    f"one was heard of at {addresses[0]} and does not answer there: it is gone",
                    "a firewall is in between, see `zmqkit ls -v`",
                ]
        for record in records:
            if addresses := self._known.addresses(record.process, max(Reach)):
                return [
                    f"one is on the network at {addresses[0].host}, which this side may not "
                    f"use without {_HOW_TO_OPEN}"
                ]
        return []


def _is_like(one: str, other: str) -> bool:
    """Whether two names differ in capitals, or in a few letters at one place."""
    if one == other:
        return False
    one, other = one.lower(), other.lower()
    shortest, longest = sorted((len(one), len(other)))
    before = 0
    while before < shortest and one[before] == other[before]:
        before += 1
    behind = 0
    while behind < shortest - before and one[-1 - behind] == other[-1 - behind]:
        behind += 1
    shared = before + behind
    return shared >= _SHARED_MIN and longest - shared <= _OTHER_MAX


def _is_far(record: Record) -> bool:
    """Whether a role was heard of from the network, which multicast then passes."""
    return any(reach_of(each) > Reach.LOCAL for each in record.addresses)


def _namesake(role: str, records: list[Record]) -> str:
    """Return what to say when a role of another kind has the name, else nothing."""
    for record in records:
        other = kind_of(record.role)
        if record.role == ROUTER and other != role:
            return _of_router(role, record.name)
        if other != role and {other, role} != {"worker", "sink"}:
            use = f": {_USE[record.role]}" if record.role in _USE else ""
            kind = {BROKER: "broker's service", ROUTED: "router's service"}.get(
                record.role, record.role
            )
            return f"a {kind} is called {record.name!r}{use}"
    return ""


def _of_router(role: str, name: str) -> str:
    """Return what to say to those who look for a role, and find a router of its name."""
    if role != "service":
        return f"a router is called {name!r}, which passes on calls only; {_START[role]}"
    return (
        f"the router {name!r} has no service of that name: {_START[role]}, or call the "
        "services behind it by their own names"
    )
