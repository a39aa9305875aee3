"""Services and clients that live through what happens to their LAN, and what they saw of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.lan.network import Host, Lan, until

ACTOR = Path(__file__).with_name("actor.py")


@dataclass(slots=True, frozen=True)
class Call:
    """One call of a client: when it began and ended, whose answer it got, or which error."""

    began_at: float
    ended_at: float
    answer: str
    error: str


@dataclass(slots=True)
class Actor:
    """A role in a process of its own.

    label: its instance as others see it. calls, instances: a client's calls, and the state and
    address of each instance by label, with the time at which that was seen. oldest_at: when the
    oldest call that may still be under way began. messages: by publisher's tag, when each was
    published and when it was read.
    """

    tag: str
    process: subprocess.Popen[str]
    label: str = ""
    calls: list[Call] = field(default_factory=list)
    instances: list[tuple[float, dict[str, list[str]]]] = field(default_factory=list)
    oldest_at: float = 0.0
    messages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _text: bytes = b""

    def read(self) -> None:
        """Take what it printed since."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        os.set_blocking(descriptor, False)
        try:
            self._text += os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            self._take(*json.loads(line))

    def _take(self, event: str, at: float, *values: object) -> None:
        if event == "ready":
            self.label = str(values[0])
        elif event == "message":
            tag, published_at = values
            pair = (published_at, at)
            self.messages.setdefault(str(tag), []).append(pair)  # type: ignore[arg-type] # JSON
        elif event == "instances":
            rows: dict[str, list[str]] = values[0]  # type: ignore[assignment] # from JSON
            self.instances.append((at, rows))
        else:
            began_at, value, self.oldest_at = values  # type: ignore[assignment] # from JSON
            end = (value, "") if event == "answer" else ("", value)
            self.calls.append(Call(began_at, at, *end))

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def answered_by(self, tag: str, since: float) -> float | None:
        """When the first call that began since then was answered by an instance."""
        times = (c.ended_at for c in self.calls if c.answer == tag and c.began_at >= since)
        return next(times, None)

    def heard(self, tag: str, since: float) -> float | None:
        """When the first message was read that an instance had published since then."""
        times = (read_at for at, read_at in self.messages.get(tag, ()) if at >= since)
        return next(times, None)

    def left_at(self, label: str, since: float) -> float | None:
        """When an instance was no longer one to choose, the first time since then."""
        for at, rows in self.instances:
            if at >= since and rows.get(label, [""])[0] != "up":
                return at
        return None

    def addresses(self) -> dict[str, str]:
        """Where each instance is used now, by label."""
        return {label: row[1] for label, row in self.instances[-1][1].items()}


class Stage:
    """Starts roles of one name on the hosts of a LAN, and waits for what they tell.

    Waits are bounded and generous. How long things took is recorded and decides nothing.
    """

    def __init__(
        self, lan: Lan, name: str, record_property: Callable[[str, object], None]
    ) -> None:
        self.lan = lan
        self.name = name
        self._record = record_property
        self._actors: list[Actor] = []

    def service(self, host: Host, tag: str, **environment: str) -> Actor:
        """A service that answers with its tag; it serves when this returns."""
        return self._start(host, "service", tag, environment)

    def client(self, host: Host, **environment: str) -> Actor:
        """A client that calls in a loop."""
        return self._start(host, "client", "", environment)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until the condition holds; every actor's news are read meanwhile."""

        def read_and_look() -> object:
            for actor in self._actors:
                actor.read()
            return holds()

        until(read_and_look, what)

    def used(
        self, clients: list[Actor], services: list[Actor], since: float | None = None
    ) -> float:
        """Wait until a call of each client was answered by each service, and a message of each
        service's publisher read by each client; gives the time that both took.

        since: when they had to begin at the earliest, by default now.
        """
        since = time.monotonic() if since is None else since
        pairs = [(client, service.tag) for client in clients for service in services]
        wanted = f"every one of {[service.tag for service in services]}"
        self.until(lambda: all(c.answered_by(t, since) for c, t in pairs), f"{wanted} answers")
        self.until(lambda: all(c.heard(t, since) for c, t in pairs), f"{wanted} is heard")
        ends = [
            end or 0.0 for c, t in pairs for end in (c.answered_by(t, since), c.heard(t, since))
        ]
        return max(ends) - since

    def left(self, clients: list[Actor], services: list[Actor], since: float) -> float:
        """Wait until no client would choose any of these services; gives how long it took."""
        pairs = [(client, service) for client in clients for service in services]
        wanted = f"none of {[service.tag for service in services]} is chosen"
        self.until(lambda: all(c.left_at(s.label, since) for c, s in pairs), wanted)
        return max((c.left_at(s.label, since) or 0.0) - since for c, s in pairs)

    def longest(self, clients: list[Actor], since: float) -> float:
        """Wait until all calls of before have ended; gives how long the longest took since."""
        now = time.monotonic()
        self.until(lambda: all(c.oldest_at > now for c in clients), "calls end")
        calls = [call for c in clients for call in c.calls if call.ended_at >= since]
        return max(call.ended_at - max(since, call.began_at) for call in calls)

    def measured(self, what: str, seconds: float) -> None:
        """Keep a time for the report."""
        self._record(what, round(seconds, 2))
        print(f"measured: {what}: {seconds:.2f} s")

    def _start(self, host: Host, role: str, tag: str, environment: dict[str, str]) -> Actor:
        argv = [sys.executable, str(ACTOR), role, self.name, tag]
        actor = Actor(tag, host.start(*argv, **environment))
        self._actors.append(actor)
        self.until(lambda: actor.label, f"the {role} {tag} starts")
        return actor
