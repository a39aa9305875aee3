"""The rows of the statistics of a broker or router."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zmqkit.core.figures import of_stats
from zmqkit.core.majordomo.relay import Relay
from zmqkit.statistics_limits import PARTS_MAX
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.statistics import Figures


def relay_rows(
    stats: Mapping[str, object], relays: Iterable[Relay], now: float
) -> list[Figures]:
    """Return a row of the device that has these counters, and one of each of its services.

    That of a service says how long requests were here, from their arrival to their answers.
    """
    rows = [_row(relay, now) for relay, _ in zip(list(relays), range(PARTS_MAX), strict=False)]
    whole = of_stats({key: value for key, value in stats.items() if key == "malformed"})
    for row in rows:
        for name in ("accepted", "delivered", "failed", "expired", "running", "waiting"):
            setattr(whole, name, getattr(whole, name) + getattr(row, name))
        for reason, count in row.dropped.items():
            whole.dropped[reason] = whole.dropped.get(reason, 0) + count
        for state, count in row.peers.items():
            whole.peers[state] = whole.peers.get(state, 0) + count
        whole.talks_to += row.talks_to
        whole.oldest_ms = max(whole.oldest_ms, row.oldest_ms)
    return [whole, *rows]


def _row(relay: Relay, now: float) -> Figures:
    """Return the row of one service."""
    row, *methods = relay.front.statistics(now)
    row.part, row.of = "service", relay.name
    row.known_as = [relay.incarnation, relay.back.incarnation]
    row.peers = {"client": row.peers.get("up", 0), "worker": relay.back.worker_count}
    row.took = Histogram()
    for each in methods:
        if each.took is not None:
            row.took.add(each.took)
    return row
