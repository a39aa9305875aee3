"""What processes count together, while they come and go."""

from __future__ import annotations

from zmqkit.cli.totals import Totals


def test_counts_of_processes_are_added_up_by_reason() -> None:
    totals = Totals()
    totals.take(1, {"accepted": 3, "in_flight": 1, "dropped": {"cancelled": 1}, "reach": "x"})
    totals.take(2, {"accepted": 2, "in_flight": 2, "dropped": {"cancelled": 1, "full": 1}})
    totals.take(2, {"accepted": 4, "in_flight": 0, "dropped": {"cancelled": 2, "full": 1}})
    assert totals.stats() == {
        "accepted": 7, "in_flight": 1, "dropped": {"cancelled": 3, "full": 1},
    }  # fmt: skip


def test_what_a_process_counted_outlives_it_and_what_it_held_is_dropped() -> None:
    totals = Totals()
    totals.take(1, {"accepted": 5, "delivered": 3, "in_flight": 2, "clients": 1})
    totals.ended(1)
    totals.ended(2)
    totals.take(3, {"accepted": 1, "delivered": 1, "in_flight": 0, "clients": 1})
    assert totals.stats() == {
        "accepted": 6, "delivered": 4, "in_flight": 0, "clients": 1,
        "dropped": {"process-ended": 2},
    }  # fmt: skip
