"""The kinds of devices: what a file may say of each, and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

from zmqkit.bridge_limits import BridgeLimits
from zmqkit.core.tasks.lease import STREAMER
from zmqkit.device.bridge import Bridge, Rule
from zmqkit.device.forwarder import Forwarder
from zmqkit.device.majordomo import Majordomo
from zmqkit.device.options import (
    BACKEND,
    COMMON,
    HEALTH,
    JOURNAL,
    LEASES,
    LINK,
    STREAM_ON,
    UPSTREAM,
    Tables,
    limits_table,
)
from zmqkit.device.place import HealthPlace, place, upstream
from zmqkit.device.router import Router
from zmqkit.device.streamer import Streamer
from zmqkit.device_limits import RouterLimits
from zmqkit.forwarder_limits import ForwarderHistory, ForwarderLimits
from zmqkit.limits import DRAIN_S, PusherLimits
from zmqkit.majordomo_limits import BrokerLimits
from zmqkit.model import FORWARDER, MAJORDOMO, ROUTER, Reach
from zmqkit.roles.spanning import LinkPlace


class Device(Protocol):
    """What every device offers to the process that has it."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""

    @property
    def reach(self) -> Reach:
        """How far others may be that use it."""

    def start(self) -> None:
        """Listen and announce the device."""

    def run(self) -> None:
        """Work until `stop`. Raises JournalError if the disk fails for good."""

    def stop(self) -> None:
        """Have `run` return; any thread may call this."""

    def stats(self) -> dict[str, object]:
        """Return the counters, `in_flight` among them."""

    def close(self, timeout_s: float) -> int:
        """Finish what is under way, and close; return how much was left."""


Limits = PusherLimits | BrokerLimits | RouterLimits | ForwarderLimits | BridgeLimits

BRIDGE = "bridge"


@dataclass(slots=True, frozen=True)
class Spec:
    """What a device is to be."""

    kind: str
    name: str
    limits: Limits
    insecure: bool | None = None
    bind: str | None = None
    advertise: str | None = None
    # A path; one from a file is relative to the folder in which the device is run.
    journal: str | None = None
    # By service, how many seconds a worker of an RFC may have a request.
    leases: Mapping[str, float] = field(default_factory=dict)
    # How long it may finish what is under way at its end.
    drain_s: float = DRAIN_S
    # Where its process answers about its health.
    health: HealthPlace | None = None
    # The names of the services behind it, and where some are that discovery does not find.
    names: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    # Of a bridge: where it meets its other end, and what it carries.
    link: LinkPlace = field(default_factory=lambda: LinkPlace(None, None))
    rules: tuple[Rule, ...] = ()
    # Whether it tells other machines that reach it what it counts.
    statistics: bool = False
    # Of a forwarder: how much of what passed it keeps.
    history: ForwarderHistory | None = None
    # Whom it sees, and who sees it; None for the space of the environment.
    space: str | None = None


@dataclass(slots=True, frozen=True)
class Kind:
    """A kind of device."""

    limits: type[Limits]
    # What it says of itself, before its name; and what others do under that name.
    title: str
    named_for: str
    # What it is left with when it does not finish; `still` says so.
    left: str
    make: Callable[[Spec], Device]
    still: str = "workers still had {}"
    # The tables that a file of it may have, beside those of every device and its limits.
    more: Tables = field(default_factory=dict)
    # The path of its journal is that of a folder, with a file for each service.
    journal_is_folder: bool = False
    # What it may keep of what passed, which makes a table of its own.
    history: type[ForwarderHistory] | None = None

    @property
    def tables(self) -> Tables:
        """All tables that a file of this kind may have; its limits have no sentences."""
        return self._tables(described=False)

    @property
    def described(self) -> Tables:
        """The same with a sentence on each limit, which takes longer."""
        return self._tables(described=True)

    def _tables(self, *, described: bool) -> Tables:
        tables = {**COMMON, **self.more}
        if self.history is not None:
            tables["history"] = limits_table(self.history, described=described)
        limits = limits_table(self.limits, described=described)
        return {**tables, "limits": limits, **HEALTH}


class _Shared(TypedDict):
    """What every device is given."""

    bind: str | None
    insecure: bool | None
    space: str | None
    statistics: bool
    advertise: str | None


def _shared(spec: Spec) -> _Shared:
    return {
        "bind": spec.bind, "insecure": spec.insecure, "space": spec.space,
        "statistics": spec.statistics, "advertise": spec.advertise,
    }  # fmt: skip


def _streamer(spec: Spec) -> Streamer:
    assert isinstance(spec.limits, PusherLimits)
    return Streamer(
        spec.name,
        connect=spec.connect[0] if spec.connect else None,
        journal=spec.journal,
        limits=spec.limits,
        **_shared(spec),
    )


def _majordomo(spec: Spec) -> Majordomo:
    assert isinstance(spec.limits, BrokerLimits)
    return Majordomo(
        spec.name,
        journal=spec.journal,
        limits=spec.limits,
        leases=spec.leases,
        **_shared(spec),
    )


def _router(spec: Spec) -> Router:
    assert isinstance(spec.limits, RouterLimits)
    return Router(
        spec.name,
        names=spec.names,
        connect=spec.connect,
        limits=spec.limits,
        **_shared(spec),
    )


def _forwarder(spec: Spec) -> Forwarder:
    assert isinstance(spec.limits, ForwarderLimits)
    return Forwarder(
        spec.name,
        connect=spec.connect,
        limits=spec.limits,
        history=spec.history,
        **_shared(spec),
    )


def _bridge(spec: Spec) -> Bridge:
    assert isinstance(spec.limits, BridgeLimits)
    return Bridge(
        spec.name,
        listen=spec.link.listen,
        connect=spec.link.connect,
        rules=spec.rules,
        limits=spec.limits,
        **_shared(spec),
    )


KINDS: Mapping[str, Kind] = {
    STREAMER: Kind(
        PusherLimits,
        "streamer of",
        "tasks are pushed",
        "task",
        _streamer,
        more={**JOURNAL, **STREAM_ON},
    ),
    MAJORDOMO: Kind(
        BrokerLimits,
        "majordomo",
        "services register",
        "request",
        _majordomo,
        more={**JOURNAL, **LEASES},
        journal_is_folder=True,
    ),
    ROUTER: Kind(
        RouterLimits,
        "router",
        "services are called",
        "request",
        _router,
        still="services still had {}",
        more=BACKEND,
    ),
    FORWARDER: Kind(
        ForwarderLimits,
        "forwarder of",
        "messages are published",
        "subscriber",
        _forwarder,
        still="{} had not received all",
        more=UPSTREAM,
        history=ForwarderHistory,
    ),
    BRIDGE: Kind(
        BridgeLimits,
        "bridge of",
        "messages are published",
        "packet",
        _bridge,
        still="the other end lacked {}",
        more=LINK,
    ),
}
"""The kinds of devices, by the word that a file has for them."""


def check_place(kind: str, *, insecure: bool | None, **said: str | None) -> None:
    """Raise UsageError for a place at which no device of that kind can listen.

    said: its `name`, `bind` or `advertise`, one at a time.
    """
    values: dict[str, str | None] = {"bind": None, "advertise": None, **said}
    name = values.pop("name", None) or "device"
    place(kind, name, values["bind"], values["advertise"], insecure=insecure)


def check_upstream(url: str, *, insecure: bool | None) -> None:
    """Raise UsageError for a URL to which no device can connect."""
    upstream("device", url, insecure=insecure)
