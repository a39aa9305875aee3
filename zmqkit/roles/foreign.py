"""Roles at somebody else's Majordomo broker: their places and their cores.

`protocol` says what the broker speaks. Without it, whoever is there speaks zmqkit's own. The
cores for such brokers are imported by those alone who need them, since that takes a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.effects import Effect, Tell
from zmqkit.errors import ConfigError
from zmqkit.links.profile import Profile
from zmqkit.model import PeerId
from zmqkit.roles.role import Changed, Command
from zmqkit.roles.scheme import Binding, Dialling, Lookup, draw_incarnation, serving_place

if TYPE_CHECKING:
    from zmqkit.roles.handlers import Handlers

PROTOCOLS = ("mdp1", "mdp2")
"""What brokers of another kind may speak: RFC 7 and RFC 18."""


@runtime_checkable
class _Hears(Protocol):
    """A core that takes the news of brokers and devices."""

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take the news of an instance, and decide what follows."""


@runtime_checkable
class _Watches(Protocol):
    """A core that takes the news of connections."""

    def changed(self, peer: PeerId, now: float, *, up: bool) -> list[Effect]:
        """Learn that a connection was made, or broke."""


@runtime_checkable
class _Checks(Protocol):
    """A core that will be asked for certain methods."""

    def check_handlers(self) -> None:
        """Raise ConfigError unless there is a handler for each of them."""


def client_parts(
    name: str, protocol: str | None, *, insecure: bool | None, space: str | None
) -> tuple[Lookup, ClientCore]:
    """Return the place and the core of a client: of a service of ours, or at such a broker."""
    if protocol is None:
        place = Lookup("service", name, insecure=insecure, space=space)
        return place, ClientCore(name, draw_incarnation())
    _check(protocol)
    place = Lookup("service", name, insecure=insecure, space=space, profile=Profile.FOREIGN)
    if place.url is None or place.url.scheme != "tcp" or not place.url.name:
        raise ConfigError(
            f"{name!r} with protocol={protocol!r}: such brokers announce nothing; use "
            "tcp://host:port/service"
        )
    from zmqkit.core.majordomo.mdp_client import MdpClientCore
    from zmqkit.wire.mdp import Version

    version = Version(1 + PROTOCOLS.index(protocol))
    return place, MdpClientCore(name, draw_incarnation(), place.url.name, version)


def service_place(
    name: str, bind: str | None, via: str | None, advertise: str | None, *,
    protocol: str | None, insecure: bool | None, space: str | None,
) -> Binding | Dialling:  # fmt: skip
    """Return the place of a service: see `serving_place`; or it dials such a broker."""
    if protocol is None:
        return serving_place(name, bind, via, advertise, insecure=insecure, space=space)
    _check(protocol)
    if via is None or "://" not in str(via):
        raise ConfigError(
            f"protocol={protocol!r} is that of a broker at a URL; add via='tcp://host:port'"
        )
    return serving_place(
        name, bind, via, advertise, insecure=insecure, space=space, profile=Profile.FOREIGN
    )


def worker_of(
    place: Binding | Dialling, handlers: Handlers, concurrency: int, protocol: str
) -> ServiceCore:
    """Return the core of a service that is a worker of such a broker."""
    from zmqkit.core.majordomo.mdp_service import MdpServiceCore
    from zmqkit.wire.mdp import Version

    return MdpServiceCore(
        place.incarnation, handlers.idempotent, concurrency, handlers.streams,
        name=place.name, version=Version(1 + PROTOCOLS.index(protocol)),
    )  # fmt: skip


def check_handlers(core: ServiceCore) -> None:
    """Raise ConfigError if such a broker would ask for what has no handler."""
    if isinstance(core, _Checks):
        core.check_handlers()


def hear_of(core: ServiceCore) -> Command | None:
    """Return what takes the news of brokers and devices, if the service dials them."""
    return core.hear if isinstance(core, _Hears) else None


def changed_of(core: ClientCore | ServiceCore) -> Changed | None:
    """Return what takes the news of connections, if the core has no other news of peers."""
    if not isinstance(core, _Watches):
        return None
    return lambda peer, up, now: core.changed(peer, now, up=up)


def _check(protocol: object) -> None:
    if type(protocol) is not str or protocol not in PROTOCOLS:
        raise ConfigError(
            f"protocol is {protocol!r}; use 'mdp1' for a broker that speaks RFC 7, 'mdp2' for "
            "one that speaks RFC 18, or None for services and brokers of zmqkit"
        )
