"""What to tell a role that finds nothing: where was searched, and what was seen instead."""

from __future__ import annotations

from math import inf

from zmqkit.core.effects import Effect, News, Tell
from zmqkit.core.membership.interests import EVERYBODY, Interests
from zmqkit.core.membership.known import KnownRoles
from zmqkit.limits import EXPLAIN_S
from zmqkit.model import Reach, Record, kind_of

_HOW_TO_OPEN = "insecure=True, --insecure or ZMQKIT_INSECURE=1"
_START = {
    "service": "start one with zmqkit.Service or `zmqkit serve`",
    "publisher": "start one with zmqkit.Publisher or `zmqkit pub`",
    "worker": "start one with zmqkit.Worker or `zmqkit work`",
    "sink": "start one with zmqkit.Sink",
}
_USE = {
    "service": "use zmqkit.Client or `zmqkit call`",
    "publisher": "use zmqkit.Subscriber or `zmqkit sub`",
    "worker": "use zmqkit.Pusher or `zmqkit push`",
}


class Search:
    """Explains to the roles that want a name why its instances are not found.

    It looks through all that is known. So it does that only at the end of a turn in which
    something was learned, and every EXPLAIN_S at most. An explanation is told when it differs
    from the last one.
    """

    def __init__(self, known: KnownRoles, interests: Interests) -> None:
        self._known = known
        self._interests = interests
        self._told: dict[tuple[str, Reach], str] = {}
        # Whether this host has no address by which the network could be searched.
        self.is_stranded = False
        self._seen = (0, 0, False)
        self._looked_at = -inf
        self.due_at = inf  # when `tick` is due next

    def flush(self, now: float) -> list[Effect]:
        """Tell the explanations that are new, or all of them if a name is wanted since.

        A new want is answered at once; other news waits until EXPLAIN_S have passed.
        """
        seen = (self._known.changes, self._interests.changes, self.is_stranded)
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
        if reach > Reach.LOCAL and self.is_stranded:
            where = "searched on this machine only, since it has no address on a network"
            elsewhere = "or connect this machine to a network"
        elif reach > Reach.LOCAL:
            where = "searched on this machine and on the network"
            elsewhere = f"on another machine with {_HOW_TO_OPEN} there too"
        else:
            where = "searched on this machine only, the network was not searched"
            elsewhere = f"or for other machines use {_HOW_TO_OPEN} on both sides"
        if key == EVERYBODY:
            return f"{where}; start a service or publisher, {elsewhere}"
        role, _, name = key.partition("/")
        ours = [each for each in records[name] if kind_of(each.role) == role]
        found = self._out_of_reach(ours, reach) or _namesake(role, records[name])
        return f"{found}; {where}" if found else f"{where}; {_START[role]}, {elsewhere}"

    def _out_of_reach(self, records: list[Record], reach: Reach) -> str:
        """Return why none of these roles is found: it does not answer, or may not be asked."""
        for record in records:
            if addresses := self._known.addresses(record.process, reach):
                return (
                    f"one was heard of at {addresses[0]} and does not answer there: it is "
                    "gone, or a firewall is in between, see `zmqkit ls -v`"
                )
        for record in records:
            if addresses := self._known.addresses(record.process, max(Reach)):
                return (
                    f"one is on the network at {addresses[0].host}, which this side may not "
                    f"use without {_HOW_TO_OPEN}"
                )
        return ""


def _namesake(role: str, records: list[Record]) -> str:
    """Return what to say when a role of another kind has the name, else nothing."""
    for record in records:
        other = kind_of(record.role)
        if other != role and {other, role} != {"worker", "sink"}:
            use = f": {_USE[record.role]}" if record.role in _USE else ""
            return f"a {record.role} is called {record.name!r}{use}"
    return ""
