"""Rules about the interfaces of this machine, and about what passes there."""

from __future__ import annotations

from collections.abc import Iterator

from zmqkit.doctor.facts import FORBIDDEN, HEARD, NOT_TRIED, UNHEARD, Facts, Interface
from zmqkit.doctor.findings import Finding, error, warning
from zmqkit.doctor.firewall import how_to_let_pass


def loopback_down(facts: Facts) -> Iterator[Finding]:
    """Programs on this machine meet on the loopback interface."""
    for each in facts.machine.interfaces:
        if each.kind == "loopback" and not each.is_up:
            yield error(
                "loopback-down",
                "the loopback interface is down, so programs on this machine find nobody",
                [_shown(each)],
                f"ip link set {each.name} up",
            )


def no_network(facts: Facts) -> Iterator[Finding]:
    """Beyond this machine an address on a network is needed."""
    others = [each for each in facts.machine.interfaces if each.kind != "loopback"]
    if not facts.machine.interfaces or any(each.addresses for each in others):
        return
    yield error(
        "no-network",
        "this machine has no address on a network, so only programs on it find each other",
        [_shown(each) for each in facts.machine.interfaces],
        "connect it to a network; `ip address` shows the addresses that it has",
    )


def only_containers(facts: Facts) -> Iterator[Finding]:
    """Bridges of containers lead to no other machine."""
    others = [
        each for each in facts.machine.interfaces if each.kind != "loopback" and each.addresses
    ]
    if others and all(each.kind == "containers" for each in others):
        yield error(
            "only-container-bridges",
            "the only networks of this machine are bridges of its own containers, which lead "
            "to no other machine",
            [_shown(each) for each in others],
            "connect it to a network; for a container use --network host, or map ports as "
            "docs/operations.md shows under Containers",
        )


def interface_down(facts: Facts) -> Iterator[Finding]:
    """An address on an interface that is down is announced and leads nowhere."""
    for each in _networks(facts):
        if not each.is_up:
            yield _of_one(
                facts,
                "interface-down",
                f"{each.name} has an address and is down, so nothing passes there",
                [_shown(each)],
                f"ip link set {each.name} up",
            )


def no_carrier(facts: Facts) -> Iterator[Finding]:
    """A cable is out, or a radio has no network."""
    for each in _networks(facts):
        if each.is_up and not each.has_carrier:
            yield _of_one(
                facts,
                "no-carrier",
                f"{each.name} has an address and no carrier: its cable is out, or the other "
                "end is off",
                [_shown(each)],
                f"plug the cable of {each.name} in; `ip link show {each.name}` then says "
                "LOWER_UP",
            )


def no_multicast(facts: Facts) -> Iterator[Finding]:
    """Discovery sends by multicast, which an interface may have switched off."""
    for each in _networks(facts):
        if each.is_up and each.has_carrier and not each.is_multicast:
            yield error(
                "no-multicast",
                f"{each.name} has multicast switched off, so discovery neither sends nor hears "
                "there",
                [_shown(each)],
                f"ip link set {each.name} multicast on",
            )


def port_taken(facts: Facts) -> Iterator[Finding]:
    """The port of multicast DNS is shared by all programs, if each agrees to it."""
    if facts.machine.port_error:
        holders = ", ".join(facts.machine.port_holders) or "a program of another user"
        yield error(
            "mdns-port-taken",
            f"{holders} has UDP port 5353 for itself, so discovery cannot work on this machine",
            [f"binding UDP port 5353: {facts.machine.port_error}"],
            "end that program, or have it share the port (SO_REUSEADDR and SO_REUSEPORT); "
            "without discovery name a peer: ZMQKIT_PEERS=HOST:PORT",
        )


def mdns_blocked(facts: Facts) -> Iterator[Finding]:
    """What an interface sends to the group comes back, unless this machine itself drops it."""
    lost = [i for i in _tried(facts) if i.echo == UNHEARD or FORBIDDEN in i.echo]
    if not lost:
        return
    found = facts.machine.culprits
    others = (
        "; or: ufw allow 5353/udp; or: firewall-cmd --add-service=mdns" if not found else ""
    )
    yield (error if _lost_all(lost) else warning)(
        "mdns-blocked",
        f"a firewall of this machine drops UDP port 5353 on {_names(lost)}, so "
        f"{_follows(lost)}",
        [f"a packet from {i.name} to 224.0.0.251:5353, for itself: {i.echo}" for i in lost]
        + [each.shown() for each in found],
        how_to_let_pass("udp", "5353", found) + others,
    )


def _lost_all(lost: list[Interface]) -> bool:
    """Whether there are programs that do not find each other at all."""
    return any(FORBIDDEN in each.echo or each.kind == "loopback" for each in lost)


def _follows(lost: list[Interface]) -> str:
    """Return what follows where discovery hears only answers to its own questions, or less.

    On a network these leave from ports of their own, and other machines answer them. On the
    loopback interface nobody hears the questions.
    """
    if any(FORBIDDEN in each.echo for each in lost):
        return "discovery asks nobody there, and nobody hears it"
    within = "programs on this machine do not find each other"
    if all(each.kind == "loopback" for each in lost):
        return within
    beyond = (
        "programs here hear only what other machines answer to their questions: they find "
        "whoever starts later some seconds late, and other machines find roles here late"
    )
    return beyond if not _lost_all(lost) else f"{within}, and {beyond}"


def multicast_refused(facts: Facts) -> Iterator[Finding]:
    """The system may have no room for one more member of the group, or no way to it."""
    refused = [i for i in _tried(facts) if i.echo != UNHEARD and FORBIDDEN not in i.echo]
    if refused:
        yield error(
            "multicast-refused",
            f"the system refuses multicast on {_names(refused)}: discovery cannot work there",
            [f"joining or sending to 224.0.0.251 on {i.name}: {i.echo}" for i in refused],
            "sysctl net.ipv4.igmp_max_memberships=100, if there is no room for one more; or "
            "without discovery name a peer: ZMQKIT_PEERS=HOST:PORT",
        )


def _tried(facts: Facts) -> list[Interface]:
    """Return the interfaces that should have heard themselves, and did not."""
    return [
        each
        for each in facts.machine.interfaces
        if each.kind in ("loopback", "network")
        and (each.is_up and each.has_carrier)
        and each.echo not in (NOT_TRIED, HEARD)
    ]


def _names(interfaces: list[Interface]) -> str:
    return " and ".join(each.name for each in interfaces)


def vpn(facts: Facts) -> Iterator[Finding]:
    """A VPN that takes all traffic takes that to other machines too, without multicast."""
    for each in facts.machine.interfaces:
        if each.name == facts.machine.outward and each.kind == "tunnel":
            yield warning(
                "vpn-default-route",
                f"the default route leads into {each.name}, a VPN or tunnel: machines beyond "
                "this one's own networks are reached through it, and multicast does not pass",
                [_shown(each)],
                "end the VPN, or exclude the local networks from it; or name a peer on the "
                "other side: ZMQKIT_PEERS=HOST:PORT",
            )


def _of_one(facts: Facts, id: str, cause: str, evidence: list[str], remedy: str) -> Finding:
    """Return a finding about one interface, which matters less where another one works."""
    works = any(i.is_up and i.has_carrier and i.addresses for i in _networks(facts))
    return (warning if works else error)(id, cause, evidence, remedy)


def _networks(facts: Facts) -> Iterator[Interface]:
    """Yield the interfaces that lead to other machines and have an address."""
    for each in facts.machine.interfaces:
        if each.kind == "network" and _leads_away(each):
            yield each


def _leads_away(interface: Interface) -> bool:
    return any(not text.startswith("fe80:") for text in interface.addresses) or (
        bool(interface.addresses) and interface.is_up and interface.has_carrier
    )


def _shown(each: Interface) -> str:
    words = [
        "up" if each.is_up else "down",
        "" if each.has_carrier or not each.is_up else "no carrier",
        "" if each.is_multicast or each.kind == "loopback" else "no multicast",
        each.kind,
    ]
    where = ", ".join(each.addresses) or "no address"
    return f"{each.name}: {', '.join(filter(None, words))}; {where}"


RULES = (
    loopback_down, no_network, only_containers, interface_down, no_carrier, no_multicast,
    port_taken, mdns_blocked, multicast_refused, vpn,
)  # fmt: skip
