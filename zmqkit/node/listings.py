"""What membership knows, for people to read: one row for each role."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from zmqkit.core.membership.known import KnownRole, near_first
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.core.membership.neighbour import Life, Neighbour
from zmqkit.core.membership.seed import Seed
from zmqkit.model import (
    BROKER,
    DEVICES,
    MAJORDOMO,
    ROUTED,
    Address,
    Reach,
    Record,
    kind_of,
    space_shown,
)

_STATES = {
    Life.CONNECTING: "connecting",
    Life.ALIVE: "up",
    Life.LOST: "lost",
    Life.GONE: "gone",
}


@dataclass(slots=True, frozen=True)
class Listing:
    """One role as this process sees it."""

    name: str
    role: str
    label: str  # `NAME-8hex`, as on the network
    address: str  # the endpoint where the role listens; empty when no address is known
    age_s: float  # for how long the role is known
    # `up` when its process answers, `evasive` when that is connected and silent, `connecting`,
    # `lost`, `gone`, or `heard` when this process did not ask it.
    state: str
    why: str = ""  # what keeps the role from being chosen; empty when it is up
    process: str = ""  # 16 hexadecimal digits
    # Who told of the role: `mdns:…`; `static` for an address given by hand; `peer` for a static
    # peer that told of the role's process; `hello` for that process itself.
    sources: tuple[str, ...] = ()
    asked_at: tuple[str, ...] = ()  # where its process may be asked, each as `host:port`
    in_use: str = ""  # where its process answers, as `host:port`; empty when it does not
    via: str = ""  # the broker or router that has it, if it is the service of one
    # Whether a device has its name and answers: then those who choose give it nothing new.
    behind_device: bool = False
    space: str = ""  # the one that the role is in; empty for the default space


Change = tuple[str, Listing]
"""What happened (`added`, `changed` or `removed`), and to which role."""


@dataclass(slots=True, frozen=True)
class StaticPeer:
    """One address that was given by hand for all roles."""

    address: str  # `host:port`
    process: str  # 16 hexadecimal digits; empty when no process answered
    state: str  # `up`, or why there is no process of use


def listings(core: MembershipCore, now: float, *, all_spaces: bool = False) -> list[Listing]:
    """Return a row for each role that is known, in the order of name, role and label.

    all_spaces: those of other spaces follow, as far as discovery told of them.
    """
    records = (entry.record for entry in core.roles.values())
    brokers = {r.process: r.name for r in records if kind_of(r.role) == MAJORDOMO}
    devices = {_used_as(e.record) for e in core.roles.values() if _is_device_up(e, core)}
    rows = [_listing(entry, core, now, brokers, devices) for entry in core.roles.values()]
    others = _elsewhere(core, now) if all_spaces else []
    return [*sorted(rows, key=_order), *others]


def _elsewhere(core: MembershipCore, now: float) -> list[Listing]:
    """Return a row for each role of another space that discovery told of."""
    rows: dict[tuple[int, int], Listing] = {}
    for record, source, since in core.elsewhere.heard():
        at = [str(Address(host, record.control_port)) for host in record.addresses]
        rows[record.process, record.incarnation] = Listing(
            name=record.name,
            role=record.role,
            label=record.label,
            address=Address(record.addresses[0], record.port).endpoint,
            age_s=round(max(0.0, now - since), 3),
            state="heard",
            why=f"not asked: it is in {space_shown(record.space)}",
            process=f"{record.process:016x}",
            sources=(source,),
            asked_at=tuple(at),
            space=record.space,
        )
    return sorted(rows.values(), key=_order)


def _order(row: Listing) -> tuple[str, str, str]:
    return row.name, row.role, row.label


def static_peers(core: MembershipCore, unasked: Iterable[str] = ()) -> list[StaticPeer]:
    """Return a row for each static peer.

    unasked: addresses that are not asked because of their reach; their rows come last.
    """
    asked = [_static_peer(seed, core) for seed in core.seeds if not seed.key]
    why = "not asked: it is on another machine"
    return [*asked, *(StaticPeer(address, "", why) for address in unasked)]


def _static_peer(seed: Seed, core: MembershipCore) -> StaticPeer:
    address, process = seed.url.endpoint.removeprefix("tcp://"), seed.process
    if not process:
        return StaticPeer(address, "", "nobody answers")
    if seed.space != core.elsewhere.space:
        return StaticPeer(address, f"{process:016x}", f"in {space_shown(seed.space)}")
    neighbour = core.neighbours.get(process)
    state = "not asked now" if neighbour is None else _state(neighbour)
    return StaticPeer(address, f"{process:016x}", state)


def _used_as(record: Record) -> tuple[str, str]:
    return kind_of(record.role), record.name


def _is_device_up(entry: KnownRole, core: MembershipCore) -> bool:
    neighbour = core.neighbours.get(entry.record.process)
    return entry.record.role in DEVICES and _state(neighbour) == "up"


def _listing(
    entry: KnownRole,
    core: MembershipCore,
    now: float,
    brokers: Mapping[int, str],
    devices: Container[tuple[str, str]],
) -> Listing:
    record = entry.record
    neighbour = core.neighbours.get(record.process)
    addresses = near_first(entry.addresses() if neighbour is None else neighbour.addresses)
    alive = neighbour is not None and neighbour.life is Life.ALIVE
    return Listing(
        name=record.name,
        role=record.role,
        label=record.label,
        address=_address(record.port, neighbour, addresses),
        age_s=round(max(0.0, now - entry.since), 3),
        state=_state(neighbour),
        why=_why(neighbour, addresses, now, core.uses(record.process)),
        process=f"{record.process:016x}",
        sources=tuple(sorted(entry.sources)),
        asked_at=tuple(map(str, addresses)),
        in_use=str(neighbour.address) if neighbour is not None and alive else "",
        via=brokers.get(record.process, "") if record.role in (BROKER, ROUTED) else "",
        behind_device=record.role not in DEVICES and _used_as(record) in devices,
        space=record.space,
    )


def _address(port: int, neighbour: Neighbour | None, addresses: list[Address]) -> str:
    """Return where a role listens, at the host that answers or is tried, else the nearest."""
    if neighbour is not None and not neighbour.given_up:
        return neighbour.endpoint(port)
    return Address(addresses[0].host, port).endpoint if addresses else ""


def _state(neighbour: Neighbour | None) -> str:
    if neighbour is None:
        return "heard"
    if neighbour.life is Life.ALIVE and neighbour.silent:
        return "evasive"
    if neighbour.life is Life.CONNECTING and neighbour.given_up:
        return "gone"
    return _STATES[neighbour.life]


def _why(
    neighbour: Neighbour | None, addresses: list[Address], now: float, uses: list[Reach]
) -> str:
    """Return in words what keeps a role from being chosen; empty if nothing does."""
    state = _state(neighbour)
    where = ", ".join(map(str, addresses)) or "no address"
    if neighbour is None:
        nearest = min((each.reach for each in addresses), default=max(Reach))
        if uses and max(uses) >= nearest:
            return "not asked now: as many others are in use as are used at once"
        here = nearest is Reach.LOCAL
        return (
            f"not asked: {'nobody here looks for it' if here else 'it is on another machine'}"
        )
    if state == "evasive":
        return f"connected, and silent for {now - neighbour.pong_at:.0f} s"
    if state == "lost":
        return f"its connection broke {now - neighbour.since:.0f} s ago"
    if state == "gone":
        return f"nobody has answered for {now - neighbour.away_at:.0f} s at {where}"
    if state == "connecting":
        return f"no answer yet, after {now - neighbour.since:.1f} s, at {where}"
    return ""


def changes(before: list[Listing], after: list[Listing]) -> list[Change]:
    """Return what came, changed and went between two lists. Time that passed is no change."""
    old = {(row.process, row.label): row for row in before}
    new = {(row.process, row.label): row for row in after}
    found: list[Change] = [("removed", row) for key, row in old.items() if key not in new]
    for key, row in new.items():
        if key not in old:
            found.append(("added", row))
        elif _lasting(old[key]) != _lasting(row):
            found.append(("changed", row))
    return found


def _lasting(row: Listing) -> tuple[object, ...]:
    """Return the parts of a row that do not change by themselves."""
    return (row.name, row.role, row.address, row.state)
