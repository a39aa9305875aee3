"""Where device files are: in a checkout, beside an installed package, or at a path."""

from __future__ import annotations

import re
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import zmqkit
from zmqkit.errors import ConfigError
from zmqkit.model import check_name

_SHARED = Path("share", "zmqkit", "devices")
_COMPANIONS = {
    "zmqkit@.service": Path("systemd", "zmqkit@.service"),
    "Containerfile": Path("Containerfile"),
    "zmqkit.json": Path("grafana", "zmqkit.json"),
}  # fmt: skip
"""What comes beside the device files, for those who run them."""
_NAME = re.compile(r'^# name = "[^"]*" *(?=#)', re.MULTILINE)
_USAGE = re.compile(r"^#     zmqkit run \S+ --name \S+(.*)$", re.MULTILINE)


@dataclass(slots=True, frozen=True)
class Shipped:
    """A device file that comes with zmqkit."""

    name: str
    path: Path
    # The first sentence of the comment at its head.
    about: str


def find(device: str) -> Path:
    """Return the file of a device: a path, or the name of a file that comes with zmqkit.

    Raises ConfigError, which says what there is.
    """
    path = Path(device)
    if path.suffix == ".toml" or path.name != device:
        if not path.is_file():
            raise ConfigError(f"there is no file {device!r}; give the path of a device file")
        return path
    known = {each.name: each.path for each in shipped()}
    if device in known:
        return known[device]
    if Path(f"{device}.toml").is_file():
        raise ConfigError(f"no device {device!r}; did you mean ./{device}.toml?")
    there = f"there are {', '.join(known)}" if known else "none came with this installation"
    raise ConfigError(f"no device {device!r}; {there}; or give the path of a device file")


def find_to_show(name: str) -> Path:
    """Return what `find` does, or a file that comes beside the devices."""
    if name in _COMPANIONS:
        for folder in _folders():
            if (folder / _COMPANIONS[name]).is_file():
                return folder / _COMPANIONS[name]
    return find(name)


def shipped() -> list[Shipped]:
    """Return the device files that come with zmqkit, by name."""
    paths: dict[str, Path] = {}
    for folder in _folders():
        for path in folder.glob("*.toml"):
            paths.setdefault(path.stem, path)
    return [Shipped(name, path, _about(path)) for name, path in sorted(paths.items())]


def started_from(text: str, name: str, file: str) -> str:
    """Return the text of a shipped device file as one of a device of this name.

    file: how the new file is run. Raises UsageError for a name that no device can have.
    """
    check_name(name)
    text = _USAGE.sub(f"#     zmqkit run {file}", text, count=1)
    return _NAME.sub(lambda found: f'name = "{name}" '.ljust(len(found[0])), text, count=1)


def _about(path: Path) -> str:
    """Return the first sentence of the comment at the head of a file."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#!"):
            continue
        if not line.startswith("# "):
            break
        words.append(line[2:].strip())
    return f"{' '.join(words).partition('. ')[0].rstrip('.')}."


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
