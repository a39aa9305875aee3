"""Who is there, for people: what membership knows, one row for each role."""

from __future__ import annotations

from dataclasses import dataclass

from zmqkit.core.membership import MembershipCore
from zmqkit.core.neighbour import Life, Neighbour
from zmqkit.core.sighting import Sighting
from zmqkit.model import bracketed

_STATES = {
    Life.CONNECTING: "connecting",
    Life.ALIVE: "up",
    Life.LOST: "lost",
    Life.GONE: "gone",
}


@dataclass(slots=True, frozen=True)
class Listing:
    """One role as it is seen from here.

    label: `NAME-8hex`, as on the network. age_s: since when it is known. state: `up` when its
    process answers, `evasive` when that is connected and silent, `connecting`, `lost`, `gone`,
    or `heard` when nobody asked it.
    """

    name: str
    role: str
    label: str
    address: str
    age_s: float
    state: str


def listings(core: MembershipCore, now: float) -> list[Listing]:
    """A row for each role that is known, by name and label."""
    rows = [
        _listing(sighting, core.neighbours.get(sighting.record.process), now)
        for sighting in core.sightings.values()
    ]
    return sorted(rows, key=lambda row: (row.name, row.role, row.label))


def _listing(sighting: Sighting, neighbour: Neighbour | None, now: float) -> Listing:
    record = sighting.record
    return Listing(
        record.name,
        record.role,
        record.label,
        _address(sighting, neighbour),
        max(0.0, now - sighting.since),
        _state(neighbour),
    )


def _address(sighting: Sighting, neighbour: Neighbour | None) -> str:
    """Where the role listens, at the host that answered, or the first that is announced."""
    port = sighting.record.port
    if neighbour is not None:
        return neighbour.endpoint(port)
    places = sighting.places()
    return f"tcp://{bracketed(places[0][0])}:{port}" if places else ""


def _state(neighbour: Neighbour | None) -> str:
    if neighbour is None:
        return "heard"
    if neighbour.life is Life.ALIVE and neighbour.silent:
        return "evasive"
    return _STATES[neighbour.life]
