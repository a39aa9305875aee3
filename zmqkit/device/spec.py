"""A device file: TOML that says what a device is, checked against what devices know.

Which tables and options there are stands in `options` and, for each kind, in `kinds`. A value
may name variables of the environment: `${NAME}`, or `${NAME:-default}` where it may be unset or
empty, and `$${` for the characters themselves.

A mistake is a ConfigError that names the file, the line, the value and the remedy.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

from zmqkit.core.tasks.lease import STREAMER
from zmqkit.device.bridge import Rule, topics_of
from zmqkit.device.files import shipped
from zmqkit.device.kinds import BRIDGE, KINDS, Kind, Limits, Spec, check_place, check_upstream
from zmqkit.device.options import ANY, Option, Tables
from zmqkit.device.place import HealthPlace, health_place
from zmqkit.device.router import address_of, passed_on
from zmqkit.disk.places import check_folder
from zmqkit.disk.places import check_place as check_file
from zmqkit.environment import read_environment
from zmqkit.errors import ConfigError, UsageError
from zmqkit.forwarder_limits import ForwarderHistory
from zmqkit.limits import DRAIN_S, DRAIN_S_MAX
from zmqkit.majordomo_limits import MdpLimits
from zmqkit.model import ROUTER, check_name, check_space
from zmqkit.roles.spanning import LinkPlace

_TABLES: Tables = {
    name: table for kind in KINDS.values() for name, table in kind.tables.items()
}
"""All tables that there are; the keys of limits depend on the kind of device."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "int": (int,), "float": (int, float),
    "list": (list,),
}  # fmt: skip
_WORDS = {"str": "text in quotes", "bool": "true or false", "int": "a whole number",
          "float": "a number", "list": "a list of texts in quotes"}  # fmt: skip
_HEAD = re.compile(r"\s*(\[+)\s*[\"']?([\w-]+)")
_VARIABLE = re.compile(r"\$\$\{|\$\{(\w+)(?::-([^}]*))?\}|\$\{[^}]*\}?")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")


@dataclass(slots=True)
class _Setting:
    """A value and where it was said."""

    value: object
    where: str


Settings = dict[tuple[str, str], _Setting]
"""By table and key. The table of a history may be empty, so it has an empty key as well."""
HISTORY = "history"
M = TypeVar("M")


def read_spec(
    path: Path,
    name: str | None = None,
    sets: Iterable[str] = (),
    options: Mapping[str, str] | None = None,
) -> Spec:
    """Return what a device file says, changed by a name and by settings.

    name: what the device is called, whatever the file says. sets: texts such as
    `journal.path=tasks.journal`. options: such texts by the options of the command line that
    stand for them, which errors name. Raises ConfigError.
    """
    settings = _read(path)
    for text in sets:
        settings.update(_set(text, f"--set {text}"))
    for option, text in (options or {}).items():
        settings.update(_set(text, option))
    if name is not None:
        settings["device", "name"] = _Setting(name, "--name")
    word, kind = _kind(path, settings)
    tables = kind.tables
    for (table, key), setting in settings.items():
        _check(tables, table, key, setting)
    return _spec(path, settings, word, kind)


def kind_in(path: Path) -> tuple[str, Kind]:
    """Return the word for the kind of device that a file has, and the kind. ConfigError."""
    return _kind(path, _read(path))


def _kind(path: Path, settings: Settings) -> tuple[str, Kind]:
    """Return the kind of device that the file has, and the word for it."""
    setting = settings.get(("device", "kind"))
    if setting is not None:
        _check(_TABLES, "device", "kind", setting)
    if setting is not None and isinstance(word := setting.value, str) and word in KINDS:
        return word, KINDS[word]
    where = str(path) if setting is None else setting.where
    said = "has no device.kind" if setting is None else f"device.kind is {setting.value!r}"
    raise ConfigError(f"{where}: {said}; use {' or '.join(map(repr, KINDS))}")


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
        if table == "rules" and isinstance(values, list):
            values = _numbered(values)
        if table in _TABLES and not isinstance(values, dict):
            raise ConfigError(f"{where}: {table} is {values!r}; use a table, [{table}]")
        if table not in _TABLES:
            said = f"[{table}]" if isinstance(values, dict) else f"{table} outside of a table"
            raise ConfigError(f"{where}: {said} is unknown; {_near(table, _TABLES, '[{}]')}")
        if table == HISTORY:
            settings[table, ""] = _Setting(None, where)
        for key, value in values.items():
            line = lines.get((table, key))
            settings[table, key] = _Setting(value, f"{path}:{line}" if line else where)
    return settings


def _numbered(rules: list[object]) -> object:
    """Return the keys and values of several tables of one name as those of one table."""
    if not all(isinstance(rule, dict) for rule in rules):
        return rules
    return {
        f"{number}.{key}": value
        for number, rule in enumerate(rules, 1)
        if isinstance(rule, dict)
        for key, value in rule.items()
    }


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return on which line each key stands, and each table, whose key is empty."""
    lines: dict[tuple[str, str], int] = {}
    table = before = ""
    several: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if head := _HEAD.match(line):
            table = head[2]
            several[table] += head[1] == "[["
            before = f"{several[table]}." if several[table] else ""
            lines.setdefault((table, ""), number)
        elif key := _KEY.match(line):
            lines.setdefault((table, before + key[1]), number)
    return lines


def _set(text: str, where: str) -> Settings:
    """Return the setting in a text such as `limits.tasks_max=1000`."""
    name, equals, value = text.partition("=")
    table, dot, key = name.strip().partition(".")
    if not (equals and dot and table and key):
        raise ConfigError(
            f"--set {text!r}: use TABLE.KEY=VALUE, such as journal.path=tasks.journal"
        )
    value = value.strip()
    found = _value_of(value)
    option = _TABLES.get(table, {}).get(key)
    if option is not None and option.type == "str":
        found = found if isinstance(found, str) else value
    return {(table, key): _Setting(found, where)}


def _check(tables: Tables, table: str, key: str, setting: _Setting) -> None:
    keys = tables.get(table)
    if keys is None:
        raise ConfigError(
            f"{setting.where}: [{table}] is unknown; {_near(table, tables, '[{}]')}"
        )
    if not key:
        return
    plain = key.partition(".")[2] if table == "rules" and key[:1].isdecimal() else key
    option = keys.get(plain) or keys.get(ANY)
    if option is None:
        near = _near(key, keys, "{}")
        raise ConfigError(f"{setting.where}: {table}.{key} is unknown; {near}")
    if isinstance(setting.value, str):
        setting.value = _expanded(setting, option)
    elif isinstance(setting.value, list):
        setting.value = [
            _with_variables(setting.where, each) if isinstance(each, str) else each
            for each in setting.value
        ]
    value = setting.value
    is_wrong = type(value) not in _TYPES[option.type] or value == ""
    if is_wrong or (type(value) is list and not all(type(x) is str and x for x in value)):
        example = f", such as [{json.dumps(value)}]" if option.type == "list" and value else ""
        raise ConfigError(
            f"{setting.where}: {table}.{key} is {setting.value!r}; use {_WORDS[option.type]}"
            f"{example if isinstance(value, str) else ''}"
        )


def _expanded(setting: _Setting, option: Option) -> object:
    """Return a text with the variables that it names; as a number, say, if that is wanted."""
    text = str(setting.value)
    expanded = _with_variables(setting.where, text)
    if "${" in text and option.type != "str":
        return _value_of(expanded)
    return expanded


def _with_variables(where: str, text: str) -> str:
    """Return a text with the values of the variables that it names."""

    def found(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if match[0] == "$${":
            return "${"
        if name is None:
            raise ConfigError(
                f"{where}: {match[0]!r} names no variable; write ${{NAME}} or "
                "${NAME:-DEFAULT}, or $${ for the characters themselves"
            )
        value = os.environ.get(name, "")
        if not value and default is None:
            raise ConfigError(
                f"{where}: ${{{name}}} is not set; set the variable, or write "
                f"${{{name}:-DEFAULT}}"
            )
        return value or default

    return _VARIABLE.sub(found, text)


def _value_of(text: str) -> object:
    """Return what a text is in TOML; the text itself if it is nothing there."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


_OTHER_WORDS = (("tasks", "requests"), ("pushers", "clients"))
"""What a streamer and a broker call alike: each may stand for the other one."""


def _near(word: str, known: Iterable[str], shape: str) -> str:
    """Return what to use instead of an unknown word."""
    known = list(known)
    meant = [
        word.replace(one, other)
        for pair in _OTHER_WORDS
        for one, other in (pair, pair[::-1])
        if one in word and word.replace(one, other) in known
    ]
    near = meant or get_close_matches(word, known, 1)
    if near:
        return f"did you mean {shape.format(near[0])}?"
    verb = "are" if len(known) > 1 else "is only"
    return f"there {verb} {', '.join(shape.format(each) for each in known)}"


def _spec(path: Path, settings: Settings, word: str, kind: Kind) -> Spec:
    def value(table: str, key: str) -> Any:
        setting = settings.get((table, key))
        return setting.value if setting is not None else None

    name = value("device", "name")
    if name is None:
        if path in {each.path for each in shipped()}:
            raise UsageError(
                f"--name is missing; say with it under which name {kind.named_for}"
            )
        raise ConfigError(
            f"{path}: it has no device.name; say under which name {kind.named_for}, "
            "there or with --name NAME"
        )
    insecure = _insecure(settings)
    _check_place(settings, word, insecure=insecure)
    _check_journal(settings, kind)
    names, connect = _backend(settings, word, str(name), insecure=insecure)
    link = LinkPlace(value("link", "listen"), value("link", "connect"))
    if word == BRIDGE:
        _check_link(path, settings, link, insecure=insecure)
    return Spec(
        word, str(name), _limits(path, settings, kind), value("device", "insecure"),
        value("frontend", "bind"), value("frontend", "advertise"), value("journal", "path"),
        _leases(settings), _drain_s(settings), _health(settings, insecure=insecure),
        names, connect, link, _rules(settings),
        bool(value("device", "statistics")),
        _history(path, settings, kind), _space(settings),
    )  # fmt: skip


def _insecure(settings: Settings) -> bool:
    """Return whether the device may be open to other machines."""
    said = settings.get(("device", "insecure"))
    return read_environment(os.environ).insecure if said is None else bool(said.value)


def _space(settings: Settings) -> str | None:
    """Return the space that a file names. Raises ConfigError for what cannot be one."""
    setting = settings.get(("device", "space"))
    if setting is None:
        return None
    return check_space(str(setting.value), f"{setting.where}: device.space")


def _drain_s(settings: Settings) -> float:
    setting = settings.get(("device", "drain_s"))
    if setting is None:
        return DRAIN_S
    assert isinstance(setting.value, int | float)  # _check has looked
    if not 0 <= setting.value <= DRAIN_S_MAX:
        raise ConfigError(
            f"{setting.where}: device.drain_s is {setting.value!r}; use a number from 0 to "
            f"{DRAIN_S_MAX:g}"
        )
    return setting.value


def _health(settings: Settings, *, insecure: bool) -> HealthPlace | None:
    """Return where the process answers about its health. Raises ConfigError."""
    setting = settings.get(("health", "bind"))
    if setting is None:
        return None
    try:
        return health_place(str(setting.value), insecure=insecure)
    except ConfigError as error:
        raise ConfigError(f"{setting.where}: {error}") from error


def _check_place(settings: Settings, kind: str, *, insecure: bool) -> None:
    """Raise ConfigError for a place at which no device can listen."""
    for table, key in (("device", "name"), ("frontend", "bind"), ("frontend", "advertise")):
        setting = settings.get((table, key))
        if setting is None:
            continue
        try:
            check_place(kind, insecure=insecure, **{key: str(setting.value)})
        except UsageError as error:
            raise ConfigError(f"{setting.where}: {error}") from error


def _check_journal(settings: Settings, kind: Kind) -> None:
    """Raise ConfigError for a path at which no journal can be."""
    check = check_folder if kind.journal_is_folder else check_file
    setting = settings.get(("journal", "path"))
    if setting is not None:
        try:
            check(Path(str(setting.value)))
        except ConfigError as error:
            raise ConfigError(f"{setting.where}: journal.path: {error}") from error


def _leases(settings: Settings) -> dict[str, float]:
    """Return the lease of each service that has one of its own. Raises ConfigError."""
    leases: dict[str, float] = {}
    for (table, service), setting in settings.items():
        if table != "leases":
            continue
        try:
            leases[check_name(service)] = MdpLimits(lease_s=setting.value).lease_s  # type: ignore[arg-type]  # _check has looked
        except UsageError as error:  # a ConfigError too
            said = str(error).replace("limit lease_s", f"leases.{service}")
            raise ConfigError(f"{setting.where}: {said}") from error
    return leases


def _backend(
    settings: Settings, word: str, name: str, *, insecure: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which names a router passes on, and to which URLs a device connects."""
    said = {key: each for (table, key), each in settings.items() if table == "backend"}
    values = {key: tuple(map(str, cast("list[str]", each.value))) for key, each in said.items()}
    names, connect = values.get("names", ()), values.get("connect", ())
    where = ""
    try:
        where = said["names"].where if names else ""
        passed = passed_on(name, names)
        where = said["connect"].where if connect else ""
        for url in connect:
            if word == ROUTER:
                address_of(url, passed)
            else:
                check_upstream(url, insecure=insecure)
        if word == STREAMER and len(connect) > 1:
            raise ConfigError(f"backend.connect has {len(connect)} URLs; a streamer has one")
    except UsageError as error:  # a ConfigError too
        raise ConfigError(f"{where}: {error}") from error
    return names, connect


def _check_link(path: Path, settings: Settings, link: LinkPlace, *, insecure: bool) -> None:
    """Raise ConfigError for a place at which no end of a bridge can meet the other."""
    keys = (("link", "connect"), ("link", "listen"))
    said = [settings[key] for key in keys if key in settings]
    try:
        link.check(insecure=insecure)
    except UsageError as error:  # a ConfigError too
        raise ConfigError(f"{said[0].where if said else path}: {error}") from error


def _rules(settings: Settings) -> tuple[Rule, ...]:
    """Return the rules of a bridge; the one of `--set` alone, if there is one."""
    rules: dict[str, dict[str, _Setting]] = {}
    for (table, key), setting in settings.items():
        if table == "rules":
            number, _, plain = key.rpartition(".")
            rules.setdefault(number, {})[plain] = setting
    chosen = [rules[""]] if "" in rules else [*rules.values()]
    made = tuple(_rule(rule) for rule in chosen)
    try:
        for direction in ("out", "in"):
            topics_of(made, direction)
    except ConfigError as error:
        last = next(reversed(chosen[-1].values()))
        raise ConfigError(f"{last.where}: {error}") from error
    return made


def _rule(said: Mapping[str, _Setting]) -> Rule:
    values: dict[str, Any] = {key: each.value for key, each in said.items()}
    if "topics" in values:
        values["topics"] = tuple(values["topics"])
    try:
        return Rule(**values)
    except UsageError as error:  # a ConfigError too
        key = "direction" if str(error).startswith("direction") else "topics"
        raise ConfigError(f"{said[key].where}: rules.{key}: {error}") from error


def _limits(path: Path, settings: Settings, kind: Kind) -> Limits:
    limits: type[Limits] = kind.limits
    return _made(path, settings, "limits", limits)


def _history(path: Path, settings: Settings, kind: Kind) -> ForwarderHistory | None:
    """Return what a device keeps of what passed; nothing if it has no such table."""
    if kind.history is None or not any(table == HISTORY for table, _ in settings):
        return None
    return _made(path, settings, HISTORY, kind.history)


def _made(path: Path, settings: Settings, name: str, make: type[M]) -> M:
    """Return the limits that a table says. Raises ConfigError for what cannot work."""
    limits = {key: each for (table, key), each in settings.items() if table == name and key}
    values: dict[str, Any] = {key: each.value for key, each in limits.items()}
    try:
        return make(**values)
    except ConfigError as error:
        for key, each in limits.items():
            if f"limit {key} " in str(error):
                said = str(error).replace(f"limit {key} ", f"{name}.{key} ")
                raise ConfigError(f"{each.where}: {said}") from error
        raise ConfigError(f"{path}: {error}") from error
