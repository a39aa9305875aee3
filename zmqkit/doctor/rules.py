"""Judges the facts: pure functions, each of which knows one cause.

Theory of operation. A cause has consequences, and they are not to be named beside it. So each
rule looks at its own cause only where nothing before it explains what it sees: an interface
without carrier is not asked whether it passes multicast, and "nobody has the name" is said only
when nothing else is wrong. A rule that lacks the facts says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from zmqkit.doctor import between, names, network
from zmqkit.doctor.answers import lacks_scope, unanswered, without_scope
from zmqkit.doctor.facts import SPARE_MIN, Facts
from zmqkit.doctor.findings import Finding, Severity, error, warning
from zmqkit.limits import CONNECTION_DESCRIPTORS, NODE_DESCRIPTORS, ROLE_DESCRIPTORS
from zmqkit.model import Address, Reach, parse_url

DESCRIPTORS_MIN = 256
"""A process of a few roles, each with some peers, uses as many."""
FREE_BYTES_MIN = 16 << 20
"""A journal writes its changes twice before it is compacted."""
PORTS_MIN = 3
"""A process open to the network takes two ports, and a role in it takes one."""

Rule = Callable[[Facts], Iterator[Finding]]


def diagnose(facts: Facts) -> list[Finding]:
    """Return what is wrong: errors first, each cause once."""
    found = [finding for rule in RULES for finding in rule(facts)]
    if not found:
        found = list(names.nobody(facts))
    once = dict.fromkeys(found)
    return sorted(once, key=lambda each: each.severity is not Severity.ERROR)


# Limits


def few_descriptors(facts: Facts) -> Iterator[Finding]:
    """A process that runs out of descriptors makes no more connections."""
    each = facts.machine.descriptors
    if each is None or (each.limit >= DESCRIPTORS_MIN and each.spare >= SPARE_MIN):
        return
    spare = each.spare
    least = NODE_DESCRIPTORS + ROLE_DESCRIPTORS
    cause = (
        f"a process may open {each.limit} descriptors, which is too few for a first role"
        if spare < least
        else f"a process may open {each.limit} descriptors, which is few: roles with many "
        "peers make no more connections once these are used up"
    )
    found = error if spare < least else warning
    yield found(
        "few-descriptors",
        cause,
        [f"limit {each.limit}, {each.open} open here; a first role needs {least} more"],
        "ulimit -n 65536, in the shell that starts the programs; under systemd "
        "LimitNOFILE=65536",
    )


def descriptors_used_up(facts: Facts) -> Iterator[Finding]:
    """A program that has used all of its descriptors takes nobody new."""
    for each in facts.machine.programs:
        if each.descriptors is not None and each.descriptors.spare < CONNECTION_DESCRIPTORS:
            limit = each.descriptors.limit
            yield error(
                "few-descriptors",
                f"process {each.pid} has used up its descriptors, so it takes nobody new",
                [f"`{each.command}` has {each.descriptors.open} of {limit} open"],
                f"prlimit --pid {each.pid} --nofile={max(65536, 2 * limit)}; and ulimit -n "
                "65536 before it is started again",
            )


def disk_full(facts: Facts) -> Iterator[Finding]:
    """A journal that cannot be written accepts nothing more."""
    for each in facts.machine.disks:
        if each.free_bytes < FREE_BYTES_MIN or each.free_files == 0:
            what = (
                f"{each.free_bytes >> 10} KiB"
                if each.free_bytes < FREE_BYTES_MIN
                else "no room for files"
            )
            yield error(
                "disk-full",
                f"the disk under the journal {each.path} is full, so its queue accepts nothing",
                [f"{what} left there; {FREE_BYTES_MIN >> 20} MiB is the least"],
                f"make room on that disk, or compact the journal at rest: zmqkit queue compact "
                f"{each.path}",
            )


def ports_taken(facts: Facts) -> Iterator[Finding]:
    """A range of ports that is used up refuses the next role."""
    low, high = facts.side.ports
    if not low or not facts.machine.listening:
        return
    used = {port for port in facts.machine.listening if low <= port <= high}
    free = high - low + 1 - len(used)
    if free < PORTS_MIN:
        yield error(
            "ports-taken",
            f"ZMQKIT_PORTS={low}-{high} has {free} free ports, and a process with one role "
            f"open to the network takes {PORTS_MIN}",
            [f"in use: {', '.join(map(str, sorted(used)[:10])) or 'none'}"],
            f"ZMQKIT_PORTS={low}-{min(high + 100, 65535)}, and let these in at the firewall",
        )


# This side


def environment(facts: Facts) -> Iterator[Finding]:
    """A variable that is wrong keeps every program from starting its first role."""
    if facts.side.error:
        yield error(
            "environment-wrong",
            "a variable of the environment is wrong, so no program makes a role with it",
            [facts.side.error],
            "mend the variable that the line above names, or unset it",
        )


def scope(facts: Facts) -> Iterator[Finding]:
    """An IPv6 address of a link means nothing without the interface."""
    for peer in facts.side.peers:
        url = parse_url(f"tcp://{peer}")
        if lacks_scope(url.host):
            yield without_scope(Address(url.host, url.port), f"the static peer {peer}")
    for each in facts.elsewhere:
        addresses = each.reason.split(", ")
        of_this_name = facts.name in ("", each.label.rpartition("-")[0])
        if of_this_name and all(a.startswith("fe80:") for a in addresses):
            yield error(
                "ipv6-without-scope",
                f"{each.label} is announced with addresses of one link alone, and over IPv4, "
                "so nobody knows of which link",
                [f"announced at {each.reason}"],
                "give both machines IPv4 addresses of one network, or none; or name the peer: "
                "ZMQKIT_PEERS=[fe80::…%eth0]:PORT",
            )


def peers_unasked(facts: Facts) -> Iterator[Finding]:
    """A peer on another machine is not asked by a side that is not open."""
    if facts.side.insecure:
        return
    far = [p for p in facts.side.peers if parse_url(f"tcp://{p}").reach > Reach.LOCAL]
    if far:
        yield error(
            "this-side-local-only",
            "this side may not leave this machine, so its static peers elsewhere are not asked",
            [f"ZMQKIT_PEERS names {', '.join(far)}; ZMQKIT_INSECURE is not set"],
            "ZMQKIT_INSECURE=1 for the programs on both sides; all is plain text then",
        )


def peers(facts: Facts) -> Iterator[Finding]:
    """Each static peer has to answer."""
    for each in facts.side.asked:
        finding = unanswered(each, f"the static peer {each.address}")
        if finding is not None and not lacks_scope(each.address.host):  # as `scope` has said
            yield finding


RULES: tuple[Rule, ...] = (
    environment, *network.RULES, few_descriptors, descriptors_used_up,
    disk_full, ports_taken, scope, peers_unasked,
    peers, *names.RULES, *between.RULES,
)  # fmt: skip
"""All rules but that of a name that nobody has, in the order in which findings are shown."""
