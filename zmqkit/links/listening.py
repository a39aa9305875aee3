"""Listening at addresses, those that this process has just given back among them.

libzmq closes what listens on a thread of its own, a moment after the call that closes the
socket. So a port may still be taken when the next role of this process wants it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any

import zmq

GIVEN_BACK_S = 2.0
"""How long libzmq may take to close what listens, on a busy machine."""
_LOOK_S = 0.001

_given_back_at: dict[str, float] = {}
"""By port: when this process gave it back, if that was a moment ago."""


def listen(socket: zmq.Socket[Any], endpoints: Sequence[str]) -> None:
    """Have a socket listen at the first of these endpoints that is free.

    Raises ZMQError, of the last one, if none is; for a port that this process has just given
    back only after some time.
    """
    while True:
        error: zmq.ZMQError | None = None
        for endpoint in endpoints:
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as refused:
                error = refused
            else:
                return
        assert error is not None
        if error.errno != errno.EADDRINUSE or not any(map(_is_closing, endpoints)):
            raise error
        time.sleep(_LOOK_S)


def gave_back(endpoints: Iterable[str]) -> None:
    """Note that the sockets that listened here were closed."""
    now = time.monotonic()
    for port, at in list(_given_back_at.items()):
        if at < now - GIVEN_BACK_S:
            _given_back_at.pop(port, None)
    _given_back_at.update((_port(endpoint), now) for endpoint in endpoints)


def _is_closing(endpoint: str) -> bool:
    return time.monotonic() < _given_back_at.get(_port(endpoint), -inf) + GIVEN_BACK_S


def _port(endpoint: str) -> str:
    return endpoint.rpartition(":")[2]
