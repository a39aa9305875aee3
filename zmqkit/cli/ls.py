"""`zmqkit ls`: list the services, publishers and workers that are there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from zmqkit.cli.main import log_to_stderr
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import duration, say, say_json, table, tell
from zmqkit.cli.searched import searched
from zmqkit.cli.watch import Watch
from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.limits import WAIT_S_MAX
from zmqkit.node import node as nodes
from zmqkit.node.listings import Listing, StaticPeer
from zmqkit.node.node import Node

WAIT_S = 1.0
LATE_S = 0.2
"""How shortly before the end a role may be found and still be taken for the last one."""

_HEAD = ("NAME", "ROLE", "ADDRESS", "AGE", "STATE")


@click.command("ls", short_help="List who is there.")
@click.option("--json", "as_json", is_flag=True, help="One array of objects, in one line.")
@click.option(
    "--wait",
    "wait_s",
    type=Number(min=0),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen before listing.",
)
@click.option("--watch", is_flag=True, help="Go on and show what changes.")
@click.option(
    "--for",
    "for_s",
    type=Number(min=0),
    metavar="SECONDS",
    help="With --watch, how long; until it is interrupted unless told.",
)
@click.option("--insecure", is_flag=True, help="List other machines too, asked in plain text.")
@click.option(
    "-v",
    "--verbose",
    count=True,
    callback=log_to_stderr,
    help="Say of each who told of it, where it was asked, and why it is not chosen; log to "
    "standard error, with -vv more.",
)
def command(
    *,
    as_json: bool,
    wait_s: float,
    watch: bool,
    for_s: float | None,
    insecure: bool,
    verbose: int,
) -> None:
    """List the services, publishers and workers that are there, and in which state.

    Clients, subscribers and pushers only look, so nobody can list them. The age is since when
    the role is known here. The state is `up` when its process answers, `evasive` when it is
    connected and silent, `connecting` or `lost` on the way there or back, `gone` when it is
    announced and nobody answers, `heard` when nobody asked it.

    With --watch a terminal is drawn anew whenever something changes. Elsewhere each change is a
    line: + for what came, ~ for what changed, - for what went, or with --json an object whose
    key `change` is added, changed or removed.

    \b
    zmqkit ls
    zmqkit ls -v
    zmqkit ls --watch --for 60
    """
    if for_s is not None and not watch:
        raise click.UsageError("--for says how long to --watch; without it use --wait")
    news = threading.Event()
    with listening(news, insecure=insecure) as node:
        if watch:

            def draw(rows: list[Listing]) -> list[str]:
                nobody = f"nobody was found yet: {searched(EVERYBODY, insecure=insecure)}"
                return lines(rows, verbose=bool(verbose)) or [nobody]

            Watch(node.listings, news, None if as_json else draw).run(for_s)
            return
        threading.Event().wait(min(wait_s, WAIT_S_MAX))
        found, peers = node.listings(), node.static_peers() if verbose else []
        where = searched(EVERYBODY, insecure=insecure)
    if as_json:
        rows: list[Listing | StaticPeer] = [*found, *peers]
        say_json([asdict(row) for row in rows])
        return
    for text in lines(found, verbose=bool(verbose)):
        say(text)
    for each in peers:
        say(f"static peer {each.address}: {each.state}")
    if not found:
        tell(f"nobody was found within {wait_s:g} s: {where}")
    elif is_cut_short(found):
        tell(f"there may be more: some were found just before the {wait_s:g} s of --wait ended")


@contextmanager
def listening(news: threading.Event, *, insecure: bool) -> Iterator[Node]:
    """Enter with this process's node while it looks for everybody.

    news: set whenever there is news.
    insecure: whether the node looks beyond this machine. If false, ZMQKIT_INSECURE decides.
    """
    node = nodes.acquire()

    def hear(tell: Tell) -> None:
        news.set()

    try:
        reach = node.environment.reach(insecure=insecure or None)
        node.want(EVERYBODY, hear, role="", reach=reach)
        yield node
    finally:
        nodes.release(node)


def is_cut_short(found: list[Listing]) -> bool:
    """Return whether roles were still being found when these rows were taken."""
    return min(row.age_s for row in found) < LATE_S


def lines(found: list[Listing], *, verbose: bool) -> list[str]:
    """Return the rows as a table, or no lines if there are no rows.

    verbose: whether each row has its details below it.
    """
    if not found:
        return []
    rows = [(r.name, r.role, r.address, duration(r.age_s), r.state) for r in found]
    head, *body = table([_HEAD, *rows])
    if not verbose:
        return [head, *body]
    pairs = zip(body, found, strict=True)
    return [head, *(line for row, listing in pairs for line in (row, *details(listing)))]


def details(listing: Listing) -> list[str]:
    """Return what there is to say of one role below its row, indented."""
    others = [place for place in listing.asked_at if place != listing.in_use]
    asked = [f"{listing.in_use} (in use)"] if listing.in_use else []
    said = {
        "instance": f"{listing.label} of process {listing.process}",
        "told by": ", ".join(listing.sources),
        "asked at": ", ".join([*asked, *others]) or "no address",
        "why not": listing.why,
    }
    return [f"    {what}: {text}" for what, text in said.items() if text]
