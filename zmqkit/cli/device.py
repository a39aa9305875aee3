"""`zmqkit device`: which device files there are, what one may say, and what is wrong in it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from zmqkit.cli.main import CANTCREAT, CONFIG, CommandGroup, failed
from zmqkit.cli.manners import exits
from zmqkit.cli.output import say, say_json, table
from zmqkit.device.files import find, find_to_show, shipped, started_from
from zmqkit.device.journals import check_journals
from zmqkit.device.kinds import KINDS, Spec
from zmqkit.device.options import ANY
from zmqkit.device.spec import kind_in, read_spec
from zmqkit.errors import ConfigError, JournalError, UsageError

_WIDTH = 92

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_device = click.argument("device", metavar="DEVICE|FILE")


@click.group("device", cls=CommandGroup, short_help="Look after device files.")
def command() -> None:
    """Look after device files, which `zmqkit run` runs.

    DEVICE is one that comes with zmqkit, FILE a device file of your own.

    \b
    zmqkit device ls
    zmqkit device init thumbnails --from streamer-durable
    zmqkit device check thumbnails.toml
    zmqkit device show streamer --options
    """


@command.command("ls", short_help="List the devices that come with zmqkit.")
@_as_json
def ls(*, as_json: bool) -> int:
    """List the devices that come with zmqkit, with their kinds."""
    rows = [(each, kind_in(each.path)[0]) for each in shipped()]
    if as_json:
        for each, kind in rows:
            say_json(
                {"name": each.name, "kind": kind, "about": each.about, "path": str(each.path)}
            )
        return 0
    for line in table(
        [("NAME", "KIND", "WHAT"), *((each.name, kind, each.about) for each, kind in rows)]
    ):
        say(line)
    return 0


@command.command("show", short_help="Print a device file, or all that one may say.")
@_device
@click.option("--options", is_flag=True, help="Print what a file of its kind may say.")
@_as_json
@exits
def show(*, device: str, options: bool, as_json: bool) -> int:
    """Print a device file as it stands, or with --options all that one of its kind may say.

    `zmqkit device show zmqkit@.service` prints a unit for systemd, `Containerfile` what a
    container is built from, and `zmqkit.json` a dashboard for Grafana.
    """
    if not options:
        path = find_to_show(device)
        text = path.read_text(encoding="utf-8")
        if as_json:
            say_json({"path": str(path), "text": text})
        else:
            click.echo(text, nl=False)
        return 0
    rows = list(_options(find(device)))
    if as_json:
        for row in rows:
            say_json(row)
        return 0
    cells = [[str(row["key"]), _shown(row["default"]), str(row["unit"])] for row in rows]
    head, *lines = table([("OPTION", "DEFAULT", "UNIT"), *cells])
    say(head)
    for line, row in zip(lines, rows, strict=True):
        say(line)
        for words in textwrap.wrap(str(row["says"]), _WIDTH):
            say(f"    {words}")
    return 0


def _shown(default: object) -> str:
    """Return a default as a device file has it."""
    if default is None:
        return "-"
    return f"{default:_}" if isinstance(default, int) else f"{default:g}"


def _options(path: Path) -> Iterator[dict[str, object]]:
    """Return a row for each option of the kind of device that a file has."""
    for name, options in kind_in(path)[1].described.items():
        for key, option in options.items():
            yield {
                "key": f"{name}.{'NAME' if key == ANY else key}",
                "type": option.type,
                "default": option.default,
                "unit": option.unit(key),
                "says": option.says,
            }


@command.command("check", short_help="Say what is wrong with a device file or its paths.")
@_device
@click.option("--name", help="What the device is called, whatever the file says.")
@click.option("--set", "sets", multiple=True, metavar="TABLE.KEY=VALUE",
              help="Change a setting of the file; repeatable.")  # fmt: skip
@_as_json
@exits
def check(*, device: str, name: str | None, sets: tuple[str, ...], as_json: bool) -> int:
    """Say what is wrong with a device file, with the line and the remedy; run nothing.

    It looks whether a journal can be at the path, and whether what is there is one of this
    device, too. Exit code 78 means that something is wrong.
    """
    try:
        spec = read_spec(find(device), name, sets)
        _check_journal(spec)
    except ConfigError as error:
        if not as_json:
            raise
        say_json({"device": device, "in_order": False, "wrong": str(error)})
        return CONFIG
    if as_json:
        say_json({"device": device, "in_order": True, "kind": spec.kind, "name": spec.name})
    else:
        say(f"{spec.kind} {spec.name!r} is in order")
    return 0


def _check_journal(spec: Spec) -> None:
    """Raise ConfigError if what is at the path of a journal is not this device's."""
    if spec.journal is None:
        return

    is_folder = KINDS[spec.kind].journal_is_folder
    try:
        check_journals(Path(spec.journal), spec.name, is_folder=is_folder)
    except (JournalError, UsageError) as error:
        raise ConfigError(f"journal.path: {error}") from error


@command.command("init", short_help="Write a device file to start from.")
@click.argument("name")
@click.option("--from", "device", required=True, metavar="DEVICE", help="What to start from.")
@click.option("--file", "file", metavar="FILE", help="Where to write it; else NAME.toml.")
@exits
def init(*, name: str, device: str, file: str | None) -> int:
    """Write a device file with comments for a device of this NAME, and make it a program.

    A file that is there is left as it is: exit code 73.
    """
    path = Path(file or f"{name}.toml")
    run = str(path) if path.is_absolute() or path.parent != Path() else f"./{path}"
    text = started_from(find(device).read_text(encoding="utf-8"), name, run)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        remedy = "name another one with --file"
        return failed(ConfigError(f"{path}: {why}; {remedy}"), CANTCREAT)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    say(f"{path} is written; zmqkit device check {path}, then zmqkit run {run}")
    return 0
