"""`zmqkit call`: make one call, or one for each line of standard input; print the values."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import click

import zmqkit
from zmqkit.blocking.client import BoundClient
from zmqkit.cli.call_all import call_all
from zmqkit.cli.completing import methods, methods_of, names
from zmqkit.cli.numeric import Number
from zmqkit.cli.oneway import Failures
from zmqkit.cli.output import say, say_json, say_value, table
from zmqkit.cli.stdin import standard_input
from zmqkit.limits import PRIORITY, PRIORITY_MAX, TIMEOUT_S, WAIT_S
from zmqkit.roles.foreign import PROTOCOLS

_ARGUMENT = re.compile(r"$|[^-]|-$|-\d|-Infinity$|-v+$")
"""How a token begins that is no unknown option: -5 is a number, -vv a known option."""

_LOOK_S = 0.05
"""How long a call waits at least, and how often it is looked whether anybody serves."""

_KEYWORD = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


class Values(click.Command):
    """A command whose arguments may be negative numbers. It refuses other unknown options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a command line in which `-5` is a number and `-x` a mistake."""
        known = {name for each in self.get_params(ctx) for name in each.opts}
        for token in args[: args.index("--")] if "--" in args else args:
            name = token.partition("=")[0]
            if name not in known and not _ARGUMENT.match(token):
                raise click.NoSuchOption(name, ctx=ctx)
        return super().parse_args(ctx, args)


@dataclass(slots=True)
class Arguments:
    """The arguments of a call, read from the command line."""

    args: list[object] = field(default_factory=list)
    kwargs: dict[str, object] = field(default_factory=dict)


@click.command(
    "call",
    short_help="Call a method of a service.",
    cls=Values,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("service", shell_complete=names("service"))
@click.argument("method", required=False, shell_complete=methods)
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long a call may take, or each value of a stream.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Number(min=0, min_open=True),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a first instance of the service; a router or broker that has "
    "none is none.",
)
@click.option(
    "--priority",
    type=click.IntRange(0, PRIORITY_MAX),
    default=PRIORITY,
    show_default=True,
    help="0 to 9; 9 is served first.",
)
@click.option("--header", "headers", multiple=True, metavar="KEY=VALUE", help="Travels along.")
@click.option(
    "--lines", is_flag=True, help="One call for each line of standard input, until one fails."
)
@click.option(
    "--notify",
    is_flag=True,
    help="One way: print nothing, and wait at the end until all have run.",
)
@click.option(
    "--all",
    "to_all",
    is_flag=True,
    help="Call all instances; a line for each, with --json an object, and errors as well.",
)
@click.option("--instance", metavar="LABEL", help="Call this one, as `zmqkit ls -v` shows it.")
@click.option("--json", "as_json", is_flag=True, help="Print text as JSON too, for programs.")
@click.option("--insecure", is_flag=True, help="Use other machines too, in plain text.")
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    help="The URL is that of a broker which speaks RFC 7 or RFC 18 alone.",
)
def command(
    *,
    service: str,
    method: str | None,
    arguments: tuple[str, ...],
    timeout_s: float,
    wait_s: float,
    priority: int,
    headers: tuple[str, ...],
    lines: bool,
    notify: bool,
    to_all: bool,
    instance: str | None,
    as_json: bool,
    insecure: bool,
    protocol: str | None,
) -> None:
    """Call METHOD of SERVICE, a name or a URL, and print what it gives.

    Without METHOD it lists the methods, and what each is for; with --json as objects.

    An argument that is JSON is passed as what it means, any other as text: 5 is a number, tea
    is text, '"5"' is text too. NAME=VALUE, where NAME is a Python name, passes VALUE by
    keyword; write '"a=b"' for the text. A lone - stands for all of standard input, read by the
    same rule without its last line end; what is not UTF-8 is passed as bytes. With --lines each
    line of standard input makes a call, with the line as its last argument; the first that
    fails is the last, and the error names it. What follows -- is never an option. NaN, Infinity
    and -Infinity are numbers, although JSON has no such.

    Each value of a method that streams is printed as it comes; --timeout is for each.

    Text is printed plainly and everything else as JSON, in which bytes are base64, times ISO
    8601, and numbers that JSON does not have "NaN", "Infinity" and "-Infinity". Bytes alone go
    out unchanged into a pipe or file; on a terminal control characters are escaped, as they are
    in all that goes to standard error. Errors are text on standard error, also with --json.
    With --protocol the method is mdp, and each argument is a frame, as it stands.

    \b
    zmqkit call math
    zmqkit call math sqrt 2
    zmqkit call orders price tea quantity=2
    zmqkit call words count - <README.md | jq .the
    zmqkit call tcp://10.0.0.5:5555/echo mdp hello --protocol mdp1
    """
    _check(method, protocol, instance, lines=lines, notify=notify, to_all=to_all)
    if method is None:
        _list(methods_of(service, timeout_s, wait_s, insecure=insecure), as_json=as_json)
        return
    calls = calls_of(arguments, protocol, by_line=lines)
    made = zmqkit.Client(service, insecure=insecure or None, protocol=protocol)
    with Failures() as failures, made as client:
        left_s = wait_s if notify or protocol else _await_service(client, service, wait_s)
        view = client.options(timeout_s=timeout_s, wait_s=left_s, priority=priority,
                              headers=headers_of(headers), instance=instance)  # fmt: skip
        make = partial(_make, view, method, to_all=to_all, notify=notify, as_json=as_json)
        for number, each in enumerate(calls, 1):
            make(each, f"line {number}: " if lines else "")
        if notify:
            client.close(timeout_s)
            failures.check(client, timeout_s)


def _check(
    method: str | None,
    protocol: str | None,
    instance: str | None,
    *,
    lines: bool,
    notify: bool,
    to_all: bool,
) -> None:
    """Refuse options that do not go together."""
    if method is None and (lines or notify or to_all or protocol is not None):
        raise click.UsageError("name a METHOD; it is mdp where there is a --protocol")
    if to_all and (notify or instance):
        raise click.UsageError("--all is for answers of all; leave --notify or --instance out")


def _make(
    view: BoundClient,
    method: str,
    each: Arguments,
    place: str,
    *,
    to_all: bool,
    notify: bool,
    as_json: bool,
) -> None:
    """Make a call, and print what it gives; an error says first in which place it was."""
    try:
        if to_all:
            call_all(view, method, each.args, each.kwargs, as_json=as_json)
        elif notify:
            view.notify(method, *each.args, **each.kwargs)
        else:
            _print_values(view, method, each, as_json=as_json)
    except zmqkit.ZmqkitError as error:
        error.args = (f"{place}{error}",)
        raise


def _await_service(client: zmqkit.Client, service: str, wait_s: float) -> float:
    """Wait until somebody serves; return how long to wait further.

    A device that has nobody for the service is no instance: a call would wait there until its
    time is over. Raises NoService if there are only such when the time is over.
    """
    until = time.monotonic() + wait_s
    if client.ready(timeout_s=wait_s):
        while not any(each["served"] for each in client.instances()):
            if time.monotonic() >= until:
                where = ", ".join(str(each["address"]) for each in client.instances())
                raise zmqkit.NoService(
                    f"nobody serves {service!r}: the device at {where} has no service for it; "
                    "start one: a router finds it by itself, and for a broker it needs via="
                )
            threading.Event().wait(_LOOK_S)
    return max(_LOOK_S, until - time.monotonic())


def _print_values(view: BoundClient, method: str, each: Arguments, *, as_json: bool) -> None:
    """Print the values of a call as they come."""
    with view.stream(method, *each.args, **each.kwargs) as values:
        for value in values:
            say_value(value, as_json=as_json)


def _list(rows: list[dict[str, object]], *, as_json: bool) -> None:
    """Print the methods of a service, those that stream with how to tell."""
    if as_json:
        say_json(rows)
        return
    shown = [(f"{row['name']}{row['signature']}", _about(row)) for row in rows]
    for line in table([("METHOD", "ABOUT"), *shown]):
        say(line)


def _about(row: dict[str, object]) -> str:
    words = [word for word in ("streams", "idempotent") if row[word]]
    return "; ".join([*([", ".join(words)] if words else []), *filter(None, [str(row["doc"])])])


def parse(text: str) -> object:
    """Return the value that the text means as JSON, or the text itself if it is not JSON.

    NaN and Infinity count as JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def calls_of(
    arguments: tuple[str, ...], protocol: str | None, *, by_line: bool
) -> Iterable[Arguments]:
    """Return the arguments of each call: of one, or of one for each line."""
    if by_line and "-" in arguments:
        raise click.UsageError("- and --lines both read standard input; use one")
    read = _read if protocol is None else _read_frames
    return _by_line(read, arguments, standard_input()) if by_line else [read(arguments)]


def _read(arguments: tuple[str, ...]) -> Arguments:
    """Return the arguments of a call. A lone dash stands for standard input."""
    _check_dashes(arguments)
    read = Arguments()
    for text in arguments:
        keyword = _KEYWORD.fullmatch(text)
        if keyword is None:
            read.args.append(_parsed(standard_input().read()) if text == "-" else parse(text))
        elif keyword[1] in read.kwargs:
            raise click.UsageError(f"{keyword[1]!r} is given twice; leave one out")
        else:
            read.kwargs[keyword[1]] = parse(keyword[2])
    return read


def _read_frames(arguments: tuple[str, ...]) -> Arguments:
    """Return the frames of a request. A lone dash stands for standard input."""
    _check_dashes(arguments)
    frames = (_text(standard_input().read()) if each == "-" else each for each in arguments)
    return Arguments([*frames])


def _check_dashes(arguments: tuple[str, ...]) -> None:
    if arguments.count("-") > 1:
        raise click.UsageError("standard input can be read once; use - once")


def _by_line(
    read: Callable[[tuple[str, ...]], Arguments], arguments: tuple[str, ...], lines: BinaryIO
) -> Iterator[Arguments]:
    """Yield the arguments of each call: the given ones and a line, as soon as it is there."""
    for line in lines:
        each = read(arguments)
        each.args.append(_text(line) if read is _read_frames else _parsed(line))
        yield each


def _parsed(data: bytes) -> object:
    """Return bytes from outside as an argument."""
    text = _text(data)
    return parse(text) if isinstance(text, str) else text


def _text(data: bytes) -> str | bytes:
    """Return bytes from outside as text without its last line end, if they are text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    return text.removesuffix("\n").removesuffix("\r")


def headers_of(texts: tuple[str, ...]) -> dict[str, object]:
    """Return the headers in texts such as `user=ada`. Raises BadParameter."""
    headers = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--header")
        headers[key] = parse(value)
    return headers
