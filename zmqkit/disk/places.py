"""Where a journal can be, as far as that can be seen before the file is opened."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from zmqkit.errors import ConfigError


def check_folder(path: Path) -> None:
    """Raise ConfigError if a folder of journals cannot be at a path; it is made if need be.

    Nobody but its owner and group may write there: whoever else can make a file in it would
    decide what a service finds in its journal.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(f"{path} is a file; name a folder, which has a file for each service")
    if not os.path.isdir(path):
        check_place(path)
        return
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path} has mode {mode:04o}, so anybody may write there; name a folder of your "
            "own in it, or take that right away with chmod o-w"
        )
    _check_writable(path, str(path))


def check_place(path: Path) -> None:
    """Raise ConfigError if no journal can be at a path, whatever state the disk is in.

    It is a folder, its folder is not there, or this user may not write there.
    """
    if "\0" in str(path):
        raise ConfigError(f"{str(path)!r} is no path, for it has a zero byte; name a file")
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder; name a file in it")
    file = os.path.realpath(path)
    folder = os.path.dirname(file)
    if not os.path.isdir(folder):
        raise ConfigError(f"{path}: there is no folder {folder}; make it, or name another file")
    _check_writable(folder, f"{path}: {folder}")
    if os.path.exists(file) and not os.access(file, os.R_OK | os.W_OK):
        raise ConfigError(f"{path} cannot be written; see who owns it")


def _check_writable(folder: str | Path, said: str) -> None:
    """Raise ConfigError if no file can be made in a folder, as in /proc, which root may write.

    Only an attempt tells. Its file has no name, or loses it at once.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{said} cannot be written; see who owns it")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except (FileNotFoundError, PermissionError) as error:
        raise ConfigError(f"{said} takes no files; name another folder") from error
    except OSError:
        return  # a full disk, say, is no matter of the place
