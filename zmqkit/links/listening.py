"""Listening at addresses, those that this process has just given back among them.

libzmq closes what listens on a thread of its own, a moment after the call that closes the
socket. So a port may still be taken when the next role of this process wants it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable
from math import inf
from typing import Any

import zmq

from zmqkit.errors import AddressTaken, ConfigError

GIVEN_BACK_S = 2.0
"""How long libzmq may take to close what listens, on a busy machine."""
_LOOK_S = 0.001
_TRIES = 100
"""How many free ports of one address are tried at the other one, too."""
_MORE_PORTS = (
    "ZMQKIT_PORTS={}-{} has no free port left; name more: two for each process, and one for "
    "each service, worker and publisher in it"
)

_given_back_at: dict[str, float] = {}
"""By port: when this process gave it back, if that was a moment ago."""


def listen(
    socket: zmq.Socket[Any], endpoint: str, ports: tuple[int, int], also: str = ""
) -> list[str]:
    """Have a socket listen on a TCP endpoint, and return all its addresses.

    ports, also: see `ZeromqLink.bind`. A port that this process has just given back is waited
    for. Raises AddressTaken, or ConfigError for an address that cannot be had.
    """
    base, _, port = endpoint.rpartition(":")
    choices, remedy = [port], "choose another port"
    if port in ("0", "*"):
        choices = ["*"] * (_TRIES if also else 1)
        if ports[0]:
            choices = [str(each) for each in range(ports[0], ports[1] + 1)]
            remedy = _MORE_PORTS.format(*ports)
    while True:
        for choice in choices:
            bound: list[str] = []
            try:
                bound.append(_bind(socket, f"{base}:{choice}"))
                if also:
                    bound.append(_bind(socket, f"tcp://{also}:{_port(bound[0])}"))
            except zmq.ZMQError as error:
                refused, place = error, endpoint
                if bound:
                    socket.unbind(bound[0])
                    place = f"tcp://{also}:{_port(bound[0])}, for peers on this machine"
            else:
                return bound
        if refused.errno != errno.EADDRINUSE or not any(map(_is_closing, choices)):
            gave_back(bound)
            raise _refusal(place, refused, remedy) from refused
        time.sleep(_LOOK_S)


def gave_back(endpoints: Iterable[str]) -> None:
    """Note that the sockets that listened here were closed."""
    now = time.monotonic()
    for port, at in list(_given_back_at.items()):
        if at < now - GIVEN_BACK_S:
            _given_back_at.pop(port, None)
    _given_back_at.update((_port(endpoint), now) for endpoint in endpoints)


def _bind(socket: zmq.Socket[Any], endpoint: str) -> str:
    """Listen at an endpoint too, and return it with the port that it got."""
    socket.bind(endpoint)
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _is_closing(port: str) -> bool:
    return time.monotonic() < _given_back_at.get(port, -inf) + GIVEN_BACK_S


def _port(endpoint: str) -> str:
    return endpoint.rpartition(":")[2]


def _refusal(place: str, error: zmq.ZMQError, remedy: str) -> ConfigError:
    """Return the error for an address where this process cannot listen.

    pyzmq's own text would repeat the address.
    """
    kind = AddressTaken if error.errno == zmq.EADDRINUSE else ConfigError
    reason = zmq.strerror(error.errno or 0).lower()
    return kind(f"cannot listen on {place}: {reason}; {remedy}")
