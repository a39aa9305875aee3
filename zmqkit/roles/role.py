"""What roles of both sides have in common: what they are opened with, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from zmqkit.core.effects import Core, Effect, Tell
from zmqkit.core.pace import Pace
from zmqkit.drivers.perform import Hooks, ReceiveAll
from zmqkit.roles.scheme import Binding, Lookup, shown

Place = TypeVar("Place", Binding, Lookup)
Command = Callable[..., list[Effect]]


@dataclass(slots=True)
class Plan(Generic[Place]):
    """What a role is opened with.

    title: what messages call it. about: what its core tells of its place, if others find it.
    hear: takes the news of those that it looks for. receive_all: see Driver. pace, holds: when
    what gathers leaves. opened: told of the driver. awake: somebody waits for answers. kept:
    the node drives a blocking one inside one process, too, as what it awaits comes unasked.
    """

    title: str
    place: Place
    core: Core
    hooks: Hooks = field(default_factory=Hooks)
    about: dict[str, object] = field(default_factory=dict)
    hear: Command | None = None
    receive_all: ReceiveAll | None = None
    pace: Pace = field(default_factory=Pace)
    holds: Callable[[float], bool] | None = None
    opened: Callable[[Any], object] | None = None
    awake: bool = True
    kept: bool = False

    def prepare(self, driver: object) -> None:
        """The link is open: have the core and the role know what they tell and ask."""
        if isinstance(self.place, Binding):
            self.about.update(self.place.about())
        if self.opened is not None:
            self.opened(driver)

    def appear(self, hear: Callable[[Tell], None]) -> None:
        """Be announced, or look for others."""
        if isinstance(self.place, Binding):
            self.place.announce()
        else:
            self.place.listen(hear)

    def withdraw(self) -> None:
        """Be announced no longer."""
        if isinstance(self.place, Binding):
            self.place.withdraw()


class Shown:
    """What a role tells of itself."""

    _kind: ClassVar[str]
    _life: Any

    def __repr__(self) -> str:
        return shown(self._kind, self.name, "closed" if self._life.closed else "")

    @property
    def name(self) -> str:
        """The name that it serves, publishes, calls or listens to; or a URL."""
        name: str = self._life.plan.place.name
        return name


class BoundShown(Shown):
    """What a role tells of itself that others find."""

    def __repr__(self) -> str:
        state = "closed" if self._life.closed else self.endpoint or "not started"
        return shown(self._kind, self.name, state)

    @property
    def incarnation(self) -> int:
        """The number that tells this object from all others of its name."""
        incarnation: int = self._life.plan.place.incarnation
        return incarnation

    @property
    def endpoint(self) -> str:
        """Where it listens, as another program reaches it; empty before it is opened.

        When it listens on all interfaces, it is the address that is advertised, or the best one
        that this machine had then.
        """
        endpoint: str = self._life.plan.place.endpoint
        return endpoint
