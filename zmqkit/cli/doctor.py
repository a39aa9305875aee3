"""`zmqkit doctor`: why one program does not see another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from zmqkit.cli.completing import names
from zmqkit.cli.main import CANTCREAT, FAILED, CommandGroup, failed
from zmqkit.cli.manners import exits
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json
from zmqkit.errors import ConfigError
from zmqkit.model import Address, Url, check_name, parse_url

if TYPE_CHECKING:
    from zmqkit.doctor.facts import Facts
    from zmqkit.doctor.findings import Finding
    from zmqkit.doctor.look import Request

WAIT_S = 1.0
PORT = 5650
_ROLES = ("service", "publisher", "worker", "sink", "majordomo")

_json = click.option("--json", "as_json", is_flag=True, help="One object, in one line.")
_report = click.option(
    "--report", metavar="FILE", help="Write findings and facts to a file, to be sent."
)
_insecure = click.option(
    "--insecure", is_flag=True, help="As a program that may use the network, in plain text."
)
_wait = click.option(
    "--wait",
    "wait_s",
    type=Number(min=0, max=60),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen for those who are there.",
)
_port = click.option(
    "--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, metavar="PORT"
)


class Doctor(CommandGroup):
    """Commands, of which `look` may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what names no command for the arguments of `look`."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["look", *args]
        return super().parse_args(ctx, args)


@click.group("doctor", cls=Doctor, short_help="Say why one program does not see another.")
def command() -> None:
    """Name the cause of "A does not see B", with evidence and a remedy.

    Without a command, or with a name, it looks at this machine. `listen` and `probe` look at
    what passes between two machines: the first runs on one of them, the second on the other.

    It announces nothing. It asks by multicast who is there, on the network too, as any program
    does that looks for a name. Only with --insecure (or ZMQKIT_INSECURE=1), and for `probe`,
    does it connect to other machines.

    \b
    zmqkit doctor
    zmqkit doctor orders --role service
    zmqkit doctor listen
    zmqkit doctor probe 10.0.0.5 orders

    Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage, 69 the port is taken, 73 the
    file to write is there already.
    """


@command.command("look", short_help="Look at this machine, and at who has NAME.")
@click.argument("name", required=False, shell_complete=names())
@click.option("--role", type=click.Choice(_ROLES), help="What the name is looked for as.")
@_insecure
@_wait
@_json
@_report
@exits
def look(
    *,
    name: str | None,
    role: str | None,
    insecure: bool,
    wait_s: float,
    as_json: bool,
    report: str | None,
) -> int:
    """Look at this machine, and at whoever has NAME: a name or tcp://HOST:PORT."""
    from zmqkit.doctor.look import gather

    url = parse_url(name) if name is not None and "://" in name else None
    if url is not None and not url.port:
        raise click.UsageError(f"{name!r} has no port to ask at; use tcp://HOST:PORT")
    request = _request(name or "", role or "", url, insecure=insecure, wait_s=wait_s)
    return _judged(asyncio.run(gather(request)), as_json=as_json, report=report)


@command.command("probe", short_help="Test what passes to and from HOST.")
@click.argument("host")
@click.argument("name", required=False)
@_port
@_wait
@_json
@_report
@exits
def probe(
    *, host: str, name: str | None, port: int, wait_s: float, as_json: bool, report: str | None
) -> int:
    """Test what passes between this machine and HOST, where `zmqkit doctor listen` runs.

    With NAME it also asks whether a role of that name there is open to the network. It connects
    to HOST, and to those it finds on the network, in plain text.
    """
    from zmqkit.doctor.look import gather
    from zmqkit.doctor.probe import Probe

    request = _request(name or "", "", None, insecure=True, wait_s=wait_s)

    async def both() -> Facts:
        facts = await gather(request)
        return replace(facts, probed=await Probe(facts, Address(host, port)).run())

    return _judged(asyncio.run(both()), as_json=as_json, report=report)


@command.command("listen", short_help="Answer the probe of another machine.")
@_port
@click.option(
    "--for", "for_s", type=Number(min=0), metavar="SECONDS",
    help="How long; until it is interrupted unless told.",
)  # fmt: skip
@exits
def listen(*, port: int, for_s: float | None) -> int:
    """Answer `zmqkit doctor probe` of other machines, and print who came.

    It is open to whoever reaches its port, in plain text, for as long as it runs. It says what
    is wrong with this machine's network, whether a name is here, and what time it is.
    """
    from zmqkit.doctor.listen import Listener
    from zmqkit.doctor.look import gather
    from zmqkit.doctor.rules import diagnose

    async def answer() -> int:
        facts = await gather(_request("", "", None, insecure=True, wait_s=0.0))
        findings = diagnose(facts)
        _show(facts, findings)
        listener = Listener(facts, findings, tell=say)
        over = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        try:
            bound = await listener.open(port)
            say(
                f"doctor listens at TCP port {bound} and by multicast, open to everybody on "
                "the network in plain text, until Ctrl-C"
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(for_s):
                    await over.wait()
        finally:
            await listener.close()
        return 0

    return asyncio.run(answer())


def _request(
    name: str, role: str, url: Url | None, *, insecure: bool, wait_s: float
) -> Request:
    from zmqkit.doctor.look import Request

    return Request(
        name="" if url is not None or not name else check_name(name),
        role=role,
        url=url,
        insecure=insecure,
        wait_s=wait_s,
        environ=os.environ,
    )


def _judged(facts: Facts, *, as_json: bool, report: str | None) -> int:
    """Show what the facts mean, and return the exit code."""
    from zmqkit.doctor.report import as_object
    from zmqkit.doctor.rules import diagnose

    findings = diagnose(facts)
    if report is not None:
        text = json.dumps(as_object(facts, findings), indent=2, ensure_ascii=False)
        try:
            with open(report, "x", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            return failed(ConfigError(f"{report}: {why}; name another file"), CANTCREAT)
    if as_json:
        say_json(as_object(facts, findings))
    else:
        _show(facts, findings)
    return FAILED if findings else 0


def _show(facts: Facts, findings: list[Finding]) -> None:
    from zmqkit.doctor.report import lines

    for text in lines(facts, findings):
        kind = text.partition(":")[0]
        style = {"error": {"fg": "red"}, "warning": {"fg": "yellow"}}.get(kind, {})
        say(text, **style)
    sys.stdout.flush()
