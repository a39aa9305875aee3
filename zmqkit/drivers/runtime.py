"""The folder in which processes of this user leave what others of this machine find them by.

It is $XDG_RUNTIME_DIR/zmqkit, or /tmp/zmqkit-UID where there is no such variable. It is used
only if it belongs to this user and nobody else may look into it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from zmqkit.errors import ConfigError


def runtime_folder() -> Path:
    """Return the folder of this user's entries, which is made if it is not there.

    Raises ConfigError if others may write or look into it, OSError if it cannot be made.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base, "zmqkit") if base else Path(f"/tmp/zmqkit-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{folder} is not a folder of yours alone; remove it, or set XDG_RUNTIME_DIR to a "
            "folder of mode 0700"
        )
    return folder
