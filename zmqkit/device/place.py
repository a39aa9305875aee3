"""Where a device listens, and where a process answers about its health."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from zmqkit.environment import check_reach, read_environment
from zmqkit.errors import ConfigError
from zmqkit.links.profile import Profile
from zmqkit.model import LOOPBACK
from zmqkit.roles.scheme import Binding, Lookup


def place(
    kind: str,
    name: str,
    bind: str | None,
    advertise: str | None,
    *,
    insecure: bool | None,
    space: str | None = None,
    profile: Profile = Profile.DEVICES,
) -> Binding:
    """Return the place where a device is to listen. Raises UsageError for a wrong value."""
    if bind is not None and bind.startswith("memory:"):
        raise ConfigError(f"bind={bind!r}: a device has a process of its own; use tcp://")
    return Binding(kind, name, bind, advertise, insecure=insecure, space=space, profile=profile)


def upstream(
    role: str,
    url: str,
    *,
    insecure: bool | None,
    space: str | None = None,
    profile: Profile = Profile.DATA,
) -> Lookup:
    """Return the place of a peer or device at a URL. Raises ConfigError for another."""
    if not url.startswith("tcp://"):
        raise ConfigError(f"connect={url!r} is no address; use tcp://HOST:PORT")
    return Lookup(role, url, insecure=insecure, space=space, profile=profile)


_PLACE = re.compile(r"(\w+://)?(\[[^\[\]/]+\]|[^\[\]/]+):([0-9]{1,9}|\*)(/.*)?")
"""The scheme, the host, the port, and what stands behind it."""


@dataclass(slots=True, frozen=True)
class HealthPlace:
    """Where a process answers about its health; an empty host stands for all addresses."""

    host: str
    port: int


def health_place(bind: str, *, insecure: bool | None) -> HealthPlace:
    """Return the place of `tcp://HOST:PORT`.

    Raises ConfigError for another text, and for a host beyond this machine without `insecure`.
    """
    return _http_place(bind, "health", "tcp://", insecure=insecure)


def metrics_place(bind: str, *, insecure: bool | None) -> HealthPlace:
    """Return the place of `HOST:PORT`; raises what `health_place` does."""
    return _http_place(bind, "metrics", "", insecure=insecure)


def _http_place(bind: str, what: str, scheme: str, *, insecure: bool | None) -> HealthPlace:
    found = _PLACE.fullmatch(bind)
    if found is None or (found[1] or "") != scheme or found[4]:
        meant = f"{found[2]}:{found[3]}" if found else "HOST:PORT"
        if bind.isascii() and bind.isdigit():
            meant = f"{LOOPBACK}:{bind}"
        raise ConfigError(f"{what} at {bind!r} is no address; use {scheme}{meant}")
    host, port = found[2].strip("[]"), 0 if found[3] == "*" else int(found[3])
    if port > 65535:
        raise ConfigError(f"{what} at {bind!r}: port {port} is not a number from 0 to 65535")
    reach = read_environment(os.environ).reach(insecure=insecure)
    check_reach(host, f"{what} at {bind!r}", reach)
    return HealthPlace("" if host == "*" else host, port)
