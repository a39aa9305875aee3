"""How a process that serves behaves towards those who run it: `run`, `serve` and `work`.

It says when it is ready and when it ends, finishes what it has for a while when it is told to
end, shows over HTTP whether it lives and what it counts, and exits with a code that says
whether another start may help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from math import inf
from types import TracebackType
from typing import ParamSpec, Self

import click

from zmqkit.cli.health import Answers, Health
from zmqkit.cli.main import CONFIG, FAILED, UNAVAILABLE, failed
from zmqkit.cli.metrics import Exposition
from zmqkit.cli.notify import Notifier
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, several, tell, tell_as_json
from zmqkit.cli.pulse import Pulse, Stats
from zmqkit.cli.stopping import stopping, told
from zmqkit.device.place import HealthPlace, health_place
from zmqkit.errors import AddressTaken, ConfigError
from zmqkit.limits import DRAIN_S, DRAIN_S_MAX
from zmqkit.node import node as nodes
from zmqkit.roles.stopping import END_S, Draining, Stops, end_with

LOOK_S = 1.0
"""How often to look whether the loop turns."""
STUCK_S = 5.0
"""After how long without a turn the process is said not to live."""

Given = ParamSpec("Given")


@dataclass(slots=True, frozen=True, kw_only=True)
class Manners:
    """What those who run a process want of it."""

    drain_s: float = DRAIN_S
    health: HealthPlace | None = None


def manners(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that such processes have; it gets `drain_s` and `health`.

    A configuration that is wrong ends it with the code of sysexits.h, EX_CONFIG, and an address
    that is taken with EX_UNAVAILABLE.
    """
    options = [
        click.option("--drain", "drain_s", type=Number(min=0, max=DRAIN_S_MAX),
                     metavar="SECONDS",
                     help=f"How long to finish what is under way; else {DRAIN_S:g}."),
        click.option("--health", metavar="URL", help="tcp://HOST:PORT at which to answer "
                     "/livez, /readyz and /metrics over HTTP."),
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text",
                     expose_value=False, callback=_log_format,
                     help="Standard error as lines of JSON."),
    ]  # fmt: skip
    command: Callable[..., int] = exits(function)
    for option in reversed(options):
        command = option(command)
    return command


def exits(function: Callable[Given, int]) -> Callable[Given, int]:
    """Have a command that finds its configuration wrong exit with the code for that."""

    @wraps(function)
    def run(*values: Given.args, **options: Given.kwargs) -> int:
        try:
            return function(*values, **options)
        except AddressTaken as error:
            return failed(error, UNAVAILABLE)
        except ConfigError as error:
            return failed(error, CONFIG)

    return run


def _log_format(ctx: click.Context, option: click.Parameter, value: str) -> str:
    if value == "json":
        tell_as_json()
    return value


def manners_of(drain_s: float | None, health: str | None, *, insecure: bool) -> Manners:
    """Return what the options say. Raises ConfigError."""
    place = None
    if health is not None:
        place = health_place(health, insecure=insecure or None)
    return Manners(drain_s=DRAIN_S if drain_s is None else drain_s, health=place)


class Attended:
    """While the context is entered, a process behaves as `manners` says.

    service: what to stop at a signal, or None if the caller does that itself. noun: what it has
    in flight, for lines that say how many. close: closes the service at once and returns how
    much is left; for one whose handlers run in the main thread, which does so only when they
    return.
    """

    def __init__(
        self, manners: Manners, role: str, name: str, *,
        service: Stops | None, noun: str = "request",
        close: Callable[[float], int] | None = None,
    ) -> None:  # fmt: skip
        self._manners = manners
        self.drain_s = manners.drain_s
        self._draining = Draining(manners.drain_s, told(noun), close)
        self._noun = noun
        self._notifier = Notifier()
        self._exposition: Exposition | None = None
        self._pulse: Pulse | None = None
        self._turned_at = inf
        self._over = threading.Event()
        self._line = self._status = ""
        self._ends = ExitStack()
        self._service = service
        self._role, self._name = role, name

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._enter(ends)
            self._ends = ends.pop_all()
        return self

    def _enter(self, ends: ExitStack) -> None:
        ends.callback(self._notifier.close)
        place = self._manners.health
        if place is not None:
            health = Health(place, Answers(self.livez, self.readyz, self.metrics))
            ends.callback(health.close)
            tell(f"health of {self._name!r} at {health.url}")
        if self._service is not None:
            ends.enter_context(stopping(self._service, self._noun, self._begin_to_end))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._ends.close()
        self._draining.over()

    def ready(self, line: str, pulse: Pulse) -> None:
        """Say that the process is ready, and from now on that it lives as long as it does."""
        self._pulse = pulse
        self._line = line
        self._turned_at = time.monotonic()
        say(line)
        self._notifier.tell("READY=1", status=line)
        if self._notifier.is_heard or self._manners.health is not None:
            thread = threading.Thread(target=self._watch, name="zmqkit-manners", daemon=True)
            thread.start()
            self._ends.callback(thread.join, LOOK_S)

    def stop(self) -> None:
        """End the service as the first signal does; any thread may call this."""
        assert self._service is not None
        self._service.stop()
        self._begin_to_end()

    def end(self) -> None:
        """Say that the process is about to end, once."""
        if self._draining.begin():
            # The manager would kill it after a time of its own otherwise.
            extend_us = int((self.drain_s + END_S) * 1e6)
            self._notifier.tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={extend_us}")

    def closing(self) -> float:
        """Return how long the main thread may take to close the role, which it begins now."""
        self.end()
        return self._draining.closing()

    def ended(self, left: int, says: Callable[[str], str]) -> int:
        """Return the exit code of a role that is closed, and left so much undone.

        If it left anything the process ends here: Python would wait for handlers that go on.
        says: takes how much that is, and returns the line about it.
        """
        if left:
            tell(says(several(left, self._noun)))
            end_with(FAILED)
        return 0

    def _begin_to_end(self) -> None:
        self.end()
        self._draining.watch()

    # What it says of itself

    def livez(self) -> str:
        """Return what is wrong with the life of the process, or an empty text."""
        since_s = time.monotonic() - self._turned_at
        return f"its loop has not turned for {since_s:.0f} s" if since_s > STUCK_S else ""

    def readyz(self) -> str:
        """Return why nobody should send it anything, or an empty text."""
        if self._draining.ends_at < inf:
            return "it is about to end"
        return "it is about to start" if self._pulse is None else self.livez()

    def stats(self) -> Stats:
        """Return the counters of the role. Raises TimeoutError if there are none now."""
        if self._pulse is None:
            raise TimeoutError("it is about to start")
        return self._pulse.stats()

    def metrics(self) -> tuple[str, bytes]:
        """Return the content type and the text of /metrics; raises what `Answers` says."""
        if self._exposition is None:
            self._exposition = Exposition(self._role, self._name)
        text = self._exposition.text(self.stats(), nodes.figures())
        return self._exposition.content_type, text

    def _watch(self) -> None:
        pulse, notifier = self._pulse, self._notifier
        assert pulse is not None
        look_s = min(LOOK_S, notifier.watchdog_s / 4)
        while not self._over.wait(look_s):
            if not pulse.beat():
                continue
            self._turned_at = time.monotonic()
            notifier.tell("WATCHDOG=1", status=self._news() if notifier.is_heard else None)

    def _news(self) -> str | None:
        """Return a line that says how much is under way, if there is another one."""
        try:
            count = self.stats()["in_flight"]
        except TimeoutError:
            return None
        held = several(count, self._noun)
        is_ending = self._draining.ends_at < inf
        status, self._status = (
            self._status,
            (f"finishing {held}" if is_ending else f"{self._line}; {held} in flight"),
        )
        return self._status if self._status != status else None
