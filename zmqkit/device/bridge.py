"""One end of a bridge as a process has it: the core, its links, and its life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.topics.bridge import BridgeCore
from zmqkit.core.topics.span import AT_SPAN
from zmqkit.device.place import place
from zmqkit.device.running import Passing
from zmqkit.errors import ConfigError
from zmqkit.limits import CLOSE_S, PREFIXES_MAX
from zmqkit.links.profile import Profile
from zmqkit.roles.scheme import Lookup
from zmqkit.roles.spanning import LinkPlace, Spanning
from zmqkit.wire.publication import check_prefix

DIRECTIONS = ("out", "in", "both")


@dataclass(slots=True, frozen=True)
class Rule:
    """Which topics a bridge carries, and where to."""

    # Beginnings of topics; "" is that of all.
    topics: tuple[str, ...] = ("",)
    # `out` leaves the network of this end, `in` enters it.
    direction: str = "both"

    def __post_init__(self) -> None:
        """Raise ConfigError or UsageError for a direction or a topic that there is not."""
        if self.direction not in DIRECTIONS:
            raise ConfigError(
                f"direction is {self.direction!r}; use {', '.join(map(repr, DIRECTIONS))}"
            )
        if len(self.topics) > PREFIXES_MAX:
            raise ConfigError(f"a rule has {len(self.topics)} topics; {PREFIXES_MAX} at most")
        for topic in self.topics:
            check_prefix(topic)


def topics_of(rules: Sequence[Rule], direction: str) -> list[str]:
    """Return the beginnings of topics that go in a direction, each once.

    Raises ConfigError if there are too many.
    """
    matching = [rule for rule in rules if rule.direction in (direction, "both")]
    topics = list(dict.fromkeys(topic for rule in matching for topic in rule.topics))
    if len(topics) > PREFIXES_MAX:
        raise ConfigError(f"the rules have {len(topics)} topics; {PREFIXES_MAX} at most")
    return topics


class Bridge(Passing):
    """One end of a bridge, which carries the messages of a name between two networks.

    name: under which messages are published on this network. listen: `tcp://host:port` where
    the other end dials, instead of any free port. connect: where the other end listens; then
    this one dials. rules: what is carried; without any, all topics in both directions. bind:
    where subscribers connect, instead of any free port. insecure: serve and use other machines
    too, in plain text. advertise: the address that other machines are told, for containers.
    space: the space that it is in, in place of that of ZMQKIT_SPACE. statistics: tell other
    machines that reach it what it counts. Raises UsageError or ConfigError for a wrong value.
    """

    _kind = "zmqkit.device.Bridge"

    def __init__(
        self,
        name: str,
        *,
        listen: str | None = None,
        connect: str | None = None,
        rules: Sequence[Rule] = (),
        bind: str | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
        limits: BridgeLimits | None = None,
    ) -> None:
        profile = Profile.FORWARDER
        binding = place(
            "publisher", name, bind, advertise, insecure=insecure, space=space, profile=profile
        )
        publishers = Lookup("publisher", name, insecure=insecure, space=space, profile=profile)
        where = LinkPlace(listen, connect)
        spanning = Spanning(binding, publishers, where, AT_SPAN, insecure=insecure)
        rules = rules or (Rule(),)
        core = self._core = BridgeCore(
            name,
            binding.incarnation,
            limits or BridgeLimits(),
            leaves=topics_of(rules, "out"),
            enters=topics_of(rules, "in"),
            connect=connect,
        )
        self._pass_on(f"bridge {name!r}", spanning, core, statistics=statistics)

    def stats(self) -> dict[str, object]:
        """Return counters of packets, in both directions; see `BridgeCore.stats`."""
        core = self._core
        return self._life.look(lambda: {**core.stats(), "in_flight": core.span.count})

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Wait up to `timeout_s` until the other end has all that was heard, and close.

        If that is closed at the same time, nobody waits for what it does not take any more.

        Returns how many packets it lacks, and subscribers have not received all. A `run` in
        another thread returns.
        """
        core = self._core
        return self._finish(core, lambda: core.unfinished, lambda: core.awaited, timeout_s)
