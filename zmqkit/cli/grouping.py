"""Rows of statistics as lines for people: those of all instances together, or of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from zmqkit.cli.output import duration
from zmqkit.node.statistics import Row, percentile_s
from zmqkit.wire.histogram import Histogram

_COUNTS = (
    "accepted", "delivered", "failed", "expired", "malformed", "running", "waiting", "credit",
)  # fmt: skip
_WORDS = ("dropped", "peers", "rates")

Key = tuple[str, ...]
"""What tells lines apart: name, role, perhaps an instance, and the part with its name."""


@dataclass(slots=True)
class Line:
    """A role or a part of it: what the rows of one instance, or of several, count together."""

    name: str
    role: str
    part: str
    of: str
    # Where the instance is; empty, 0 and empty if there are several.
    host: str = ""
    pid: int = 0
    incarnation: str = ""
    # How many rows it stands for.
    instances: int = 0
    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    malformed: int = 0
    running: int = 0
    waiting: int = 0
    oldest_s: float = 0.0
    credit: int = 0
    peers: dict[str, int] = field(default_factory=dict)
    # For each second, as in a row; empty while they are not known of any instance.
    rates: dict[str, float] = field(default_factory=dict)
    took: Histogram | None = None
    recent: Histogram | None = None

    @property
    def key(self) -> Key:
        """What tells the line from all others."""
        return (*self.whole, self.part, self.of)

    @property
    def whole(self) -> Key:
        """What a role and all of its parts have in common."""
        return (self.name, self.role, self.host, str(self.pid), self.incarnation)

    @property
    def what(self) -> str:
        """What it is about within its role, in words; empty for the role itself."""
        return (self.of or f"other {self.part}s") if self.part else ""

    @property
    def rate(self) -> float | None:
        """How many end well each second; None while that is not known."""
        return self.rates.get("delivered")

    @property
    def p50_s(self) -> float | None:
        """How long half took at most."""
        return percentile_s(self.recent, self.took, 50)

    @property
    def p99_s(self) -> float | None:
        """How long 99 of 100 took at most."""
        return percentile_s(self.recent, self.took, 99)

    def add(self, row: Row) -> None:
        """Count one more row."""
        self.instances += 1
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(row, name))
        for name in _WORDS:
            mine = getattr(self, name)
            for word, number in getattr(row, name).items():
                mine[word] = mine.get(word, 0) + number
        self.oldest_s = max(self.oldest_s, row.oldest_s)
        self.took = _sum(self.took, row.took)
        self.recent = _sum(self.recent, row.recent)

    def as_object(self) -> dict[str, object]:
        """Return the line as a JSON object."""
        names = ("name", "role", "part", "of", "instances", *_COUNTS, "oldest_s", *_WORDS)
        told = {name: getattr(self, name) for name in names}
        return {**told, "p50_s": self.p50_s, "p99_s": self.p99_s}


def _sum(mine: Histogram | None, theirs: Histogram | None) -> Histogram | None:
    if theirs is None:
        return mine
    if mine is None:
        return theirs.copy()
    mine.add(theirs)
    return mine


def together(rows: Iterable[Row]) -> list[Line]:
    """Return a line for each role of each name, and one for each part, of all instances."""
    return _lines(rows, lambda row: Line(row.name, row.role, row.part, row.of))


def each_alone(rows: Iterable[Row]) -> list[Line]:
    """Return a line for each row."""
    return _lines(
        rows,
        lambda row: Line(
            row.name, row.role, row.part, row.of, row.host, row.pid, row.incarnation
        ),
    )


def _lines(rows: Iterable[Row], begin: Callable[[Row], Line]) -> list[Line]:
    lines: dict[Key, Line] = {}
    for row in rows:
        new = begin(row)
        lines.setdefault(new.key, new).add(row)
    return list(lines.values())


Value = Callable[[Line], float]

SORTS: dict[str, Value] = {
    "rate": lambda line: line.rate or 0.0,
    "name": lambda line: 0.0,
    "running": lambda line: line.running,
    "waiting": lambda line: line.waiting,
    "oldest": lambda line: line.oldest_s,
    "p50": lambda line: line.p50_s or 0.0,
    "p99": lambda line: line.p99_s or 0.0,
    "failed": lambda line: line.failed,
    "dropped": lambda line: sum(line.dropped.values()),
}
"""By what lines can be sorted: the highest first, and those that are equal by their name."""


def ordered(lines: Iterable[Line], sort: str) -> list[Line]:
    """Return the lines, sorted as in SORTS; the parts of a role stay below it."""
    value = SORTS[sort]
    roles: dict[Key, list[Line]] = {}
    for line in lines:
        roles.setdefault(line.whole, []).append(line)
    for parts in roles.values():
        parts.sort(key=lambda line: (bool(line.part), -value(line), line.part, line.of))
    found = sorted(roles.items(), key=lambda role: (-value(role[1][0]), role[0]))
    return [line for _, parts in found for line in parts]


def matching(lines: Iterable[Line], text: str) -> list[Line]:
    """Return the lines that have a text in their name, role, part or host, in any case."""
    wanted = text.casefold()
    return [
        line
        for line in lines
        if wanted in f"{line.name} {line.role} {line.what} {line.host} {line.pid}".casefold()
    ]


def processes_text(count: int) -> str:
    """Return how many processes there are, in words."""
    return "1 process" if count == 1 else f"{count:,} processes"


def rate_text(rate: float | None) -> str:
    """Return a rate for people; empty if it is not known."""
    return "" if rate is None else f"{rate:,.1f}/s"


def time_text(duration_s: float | None) -> str:
    """Return how long something took, with three digits, in the unit that fits."""
    if duration_s is None:
        return ""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if duration_s * factor >= 1:
            return f"{duration_s * factor:.3g} {unit}"
    return f"{duration_s * 1e6:.3g} µs"


COLUMNS: dict[str, Callable[[Line], str]] = {
    "NAME": lambda line: line.name,
    "ROLE": lambda line: line.role,
    "PART": lambda line: line.what,
    "HOST": lambda line: line.host,
    "PID": lambda line: str(line.pid),
    "INSTANCES": lambda line: str(line.instances),
    "RATE": lambda line: rate_text(line.rate),
    "RUNNING": lambda line: str(line.running),
    "WAITING": lambda line: str(line.waiting),
    "OLDEST": lambda line: duration(line.oldest_s) if line.oldest_s else "",
    "P50": lambda line: time_text(line.p50_s),
    "P99": lambda line: time_text(line.p99_s),
    "FAILED": lambda line: str(line.failed),
    "DROPPED": lambda line: str(sum(line.dropped.values())),
    "PEERS": lambda line: ", ".join(f"{n} {state}" for state, n in line.peers.items()),
}
"""What a table may have: the head of each column, and a line's text in it."""

FIGURES = (
    "RATE", "RUNNING", "WAITING", "OLDEST", "P50", "P99", "FAILED", "DROPPED", "PEERS",
)  # fmt: skip
OF_ALL = ("NAME", "ROLE", "PART", "INSTANCES", *FIGURES)
OF_EACH = ("NAME", "ROLE", "PART", "HOST", "PID", *FIGURES)
"""The columns of lines of several instances, and of each."""


def cells(lines: Iterable[Line], columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a table: the heads of these columns, and the texts of each line."""
    texts = [COLUMNS[column] for column in columns]
    return [tuple(columns), *(tuple(text(line) for text in texts) for line in lines)]
