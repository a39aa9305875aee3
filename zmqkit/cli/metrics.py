"""What a role counts, as OpenMetrics: `stats()` in the names that docs/devices.md lists.

Every sample says of which role and name it is; those of a broker's service name it, too. Beside
these stand the histograms of the statistics, of each method, queue or service.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from zmqkit.errors import ConfigError
from zmqkit.wire.histogram import STEPS, Histogram
from zmqkit.wire.statistics import Figures

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Stats = Mapping[str, object]

_MESSAGES, _DROPS, _MALFORMED = "zmqkit_messages", "zmqkit_drops", "zmqkit_malformed"
_WAITING, _RUNNING, _PEERS, _BYTES = (
    "zmqkit_waiting", "zmqkit_running", "zmqkit_peers", "zmqkit_bytes",
)  # fmt: skip

COUNTERS = {
    _MESSAGES: "Messages by what became of them; accepted counts all.",
    _DROPS: "Messages that were dropped, by reason.",
    _MALFORMED: "Packets that could not be read, by reason.",
}
GAUGES = {
    _WAITING: "Messages that nobody works on yet.",
    _RUNNING: "Messages that a worker, a service or a handler has.",
    "zmqkit_dead": "Messages whose last attempt failed, and that are kept.",
    "zmqkit_oldest_seconds": "How long the message has waited that has waited longest.",
    "zmqkit_credit": "How many more messages all workers together would take now.",
    "zmqkit_overdue": "Handlers that went on though their time was over.",
    "zmqkit_streams": "Streams that are open.",
    "zmqkit_paused": "1 while somebody has paused the queue.",
    _PEERS: "Who is connected, by what they are and their state.",
    _BYTES: "Bytes in memory, by what they are for.",
}
"""The families, by name: what each sample of them is."""

HISTOGRAMS = {
    "took": ("zmqkit_took_seconds", "How long those took that ended well."),
    "waited": ("zmqkit_waited_seconds", "How long tasks waited for a worker."),
}
"""The families of histograms: of what, the name, and what each sample is."""

_LE = range(4, 27)
"""Powers of two: the bounds of a family's buckets in µs, from 16 µs to 67 s."""

_OUTCOMES = {
    "accepted": "accepted", "delivered": "delivered", "done": "delivered", "failed": "failed",
    "expired": "expired", "cancelled": "cancelled", "dropped": "dropped",
    "received": "accepted", "handed_over": "delivered", "refused": "refused",
    "duplicates": "duplicate", "evicted": "evicted",
}  # fmt: skip
_PLAIN = {
    "dead": "zmqkit_dead", "oldest_s": "zmqkit_oldest_seconds", "credit": "zmqkit_credit",
    "overdue": "zmqkit_overdue", "streams": "zmqkit_streams", "paused": "zmqkit_paused",
    "waiting": _WAITING, "leased": _RUNNING,
}  # fmt: skip
_KINDS_OF_PEERS = {
    "clients": "client", "pushers": "pusher", "dialled": "dialled", "workers": "worker",
    "publishers": "publisher", "subscribers": "subscriber", "devices": "device",
    "processes": "process",
}  # fmt: skip
_KINDS_OF_BYTES = {"held_bytes": "held", "retained_bytes": "retained", "unread_bytes": "unread"}

Sample = tuple[str, dict[str, str], float]
"""A family, what distinguishes the sample within it, and its value."""


def samples(stats: Stats) -> Iterator[Sample]:
    """Return what a role's `stats()` say, and those of a broker's services each by its name.

    What a broker or router holds is the sum of what its services hold, and is left out.
    """
    services = stats.get("services")
    is_sum = isinstance(services, Mapping)
    yield from _flat({k: v for k, v in stats.items() if not (is_sum and k == "held_bytes")})
    if isinstance(services, Mapping):
        for service, each in services.items():
            for family, labels, value in _flat(each):
                yield family, {**labels, "service": str(service)}, value


def _flat(stats: Stats) -> Iterator[Sample]:
    for key, value in stats.items():
        if isinstance(value, Mapping):
            yield from _by_word(key, value)
        elif not isinstance(value, bool | int | float):
            continue
        elif key in _OUTCOMES:
            yield _MESSAGES, {"outcome": _OUTCOMES[key]}, value
        elif key in _PLAIN:
            yield _PLAIN[key], {}, value
        elif key in _KINDS_OF_PEERS:
            yield _PEERS, {"peer": _KINDS_OF_PEERS[key], "state": "up"}, value
        elif key in _KINDS_OF_BYTES:
            yield _BYTES, {"of": _KINDS_OF_BYTES[key]}, value
    held, waiting = stats.get("in_flight"), stats.get("waiting")
    if isinstance(held, int) and isinstance(waiting, int) and "leased" not in stats:
        yield _RUNNING, {}, held - waiting


def _by_word(key: str, values: Mapping[str, object]) -> Iterator[Sample]:
    """Return the samples of counts by reason, or by state."""
    counts = {word: each for word, each in values.items() if isinstance(each, int)}
    if key == "dropped":
        yield _MESSAGES, {"outcome": "dropped"}, sum(counts.values())
        for reason, count in counts.items():
            yield _DROPS, {"reason": reason}, count
    elif key == "malformed":
        for reason, count in counts.items():
            yield _MALFORMED, {"reason": reason}, count
    elif key in _KINDS_OF_PEERS:
        for state, count in counts.items():
            yield _PEERS, {"peer": _KINDS_OF_PEERS[key], "state": state}, count


class Exposing(ABC):
    """Writes families of samples as OpenMetrics.

    Raises ConfigError if prometheus-client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.openmetrics import exposition
        except ImportError as error:
            raise ConfigError(
                "/metrics needs prometheus-client; pip install 'zmqkit[metrics]'"
            ) from error
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        # It ships types for all but this.
        self._write: Callable[[object], bytes] = exposition.generate_latest
        self.content_type = exposition.CONTENT_TYPE_LATEST

    @abstractmethod
    def collect(self) -> Iterable[Metric]:
        """Return the families that have samples; prometheus-client asks for them."""


class Exposition(Exposing):
    """Writes the counters of one role as OpenMetrics.

    role: what it is, such as `streamer`. name: of the role.
    """

    def __init__(self, role: str, name: str) -> None:
        self._own = {"role": role, "name": name}
        self._stats: Stats = {}
        self._figures: Sequence[Figures] = ()
        super().__init__()

    def text(self, stats: Stats, figures: Sequence[Figures] = ()) -> bytes:
        """Return the exposition of these counters, and of the histograms of these rows."""
        self._stats, self._figures = stats, figures
        return self._write(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return the families that have samples; prometheus-client asks for them."""
        found = ((f, {**self._own, **labels}, v) for f, labels, v in samples(self._stats))
        yield from families(found, COUNTERS, GAUGES)
        yield from histograms(
            (what, {"role": each.role, "name": each.name, each.part: each.of}, histogram)
            for each in self._figures
            for what in HISTOGRAMS
            if each.part and (histogram := getattr(each, what)) is not None
        )


def families(
    found: Iterable[Sample], counters: Mapping[str, str], gauges: Mapping[str, str]
) -> Iterator[Metric]:
    """Return the families of these samples. counters, gauges: what each sample of one is."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    rows: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family, labels, value in found:
        rows.setdefault(family, []).append((labels, float(value)))
    for family, each in sorted(rows.items()):
        make = CounterMetricFamily if family in counters else GaugeMetricFamily
        names = list(dict.fromkeys(name for labels, _ in each for name in labels))
        metric = make(family, {**counters, **gauges}[family], labels=names)
        for labels, value in each:
            metric.add_metric([labels.get(name, "") for name in names], value)
        yield metric


def histograms(found: Iterable[tuple[str, dict[str, str], Histogram]]) -> Iterator[Metric]:
    """Return the families of these histograms, each with what it measures and its labels."""
    from prometheus_client.core import HistogramMetricFamily

    rows: dict[str, list[tuple[dict[str, str], Histogram]]] = {}
    for what, labels, histogram in found:
        rows.setdefault(what, []).append((labels, histogram))
    for what, each in rows.items():
        family, says = HISTOGRAMS[what]
        names = list(dict.fromkeys(name for labels, _ in each for name in labels))
        metric = HistogramMetricFamily(family, says, labels=names)
        for labels, histogram in each:
            buckets, sum_s = cumulative(histogram)
            metric.add_metric([labels.get(name, "") for name in names], buckets, sum_s)
        yield metric


def cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Return how many there are below each bound of a family, and the sum of all."""
    sums = list(accumulate(histogram.counts))
    bounds = [(repr(2.0**power * 1e-6), float(sums[STEPS * power])) for power in _LE]
    return [*bounds, ("+Inf", float(sums[-1]))], histogram.sum_s
