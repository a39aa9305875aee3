"""Where the roles of a World are: a network, its clock, and a host for each role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Protocol

from zmqkit.core.effects import Core, Effect, News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.drivers.perform import Driver, Hooks, ReceiveAll
from zmqkit.errors import UsageError
from zmqkit.limits import GONE_S
from zmqkit.links.profile import Profile
from zmqkit.model import check_name
from zmqkit.simulation.driver import SimulatedDriver
from zmqkit.simulation.link import SimulatedLink
from zmqkit.simulation.network import Host
from zmqkit.simulation.timeline import Timeline
from zmqkit.testing.faults import Faults, FaultyNetwork

STEP_S = 0.01
"""How far the clock goes on between two looks at whether a wait is over."""
FOUND_S = 0.05
"""How long discovery takes to tell a role of another one."""
LOST_S = 0.005
"""How long it takes until the end of a killed process is known."""


class RoleCore(Core, Protocol):
    """A core of a role, with its counters."""

    def stats(self) -> Mapping[str, object]:
        """Return the counters."""


class SeekingCore(RoleCore, Protocol):
    """A core of a role that looks for others."""

    def hear(self, tell: Tell, now: float) -> list[Effect]:
        """Take the news of those that it looks for."""


class Stage:
    """A network and its clock, which only a wait moves on, and who is there."""

    def __init__(self, seed: int) -> None:
        self.timeline = Timeline(seed)
        self.network = FaultyNetwork(self.timeline)
        self._offering: list[Offering] = []
        self._seeking: list[Seeking] = []
        self._numbers = count(1)

    @property
    def now(self) -> float:
        """What the clock says, in seconds."""
        return self.timeline.now

    def run(self, duration_s: float) -> None:
        """Let everything happen that is due within so much virtual time."""
        self.timeline.run_until(self.now + duration_s)

    def run_until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until this holds; return false if it does not within `limit_s`."""
        end_at = self.now + limit_s
        while not holds():
            if self.now >= end_at:
                return False
            self.run(min(STEP_S, end_at - self.now))
        return True

    def draw(self) -> int:
        """Return a number for a role, which no other one has."""
        return self.timeline.random.getrandbits(62) + 1

    def host(self, name: str) -> Host:
        """Make a host that has no faults yet."""
        number = next(self._numbers)
        host = Host(f"{name}-{number}", f"10.0.{number // 250}.{number % 250 + 1}")
        self.network.faults[host.name] = Faults()
        return host

    def offer(self, role: Offering) -> None:
        """Have those that look for a role learn of it after a while."""
        self._offering.append(role)
        for each in self._seeking:
            each.hear(role, News.FOUND, FOUND_S)

    def seek(self, role: Seeking) -> None:
        """Have a role learn of those that it looks for after a while."""
        self._seeking.append(role)
        for each in self._offering:
            role.hear(each, News.FOUND, FOUND_S)

    def end(self, role: Offering) -> None:
        """Have those that look for a role learn that its process has died."""
        self._offering.remove(role)
        for each in self._seeking:
            each.hear(role, News.LOST, LOST_S)
            each.hear(role, News.GONE, GONE_S)


class Place:
    """A role on a host of its own, and the faults that befall it."""

    _core: RoleCore

    def __init__(
        self,
        stage: Stage,
        name: str,
        hooks: Hooks,
        *,
        profile: Profile = Profile.DATA,
        receive_all: ReceiveAll | None = None,
    ) -> None:
        """Have the core that is in `_core` driven. Raises UsageError for a wrong name."""
        self.name = check_name(name)
        self._stage = stage
        host = self._host = stage.host(name)
        self._link = SimulatedLink(
            stage.network, host, profile, lambda: self._driver.wake(), lambda text: None
        )
        driver = Driver(
            self._core, self._link, hooks, receive_all=receive_all, clock=lambda: stage.now
        )
        self._driver = SimulatedDriver(
            driver, stage.timeline, lambda: not host.alive, lambda now: None
        )

    def lose(self, count: int = 1, *, kind: str | None = None) -> None:
        """Lose the next so many packets to or from this one.

        kind: "request", "reply", "error", "publish" or another kind of docs/wire.md, section 4,
        in small letters; without it those of any kind are lost, pings among them. Raises
        UsageError for another word.
        """
        self._stage.network.faults[self._host.name].lose(count, kind)

    def delay(self, seconds: float) -> None:
        """Have each packet to or from this one take so much longer; 0 ends that."""
        self._stage.network.faults[self._host.name].delay_s = seconds

    def kill(self) -> None:
        """Kill its process: what it has is lost, and it says nothing more."""
        if self._host.alive:
            self._stage.network.kill(self._host)

    def stats(self) -> Mapping[str, object]:
        """Return the counters, as those of the role that it stands for."""
        return self._core.stats()

    def _command(self, command: Callable[[float], list[Effect]]) -> None:
        """Carry out a command of the core at once; what follows needs time.

        Raises what the command does, and UsageError once the process is dead.
        """
        self._check_alive()
        self._driver.perform(command(self._stage.now))
        self._driver.wake()

    def _check_alive(self) -> None:
        if not self._host.alive:
            raise UsageError(f"the process of {self.name!r} was killed; make another one")


class Offering(Place):
    """A role that others find."""

    def __init__(
        self,
        stage: Stage,
        kind: str,
        name: str,
        hooks: Hooks,
        *,
        incarnation: int,
        profile: Profile = Profile.DATA,
    ) -> None:
        super().__init__(stage, name, hooks, profile=profile)
        self.incarnation = incarnation
        self.key = key_of(kind, name)
        self.endpoint = self._link.bind(f"tcp://{self._host.address}:5555", (0, 0))
        stage.offer(self)

    def kill(self) -> None:
        """Kill its process: what it has is lost, and it says nothing more."""
        if self._host.alive:
            super().kill()
            self._stage.end(self)


class Seeking(Place):
    """A role that looks for others."""

    _core: SeekingCore

    def __init__(
        self,
        stage: Stage,
        kind: str,
        name: str,
        hooks: Hooks,
        *,
        profile: Profile = Profile.DATA,
        receive_all: ReceiveAll | None = None,
    ) -> None:
        super().__init__(stage, name, hooks, profile=profile, receive_all=receive_all)
        self._key = key_of(kind, name)
        stage.seek(self)

    def hear(self, role: Offering, news: News, delay_s: float) -> None:
        """Learn of a role after a while, as discovery and membership tell."""
        if role.key != self._key:
            return
        endpoint = role.endpoint if news is News.FOUND else ""
        tell = Tell(news, role.key, role.incarnation, endpoint)
        command = partial(self._core.hear, tell)
        self._stage.timeline.after(delay_s, lambda: self._driver.command(command))
