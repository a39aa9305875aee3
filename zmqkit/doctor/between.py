"""Rules about what a probe found out between this machine and another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zmqkit.doctor.answers import lacks_scope, unanswered
from zmqkit.doctor.facts import HEARD, NOT_TRIED, Facts, Outcome, Probed
from zmqkit.doctor.findings import Finding, Severity, error, warning
from zmqkit.doctor.firewall import Culprit, how_to_let_pass

OFFSET_S_MAX = 1.0
"""How far two clocks may be apart before the doctor speaks of it."""
_MDNS = {"mdns-blocked", "mdns-port-taken", "no-multicast"}
_OPEN = "ZMQKIT_INSECURE=1, insecure=True or --insecure"


def talk(facts: Facts) -> Iterator[Finding]:
    """The listener has to answer before anything else can be said."""
    probed = facts.probed
    if probed is None or probed.talk.outcome is Outcome.ANSWERED:
        return
    address = probed.talk.address
    if probed.talk.outcome is Outcome.REFUSED and not lacks_scope(address.host):
        yield error(
            "nobody-listens",
            f"no doctor listens at {address}",
            [probed.talk.detail],
            f"on {address.host}: zmqkit doctor listen --port {address.port}",
        )
        return
    finding = unanswered(probed.talk, f"the doctor at {address}", _of_multicast(probed))
    assert finding is not None
    if finding.id == "not-zmqkit":
        remedy = f"on {address.host}: zmqkit doctor listen, and name its port here"
        yield replace(finding, id="nobody-listens", remedy=remedy)
    else:
        yield finding


def there(facts: Facts) -> Iterator[Finding]:
    """What the listener found wrong on its own machine."""
    if facts.probed is not None:
        yield from facts.probed.findings


def multicast(facts: Facts) -> Iterator[Finding]:
    """Discovery needs multicast in both directions, unless a peer is named."""
    probed = facts.probed
    if probed is None or probed.talk.outcome is not Outcome.ANSWERED:
        return
    explained = any(each.id in _MDNS for each in probed.findings) or any(
        i.kind == "network" and i.echo not in (NOT_TRIED, HEARD)
        for i in facts.machine.interfaces
    )
    lost = [
        way
        for way, passed in (
            (f"from here to {probed.host}", probed.multicast_out),
            (f"from {probed.host} to here", probed.multicast_in),
        )
        if passed is False
    ]
    if lost and not explained:
        yield error(
            "multicast-blocked",
            f"multicast does not pass {' nor '.join(lost)}: a switch, an access point or a "
            "router between the two machines drops it",
            [_of_multicast(probed), "both machines hear their own multicast"],
            "let UDP port 5353 to 224.0.0.251 pass (IGMP snooping, client isolation); or name "
            f"a peer: ZMQKIT_PEERS={probed.host}:PORT",
        )


def ports(facts: Facts) -> Iterator[Finding]:
    """The ports of roles have to let connections in, on the machine that serves."""
    probed = facts.probed
    if probed is None:
        return
    closed = [each for each in probed.ports_out if each.outcome is not Outcome.ANSWERED]
    if closed:
        yield _blocked(probed.host, [each.address.port for each in closed], "from here",
                       [f"{each.address}: {each.detail}" for each in closed])  # fmt: skip
    refused = [(port, said) for port, said in probed.ports_in if said != "answered"]
    if refused:
        finding = _blocked("this machine", [port for port, _ in refused], f"from {probed.host}",
                           [f"port {port} here: {said}" for port, said in refused],
                           probed.culprits)  # fmt: skip
        # It matters to roles that listen here. Those that only call accept nothing.
        yield replace(finding, severity=Severity.WARNING)


def _blocked(
    whose: str,
    closed: list[int],
    direction: str,
    evidence: list[str],
    found: tuple[Culprit, ...] = (),
) -> Finding:
    shown = ", ".join(map(str, closed))
    return error(
        "port-blocked",
        f"connections {direction} to {whose} do not pass: a firewall drops TCP port {shown}",
        evidence + [each.shown() for each in found],
        f"on {whose}: {how_to_let_pass('tcp', shown, found)}; or set "
        "ZMQKIT_PORTS=LOW-HIGH there and let that range in",
    )


def clocks(facts: Facts) -> Iterator[Finding]:
    """Nothing that is sent depends on clocks, but for times of day that programs name."""
    probed = facts.probed
    if probed is None or probed.offset_s is None:
        return
    if abs(probed.offset_s) > OFFSET_S_MAX + probed.trip_s:
        ahead = "ahead of" if probed.offset_s > 0 else "behind"
        yield warning(
            "clocks-apart",
            f"the clock of {probed.host} is {abs(probed.offset_s):.1f} s {ahead} this one: "
            "tasks with deliver_at begin too early or too late, and logs do not compare",
            (f"measured within {1000 * probed.trip_s:.1f} ms",),
            "timedatectl set-ntp true, on both machines",
        )


def versions(facts: Facts) -> Iterator[Finding]:
    """Both sides have to speak the same protocol."""
    probed, ours = facts.probed, facts.side.wire
    if probed is not None and probed.wire is not None and probed.wire != ours:
        yield error(
            "versions-apart",
            f"{probed.host} speaks version {probed.wire} of the protocol, and this machine "
            f"version {ours}",
            [f"here: {name} {number}" for name, number in facts.side.packages],
            "install the same version of zmqkit on both machines: pip install -U zmqkit",
        )


def name_there(facts: Facts) -> Iterator[Finding]:
    """Whoever has the name over there may be open to its own machine only."""
    probed = facts.probed
    if probed is not None and probed.name_local and not probed.name_open:
        yield error(
            "other-side-local-only",
            f"{facts.name!r} on {probed.host} is open to that machine only",
            [f"{probed.name_local} of that name there, none of them open to the network"],
            f"{_OPEN} for the program on {probed.host}; it then listens on the network, in "
            "plain text",
        )


RULES = (talk, there, multicast, ports, clocks, versions, name_there)


def _of_multicast(probed: Probed) -> str:
    words = {True: "passes", False: "does not pass", None: "was not tried"}
    return (
        f"multicast {words[probed.multicast_out]} from here to {probed.host}, and "
        f"{words[probed.multicast_in]} from there"
    )
