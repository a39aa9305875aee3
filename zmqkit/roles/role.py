"""What blocking and asyncio roles share: what a role is opened with, and what it shows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar, Generic, NoReturn, Protocol, TypeVar, runtime_checkable

from zmqkit.core.dispatch.window import IsGone
from zmqkit.core.effects import Core, Effect, Tell
from zmqkit.core.membership.observed import Observed
from zmqkit.core.pace import Pace
from zmqkit.drivers.perform import Hooks, ReceiveAll
from zmqkit.environment import read_log
from zmqkit.errors import UsageError
from zmqkit.model import PeerId, Reach
from zmqkit.roles.crossing import Crossing
from zmqkit.roles.logs import log_as_told
from zmqkit.roles.scheme import Binding, Dialling, Lookup, shown
from zmqkit.wire.statistics import Figures

Place = TypeVar("Place", Binding, Lookup, Crossing, Binding | Dialling)
Command = Callable[..., list[Effect]]
Look = Callable[[Callable[[], list[Figures]]], list[Figures] | None]
"""Asks a core a question from another thread; returns None if it cannot be asked now."""
Changed = Callable[[PeerId, bool, float], list[Effect]]
"""Takes news of a connection: whether it was made or broke, and when."""


@runtime_checkable
class Counted(Protocol):
    """A core that has statistics."""

    incarnation: int

    def statistics(self, now: float) -> list[Figures]:
        """Return a row of the role, and one of each part of it."""


@runtime_checkable
class Housed(Protocol):
    """A core that tells its peers which process it is in, or hears of theirs."""

    def at_home(self, process: int, is_gone: IsGone) -> None:
        """Learn the number of this process, and how to tell that another one is gone."""


class _Rows:
    """The rows of one role; where it cannot be asked now, those of the time before."""

    def __init__(self, figures: Callable[[float], list[Figures]], look: Look) -> None:
        self._figures = figures
        self._look = look
        self._last: list[Figures] = []

    def look(self, now: float) -> list[Figures]:
        """Return the rows, on the node's thread."""
        rows = self._look(lambda: self._figures(now))
        if rows is not None:
            self._last = rows
        return self._last


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
    # Takes the news of connections, where these are all that tells of peers.
    changed: Changed | None = None
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
    # Whether other machines may ask for the role's statistics, if they can reach it at all.
    statistics: bool = False
    # The node drives a blocking role at a `memory://` address, too, as what the role awaits
    # comes unasked.
    kept: bool = False
    # The level from which on zmqkit shows what it logs; empty if it does not.
    log: str = field(default="", init=False)
    _observed: Observed | None = None

    def __post_init__(self) -> None:
        if type(self.statistics) is not bool:
            raise UsageError(f"statistics is {self.statistics!r}; use True or False")
        self.log = read_log(os.environ)

    def prepare(self, driver: object) -> None:
        """Tell the core of its place and the role of its driver, once the link is open."""
        log_as_told(self.log)
        self.about.update(self.place.about())
        node = self.place.node
        if node is not None and isinstance(self.core, Housed):
            offers = node.core.offers
            self.core.at_home(node.process, lambda each: offers.is_gone(each, monotonic()))
        if self.opened is not None:
            self.opened(driver)

    def appear(self, hear: Callable[[Tell], None], look: Look) -> None:
        """Announce the role, or have it look for others, or both; have it observed.

        look: asks a question of the core, on the node's thread, without waiting.
        """
        node, core = self.place.node, self.core
        if node is not None and isinstance(core, Counted):
            rows = _Rows(core.statistics, look)
            reach = self.place.reach if self.statistics else Reach.LOCAL
            kind = self.title.partition(" ")[0]
            self._observed = Observed(
                kind, self.place.name, core.incarnation, reach, rows.look,
                tap=getattr(core, "tap", None), looked=getattr(core, "looked", None),
                has_parts=hasattr(core, "relays"),
            )  # fmt: skip
            node.observe(self._observed)
        self.place.appear(hear)

    def withdraw(self) -> None:
        """Stop announcing the role."""
        self.place.withdraw()

    def release(self) -> None:
        """Give up the place of the role, which is closed."""
        if self._observed is not None and self.place.node is not None:
            self.place.node.unobserve(self._observed)
        self._observed = None
        self.place.release()


class StaysHere:
    """Is of use in the process that made it alone, and says so to who pickles or copies it."""

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            f"{self!r} cannot be pickled or copied: it belongs to the process that made it; "
            "pass its name, and make a new one in the process that uses it"
        )


class Shown(StaysHere):
    """The name and the `repr` of a role."""

    _kind: ClassVar[str]
    _life: Any

    def __repr__(self) -> str:
        return shown(self._kind, self.name, "closed" if self._life.closed else "")

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        # To close takes the role's lock, which this very thread may hold, and time.
        life = getattr(self, "_life", None)  # there is none if an option was refused
        if life is not None and life.is_open:
            block = "async with" if hasattr(self, "__aenter__") else "with"
            remedy = f"use it in a block, `{block} …:`, or call its close()"
            warn(f"{self!r} was not closed; {remedy}", ResourceWarning, source=self)

    @property
    def name(self) -> str:
        """The name that the role serves, publishes, calls or listens to; or a URL."""
        name: str = self._life.plan.place.name
        return name


class BoundShown(Shown):
    """The name, number and address of a role that others can find."""

    def __repr__(self) -> str:
        via = self._life.plan.place.via
        place = f"via {via!r}" if via else self.endpoint
        state = "closed" if self._life.closed else place or "not started"
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

        It is empty, too, if the role is reached through brokers that are found by their name.

        If the role listens on all interfaces, this is the address that it advertises. Without
        `advertise`, it is the best address that this machine had when the role was opened.
        """
        endpoint: str = self._life.plan.place.endpoint
        return endpoint
