"""What blocking and asyncio roles share: what a role is opened with, and what it shows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from zmqkit.core.effects import Core, Effect, Tell
from zmqkit.core.pace import Pace
from zmqkit.drivers.perform import Hooks, ReceiveAll
from zmqkit.model import Reach
from zmqkit.roles.scheme import Binding, Crossing, Dialling, Lookup, shown

Place = TypeVar("Place", Binding, Lookup, Crossing, Binding | Dialling)
Command = Callable[..., list[Effect]]


@dataclass(slots=True)
class Plan(Generic[Place]):
    """What a role is opened with."""

    # What messages call the role.
    title: str
    place: Place
    core: Core
    hooks: Hooks = field(default_factory=Hooks)
    # What the core tells peers of the role's place, if others can find the role.
    about: dict[str, object] = field(default_factory=dict)
    # Takes the news of the peers that the role looks for.
    hear: Command | None = None
    # Returns whether to read what has arrived before this news is heard.
    reads_first: Callable[[Tell], bool] = lambda tell: True
    # See Driver.
    receive_all: ReceiveAll | None = None
    # These two decide when what gathers leaves.
    pace: Pace = field(default_factory=Pace)
    holds: Callable[[float], bool] | None = None
    # Is called with the driver once the link is open.
    opened: Callable[[Any], object] | None = None
    # Somebody waits for answers.
    awake: bool = True
    # The node drives a blocking role at a `memory://` address, too, as what the role awaits
    # comes unasked.
    kept: bool = False

    def prepare(self, driver: object) -> None:
        """Tell the core of its place and the role of its driver, once the link is open."""
        self.about.update(self.place.about())
        if self.opened is not None:
            self.opened(driver)

    def appear(self, hear: Callable[[Tell], None]) -> None:
        """Announce the role, or have it look for others, or both."""
        self.place.appear(hear)

    def withdraw(self) -> None:
        """Stop announcing the role."""
        self.place.withdraw()


class Shown:
    """The name and the `repr` of a role."""

    _kind: ClassVar[str]
    _life: Any

    def __repr__(self) -> str:
        return shown(self._kind, self.name, "closed" if self._life.closed else "")

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        # To close takes the role's lock, which this very thread may hold, and time.
        life = getattr(self, "_life", None)  # there is none if an option was refused
        if life is not None and life.is_open:
            warn(f"{self!r} was not closed", ResourceWarning, source=self)

    @property
    def name(self) -> str:
        """The name that the role serves, publishes, calls or listens to; or a URL."""
        name: str = self._life.plan.place.name
        return name


class BoundShown(Shown):
    """The name, number and address of a role that others can find."""

    def __repr__(self) -> str:
        state = "closed" if self._life.closed else self.endpoint or "not started"
        return shown(self._kind, self.name, state)

    @property
    def incarnation(self) -> int:
        """The number that distinguishes this object from all others of its name."""
        incarnation: int = self._life.plan.place.incarnation
        return incarnation

    @property
    def reach(self) -> Reach:
        """How far others may be: on this machine only until an open role reaches further."""
        reach: Reach = self._life.plan.place.reach
        return reach

    @property
    def endpoint(self) -> str:
        """The endpoint at which other programs reach the role; empty before it is opened.

        If the role listens on all interfaces, this is the address that it advertises. Without
        `advertise`, it is the best address that this machine had when the role was opened.
        """
        endpoint: str = self._life.plan.place.endpoint
        return endpoint
