"""A device file: TOML that says what a device is, checked against what devices know.

    [device]    kind, name, insecure
    [frontend]  bind, advertise
    [journal]   path
    [limits]    the limits of its queue, by their names

A mistake is a ConfigError that names the file, the line, the value and the remedy.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zmqkit.device.streamer import place
from zmqkit.errors import ConfigError, UsageError
from zmqkit.limits import PusherLimits

KINDS = ("streamer",)
"""The kinds of devices."""

_LIMITS = {each.name: each.type for each in fields(PusherLimits)}
_TABLES: Mapping[str, Mapping[str, str]] = {
    "device": {"kind": "str", "name": "str", "insecure": "bool"},
    "frontend": {"bind": "str", "advertise": "str"},
    "journal": {"path": "str"},
    "limits": {name: str(kind) for name, kind in _LIMITS.items()},
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)
}  # fmt: skip
_WORDS = {"str": "text in quotes", "bool": "true or false", "int": "a whole number",
          "float": "a number"}  # fmt: skip
_HEAD = re.compile(r"\s*\[+\s*[\"']?([\w-]+)")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")


@dataclass(slots=True, frozen=True)
class Spec:
    """What a device is to be."""

    kind: str
    name: str
    insecure: bool | None = None
    bind: str | None = None
    advertise: str | None = None
    # A path; one from a file is relative to the folder in which the device is run.
    journal: str | None = None
    limits: PusherLimits = field(default_factory=PusherLimits)


@dataclass(slots=True)
class _Setting:
    """A value and where it was said."""

    value: object
    where: str


Settings = dict[tuple[str, str], _Setting]


def read_spec(path: Path, name: str | None = None, sets: Iterable[str] = ()) -> Spec:
    """Return what a device file says, changed by a name and by settings.

    name: what the device is called, whatever the file says. sets: texts such as
    `journal.path=tasks.journal`. Raises ConfigError.
    """
    settings = _read(path)
    for text in sets:
        settings.update(_set(text))
    if name is not None:
        settings["device", "name"] = _Setting(name, "--name")
    for (table, key), setting in settings.items():
        _check(table, key, setting)
    return _spec(path, settings)


def _read(path: Path) -> Settings:
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it is no text; a device file is TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no TOML: {error}") from error
    lines = _lines(text)
    settings: Settings = {}
    for table, values in tables.items():
        where = f"{path}:{lines.get((table, ''), lines.get(('', table), 1))}"
        if table in _TABLES and not isinstance(values, dict):
            raise ConfigError(f"{where}: {table} is {values!r}; use a table, [{table}]")
        if table not in _TABLES:
            said = f"[{table}]" if isinstance(values, dict) else f"{table} outside of a table"
            raise ConfigError(f"{where}: {said} is unknown; {_near(table, _TABLES, '[{}]')}")
        for key, value in values.items():
            line = lines.get((table, key))
            settings[table, key] = _Setting(value, f"{path}:{line}" if line else where)
    return settings


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return on which line each key stands, and each table, whose key is empty."""
    lines: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEAD.match(line):
            table = head[1]
            lines.setdefault((table, ""), number)
        elif key := _KEY.match(line):
            lines.setdefault((table, key[1]), number)
    return lines


def _set(text: str) -> Settings:
    """Return the setting in a text such as `limits.tasks_max=1000`."""
    name, equals, value = text.partition("=")
    table, dot, key = name.strip().partition(".")
    if not (equals and dot and table and key):
        raise ConfigError(
            f"--set {text!r}: use TABLE.KEY=VALUE, such as journal.path=tasks.journal"
        )
    value = value.strip()
    try:
        found = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        found = value
    if _TABLES.get(table, {}).get(key) == "str":
        found = found if isinstance(found, str) else value
    return {(table, key): _Setting(found, f"--set {text}")}


def _check(table: str, key: str, setting: _Setting) -> None:
    keys = _TABLES.get(table)
    if keys is None:
        raise ConfigError(
            f"{setting.where}: [{table}] is unknown; {_near(table, _TABLES, '[{}]')}"
        )
    if key not in keys:
        near = _near(key, keys, "{}")
        raise ConfigError(f"{setting.where}: {table}.{key} is unknown; {near}")
    kind = keys[key]
    if type(setting.value) not in _TYPES[kind] or setting.value == "":
        raise ConfigError(
            f"{setting.where}: {table}.{key} is {setting.value!r}; use {_WORDS[kind]}"
        )


def _near(word: str, known: Iterable[str], shape: str) -> str:
    """Return what to use instead of an unknown word."""
    known = list(known)
    near = get_close_matches(word, known, 1)
    if near:
        return f"did you mean {shape.format(near[0])}?"
    return f"there are {', '.join(shape.format(each) for each in known)}"


def _spec(path: Path, settings: Settings) -> Spec:
    def value(table: str, key: str) -> Any:
        setting = settings.get((table, key))
        return setting.value if setting is not None else None

    kind, name = value("device", "kind"), value("device", "name")
    if kind not in KINDS:
        where = settings["device", "kind"].where if kind is not None else str(path)
        said = "has no device.kind" if kind is None else f"device.kind is {kind!r}"
        raise ConfigError(f"{where}: {said}; use {' or '.join(map(repr, KINDS))}")
    if name is None:
        raise ConfigError(
            f"{path}: it has no device.name; give it one there, or with --name NAME"
        )
    _check_place(settings)
    return Spec(
        str(kind), str(name), value("device", "insecure"), value("frontend", "bind"),
        value("frontend", "advertise"), value("journal", "path"), _limits(path, settings),
    )  # fmt: skip


def _check_place(settings: Settings) -> None:
    """Raise ConfigError for a place at which no device can listen."""
    insecure = settings.get(("device", "insecure"), _Setting(None, "")).value
    for table, key in (("device", "name"), ("frontend", "bind"), ("frontend", "advertise")):
        setting = settings.get((table, key))
        if setting is None:
            continue
        values = {"name": "device", "bind": None, "advertise": None, key: setting.value}
        try:
            place(**values, insecure=insecure)  # type: ignore[arg-type]  # `_check` saw them
        except UsageError as error:
            raise ConfigError(f"{setting.where}: {error}") from error


def _limits(path: Path, settings: Settings) -> PusherLimits:
    limits = {key: each for (table, key), each in settings.items() if table == "limits"}
    values: dict[str, Any] = {key: each.value for key, each in limits.items()}
    try:
        return PusherLimits(**values)
    except ConfigError as error:
        wrong = [each.where for key, each in limits.items() if f"limit {key} " in str(error)]
        raise ConfigError(f"{wrong[0] if wrong else path}: {error}") from error
