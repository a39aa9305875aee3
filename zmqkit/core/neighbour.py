"""Another process that roles here use, or this one: its control connection and its roles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from zmqkit.core.sighting import Place, Sightings
from zmqkit.model import LOOPBACK, PeerId, Record, bracketed
from zmqkit.options import EVASIVE_S, HELLO_S


class Life(Enum):
    """Where another process stands.

    CONNECTING: an address is being tried. ALIVE: it answers on its control connection. LOST:
    that connection broke a moment ago. GONE: it stayed away; tried again now and then.
    """

    CONNECTING = "connecting"
    ALIVE = "alive"
    LOST = "lost"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Neighbour:
    """One process: where it is, how it lives, and what was told of its roles.

    places: addresses to try, the next one first. told: for each incarnation and key that was
    announced as found, and not withdrawn since, the endpoint; empty to announce it once more.
    next_at: of a ping, a hello or the next try.
    """

    process: int
    peer: PeerId
    life: Life = Life.GONE
    places: list[Place] = field(default_factory=list)
    place: Place = (LOOPBACK, 0)
    silent: bool = False
    revision: int = -1
    token: int = 0
    tries: int = 0
    pong_at: float = 0.0
    next_at: float = 0.0
    give_up_at: float = math.inf
    back_off_s: float = HELLO_S
    told: dict[tuple[int, str], str] = field(default_factory=dict)

    def endpoint(self, port: int) -> str:
        """A port of the process at the address that answered."""
        return f"tcp://{bracketed(self.place[0])}:{port}"

    def next_place(self) -> str:
        """Turn to the next address; gives its endpoint."""
        self.place = self.places.pop(0)
        self.places.append(self.place)
        self.tries += 1
        return self.endpoint(self.place[1])

    def take_places(self, places: list[Place]) -> None:
        """Try these from now on, new ones first."""
        fresh = [place for place in places if place not in self.places]
        self.places = fresh + [place for place in self.places if place in places]

    def lists(self, record: Record, known: Sightings) -> bool:
        """Whether it answers, and has said itself what the record says: that is no news then.

        Else each of a thousand announced roles would have us look at all the thousand.
        """
        places = {(host, record.control_port) for host in record.addresses}
        return self.life is Life.ALIVE and known.is_listed(record) and places <= {*self.places}

    def tell_again(self, key: str = "") -> None:
        """Have each role announced once more, under one key or all."""
        for pair in self.told:
            if key in ("", pair[1]):
                self.told[pair] = ""

    def untell(self, key: str) -> None:
        """Nobody asks by this key any more."""
        self.told = {pair: at for pair, at in self.told.items() if pair[1] != key}

    def due_at(self) -> float:
        """When to look after it next; infinity when there is nothing to try."""
        if self.life is Life.GONE:
            return self.next_at if self.places else math.inf
        if self.life is not Life.ALIVE:
            return min(self.next_at, self.give_up_at)
        return self.next_at if self.silent else min(self.next_at, self.pong_at + EVASIVE_S)
