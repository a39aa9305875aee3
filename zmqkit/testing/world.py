"""Services and their callers in virtual time, with faults on request.

The cores are those of every program, and so are all decisions: what is sent again, what moves
to another instance, which error a call ends in. Only the network, the clock and discovery are
made up. Time stands still while nothing happens, so an hour takes milliseconds, and the same
seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from zmqkit.core.calls.call import CallOptions
from zmqkit.core.calls.client import ClientCore
from zmqkit.core.calls.outcome import Outcome
from zmqkit.core.calls.request import Request
from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.window import Answer
from zmqkit.core.effects import Core, News, Tell
from zmqkit.core.membership.interests import key_of
from zmqkit.drivers.perform import Driver, Hooks
from zmqkit.errors import CallTimeout, UsageError, ZmqkitError
from zmqkit.limits import GONE_S, TIMEOUT_S, WAIT_S
from zmqkit.links.profile import Profile
from zmqkit.model import check_name
from zmqkit.roles.handlers import Handlers, call_body, run_plain
from zmqkit.simulation.driver import SimulatedDriver
from zmqkit.simulation.link import SimulatedLink
from zmqkit.simulation.network import Host
from zmqkit.simulation.timeline import START_AT, Timeline
from zmqkit.testing.faults import Faults, FaultyNetwork

STEP_S = 0.01
"""How far the clock goes on between two looks at whether a wait is over."""
FOUND_S = 0.05
"""How long discovery takes to tell a client of an instance."""
LOST_S = 0.005
"""How long it takes until the end of a killed process is known."""


class World:
    """A network of services and callers, and its clock, which only a wait moves on."""

    def __init__(self, seed: int = 0) -> None:
        """seed: decides what chance decides, such as the order of things at one time."""
        self._timeline = Timeline(seed)
        self._network = FaultyNetwork(self._timeline)
        self._instances: list[Instance] = []
        self._callers: list[Caller] = []

    @property
    def elapsed_s(self) -> float:
        """How much virtual time has passed since the world was made."""
        return self._timeline.now - START_AT

    def service(
        self,
        name: str,
        *handlers: Callable[..., object],
        idempotent: bool = False,
        concurrency: int = 1,
        takes_s: float = 0.0,
    ) -> Instance:
        """Start one instance of a service; a name may have several.

        handlers: plain functions, each under its own name. idempotent: whether all of them may
        run twice. takes_s: how long each of them takes, in virtual time. Raises UsageError for
        a generator or `async def`.
        """
        methods = Handlers(plain=True)
        for each in handlers:
            methods.add(each, None, idempotent=idempotent, copy=True)
        if methods.streams:
            raise UsageError(
                f"{next(iter(methods.streams))!r} is a generator; a World has none"
            )
        instance = Instance(self, check_name(name), methods, concurrency, takes_s)
        self._instances.append(instance)
        for caller in self._callers:
            caller.hear(instance, News.FOUND, FOUND_S)
        return instance

    def client(
        self, name: str, *, timeout_s: float = TIMEOUT_S, wait_s: float = WAIT_S
    ) -> Caller:
        """Make a client of the services of a name, those that come later, too."""
        options = CallOptions(timeout_s=timeout_s, wait_s=wait_s)
        caller = Caller(self, check_name(name), options)
        self._callers.append(caller)
        for instance in self._instances:
            caller.hear(instance, News.FOUND, FOUND_S)
        return caller

    def run(self, duration_s: float) -> None:
        """Let everything happen that is due within so much virtual time."""
        self._timeline.run_until(self._timeline.now + duration_s)

    def run_until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until this holds; return false if it does not within `limit_s`."""
        end_at = self._timeline.now + limit_s
        while not holds():
            if self._timeline.now >= end_at:
                return False
            self.run(min(STEP_S, end_at - self._timeline.now))
        return True

    def draw(self) -> int:
        """Return a number for a role, which no other one has."""
        return self._timeline.random.getrandbits(62) + 1

    def join(self, kind: str, core: Core, hooks: Hooks) -> tuple[Host, SimulatedDriver]:
        """Give a role a host of its own, and a driver there."""
        number = len(self._instances) + len(self._callers) + 1
        host = Host(f"{kind}-{number}", f"10.0.{number // 250}.{number % 250 + 1}")
        self._network.faults[host.name] = Faults()
        link = SimulatedLink(
            self._network, host, Profile.DATA, lambda: driver.wake(), lambda text: None
        )
        timeline = self._timeline
        inner = Driver(core, link, hooks, clock=lambda: timeline.now)
        driver = SimulatedDriver(
            inner, timeline, lambda: host.stopped or not host.alive, lambda now: None
        )
        return host, driver

    def faults(self, host: Host) -> Faults:
        """Return the faults of a host, to be changed."""
        return self._network.faults[host.name]

    def end(self, instance: Instance) -> None:
        """Let the process of an instance die."""
        self._network.kill(instance.host)
        self._instances.remove(instance)
        for caller in self._callers:
            caller.hear(instance, News.LOST, LOST_S)
            caller.hear(instance, News.GONE, GONE_S)

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Call `action` after so much virtual time."""
        self._timeline.after(delay_s, action)


class Instance:
    """One instance of a service, on a host of its own, and the faults that befall it."""

    def __init__(
        self, world: World, name: str, handlers: Handlers, concurrency: int, takes_s: float
    ) -> None:
        self.name = name
        self.incarnation = world.draw()
        self._world = world
        self._handlers = handlers
        self._takes_s = takes_s
        self._core = ServiceCore(self.incarnation, handlers.idempotent, concurrency)
        self.host, self._driver = world.join(name, self._core, Hooks(handle=self._handle))
        self.endpoint = f"tcp://{self.host.address}:5555"
        self._driver.driver.link.bind(self.endpoint, (0, 0))

    def lose(self, count: int = 1) -> None:
        """Lose the next so many packets to or from this instance."""
        self._world.faults(self.host).lost += count

    def delay(self, seconds: float) -> None:
        """Have each packet to or from this instance take so much longer; 0 ends that."""
        self._world.faults(self.host).delay_s = seconds

    def kill(self) -> None:
        """Kill its process: what it has is lost, and it says nothing more."""
        if self.host.alive:
            self._world.end(self)

    def stats(self) -> Mapping[str, object]:
        """Return the counters, as those of a Service."""
        return self._core.stats()

    def _handle(self, requests: list[Request]) -> None:
        for request in requests:
            answer = run_plain(self._handlers.by_name[request.method], request)
            self._driver.later(self._takes_s, partial(self._answer, request, answer))

    def _answer(self, request: Request, answer: Answer, now: float) -> None:
        self._driver.perform(self._core.handled([(request, answer)], now))


class Caller:
    """A client in virtual time. Its waits move the clock of the world on."""

    def __init__(self, world: World, name: str, options: CallOptions) -> None:
        self.name = name
        self._world = world
        self._options = options
        self._core = ClientCore(name, world.draw())
        hooks = Hooks(settle=self._settled)
        _, self._driver = world.join(f"client-of-{name}", self._core, hooks)

    def start(self, method: str, /, *args: object, **kwargs: object) -> Call:
        """Begin a call and return it; no time passes. Raises UsageError for its arguments."""
        body, raw = call_body(method, args, kwargs, self._options)
        call = Call(self._world, method, self._options.timeout_s)
        submit = partial(self._core.submit, method, body, raw, self._options, call)
        self._driver.post(submit)
        return call

    def call(self, method: str, /, *args: object, **kwargs: object) -> Any:
        """Call a method and return its value, as `zmqkit.Client.call` does; time passes."""
        return self.start(method, *args, **kwargs).result()

    def stats(self) -> Mapping[str, object]:
        """Return the counters, as those of a Client."""
        return self._core.stats()

    def hear(self, instance: Instance, news: News, delay_s: float) -> None:
        """Learn of an instance of the name after a while, as discovery and membership tell."""
        if instance.name != self.name:
            return
        endpoint = instance.endpoint if news is News.FOUND else ""
        tell = Tell(news, key_of("service", self.name), instance.incarnation, endpoint)
        command = partial(self._core.hear, tell)
        self._world.after(delay_s, lambda: self._driver.command(command))

    def _settled(self, outcomes: Sequence[Outcome]) -> None:
        for waiter, value, error in outcomes:
            if isinstance(waiter, Call):
                waiter.settle(value, error)


class Call:
    """A call under way."""

    def __init__(self, world: World, method: str, timeout_s: float) -> None:
        self.is_over = False
        self._world = world
        self._method = method
        self._limit_s = timeout_s + 1.0
        self._value: object = None
        self._error: ZmqkitError | None = None

    def settle(self, value: object, error: ZmqkitError | None) -> None:
        """Take its end, which comes once."""
        assert not self.is_over
        self.is_over, self._value, self._error = True, value, error

    def result(self) -> Any:
        """Let time pass until the call is over; return its value or raise its error."""
        if not self._world.run_until(lambda: self.is_over, self._limit_s):
            raise CallTimeout(f"{self._method!r} did not end", may_have_run=True)
        if self._error is not None:
            raise self._error
        return self._value
