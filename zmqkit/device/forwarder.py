"""The forwarder as a process has it: the core, its link, and its life."""

from __future__ import annotations

from collections.abc import Sequence

from zmqkit.core.topics.forwarder import ForwarderCore
from zmqkit.device.place import place, upstream
from zmqkit.device.running import Passing
from zmqkit.forwarder_limits import ForwarderHistory, ForwarderLimits
from zmqkit.limits import CLOSE_S
from zmqkit.links.profile import Profile
from zmqkit.model import FORWARDER
from zmqkit.roles.crossing import Crossing
from zmqkit.roles.scheme import Lookup


class Seeking(Crossing):
    """The place of a forwarder that looks for the publishers of its name."""

    def about(self) -> dict[str, object]:
        """Return the fields of a WELCOME, with how far publishers are looked for."""
        return {**super().about(), "seeks": int(self.reach)}


class Forwarder(Passing):
    """Stands between the publishers and the subscribers of a name, which find it by themselves.

    name: what subscribers look up. bind: `tcp://host:port` instead of any free port. connect:
    URLs of publishers and forwarders, instead of the publishers of the name. insecure: serve
    and use other machines too, in plain text. advertise: the address that other machines are
    told, for containers. space: the space that it is in, in place of that of ZMQKIT_SPACE.
    statistics: tell other machines that reach it what it counts. history: how much it keeps of
    what passed, for subscribers that ask; None for nothing. Raises UsageError or ConfigError
    for a wrong value. Others find it once it is opened.
    """

    _kind = "zmqkit.device.Forwarder"

    def __init__(
        self,
        name: str,
        *,
        bind: str | None = None,
        connect: Sequence[str] = (),
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
        limits: ForwarderLimits | None = None,
        history: ForwarderHistory | None = None,
    ) -> None:
        profile = Profile.FORWARDER
        binding = place(
            FORWARDER, name, bind, advertise, insecure=insecure, space=space, profile=profile
        )
        lookups = [
            upstream("publisher", url, insecure=insecure, space=space, profile=Profile.TOPICS)
            for url in dict.fromkeys(connect)
        ]
        found = Lookup("publisher", name, insecure=insecure, space=space, profile=profile)
        crossing = Crossing(binding, *lookups) if lookups else Seeking(binding, found)
        core = self._core = ForwarderCore(
            name,
            binding.incarnation,
            limits or ForwarderLimits(),
            connect=[each.name for each in lookups],
            history=history,
        )
        self._pass_on(f"forwarder {name!r}", crossing, core, statistics=statistics)

    def stats(self) -> dict[str, object]:
        """Return counters of packets; received = handed_over + held + dropped.

        `in_flight` is the number of subscribers that it still holds something for.
        """
        core = self._core

        def look() -> dict[str, object]:
            return {**core.stats(), "in_flight": core.joined_count if core.held else 0}

        return self._life.look(look)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Pass on what has arrived, wait up to `timeout_s` until all is received, and close.

        Returns how many subscribers had not received all. A `run` in another thread returns.
        """
        core = self._core
        return self._finish(
            core, lambda: core.joined_count, lambda: core.joined_count, timeout_s
        )
