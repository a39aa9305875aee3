"""Whom membership found is judged as whom discovery heard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zmqkit.doctor.facts import Outcome
from zmqkit.doctor.members import instance
from zmqkit.node.listings import Listing

ROW = Listing(
    name="tea-time",
    role="broker",
    label="tea-time-0000000a",
    address="tcp://10.0.0.6:5555",
    age_s=1.0,
    state="up",
    process="00000000000000ff",
    asked_at=("10.0.0.6:5601",),
    in_use="10.0.0.6:5601",
)


def test_a_row_becomes_an_instance() -> None:
    found = instance(ROW)
    assert found.record.label == ROW.label and found.record.process == 0xFF
    assert (found.record.port, found.record.control_port) == (5555, 5601)
    assert (found.is_here, found.is_open) == (False, True)
    here = replace(ROW, address="tcp://127.0.0.1:5555", in_use="127.0.0.1:5601")
    assert (instance(here).is_here, instance(here).is_open) == (True, False)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("up", Outcome.ANSWERED), ("evasive", Outcome.SILENT), ("gone", Outcome.TIMED_OUT)],
)
def test_a_state_is_an_outcome(state: str, outcome: Outcome) -> None:
    row = replace(ROW, state=state, in_use="", why="so it is")
    [asked] = instance(row).control
    assert (asked.outcome, asked.detail, asked.address.port) == (outcome, "so it is", 5601)
