"""The router: it stands between the clients and the services of one name, or of several.

Each name has a relay, as a service of a broker has: a window in front and a dispatcher behind.
The difference is who stands behind it. A router looks for the services of its names, as a
client does, and takes those that dial it as well. It does not look for what routers pass on, so
no call goes round among routers. It tells of a name as long as somebody serves that, so a
client that finds the name may choose between routers, and between them and the services.

A router keeps nothing: a request that it has accepted is at a service, waits for one, or is
answered. Requests carry the ids that their clients gave them to the services, which so know a
request again that came through another router.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from zmqkit.core.effects import Effect, Note, Tell
from zmqkit.core.majordomo.figures import relay_rows
from zmqkit.core.majordomo.front import FrontCore
from zmqkit.core.majordomo.memory_back import MemoryBack
from zmqkit.core.majordomo.relay import Relay
from zmqkit.core.majordomo.relays import Relays
from zmqkit.core.majordomo.room import Room
from zmqkit.device_limits import RouterLimits
from zmqkit.model import ROUTED, Frames, PeerId
from zmqkit.wire.statistics import Figures

_DEFAULTS = RouterLimits()
NAMES_SHOWN_MAX = 10
"""How many names a service is told of that has none of them."""


class RouterCore:
    """Passes calls of its names on to the services that it finds, and the answers back."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        draw: Callable[[], int],
        names: Iterable[str],
        limits: RouterLimits = _DEFAULTS,
    ) -> None:
        """Begin without services. draw: returns a number that no other role has.

        name: of the device. names: those whose calls it passes on.
        """
        self.name = name
        self.incarnation = incarnation
        self.limits = limits
        self._room = Room(limits.requests_max, limits.requests_bytes_max)
        self.relays = Relays(
            incarnation,
            ROUTED,
            find=lambda asked: self.relays.by_name.get(asked),
            refuse=self._refusal,
            idle_s=limits.idle_s,
            closes_idle=False,
        )
        self.tap, self.at_home = self.relays.tap, self.relays.at_home
        self._closed = False
        for each in names:
            front = FrontCore(draw(), limits.front, self._room)
            back = MemoryBack(each, draw(), limits.back, front)
            self.relays.add(Relay(each, front, back, self._room, limits.services_max))

    # Commands

    @property
    def about(self) -> dict[str, object]:
        """What a WELCOME to those who ask for no name in particular says."""
        return self.relays.about

    @property
    def malformed(self) -> Counter[str]:
        """Why packets were not understood."""
        return self.relays.malformed

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news of a service; its key is that of a name, or ends with it."""
        relay = self.relays.by_name.get(tell.key.rpartition("/")[2])
        if relay is None or self._closed:
            return []
        return self.relays.touch(relay, relay.hear(tell, now))

    def leave(self, now: float) -> list[Effect]:
        """Accept no more requests; what no service has goes back to its clients."""
        return self.relays.leave(now)

    def close(self) -> list[Effect]:
        """Answer nobody any more, and close every connection."""
        self._closed = True
        return self.relays.close()

    @property
    def in_flight(self) -> int:
        """How many requests are not answered."""
        return self._room.count

    def stats(self) -> dict[str, object]:
        """Return the counters of all names together, and those of each name."""
        return {
            "in_flight": self._room.count,
            "held_bytes": self._room.bytes,
            "services": {relay.name: relay.stats() for relay in self.relays},
            "malformed": dict(self.malformed),
        }

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the device and one of each service; any thread may ask."""
        return relay_rows({"malformed": self.malformed}, self.relays, now)

    # What the driver asks for

    def receive(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Take one packet from a client or a service. Never raises for what it sent."""
        return [] if self._closed else self.relays.receive(peer, frames, now)

    def unsent(self, peer: PeerId, frames: Frames, now: float) -> list[Effect]:
        """Learn that a packet did not leave; what it said is said again."""
        return self.relays.unsent(peer, frames, now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due in any relay; tell no longer of names that nobody serves."""
        return self.relays.tick(now) + self.relays.close_idle(now)

    def flush(self, now: float) -> list[Effect]:
        """Send what this turn gathered, name by name."""
        effects: list[Effect] = []
        while self.relays.touched and not effects:
            effects = self.relays.flush(now)
        return effects

    def deadline(self) -> float:
        """Return when `tick` is due next."""
        return self.relays.deadline()

    def check(self) -> None:
        """Assert that relays are consistent, and that the room is what they hold."""
        assert self._room.count == sum(relay.in_flight for relay in self.relays)
        self.relays.check()

    def _refusal(self, name: str) -> tuple[Note, str]:
        """Return what is wrong with a service of this name that dialled, and what to do."""
        names = sorted(self.relays.by_name)
        fields = {"name": name, "router": self.name, "names": ", ".join(names)}
        more = (
            [f"and {len(names) - NAMES_SHOWN_MAX:,} more"]
            if len(names) > NAMES_SHOWN_MAX
            else []
        )
        passed = ", ".join([*map(repr, names[:NAMES_SHOWN_MAX]), *more])
        return Note("name-unrouted", fields), (
            f"router {self.name!r} passes on {passed}, and not {name!r}; add that to its "
            "backend.names, or take a name that it passes on"
        )
