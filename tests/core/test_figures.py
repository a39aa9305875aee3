"""The rows of statistics out of counters and meters."""

from __future__ import annotations

from zmqkit.core.figures import age_ms, of_parts, of_stats
from zmqkit.core.meter import OTHERS, Meter
from zmqkit.statistics_limits import TALKS_MAX
from zmqkit.wire.statistics import Figures


def test_counters_of_each_kind_of_role_become_the_same_row() -> None:
    client = {
        "accepted": 9, "delivered": 4, "failed": 1, "expired": 1, "dropped": {"closed": 1},
        "in_flight": 2, "waiting": 1, "malformed": {"size": 2},
    }  # fmt: skip
    row = Figures(
        accepted=9, delivered=4, failed=1, expired=1, dropped={"closed": 1}, malformed=2,
        running=1, waiting=1,
    )  # fmt: skip
    assert of_stats(client) == row
    pusher = {
        "accepted": 9, "done": 4, "failed": 1, "dead": 1, "expired": 1, "cancelled": 1,
        "dropped": 2, "leased": 1, "waiting": 3,
    }  # fmt: skip
    assert of_stats(pusher) == Figures(
        accepted=9, delivered=4, failed=2, expired=1, dropped={"cancelled": 1, "purged": 2},
        running=1, waiting=3,
    )  # fmt: skip
    subscriber = {"received": 5, "delivered": 3, "queued": 1, "dropped": {"full": 1}}
    assert of_stats(subscriber) == Figures(
        accepted=5, delivered=3, waiting=1, dropped={"full": 1}
    )
    publisher = {"accepted": 5, "handed_over": 4, "queued": 1, "dropped": {}}
    assert of_stats(publisher) == Figures(accepted=5, delivered=4, waiting=1)


def test_of_many_peers_some_are_named() -> None:
    row = of_stats({}, peers={"up": 500}, talks_to=range(500), credit=3)
    assert (row.peers, row.credit) == ({"up": 500}, 3)
    assert row.talks_to == [*range(TALKS_MAX)]


def test_each_part_has_a_row_with_what_runs_and_waits_of_it() -> None:
    meter = Meter(2)
    meter.took("price", 0.5)
    meter.part("price").more += 1
    meter.part("price").failed += 1
    price, buy, others = of_parts(meter, "method", ["price", "buy", "x"], ["buy", "y", "z"])
    assert (price.part, price.of, price.delivered, price.failed) == ("method", "price", 2, 1)
    assert (price.running, price.waiting) == (1, 0)
    assert (buy.of, buy.running, buy.waiting) == ("buy", 1, 1)
    assert (others.of, others.running, others.waiting) == (OTHERS, 1, 2)


def test_rows_do_not_change_with_the_meter() -> None:
    meter = Meter()
    meter.took("price", 0.5)
    [row] = of_parts(meter, "method")
    meter.took("price", 0.5)
    assert row.took is not None and row.took.count == 1


def test_without_a_meter_there_are_no_parts() -> None:
    assert of_parts(None, "method", ["price"]) == []


def test_nothing_is_older_than_it_can_be() -> None:
    assert (age_ms(1.0, 1.25), age_ms(2.0, 1.0)) == (250, 0)
