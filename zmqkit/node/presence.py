"""Which processes of this user have roles on this machine, also those that nobody announces.

Each such process has an entry in the runtime folder: an empty file whose name says where it
answers, PROCESS-PORT-NETWORK.process, with -SPACE before the dot where it is in a space. The
process holds a lock on its entry, which the system lifts as the process ends, however it does.
So an entry without a lock was left by one that was killed, and whoever looks removes it.
NETWORK is the number of the network namespace: containers may share the folder, and not their
loopback interface.
"""

from __future__ import annotations

import atexit
import os
import re
from contextlib import suppress
from pathlib import Path

from zmqkit.drivers.notes import contained, log
from zmqkit.drivers.runtime import runtime_folder
from zmqkit.errors import ConfigError

try:
    import fcntl
except ImportError:  # on Windows, where processes have no entries
    _LOCKS = False
else:
    _LOCKS = True

_SUFFIX = ".process"
_NAME = re.compile(
    rf"([0-9a-f]{{16}})-([0-9]{{1,5}})-([0-9]{{1,20}})(?:-([a-z0-9._-]{{1,32}}))?\{_SUFFIX}"
)

_held: dict[int, Path] = {}
"""The entries of this process, by the descriptors that hold their locks. A forked child has
none of them."""


class Entry:
    """The entry of one process, from the first `appear` until `close`."""

    def __init__(self, process: int, port: int, space: str = "") -> None:
        """process: its number. port: where it answers on the loopback interface.

        space: the one that it is in.
        """
        within = f"-{space}" if space else ""
        self._name = f"{process:016x}-{port}-{_network()}{within}{_SUFFIX}"
        self._is_tried = not _LOCKS
        self._path: Path | None = None
        self._lock = -1

    def appear(self) -> None:
        """Make the entry, once; where that is impossible, say so in the log."""
        if self._is_tried:
            return
        self._is_tried = True
        try:
            _sweep()
            self._make(runtime_folder() / self._name)
        except (OSError, ConfigError) as error:
            contained(log.info, "`zmqkit stats` may not find this process: %s", error)

    def close(self) -> None:
        """Remove the entry."""
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                path.unlink()
            _held.pop(self._lock, None)
            os.close(self._lock)

    def _make(self, path: Path) -> None:
        """Make the file under another name, so that whoever finds it finds its lock, too."""
        new = path.with_name(f"{path.name}~")
        lock = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(path)
        except BaseException:
            os.close(lock)
            new.unlink()
            raise
        _held[lock] = path
        self._path, self._lock = path, lock


def present(space: str = "") -> dict[int, int]:
    """Return the processes of a space that have an entry, each with the port where it answers.

    There are none where the folder cannot be used.
    """
    if not _LOCKS:
        return {}
    try:
        here = str(_network())
        ours = [name for name in _sweep() if (name[3], name[4] or "") == (here, space)]
        return {int(name[1], 16): int(name[2]) for name in ours}
    except (OSError, ConfigError) as error:
        contained(log.info, "not all processes may be found: %s", error)
        return {}


def _sweep() -> list[re.Match[str]]:
    """Return the names of the entries of processes that live, and remove all others."""
    living = []
    for path in runtime_folder().iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and _is_locked(path):
            living.append(name)
        elif name is not None:
            with suppress(OSError):
                path.unlink()
    return living


def _is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of an entry; an entry that is gone has none."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _network() -> int:
    """Return the number of this process's network namespace; 0 where there are none."""
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return 0


def _forked() -> None:
    """Give up the locks in a forked child, which would hold them beyond its parent's end."""
    for lock in _held:
        os.close(lock)
    _held.clear()


def _at_exit() -> None:
    """Remove the entries of roles that nobody closed."""
    for path in _held.values():
        with suppress(OSError):
            path.unlink()


if _LOCKS:
    os.register_at_fork(after_in_child=_forked)
    atexit.register(_at_exit)
