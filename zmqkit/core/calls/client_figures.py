"""The rows of a client's statistics."""

from __future__ import annotations

from collections.abc import Mapping

from zmqkit.core.calls.call import Call
from zmqkit.core.dispatch.dispatcher import Dispatcher
from zmqkit.core.figures import age_ms, of_parts, of_stats, peers_of
from zmqkit.wire.statistics import Figures


def client_rows(
    stats: Mapping[str, object], dispatcher: Dispatcher, now: float
) -> list[Figures]:
    """Return a row of a client that has these counters, and one of each method."""
    connections = dispatcher.connections
    whole = of_stats(
        stats,
        peers=peers_of(connections.by_incarnation.values()),
        talks_to=list(connections.by_incarnation),
        credit=sum(max(0, each.credit - each.load) for each in list(connections.ready)),
    )
    calls = [job for job in list(dispatcher.jobs.values()) if isinstance(job, Call)]
    if calls:
        whole.oldest_ms = age_ms(calls[0].begun_at, now)
    running = [call.method for call in calls if call.instance is not None]
    waiting = [call.method for call in calls if call.instance is None]
    return [whole, *of_parts(dispatcher.meter, "method", running, waiting)]
