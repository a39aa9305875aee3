"""Where device files are: in a checkout, beside an installed package, or at a path."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import zmqkit
from zmqkit.errors import ConfigError

_SHARED = Path("share", "zmqkit", "devices")


def find(device: str) -> Path:
    """Return the file of a device: a path, or the name of a file that comes with zmqkit.

    Raises ConfigError, which says what there is.
    """
    path = Path(device)
    if path.suffix == ".toml" or path.name != device:
        if not path.is_file():
            raise ConfigError(f"there is no file {device!r}; give the path of a device file")
        return path
    folders = _folders()
    for folder in folders:
        if (folder / f"{device}.toml").is_file():
            return folder / f"{device}.toml"
    known = sorted({each.stem for folder in folders for each in folder.glob("*.toml")})
    there = f"there are {', '.join(known)}" if known else "none came with this installation"
    raise ConfigError(f"no device {device!r}; {there}; or give the path of a device file")


def _folders() -> list[Path]:
    """Return the folders in which device files may be; a checkout's own come first.

    A wheel puts them under the data folder of wherever it is installed: an environment, the
    environment's base, the user's own folder, or, with `pip install --target`, beside it.
    """
    beside = Path(zmqkit.__file__).resolve().parent.parent
    checkout = [beside / "devices"] if (beside / "setup.cfg").is_file() else []
    user = sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))
    roots: list[str | Path] = [sysconfig.get_path("data"), sys.base_prefix, user, beside]
    return [*checkout, *dict.fromkeys(Path(root) / _SHARED for root in roots)]
