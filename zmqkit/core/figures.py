"""The rows of a role's statistics, out of its counters and its meter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from zmqkit.core.dispatch.connections import Connection
from zmqkit.core.meter import OTHERS, Meter
from zmqkit.statistics_limits import TALKS_MAX
from zmqkit.wire.statistics import Figures

_DONE = ("delivered", "done", "handed_over")
_ACCEPTED = ("accepted", "received")
_WAITING = ("waiting", "queued")


def of_stats(
    stats: Mapping[str, object],
    *,
    peers: Mapping[str, int] | None = None,
    talks_to: Iterable[int] = (),
    credit: int = 0,
) -> Figures:
    """Return the row of a role, or of a part of it, that has these counters.

    peers: how many there are in each state. talks_to: the numbers of peers.
    """
    figures = Figures(
        accepted=_first(stats, _ACCEPTED),
        delivered=_first(stats, _DONE),
        failed=_count(stats, "failed") + _count(stats, "dead"),
        expired=_count(stats, "expired"),
        malformed=sum(_words(stats, "malformed").values()),
        waiting=_first(stats, _WAITING),
        credit=credit,
        peers=dict(peers or {}),
        talks_to=[each for each, _ in zip(talks_to, range(TALKS_MAX), strict=False)],
    )
    dropped = Counter(_words(stats, "dropped"))
    dropped["cancelled"] += _count(stats, "cancelled")
    if not isinstance(stats.get("dropped"), Mapping):
        dropped["purged"] += _count(stats, "dropped")
    figures.dropped = {reason: count for reason, count in dropped.items() if count}
    if "leased" in stats:
        figures.running = _count(stats, "leased")
    else:
        figures.running = max(0, _count(stats, "in_flight") - figures.waiting)
    return figures


def of_parts(
    meter: Meter | None, kind: str, running: Iterable[str] = (), waiting: Iterable[str] = ()
) -> list[Figures]:
    """Return a row for each part of a meter.

    kind: what the parts are. running, waiting: the part of each that runs or waits now.
    """
    if meter is None:
        return []
    runs, waits = _counted(meter, running), _counted(meter, waiting)
    return [
        Figures(
            part=kind,
            of=name,
            delivered=part.took.count + part.more,
            failed=part.failed,
            running=runs[name],
            waiting=waits[name],
            took=part.took.copy(),
            waited=part.waited.copy() if part.waited is not None else None,
        )
        for name, part in list(meter.parts.items())
    ]


def _counted(meter: Meter, names: Iterable[str]) -> Counter[str]:
    """Return how often each part of the meter is named; what has none yet has one then."""
    counts = Counter(names)
    for name in list(counts):
        meter.part(name)
        if name not in meter.parts:
            counts[OTHERS] += counts.pop(name)
    return counts


def peers_of(connections: Iterable[Connection]) -> dict[str, int]:
    """Return how many of these instances there are in each state."""
    return dict(Counter(each.word for each in list(connections)))


def age_ms(since: float, now: float) -> int:
    """Return for how long something has been there; 0 if `since` is in the future."""
    return max(0, int((now - since) * 1000)) if since <= now else 0


def _first(stats: Mapping[str, object], names: Iterable[str]) -> int:
    return next((_count(stats, name) for name in names if name in stats), 0)


def _count(stats: Mapping[str, object], name: str) -> int:
    value = stats.get(name, 0)
    return value if isinstance(value, int) else 0


def _words(stats: Mapping[str, object], name: str) -> dict[str, int]:
    value = stats.get(name)
    if not isinstance(value, Mapping):
        return {}
    return {str(word): count for word, count in value.items() if isinstance(count, int)}
