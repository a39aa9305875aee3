"""What a broker says of itself: RFC 8 (MMI), and services of ours that follow it.

    mmi.service           200 if a worker is registered for the service in the body, else 404;
                          200 for those of RFC 9 if the broker has journals
    mmi.zmqkit.services   200, and the names of the services that have workers
    mmi.zmqkit.workers    200, and for each service how many workers it has
    mmi.zmqkit.queues     200, and for each service how many requests wait, and how many are at
                          workers
    any other mmi.*       501

A second frame is msgpack: a list of text, or a dict from text to int or to a list of two.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from zmqkit.core.majordomo.relay import Relay
from zmqkit.wire.encoding import Buffer, encode

_OK, _NOT_FOUND, _NOT_IMPLEMENTED = b"200", b"404", b"501"


def answer(
    relays: Mapping[str, Relay],
    service: str,
    body: tuple[Buffer, ...],
    own: Container[str],
) -> list[bytes]:
    """Return the frames that answer a request for a service of the broker's own.

    own: others of that kind, which are served without workers.
    """
    if service == "mmi.service":
        name = bytes(body[0]).decode(errors="replace")
        return [_OK if name in own or is_served(relays, name) else _NOT_FOUND]
    told = _OURS.get(service)
    if told is None:
        return [_NOT_IMPLEMENTED]
    return [_OK, encode(told([relays[name] for name in sorted(relays)]))]


def is_served(relays: Mapping[str, Relay], name: str) -> bool:
    """Return whether a service has a worker."""
    relay = relays.get(name)
    return relay is not None and relay.back.worker_count > 0


def _services(relays: Iterable[Relay]) -> object:
    return [relay.name for relay in relays if relay.back.worker_count]


def _workers(relays: Iterable[Relay]) -> object:
    return {relay.name: relay.back.worker_count for relay in relays}


def _queues(relays: Iterable[Relay]) -> object:
    return {relay.name: [relay.waiting, relay.in_flight - relay.waiting] for relay in relays}


_OURS: Mapping[str, Callable[[Iterable[Relay]], object]] = {
    "mmi.zmqkit.services": _services,
    "mmi.zmqkit.workers": _workers,
    "mmi.zmqkit.queues": _queues,
}
