"""What it means that nobody answers at an address: one cause for each way not to answer."""

from __future__ import annotations

from zmqkit.doctor.facts import Asked, Outcome
from zmqkit.doctor.findings import Finding, error
from zmqkit.doctor.firewall import how_to_let_pass
from zmqkit.model import Address

_MEANINGS = {
    Outcome.REFUSED: (
        "nothing-listens",
        "{whom} is an address where nothing listens: it has ended, or the port is wrong",
        "start it there; `zmqkit ls -v` on that machine shows its ports. Behind a mapping of "
        "ports, map the control port too and say advertise=",
    ),
    Outcome.UNKNOWN: (
        "unknown-host",
        "{whom} has a name that this machine cannot resolve",
        "use its IP address, which `ip address` shows there; or `getent hosts {host}` finds "
        "the name once DNS or /etc/hosts has it",
    ),
    Outcome.UNREACHABLE: (
        "host-unreachable",
        "{whom} cannot be reached: no way leads to that machine, or it is off",
        "ping {host}; `ip route get {host}` shows which way packets take",
    ),
    Outcome.TIMED_OUT: (
        "port-blocked",
        "{whom} does not take connections: a firewall drops TCP port {port}, or the machine is "
        "off",
        f"on that machine: {how_to_let_pass('tcp', '{port}')}; "
        "or: ufw allow {port}/tcp; ZMQKIT_PORTS=LOW-HIGH keeps ports within a range",
    ),
    Outcome.STOPPED: (
        "stuck-instance",
        "{whom} is stuck: the system takes connections for it, and the process does nothing",
        "on that machine: kill -CONT PID has a stopped process go on; else restart it",
    ),
    Outcome.SILENT: (
        "stuck-instance",
        "{whom} is stuck: it takes connections and does not answer, as when a handler holds "
        "the interpreter or the event loop",
        "find what its handlers do (`py-spy dump --pid PID` shows it), and restart it; a slow "
        "handler in asyncio wants thread=True",
    ),
    Outcome.FOREIGN: (
        "not-zmqkit",
        "{whom} is an address where something else listens than zmqkit",
        "check host and port; `ss -ltnp` on that machine shows who listens",
    ),
    Outcome.VERSION: (
        "versions-apart",
        "{whom} speaks another version of the protocol",
        "install the same version of zmqkit on both machines: pip install -U zmqkit",
    ),
}


def unanswered(asked: Asked, whom: str, *evidence: str) -> Finding | None:
    """Return the cause why an address does not answer as it should; None if it does."""
    if asked.outcome is Outcome.ANSWERED:
        return None
    if lacks_scope(asked.address.host):
        return without_scope(asked.address, whom)
    id, cause, remedy = _MEANINGS[asked.outcome]
    words = {"whom": whom, "host": asked.address.host, "port": asked.address.port}
    seen = f"asked at {asked.address}: {asked.detail or asked.outcome.value}"
    return error(id, cause.format(**words), (seen, *evidence), remedy.format(**words))


def lacks_scope(host: str) -> bool:
    """Whether this is an IPv6 address of a link, without the link."""
    return host.lower().startswith("fe80:") and "%" not in host


def without_scope(address: Address, whom: str) -> Finding:
    """Return that an address of a link does not say of which link it is."""
    return error(
        "ipv6-without-scope",
        f"{whom} has an address of one link, which does not say of which link",
        (f"{address.host}: addresses that begin with fe80: need the interface behind a %",),
        f"write {address.host}%eth0, with the interface that leads there; `ip link` shows all",
    )
