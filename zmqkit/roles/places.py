"""Which services of this process run one handler at a time, and whether one calls itself.

A handler that holds its service's only place and calls that service waits for a place that it
holds itself. So the call can end in a time-out only, unless another instance takes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from zmqkit.core.calls.service import ServiceCore
from zmqkit.core.dispatch.connections import State
from zmqkit.core.dispatch.job import Instance
from zmqkit.model import parse_url
from zmqkit.roles.handlers import current
from zmqkit.roles.scheme import Binding, Dialling, Lookup

_open: WeakKeyDictionary[ServiceCore, Binding | Dialling] = WeakKeyDictionary()


def opened(core: ServiceCore, place: Binding | Dialling) -> None:
    """Have handlers that hold this service's only place be known, as long as it is there."""
    if core.concurrency == 1:
        _open[core] = place


def held_place(lookup: Lookup) -> int:
    """Return the incarnation of the service whose only place the calling handler holds.

    Returns 0 if there is none, or if a client of `lookup` does not lead there.
    """
    request = current.get()
    for core, place in list(_open.items()):
        if _may_lead(lookup, place) and any(each is request for each in core.running()):
            return core.incarnation
    return 0


def reached(instances: Iterable[Instance]) -> list[int]:
    """Return the incarnations of the instances that calls go to."""
    return [each.incarnation for each in instances if each.state is State.UP]


def said(name: str) -> str:
    """Return what to do about a handler that calls its own only place."""
    return (
        f"a handler of {name!r} calls {name!r}, whose only place it holds itself, so the call "
        "waits until its time is over; call the function itself, or pass "
        "Service(concurrency=...) above 1"
    )


def _may_lead(lookup: Lookup, place: Binding | Dialling) -> bool:
    if lookup.url is None or lookup.url.scheme == "memory":
        return lookup.name in (place.name, place.endpoint)
    return bool(place.endpoint) and parse_url(place.endpoint).port == lookup.url.port
