"""Where a queue is found on this machine: the sockets at which its process answers questions.

A queue with a journal has its socket beside the file, as FILE.socket. Each queue has an entry
in this user's runtime folder (`drivers.runtime`) too, so that all can be listed: a device
without a journal its socket, a queue with one a link to it. Where the file's path is too long
for a socket, the socket is in the folder and the link beside the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2s
from itertools import count
from pathlib import Path

from zmqkit.drivers.notes import contained, log
from zmqkit.drivers.questions import PATH_BYTES_MAX, Listener, ask, listener_of
from zmqkit.drivers.runtime import runtime_folder
from zmqkit.errors import ConfigError

SUFFIX = ".socket"

_numbers = count(1)


class Listening:
    """The socket and the link of one queue, for as long as its process answers questions."""

    def __init__(
        self, name: str, answer: Callable[[bytes], bytes], journal: Path | None
    ) -> None:
        """Listen; where that is impossible, say so in the log and go on without."""
        self._listener: Listener | None = None
        self._link: Path | None = None
        try:
            self._begin(answer, journal)
        except (OSError, ConfigError) as error:
            text = "queue %r: `zmqkit queue` cannot ask this process: %s"
            contained(log.warning, text, name, error)

    def _begin(self, answer: Callable[[bytes], bytes], journal: Path | None) -> None:
        if journal is None:
            entry = runtime_folder() / f"{os.getpid()}-{next(_numbers)}{SUFFIX}"
            self._listener = Listener(_checked(entry), answer)
            return
        place, link = socket_beside(journal), _entry_of(journal)
        if link is not None and _is_long(place):
            place, link = link, place
        self._listener = Listener(_checked(place), answer)
        if link is not None:
            self._link = _linked(link, place)

    def close(self) -> None:
        """Answer no more, and remove what says so."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        link, self._link = self._link, None
        if link is not None:
            drop(link)


def listen_for(
    name: str, answer: Callable[[bytes], bytes], *, journal: Path | None = None
) -> Listening:
    """Answer questions about the queue of this name until `close`.

    answer: takes and returns what `administration.answering` does, on a thread of its own.
    """
    return Listening(name, answer, journal)


def socket_beside(journal: Path) -> Path:
    """Return the path of the socket of a journal's owner."""
    file = Path(os.path.realpath(journal))
    return file.with_name(file.name + SUFFIX)


def entries() -> list[Path]:
    """Return the entries of the runtime folder. Raises ConfigError or OSError, as it does."""
    return sorted(runtime_folder().glob(f"*{SUFFIX}"))


def drop(entry: Path) -> None:
    """Remove a socket or a link at which nobody listens any more."""
    with suppress(OSError):
        entry.unlink()


def ask_at(entry: Path, question: bytes, timeout_s: float) -> bytes:
    """Return the answer of the process whose socket or link this is; raises as `ask` does."""
    return ask(_checked(Path(os.path.realpath(entry))), question, timeout_s)


def process_at(entry: Path) -> int | None:
    """Return the id of the process whose socket or link this is; None if it is not known."""
    with suppress(OSError, ConfigError):
        return listener_of(_checked(Path(os.path.realpath(entry))))
    return None


def _entry_of(journal: Path) -> Path | None:
    """Return where a journal's owner is listed; None if it is reached by its file alone."""
    digest = blake2s(os.fsencode(os.path.realpath(journal)), digest_size=8).hexdigest()
    with suppress(OSError, ConfigError):
        return runtime_folder() / f"{digest}{SUFFIX}"
    return None


def _linked(link: Path, target: Path) -> Path | None:
    """Make a link, in place of whatever is there; None where that is impossible."""
    new = link.with_name(f"{link.name}~")
    try:
        with suppress(FileNotFoundError):
            new.unlink()
        new.symlink_to(target)
        new.rename(link)
    except OSError as error:
        contained(log.info, "%s: no link to the queue's socket: %s", link, error.strerror)
        return None
    return link


def _checked(path: Path) -> str:
    """Return the path of a socket. Raise ConfigError if it is too long for one."""
    if _is_long(path):
        raise ConfigError(
            f"{path} is too long for a socket, which has {PATH_BYTES_MAX} bytes; use a shorter "
            "path"
        )
    return str(path)


def _is_long(path: Path) -> bool:
    return len(os.fsencode(path)) > PATH_BYTES_MAX
