"""What is wrong with an interface is named once, and what follows from it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.doctor.healthy import BRIDGE, ETH, LO, TUNNEL, findings, on, only
from zmqkit.doctor.facts import UNHEARD, Facts
from zmqkit.doctor.findings import Severity


@pytest.mark.parametrize(
    ("facts", "id"),
    [
        (on(replace(LO, is_up=False), ETH), "loopback-down"),
        (on(LO), "no-network"),
        (on(LO, replace(ETH, addresses=())), "no-network"),
        (on(LO, BRIDGE), "only-container-bridges"),
        (on(LO, replace(ETH, is_up=False, has_carrier=False)), "interface-down"),
        (on(LO, replace(ETH, has_carrier=False, echo=UNHEARD)), "no-carrier"),
        (on(LO, replace(ETH, is_multicast=False, echo="")), "no-multicast"),
        (on(LO, replace(ETH, echo=UNHEARD)), "mdns-blocked"),
        (on(LO, replace(ETH, echo="operation not permitted (EPERM)")), "mdns-blocked"),
        (on(replace(LO, echo=UNHEARD), ETH), "mdns-blocked"),
        (on(LO, replace(ETH, echo="no buffer space available (ENOBUFS)")), "multicast-refused"),
        (on(LO, ETH, TUNNEL, outward="tun0"), "vpn-default-route"),
    ],
)  # fmt: skip
def test_interfaces(facts: Facts, id: str) -> None:
    assert findings(facts) == [id]


def test_an_interface_that_only_waits_for_a_network_is_no_cause() -> None:
    idle = replace(ETH, name="eth1", has_carrier=False, addresses=(), echo="")
    off = replace(ETH, name="eth2", is_up=False, addresses=("fe80::2/64",), echo="")
    assert findings(on(LO, ETH, idle, off)) == []


def test_an_interface_that_does_not_work_matters_less_beside_one_that_does() -> None:
    cut = replace(ETH, name="eth1", has_carrier=False, addresses=("10.1.0.5/24",), echo="")
    assert only(on(LO, cut)).severity is Severity.ERROR
    assert only(on(LO, ETH, cut)).severity is Severity.WARNING


def test_interfaces_with_one_cause_are_named_together() -> None:
    deaf = (replace(LO, echo=UNHEARD), replace(ETH, echo=UNHEARD))
    assert " on lo and eth0, " in only(on(*deaf)).cause


def test_a_network_whose_announcements_are_dropped_is_found_late_and_loopback_never() -> None:
    late, never = (
        only(on(*each))
        for each in ((LO, replace(ETH, echo=UNHEARD)), (replace(LO, echo=UNHEARD), ETH))
    )
    assert late.severity is Severity.WARNING and "some seconds late" in late.cause
    assert never.severity is Severity.ERROR and never.cause.endswith("do not find each other")
