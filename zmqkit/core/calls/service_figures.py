"""What a service counts: its counters, and the rows of its statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from zmqkit.core.calls.request import RequestWindows
from zmqkit.core.calls.work import Work
from zmqkit.core.figures import age_ms, of_parts, of_stats
from zmqkit.types import ServiceStats
from zmqkit.wire.statistics import Figures


class ServiceFigures:
    """The counters of one service, as it shows them."""

    def __init__(self, counts: Counter[str], windows: RequestWindows, work: Work) -> None:
        self._counts = counts
        self._windows = windows
        self._work = work

    def stats(self, retained_bytes: int, malformed: Mapping[str, int]) -> ServiceStats:
        """Return the counters.

        retained_bytes: what answers take that may be asked for. malformed: what could not be
        read, by reason.
        """
        work, counts = self._work, self._counts
        return {
            "accepted": work.ticket,
            "delivered": counts["delivered"],
            "failed": counts["failed"],
            "expired": counts["expired"],
            "duplicates": counts["duplicates"],
            "refused": counts["refused"],
            "evicted": counts["evicted"],
            "dropped": {k: v for k, v in work.dropped.items() if v},
            "in_flight": work.held_count,
            "waiting": work.waiting_count,
            "overdue": len(work.overdue),
            "held_bytes": work.held_bytes,
            "streams": len(work.streams),
            "clients": len(self._windows.present()),
            "retained_bytes": retained_bytes,
            "unread_bytes": self._windows.budget.unread,
            "malformed": dict(malformed),
        }

    def rows(self, stats: Mapping[str, object], now: float) -> list[Figures]:
        """Return a row of the service, which has these counters, and one of each method."""
        clients = self._windows.present()
        whole = of_stats(stats, peers={"up": len(clients)}, talks_to=clients)
        oldest = (next(iter(each.held.values()), None) for each in self._windows)
        since = min((each.arrived_at for each in oldest if each is not None), default=now)
        whole.oldest_ms = age_ms(since, now)
        running = [each.method for each in list(self._work.running.values())]
        waiting = [each.method for each in list(self._work.queue)]
        return [whole, *of_parts(self._work.meter, "method", running, waiting)]
