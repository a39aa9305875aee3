"""What a service manager is told: systemd's sd_notify, one datagram for each word.

A manager that wants to know names a socket in NOTIFY_SOCKET. One that wants a sign of life now
and then says in WATCHDOG_USEC how often; if WATCHDOG_PID is there as well, it names the process
that is meant. The variables are taken away, so that commands that a worker runs do not speak
for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from math import inf

_SEND_S = 1.0
"""How long a manager that does not read is waited for."""


class Notifier:
    """Tells the service manager of this process what becomes of it; without one, nobody."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        place = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us = environ.pop("WATCHDOG_USEC", "")
        process = environ.pop("WATCHDOG_PID", "")
        # How often the manager wants a sign of life; infinity if it wants none.
        self.watchdog_s = inf
        self._socket: socket.socket | None = None
        if place[:1] not in ("/", "@"):
            return
        # A path that begins with a zero byte is in the abstract name space of Linux.
        address = "\0" + place[1:] if place.startswith("@") else place
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.settimeout(_SEND_S)
        try:
            sender.connect(address)
        except OSError:
            sender.close()
            return
        self._socket = sender
        is_number = watchdog_us.isascii() and watchdog_us.isdigit()
        if is_number and int(watchdog_us) and process in ("", str(os.getpid())):
            self.watchdog_s = int(watchdog_us) / 1e6

    @property
    def is_heard(self) -> bool:
        """Whether a service manager listens."""
        return self._socket is not None

    def tell(self, *words: str, status: str | None = None) -> None:
        """Send words such as `READY=1`, and a line that says what the process is doing."""
        if status is not None:
            words = (*words, f"STATUS={' '.join(status.split())}")
        if self._socket is not None:
            with suppress(OSError):  # the manager is gone, or does not read
                self._socket.send("\n".join(words).encode())

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
