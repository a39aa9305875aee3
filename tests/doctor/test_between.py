"""What a probe found out is judged: each direction, each cause once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.doctor.healthy import ETH, HEALTHY, LO, MACHINE, PROBED, findings, only
from zmqkit.doctor.facts import UNHEARD, WIRE, Asked, Facts, Outcome
from zmqkit.doctor.findings import Finding, Severity
from zmqkit.model import Address

PORT = Address("10.0.0.6", 5650)


def probed(**changes: object) -> Facts:
    """The healthy facts with another conversation."""
    return replace(HEALTHY, probed=replace(PROBED, **changes))  # type: ignore[arg-type] # any


@pytest.mark.parametrize(
    ("facts", "id"),
    [
        (probed(talk=Asked(PORT, Outcome.REFUSED, "connection refused")), "nobody-listens"),
        (probed(talk=Asked(PORT, Outcome.FOREIGN, "it is no doctor")), "nobody-listens"),
        (probed(talk=Asked(PORT, Outcome.TIMED_OUT)), "port-blocked"),
        (probed(talk=Asked(PORT, Outcome.UNREACHABLE)), "host-unreachable"),
        (probed(talk=Asked(PORT, Outcome.UNKNOWN)), "unknown-host"),
        (probed(talk=Asked(Address("fe80::7", 5650), Outcome.REFUSED)), "ipv6-without-scope"),
        (probed(multicast_out=False), "multicast-blocked"),
        (probed(multicast_in=False), "multicast-blocked"),
        (probed(ports_out=(Asked(PORT, Outcome.TIMED_OUT),)), "port-blocked"),
        (probed(ports_in=((5600, "no connection in 1.5 s"),)), "port-blocked"),
        (probed(offset_s=-90.0), "clocks-apart"),
        (probed(wire=WIRE + 1), "versions-apart"),
        (probed(name_local=1), "other-side-local-only"),
    ],
)  # fmt: skip
def test_each_cause_between_two_machines(facts: Facts, id: str) -> None:
    assert findings(facts) == [id]


def test_the_direction_that_fails_is_named() -> None:
    assert "from here to 10.0.0.6:" in only(probed(multicast_out=False)).cause
    assert "from 10.0.0.6 to here:" in only(probed(multicast_in=False)).cause
    both = only(probed(multicast_out=False, multicast_in=False)).cause
    assert "from here to 10.0.0.6 nor from 10.0.0.6 to here" in both


def test_a_machine_that_cannot_be_connected_to_may_still_be_heard() -> None:
    blocked = only(probed(talk=Asked(PORT, Outcome.TIMED_OUT), multicast_out=None))
    assert any("passes from there" in each for each in blocked.evidence)


def test_what_the_other_machine_found_explains_multicast() -> None:
    theirs = Finding("mdns-blocked", Severity.ERROR, "so", ("seen",), "mend it", "10.0.0.6")
    assert only(probed(multicast_out=False, findings=(theirs,))) == theirs


def test_what_this_machine_drops_explains_multicast() -> None:
    machine = replace(MACHINE, interfaces=(LO, replace(ETH, echo=UNHEARD)))
    facts = replace(probed(multicast_in=False), machine=machine)
    assert findings(facts) == ["mdns-blocked"]


def test_a_firewall_that_lets_nobody_in_here_matters_to_services_alone() -> None:
    found = only(probed(ports_in=((5600, "no connection in 1.5 s"),)))
    assert found.severity is Severity.WARNING
    assert only(probed(ports_out=(Asked(PORT, Outcome.TIMED_OUT),))).severity is Severity.ERROR


def test_a_slow_network_is_no_clock_that_is_wrong() -> None:
    assert findings(probed(offset_s=1.4, trip_s=0.5)) == []


def test_a_name_that_is_open_there_too_is_well() -> None:
    assert findings(probed(name_local=1, name_open=1)) == []
