"""One process of a world: membership and roles. Each has a link and a driver of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Protocol, TypeVar

from zmqkit.core.effects import Core, Effect, Note, Offer, Retract, Tell
from zmqkit.core.membership.interests import key_of, url_key
from zmqkit.core.membership.membership import MembershipCore
from zmqkit.drivers.perform import Driver, Hooks, ReceiveAll
from zmqkit.links.profile import Profile
from zmqkit.model import Frames, PeerId, Reach, Record, parse_url
from zmqkit.simulation.driver import SimulatedDriver
from zmqkit.simulation.link import SimulatedLink
from zmqkit.simulation.network import Host, Network

R = TypeVar("R", bound="Role")


class RoleCore(Core, Protocol):
    """What the cores of roles offer in addition."""

    def close(self) -> list[Effect]:
        """Say goodbye, and end all waits."""


class OfferingCore(RoleCore, Protocol):
    """What the cores of devices that have services offer in addition."""

    @property
    def in_flight(self) -> int:
        """How many requests are not answered."""

    def leave(self, now: float) -> list[Effect]:
        """Accept nothing more."""


class SeekingCore(RoleCore, Protocol):
    """What the cores of roles that look for others offer in addition."""

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take membership's news."""


class Part:
    """A core with a link of its own and a driver that drives it.

    To simulate another kind of role, make its core, a part for it, and a user that commands it.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        core: Core,
        profile: Profile,
        hooks: Hooks,
        *,
        changed: Callable[[PeerId, bool, float], list[Effect]] | None = None,
        receive_all: ReceiveAll | None = None,
    ) -> None:
        self.process = process
        self.name = name
        network = process.network
        hooks.note = self._note
        self.link = SimulatedLink(network, process.host, profile, self._wake, self.trace)
        driver = Driver(
            core,
            self.link,
            hooks,
            changed=changed,
            receive_all=receive_all,
            clock=lambda: network.timeline.now,
        )
        self.driver = SimulatedDriver(
            driver, network.timeline, lambda: process.paused, self.rested
        )
        process.drivers.append(self.driver)

    def trace(self, text: str) -> None:
        """Write into the diary of the world."""
        self.process.trace(f"{self.name} {text}")

    def rested(self, now: float) -> None:
        """Do what is to be done after a turn. Subclasses override it."""

    def _wake(self) -> None:
        self.driver.wake()

    def _note(self, note: Note) -> None:
        self.trace(f"notes {note.event}")


class Control(Part):
    """Membership and its control connections."""

    def __init__(self, process: Process, number: int) -> None:
        self.core = MembershipCore(number)
        # Asks discovery who is there, from a port of its own.
        self.ask: Callable[[], None] = lambda: None
        hooks = Hooks(tell=self._tell, ask=lambda effect: self.ask())
        super().__init__(
            process,
            "control",
            self.core,
            Profile.CONTROL,
            hooks,
            changed=self._changed,
            receive_all=self._receive_all,
        )

    @property
    def endpoint(self) -> str:
        """The address where it listens."""
        return self.link.listeners[0].endpoint

    def _receive_all(
        self, messages: Sequence[tuple[PeerId, Frames]], now: float
    ) -> list[Effect]:
        effects: list[Effect] = []
        for peer, frames in messages:
            effects += self.core.receive(peer, frames, now, self.link.reach(peer))
        return effects

    def _changed(self, peer: PeerId, up: bool, now: float) -> list[Effect]:
        return self.core.connected(peer, now) if up else self.core.disconnected(peer, now)

    def _tell(self, tell: Tell) -> None:
        self.trace(f"tells {tell.news.value} {tell.incarnation:x} {tell.text}")
        for role in list(self.process.roles):
            if tell.key in role.keys:
                role.hear(tell)


class Role(Part):
    """A part that a user makes. Its process lists it until it is closed."""

    core: RoleCore
    # What it has membership look for.
    keys: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether the role is closed."""
        return self.driver.closed

    def start(self) -> None:
        """Add the role to the roles of its process; have membership look for others."""
        self.process.roles.append(self)
        for key in self.keys:
            self.process.control.driver.command(partial(self._want, key))

    def hear(self, tell: Tell) -> None:
        """Take membership's news of those it looks for."""
        raise AssertionError(f"{self.name} looks for nobody")

    def close(self) -> None:
        """Close the core and the link, within a turn. A second call does nothing."""
        if not self.closed:
            self.driver.perform(self.core.close())
            self.core.check()
            self.driver.close()
            self.process.roles.remove(self)
            for key in self.keys:
                self.process.control.driver.command(partial(self._unwant, key))

    def close_soon(self) -> None:
        """Close the role in a turn of its own."""
        self.driver.post(lambda now: self.close())

    def _want(self, key: str, now: float) -> list[Effect]:
        return self.process.control.core.want(key, now, self.process.reach)

    def _unwant(self, key: str, now: float) -> list[Effect]:
        return self.process.control.core.unwant(key, self.process.reach)


class BoundRole(Role):
    """A role that others find. It listens at the address in its record."""

    def __init__(
        self, process: Process, record: Record, core: RoleCore, profile: Profile, hooks: Hooks
    ) -> None:
        super().__init__(process, f"{record.role}-{record.incarnation:x}", core, profile, hooks)
        self.record = record
        self.leaving = False

    def start(self) -> None:
        """Listen, and have membership offer the role."""
        super().start()
        self.link.bind(f"tcp://{self.record.addresses[0]}:{self.record.port}", (0, 0))
        control = self.process.control
        control.driver.command(
            lambda now: control.core.offer(self.record, now, self.process.reach)
        )

    def close(self) -> None:
        """Close the role, and have membership offer it no longer."""
        if not self.closed:
            super().close()
            control, incarnation = self.process.control, self.record.incarnation
            control.driver.command(lambda now: control.core.retract(incarnation, now))


class OfferingRole(BoundRole):
    """A device. Its process tells others of the services that the device has."""

    core: OfferingCore
    # The role of each of them.
    offers: str

    def leave(self, now: float) -> list[Effect]:
        """Accept nothing more."""
        return self.core.leave(now)

    def offering(self, hooks: Hooks) -> Hooks:
        """Have the process tell of what the core offers; return the hooks."""
        hooks.offer, hooks.retract = self._offer, self._retract
        return hooks

    def _offer(self, effect: Offer) -> None:
        control, mine = self.process.control, self.record
        record = Record(
            effect.name, self.offers, effect.incarnation, mine.process, mine.addresses,
            mine.control_port, mine.port,
        )  # fmt: skip
        control.driver.command(lambda now: control.core.offer(record, now, self.process.reach))

    def _retract(self, effect: Retract) -> None:
        control = self.process.control
        control.driver.command(lambda now: control.core.retract(effect.incarnation, now))


class SeekingRole(Role):
    """A role that looks for the roles of a name, or for the role behind a URL."""

    core: SeekingCore

    def __init__(
        self,
        process: Process,
        name: str,
        core: SeekingCore,
        sought: tuple[str, str],
        profile: Profile,
        hooks: Hooks,
        receive_all: ReceiveAll | None = None,
        *,
        also: str = "",
    ) -> None:
        """Make a role that is not started yet.

        sought: the kind of role that it looks for, and their name or URL. also: another kind
        of role of that name, whose news come as well.
        """
        super().__init__(process, name, core, profile, hooks, receive_all=receive_all)
        self.role, self.target = sought
        self.is_at_url = "://" in self.target
        self.key = url_key(*sought) if self.is_at_url else key_of(*sought)
        self.keys = (self.key,)
        if also and not self.is_at_url:
            self.keys = (self.key, key_of(also, self.target))

    def start(self) -> None:
        """Have membership look for the roles."""
        super().start()
        control = self.process.control
        if self.is_at_url:
            url = parse_url(self.target)
            control.driver.command(lambda now: control.core.seed(url, self.key, self.role, now))

    def hear(self, tell: Tell) -> None:
        """Have the core take membership's news."""
        self.driver.command(partial(self.core.hear, tell))


class Process:
    """One operating-system process.

    reach: how far the process looks for others and is found by them.
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        number: int,
        trace: Callable[[str], None],
        reach: Reach,
    ) -> None:
        self.network = network
        self.host = host
        self.reach = reach
        self.silent = False
        self.resumed_at = -inf
        self.roles: list[Role] = []
        # The drivers of closed roles stay in the list, since their users go on.
        self.drivers: list[SimulatedDriver] = []
        self._trace = trace
        self.control = Control(self, number)

    @property
    def paused(self) -> bool:
        """Whether nothing in the process takes turns now."""
        return self.silent or self.host.stopped or not self.host.alive

    def of(self, kind: type[R]) -> list[R]:
        """Return the process's roles of one kind, oldest first."""
        return [role for role in self.roles if isinstance(role, kind)]

    def trace(self, text: str) -> None:
        """Write into the diary of the world."""
        self._trace(f"{self.host.name} {text}")

    def run_on(self) -> None:
        """Take turns again after a pause."""
        self.resumed_at = self.network.timeline.now
        for driver in self.drivers:
            driver.run_on()
