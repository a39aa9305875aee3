"""The router as a process has it: the core, its link, and its life."""

from __future__ import annotations

from collections.abc import Iterable

from zmqkit.blocking.ending import Ending
from zmqkit.blocking.role import Life
from zmqkit.core.devices.router import RouterCore
from zmqkit.device.offering import Offering
from zmqkit.device.place import place
from zmqkit.device.running import Running
from zmqkit.device_limits import RouterLimits
from zmqkit.errors import ConfigError
from zmqkit.limits import CLOSE_S, LEAVE_S
from zmqkit.model import ROUTED, ROUTER, SERVER, check_name, parse_url
from zmqkit.roles.crossing import Crossing
from zmqkit.roles.role import Plan
from zmqkit.roles.scheme import Lookup, draw_incarnation


class Router(Running):
    """Stands between the clients and the services of its names.

    name: of the device, which services that dial it give as `via`. names: of the services whose
    calls it passes on; the name of the device alone if there are none. connect: where services
    are that discovery does not find, as `tcp://host:port/name`; the name may be left out if
    there is one. bind: `tcp://host:port` instead of any free port. insecure: serve other
    machines too, and use services there, in plain text. advertise: the address that other
    machines are told, for containers. space: the space that it is in, in place of that of
    ZMQKIT_SPACE. statistics: tell other machines that reach it what it counts. Raises
    UsageError or ConfigError for a wrong value. Clients find its names once somebody serves
    them.
    """

    _kind = "zmqkit.device.Router"

    def __init__(
        self,
        name: str,
        *,
        names: Iterable[str] = (),
        connect: Iterable[str] = (),
        bind: str | None = None,
        insecure: bool | None = None,
        space: str | None = None,
        statistics: bool = False,
        advertise: str | None = None,
        limits: RouterLimits | None = None,
    ) -> None:
        binding = place(ROUTER, name, bind, advertise, insecure=insecure, space=space)
        passed = passed_on(name, names)
        sought = [*passed, *(address_of(url, passed) for url in connect)]
        lookups = [Lookup(SERVER, each, insecure=insecure, space=space) for each in sought]
        crossing = Crossing(binding, *lookups)
        core = self._core = RouterCore(
            name, binding.incarnation, draw_incarnation, passed, limits or RouterLimits()
        )
        plan = Plan(
            f"router {name!r}",
            crossing,
            core,
            hear=core.hear,
            about=core.about,
            statistics=statistics,
        )
        plan.hooks.finished = list  # nothing runs here; but what came is passed on at once
        Offering(binding, ROUTED, advertise, core.malformed).belong_to(plan.hooks)
        self._life: Life[Crossing] = Life(plan)

    def stats(self) -> dict[str, object]:
        """Return the counters, of all names together and of each."""
        return self._life.look(self._core.stats)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Accept no more requests, wait up to `timeout_s` for those at services, and close.

        What no service has goes back to its clients, which use another router or the services.
        Returns how many requests were left. A `run` in another thread returns.
        """
        core, life = self._core, self._life
        self.stop()
        return life.close(
            timeout_s,
            Ending(
                lambda: core.in_flight,
                core.close,
                leave=core.leave,
                drain=lambda until: life.wait(lambda: not core.in_flight, until),
                linger_s=lambda left_s: LEAVE_S,
            ),
        )


def passed_on(name: str, names: Iterable[str]) -> list[str]:
    """Return the names whose calls a router passes on. Raises UsageError for a wrong one."""
    return list(dict.fromkeys(map(check_name, names))) or [name]


def address_of(url: str, names: list[str]) -> str:
    """Return where services of one of these names are, with the name. Raises ConfigError."""
    parsed = parse_url(url)
    if parsed.scheme != "tcp":
        raise ConfigError(f"{url!r}: services are elsewhere; use tcp://host:port/name")
    name = parsed.name or (names[0] if len(names) == 1 else "")
    if name not in names:
        passed = ", ".join(names)
        raise ConfigError(f"{url!r} has to end with a name that is passed on: {passed}")
    return url if parsed.name else f"{url.rstrip('/')}/{name}"
