"""A relay's side towards the clients of a service: accepts requests and answers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf

from zmqkit.core.calls.admission import Methods
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Effect
from zmqkit.core.majordomo.room import Room
from zmqkit.limits import ServiceLimits
from zmqkit.wire.passing import unread_arguments, whole_requests

_LOOK_S = 0.5


class _Everything(Mapping[str, bool]):
    """Has every method; only the idempotent ones are known by name."""

    def __init__(self) -> None:
        self.idempotent: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> bool:
        return name in self.idempotent

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.idempotent))

    def __len__(self) -> int:
        return len(self.idempotent)


class _Anything(Methods):
    """What a broker offers: it learns from its workers alone which methods there are."""

    def __init__(self, *, streams: bool) -> None:
        self.everything = _Everything()
        self._streams = streams
        super().__init__(self.everything, {})

    def has_one_value(self, name: str) -> bool:
        """Return whether all have; else the worker knows, and may be asked for a stream."""
        return not self._streams

    def refusal(self, name: str, *, streams: bool) -> Answer | None:
        """Return None: a worker that lacks the method says so."""
        return None


class FrontCore(ServiceCore):
    """Accepts requests to one service. How many run depends on who takes them behind it."""

    def __init__(
        self, incarnation: int, limits: ServiceLimits, room: Room, *, streams: bool = True
    ) -> None:
        """room: of the broker. streams: whether workers may be asked for streams.

        Else a request for a stream is one for a value, and its headers are read.
        """
        self._any = _Anything(streams=streams)
        share = self._places = _Share(room, limits.credit)
        super().__init__(
            incarnation,
            self._any,
            0,
            limits=limits,
            shares=lambda places, windows: share,
            read=whole_requests if streams else unread_arguments,
        )
        # A stream that has begun runs at its worker, and takes no further place to go on.
        self._work.placeless = {}
        self.about["served"] = False
        # When to look next for requests whose time is over in line.
        self._look_at = inf

    def tick(self, now: float) -> list[Effect]:
        """Do what is due; refuse what waited in line for too long, at most 0.5 s late."""
        effects = super().tick(now)
        if now >= self._look_at:
            self._look_at = inf
            effects += self._work.expire(now)
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return min(super().deadline(), self._look_at)

    def has_places(self, places: int) -> None:
        """Have so many more requests leave the line as soon as they come."""
        self.concurrency = self._work.places_taken + places

    def offer(self, places: int, now: float) -> list[Effect]:
        """Have streams that have begun go on, and so many more requests leave the line now."""
        work = self._work
        effects = work.take_up(now) if work.placeless else []
        self.has_places(places)
        if places:
            effects += work.dispatch(now, self.concurrency)
        if work.queue.count and self._look_at == inf:
            self._look_at = now + _LOOK_S
        return effects

    @property
    def has_line(self) -> bool:
        """Whether requests wait in line, or streams that have begun are to go on."""
        return self._work.queue.count > 0 or bool(self._work.placeless)

    def declare(self, idempotent: frozenset[str], *, is_served: bool) -> list[Effect]:
        """Tell all clients which methods may run twice, and whether there is a worker.

        Nothing is told unless one of the two has changed.
        """
        everything = self._any.everything
        if idempotent == everything.idempotent and is_served is self.about["served"]:
            return []
        self.about["served"] = is_served
        self._any.everything.idempotent = idempotent
        return [self._notices.welcome(window.client, window.peer) for window in self._windows]

    def settled_below(self, client: int) -> int:
        """Return below which number all that a client asks for is settled."""
        window = self._windows.by_client.get(client) or self._origins.clients.by_client.get(
            client
        )
        return 0 if window is None else window.below

    def counted(self, count: int) -> None:
        """Note that the broker's room counts so many of the requests here."""
        self._places.counted = count

    @property
    def waiting(self) -> int:
        """How many requests wait in line."""
        return self._work.waiting_count

    @property
    def held_bytes(self) -> int:
        """How many bytes of requests are not answered."""
        return self._work.held_bytes


class _Share:
    """The room of a broker, as one of its fronts sees it."""

    def __init__(self, room: Room, credit: int) -> None:
        # How many of the requests here the room counts; those of the packet at hand come later.
        self.counted = 0
        self.news: dict[int, None] = {}
        self._room = room
        self._credit = credit

    @property
    def places(self) -> int:
        """How many requests there may be at this service."""
        return self.counted + self._room.free

    def of(self, client: int) -> int:
        """Return how many requests a client may have here."""
        return self._credit

    def refused(self, client: int) -> None:
        """Change nothing; a client that was refused asks again by itself."""

    def handled(self, requests: Iterable[Request], held_count: int, now: float) -> None:
        """Change nothing; the relay tells the broker's room what is held."""

    def hand_back_at(self, begun_at: float, running: int, *, waits: bool) -> float:
        """Return inf: a request waits here until its time is over."""
        return inf

    def handed_back(self) -> None:
        """Change nothing; nothing is given back here."""

    def told(self) -> list[tuple[int, int]]:
        """Return nobody: credit stays as it is."""
        return []
