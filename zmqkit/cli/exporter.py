"""`zmqkit metrics`: what all roles on this machine count, for a scraper."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from zmqkit.cli.health import Answers, Health
from zmqkit.cli.ls import listening
from zmqkit.cli.manners import exits
from zmqkit.cli.metrics import HISTOGRAMS, Exposing, Sample, families, histograms
from zmqkit.cli.output import say
from zmqkit.cli.stopping import staying
from zmqkit.device.place import metrics_place
from zmqkit.node.statistics import Reader, Row

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BIND = "127.0.0.1:9464"
READ_S = 2.0
"""How long a scrape waits for processes that do not answer."""

COUNTERS = {
    "zmqkit_messages": "Messages by what became of them; accepted counts all.",
    "zmqkit_drops": "Messages that were dropped, by reason.",
    "zmqkit_malformed": "Packets that could not be read.",
    "zmqkit_part_messages": "Messages of one method, topic, queue or service.",
}
GAUGES = {
    "zmqkit_waiting": "Messages that nobody works on yet.",
    "zmqkit_running": "Messages that a worker, a service or a handler has.",
    "zmqkit_oldest_seconds": "How long the message has been there that is oldest.",
    "zmqkit_credit": "How many more messages all peers together would take now.",
    "zmqkit_peers": "Peers by state, or of a device by what they are.",
    "zmqkit_silent_processes": "Processes that live and did not answer.",
}
"""The families, by name: what each sample of them is."""


@click.command("metrics", short_help="Tell a scraper what all roles here count.")
@click.option(
    "--bind", default=BIND, show_default=True, metavar="HOST:PORT", help="Where to answer."
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Ask other machines too, in plain text; answer them, if --bind says so.",
)
@exits
def command(*, bind: str, insecure: bool) -> int:
    """Answer /metrics with the statistics of all roles on this machine, as OpenMetrics.

    Each scrape asks all processes anew. It needs prometheus-client: pip install
    'zmqkit[metrics]'. Other machines tell of roles with statistics=True alone.

    \b
    zmqkit metrics
    zmqkit metrics --bind 127.0.0.1:9464
    """
    place = metrics_place(bind, insecure=insecure or None)
    exposition = MachineExposition()
    with (
        staying() as signalled,
        listening(threading.Event(), insecure=insecure) as node,
        Reader(node) as reader,
    ):
        reach = node.environment.reach(insecure=insecure or None)

        def metrics() -> tuple[str, bytes]:
            rows = reader.read(reach=reach, timeout_s=READ_S)
            return exposition.content_type, exposition.text(rows, len(reader.silent))

        health = Health(place, Answers(str, str, metrics), "metrics at ")
        try:
            say(f"metrics of all roles at {health.url}/metrics")
            signalled.wait()
        finally:
            health.close()
    return 0


class MachineExposition(Exposing):
    """Writes the statistics of many roles as OpenMetrics."""

    def __init__(self) -> None:
        self._rows: Sequence[Row] = ()
        self._silent_count = 0
        super().__init__()

    def text(self, rows: Sequence[Row], silent_count: int) -> bytes:
        """Return the exposition of these rows. silent_count: processes that did not answer."""
        self._rows, self._silent_count = rows, silent_count
        return self._write(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return the families that have samples; prometheus-client asks for them."""
        found = [("zmqkit_silent_processes", dict[str, str](), float(self._silent_count))]
        found += [sample for row in self._rows for sample in samples(row)]
        yield from families(found, COUNTERS, GAUGES)
        yield from histograms(
            (what, labels_of(row), histogram)
            for row in self._rows
            for what in HISTOGRAMS
            if row.part and (histogram := getattr(row, what)) is not None
        )


def labels_of(row: Row) -> dict[str, str]:
    """Return what distinguishes a row from all others."""
    labels = {
        "host": row.host, "pid": str(row.pid), "role": row.role, "name": row.name,
        "incarnation": row.incarnation,
    }  # fmt: skip
    return labels | {row.part: row.of} if row.part else labels


def samples(row: Row) -> Iterator[Sample]:
    """Return what a row counts: all of a role, and how those of a part ended."""
    own = labels_of(row)
    if row.part:
        for outcome in ("delivered", "failed"):
            yield "zmqkit_part_messages", own | {"outcome": outcome}, getattr(row, outcome)
        return
    for outcome in ("accepted", "delivered", "failed", "expired"):
        yield "zmqkit_messages", own | {"outcome": outcome}, getattr(row, outcome)
    yield "zmqkit_messages", own | {"outcome": "dropped"}, sum(row.dropped.values())
    for reason, count in row.dropped.items():
        yield "zmqkit_drops", own | {"reason": reason}, count
    yield "zmqkit_malformed", own, row.malformed
    yield "zmqkit_waiting", own, row.waiting
    yield "zmqkit_running", own, row.running
    yield "zmqkit_oldest_seconds", own, row.oldest_s
    yield "zmqkit_credit", own, row.credit
    for state, count in row.peers.items():
        yield "zmqkit_peers", own | {"state": state}, count
