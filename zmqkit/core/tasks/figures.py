"""The rows of the statistics of a queue, which a pusher or a streamer has."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from zmqkit.core.figures import age_ms, of_stats, peers_of
from zmqkit.core.tasks.ledger import Ledger
from zmqkit.core.tasks.workers import Workers
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.statistics import Figures


def queue_rows(
    name: str, stats: Mapping[str, object], ledger: Ledger, workers: Workers, now: float
) -> list[Figures]:
    """Return a row of the role that has these counters, and one of its queue.

    The queue's row says how long tasks waited for a worker, and how long workers had them.
    """
    connections = workers.instances.connections
    whole = of_stats(
        stats,
        peers=peers_of(connections.by_incarnation.values()),
        talks_to=list(connections.by_incarnation),
        credit=sum(max(0, each.credit - each.load) for each in list(connections.ready)),
    )
    since = ledger.line.oldest_since()
    if since < inf:
        whole.oldest_ms = age_ms(since, now)
    took = Histogram()
    meter = workers.instances.dispatcher.meter
    for part in list(meter.parts.values()) if meter is not None else ():
        took.add(part.took)
    queue = of_stats(stats)
    queue.part, queue.of, queue.oldest_ms = "queue", name, whole.oldest_ms
    queue.took, queue.waited = took, workers.leases.waited.copy()
    return [whole, queue]
