"""Each cause is named from its facts, alone, and never where something else explains them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.doctor.healthy import (
    ETH,
    GOOD,
    HEALTHY,
    LO,
    MACHINE,
    SIDE,
    THERE,
    TUNNEL,
    findings,
    on,
    only,
)
from zmqkit.doctor.facts import (
    UNHEARD,
    Asked,
    Descriptors,
    Disk,
    Facts,
    Machine,
    Outcome,
    Side,
    Unusable,
)
from zmqkit.doctor.findings import Severity
from zmqkit.doctor.rules import diagnose


def test_nothing_is_wrong_with_what_is_well() -> None:
    assert diagnose(HEALTHY) == []


def test_facts_that_a_system_does_not_tell_accuse_nobody() -> None:
    assert diagnose(Facts()) == []


def machine(**changes: object) -> Facts:
    """The healthy facts with another machine."""
    return replace(HEALTHY, machine=replace(MACHINE, **changes))  # type: ignore[arg-type] # any


def side(**changes: object) -> Facts:
    """The healthy facts with another side."""
    return replace(HEALTHY, side=replace(SIDE, **changes))  # type: ignore[arg-type] # any


@pytest.mark.parametrize(
    ("facts", "id"),
    [
        (machine(port_error="address already in use (EADDRINUSE)"), "mdns-port-taken"),
        (machine(descriptors=Descriptors(limit=64, open=20)), "few-descriptors"),
        (machine(descriptors=Descriptors(limit=1024, open=1000)), "few-descriptors"),
        (machine(disks=(Disk(path="x.journal", free_bytes=4096),)), "disk-full"),
        (machine(disks=(Disk(path="x", free_bytes=1 << 40, free_files=0),)), "disk-full"),
        (side(ports=(5600, 5602)), "ports-taken"),
        (side(error="ZMQKIT_PORTS is 'x'; use a range such as 5600-5700"), "environment-wrong"),
        (side(peers=("[fe80::9]:5555",)), "ipv6-without-scope"),
    ],
)  # fmt: skip
def test_limits_and_environment(facts: Facts, id: str) -> None:
    assert findings(facts) == [id]


def test_few_descriptors_are_an_error_only_where_no_role_can_be_made() -> None:
    assert only(machine(descriptors=Descriptors(limit=64, open=20))).severity is Severity.ERROR
    few = machine(descriptors=Descriptors(limit=200, open=20))
    assert only(few).severity is Severity.WARNING


def test_a_program_that_has_used_up_its_own_is_named() -> None:
    [program] = MACHINE.programs
    used = replace(program, descriptors=Descriptors(limit=1024, open=1020))
    found = only(machine(programs=(used,)))
    assert found.id == "few-descriptors" and "process 4711" in found.cause


def test_a_peer_of_a_link_that_names_its_interface_is_well() -> None:
    assert findings(side(peers=("[fe80::9%eth0]:5555",))) == []


def test_static_peers_elsewhere_are_not_asked_by_a_side_that_stays_here() -> None:
    facts = replace(side(insecure=False, asked=()), name="", instances=(), probed=None)
    assert findings(facts) == ["this-side-local-only"]


@pytest.mark.parametrize(
    ("outcome", "id"),
    [
        (Outcome.REFUSED, "nothing-listens"),
        (Outcome.UNKNOWN, "unknown-host"),
        (Outcome.UNREACHABLE, "host-unreachable"),
        (Outcome.TIMED_OUT, "port-blocked"),
        (Outcome.STOPPED, "stuck-instance"),
        (Outcome.SILENT, "stuck-instance"),
        (Outcome.FOREIGN, "not-zmqkit"),
        (Outcome.VERSION, "versions-apart"),
    ],
)
def test_a_static_peer_that_does_not_answer(outcome: Outcome, id: str) -> None:
    found = only(side(asked=(Asked(THERE, outcome, "so it was"),)))
    assert found.id == id
    assert "10.0.0.6:5555" in found.cause
    assert found.evidence == ("asked at 10.0.0.6:5555: so it was",)


def test_an_announcement_with_addresses_of_a_link_alone_names_no_link() -> None:
    elsewhere = (Unusable("orders-0000000a", "fe80::7"),)
    facts = replace(HEALTHY, instances=(), elsewhere=elsewhere)
    assert findings(facts) == ["ipv6-without-scope"]
    assert findings(replace(facts, elsewhere=(Unusable("tea-0000000a", "fe80::7"),))) == [
        "nobody-has-the-name"
    ]


def test_errors_come_before_warnings_and_each_cause_once() -> None:
    facts = on(LO, replace(ETH, echo=UNHEARD), TUNNEL, outward="tun0")
    facts = replace(facts, instances=(*facts.instances, *facts.instances))
    assert findings(facts) == ["mdns-blocked", "vpn-default-route"]


def test_each_finding_has_evidence_and_a_remedy() -> None:
    spoilt = Machine(
        interfaces=(replace(LO, is_up=False),),
        port_error="address already in use",
        descriptors=Descriptors(limit=10, open=5),
        disks=(Disk(path="x", free_bytes=0),),
    )
    asked = tuple(Asked(THERE, each) for each in Outcome)
    facts = Facts(machine=spoilt, side=Side(error="wrong", asked=asked), name="orders")
    found = diagnose(facts)
    assert len({each.id for each in found}) == 13
    assert all(each.cause and all(each.evidence) and each.remedy for each in found)
    assert GOOD.outcome is Outcome.ANSWERED
