"""`zmqkit ls`: who is there."""

from __future__ import annotations

import threading
from dataclasses import asdict

import click

from zmqkit.cli.output import duration, say, table, tell, to_json
from zmqkit.core.effects import Tell
from zmqkit.core.membership import EVERYBODY
from zmqkit.drivers import node as nodes
from zmqkit.drivers.directory import Listing

WAIT_S = 1.0

_HEAD = ("NAME", "ROLE", "ADDRESS", "AGE", "STATE")


@click.command("ls", short_help="List who is there.")
@click.option("--json", "as_json", is_flag=True, help="One array of objects, in one line.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen before listing.",
)
@click.option("--insecure", is_flag=True, help="List other machines too, asked in plain text.")
def command(*, as_json: bool, wait_s: float, insecure: bool) -> None:
    """List who is there: name, role, address, age and state.

    The age is since when the role is known here. The state is `up` when its process answers,
    `evasive` when it is connected and silent, `connecting` or `lost` on the way there or back,
    `gone` when it is announced and nobody answers, `heard` when nobody asked it.
    """
    found = look(wait_s, insecure=insecure)
    if as_json:
        say(to_json([{**asdict(row), "age_s": round(row.age_s, 3)} for row in found]))
    elif found:
        rows = [(r.name, r.role, r.address, duration(r.age_s), r.state) for r in found]
        for line in table([_HEAD, *rows]):
            say(line)
    else:
        tell(f"nobody was found within {wait_s:g} s")


def look(wait_s: float, *, insecure: bool) -> list[Listing]:
    """Everybody that is found within a time, on this machine or, if insecure, the network."""
    node = nodes.acquire()
    try:
        open = insecure or node.environment.insecure
        node.want(EVERYBODY, _pass_over, role="", open=open)
        threading.Event().wait(wait_s)
        return node.directory()
    finally:
        nodes.release(node)


def _pass_over(tell: Tell) -> None:
    """News are not waited for: the list at the end says all."""
