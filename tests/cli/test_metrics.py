"""The names under which `stats()` are exposed, and what a scraper reads."""

from __future__ import annotations

import secrets
from math import inf
from typing import Any

import pytest

from zmqkit.cli.metrics import COUNTERS, GAUGES, Exposition, samples
from zmqkit.device.streamer import Streamer
from zmqkit.wire.histogram import Histogram
from zmqkit.wire.statistics import Figures

SERVICE: dict[str, Any] = {
    "accepted": 9, "delivered": 5, "failed": 1, "expired": 0, "duplicates": 2, "refused": 3,
    "evicted": 0, "dropped": {"cancelled": 1, "lost": 1}, "in_flight": 1, "waiting": 1,
    "overdue": 0, "held_bytes": 7, "streams": 0, "clients": 2, "retained_bytes": 129,
    "unread_bytes": 0, "malformed": {"short": 4},
}  # fmt: skip


def found(stats: dict[str, Any]) -> dict[tuple[str, ...], float]:
    """The samples by family and the values of their labels."""
    return {(family, *labels.values()): value for family, labels, value in samples(stats)}


def test_messages_are_counted_by_outcome_and_drops_by_reason() -> None:
    rows = found(SERVICE)
    assert rows["zmqkit_messages", "accepted"] == 9
    assert rows["zmqkit_messages", "delivered"] == 5
    assert rows["zmqkit_messages", "dropped"] == 2
    assert rows["zmqkit_drops", "cancelled"] == rows["zmqkit_drops", "lost"] == 1
    assert rows["zmqkit_malformed", "short"] == 4
    assert (rows["zmqkit_waiting",], rows["zmqkit_running",]) == (1, 0)
    assert rows["zmqkit_peers", "client", "up"] == 2
    assert rows["zmqkit_bytes", "retained"] == 129


def test_each_service_of_a_broker_is_named() -> None:
    rows = found({"in_flight": 1, "held_bytes": 7, "services": {"shop": SERVICE}})
    assert rows["zmqkit_messages", "accepted", "shop"] == 9


def test_bytes_that_services_hold_are_counted_once() -> None:
    rows = found({"in_flight": 1, "held_bytes": 7, "services": {"shop": SERVICE}})
    assert rows["zmqkit_bytes", "held", "shop"] == 7
    assert ("zmqkit_bytes", "held") not in rows


def test_a_streamer_says_what_waits_runs_and_who_is_there() -> None:
    device = Streamer(f"t{secrets.token_hex(6)}")
    device.start()
    rows = found({**device.stats(), "oldest_s": 1.5, "workers": {"up": 2, "evasive": 1}})
    assert rows["zmqkit_messages", "delivered"] == 0
    assert rows["zmqkit_oldest_seconds",] == 1.5
    assert (rows["zmqkit_peers", "worker", "up"], rows["zmqkit_peers", "worker", "evasive"]) \
        == (2, 1)  # fmt: skip
    assert {family for family, *_ in rows} <= {*COUNTERS, *GAUGES}
    device.close()


def test_a_scraper_reads_openmetrics() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    exposition = Exposition("service", 'a "name"')
    assert exposition.content_type.startswith("application/openmetrics-text")
    text = exposition.text(SERVICE).decode()
    families = {each.name: each for each in parser.text_string_to_metric_families(text)}
    [accepted] = [
        each for each in families["zmqkit_messages"].samples
        if each.labels["outcome"] == "accepted"
    ]  # fmt: skip
    assert accepted.name == "zmqkit_messages_total" and accepted.value == 9
    assert (accepted.labels["role"], accepted.labels["name"]) == ("service", 'a "name"')
    assert text.endswith("# EOF\n")


def test_histograms_name_their_part_and_count_what_is_below_each_bound() -> None:
    took = Histogram()
    for duration_s in (0.00001, 0.0015, 0.0015, 3.0, 1000.0):
        took.record(duration_s)
    rows = [
        Figures("router", "shop"),
        Figures("router", "shop", part="service", of="orders", took=took),
        Figures("pusher", "jobs", part="queue", of="jobs", took=Histogram(), waited=took),
    ]
    text = Exposition("router", "shop").text({}, rows).decode()
    labels = 'name="shop",queue="",role="router",service="orders"'
    assert f"zmqkit_took_seconds_count{{{labels}}} 5.0" in text
    buckets = {
        line.partition('le="')[2].partition('"')[0]: float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("zmqkit_took_seconds_bucket") and "orders" in line
    }
    assert len(buckets) == 24
    assert buckets["1.6e-05"] == 1
    below_s = {float(bound): count for bound, count in buckets.items()}
    assert below_s[0.001024] == 1 and below_s[0.002048] == 3 and below_s[4.194304] == 4
    assert below_s[inf] == 5
    assert 'zmqkit_waited_seconds_count{name="jobs",queue="jobs",role="pusher"} 5.0' in text
    assert text.endswith("# EOF\n")
