"""Static peers of a process: those in its environment, and those in a file that may change."""

from __future__ import annotations

import os

from zmqkit.drivers.notes import contained, log
from zmqkit.environment import Environment, read_peers
from zmqkit.errors import ConfigError
from zmqkit.limits import PEERS_BYTES_MAX
from zmqkit.model import Address, Reach, Url, parse_url

Stamp = tuple[int, int, int]
"""One state of a file: when it changed in nanoseconds, its size in bytes, its inode number."""


class Peers:
    """The static peers as they are now. Raises ConfigError when the file is wrong at first."""

    def __init__(self, environment: Environment) -> None:
        self._given = environment.peers
        self._path = environment.peers_file
        self._stamp: Stamp | None = None
        self._error = ""
        self._warned: set[str] = set()
        self._of_file: tuple[str, ...] = ()
        if self._path:
            self._stamp = self._look()
            self._of_file = self._read()

    @property
    def urls(self) -> list[Url]:
        """The URL of each static peer."""
        peers = dict.fromkeys((*self._given, *self._of_file))
        return [parse_url(f"tcp://{peer}") for peer in peers]

    @property
    def are_any(self) -> bool:
        """Whether there are static peers, or may be when the file changes."""
        return bool(self._given or self._path)

    def unasked(self, reach: Reach) -> list[str]:
        """Return the static peers beyond that reach, each as `host:port`."""
        return [str(Address(url.host, url.port)) for url in self.urls if url.reach > reach]

    def warn_of_unasked(self, reach: Reach) -> None:
        """Log once, for each static peer beyond that reach, that it is not asked and why."""
        for address in self.unasked(reach):
            if address not in self._warned:
                self._warned.add(address)
                contained(
                    log.warning,
                    "static peer %s is on another machine and is not asked; pass "
                    "insecure=True, or --insecure, or set ZMQKIT_INSECURE=1, to talk in plain "
                    "text on the network",
                    address,
                )

    def refresh(self) -> bool:
        """Read the file again if it changed; return whether the peers in it changed.

        A file that cannot be used is logged once, and the peers last read from it stay.
        """
        if not self._path:
            return False
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            peers = self._read()
        except ConfigError as error:
            if str(error) != self._error:
                contained(log.warning, "%s; the peers that it named before stay", error)
            self._stamp, self._error = None, str(error)
            return False
        self._error = ""
        changed, self._of_file = peers != self._of_file, peers
        return changed

    def _look(self) -> Stamp:
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise self._unreadable(error) from error
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read(self) -> tuple[str, ...]:
        try:
            with open(self._path, encoding="utf-8") as file:
                text = file.read(PEERS_BYTES_MAX + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error
        if len(text.encode()) > PEERS_BYTES_MAX:
            raise ConfigError(
                f"{self._path} is longer than {PEERS_BYTES_MAX} bytes; one host:port a line"
            )
        return read_peers(text, self._path)

    def _unreadable(self, error: Exception) -> ConfigError:
        reason = error.strerror if isinstance(error, OSError) else error
        return ConfigError(
            f"ZMQKIT_PEERS_FILE: cannot read {self._path!r}: {reason}; make it a text file "
            "with one host:port a line, or leave the variable unset"
        )
