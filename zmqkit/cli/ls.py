"""`zmqkit ls`: list the services, publishers and workers that are there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from types import MappingProxyType

import click

from zmqkit.cli.main import INTERRUPTED, log_to_stderr
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import duration, say, say_json, table, tell
from zmqkit.cli.searched import searched_for_all
from zmqkit.cli.served import served
from zmqkit.cli.watch import Watch
from zmqkit.core.effects import Tell
from zmqkit.core.membership.interests import EVERYBODY
from zmqkit.core.tasks.lease import STREAMER
from zmqkit.errors import ConfigError
from zmqkit.limits import WAIT_S_MAX
from zmqkit.model import BROKER, ROUTED
from zmqkit.node import node as nodes
from zmqkit.node.listings import Listing, StaticPeer
from zmqkit.node.node import Node

WAIT_S = 1.0
LATE_S = 0.2
"""How shortly before the end a role may be found and still be taken for the last one."""

_TASKS = ("waiting", "oldest_s", "leased", "failed", "dead", "workers")
"""What is told of a streamer's tasks, out of all that it answers."""

_HEAD = ("NAME", "ROLE", "ADDRESS", "STATE")
_WATCH_HEAD = (*_HEAD, "KNOWN FOR")


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
@click.option("--all-spaces", is_flag=True, help="List the roles of other spaces, too.")
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
    all_spaces: bool,
    insecure: bool,
    verbose: int,
) -> None:
    """List the services, publishers, workers and devices that are there, and in which state.

    Clients, subscribers and pushers only look, so nobody can list them. The state is `up` when
    its process answers, `evasive` when it is connected and silent, `connecting` or `lost` on
    the way there or back, `gone` when it is announced and nobody answers, `heard` when nobody
    asked it. Below a streamer of yours on this machine stands how many tasks it has.

    With --watch a terminal is drawn anew whenever something changes. Elsewhere each change is a
    line: + for what came, ~ for what changed, - for what went, or with --json an object whose
    key `change` is added, changed or removed.

    A service that a broker or router has is shown with that device's name: `service via NAME`.
    While a device has a name, it is what others use under that name; whoever is there without
    a device is `behind a device`. `no worker` or `no instance` means that a streamer has no
    worker, or a device nobody for that service: what comes waits.

    It lists the space of ZMQKIT_SPACE, or else the default space. With --all-spaces the others
    follow, as NAME@SPACE; they are heard of and not asked.

    \b
    zmqkit ls
    zmqkit ls -v
    zmqkit ls --watch --for 60
    """
    if for_s is not None and not watch:
        raise click.UsageError("--for says how long to --watch; without it use --wait")
    news = threading.Event()
    with listening(news, insecure=insecure) as node:
        rows_of = partial(node.listings, all_spaces=all_spaces)
        if watch:

            def draw(rows: list[Listing]) -> list[str]:
                nobody = f"nobody was found yet: {searched_for_all(None, insecure=insecure)}"
                shown = lines(rows, verbose=bool(verbose), spaces=all_spaces, ages=True)
                return shown or [nobody]

            watch_on(Watch(rows_of, news, None if as_json else draw), for_s)
            return
        threading.Event().wait(min(wait_s, WAIT_S_MAX))
        found = rows_of()
        peers = node.static_peers() if verbose else []
        is_served = served(found, insecure=insecure)
        where = searched_for_all(None, insecure=insecure)
    tasks, detailed = tasks_here(found), bool(verbose)
    if as_json:
        rows = [_as_object(row, tasks, is_served) for row in found]
        say_json([*rows, *map(asdict, peers)])
        return
    shown = lines(found, verbose=detailed, tasks=tasks, is_served=is_served, spaces=all_spaces)
    _say_all([*shown, *map(_peer, peers)], found, wait_s, where)


def _peer(peer: StaticPeer) -> str:
    return f"static peer {peer.address}: {peer.state}"


def _say_all(shown: list[str], found: list[Listing], wait_s: float, where: str) -> None:
    """Print these lines, and tell if nobody was found, or perhaps not all.

    where: what to say of where was searched.
    """
    for text in shown:
        say(text)
    if not found:
        tell(f"nobody was found within {wait_s:g} s: {where}")
    elif is_cut_short(found):
        tell(f"there may be more: some were found just before the {wait_s:g} s of --wait ended")


def watch_on(watching: Watch, for_s: float | None) -> None:
    """Show changes for so long, or until Ctrl-C, which is no error here."""
    try:
        watching.run(for_s)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            tell("")  # ends the line in which the terminal shows ^C
        raise click.exceptions.Exit(INTERRUPTED) from None


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


def tasks_here(found: list[Listing]) -> dict[str, dict[str, object]]:
    """Return how many tasks the streamers among these roles have, by their labels.

    Only this user's streamers on this machine tell that, at their sockets.
    """
    if not any(row.role == STREAMER for row in found):
        return {}
    from zmqkit.roles.asking import running  # it takes a moment, and most need it not

    with suppress(ConfigError):  # nobody tells anything where the folder cannot be used
        asked = [answer for _, answer in running() if answer.get("instance")]
        return {str(each["instance"]): {key: each[key] for key in _TASKS} for each in asked}
    return {}


def _as_object(
    row: Listing, tasks: Mapping[str, object], is_served: Mapping[str, bool]
) -> dict[str, object]:
    """Return a row for programs, with what is asked of queues and of services of devices."""
    if row.role == STREAMER:
        return {**asdict(row), "tasks": tasks.get(row.label)}
    if row.role in (BROKER, ROUTED):
        return {**asdict(row), "served": is_served.get(row.label)}
    return asdict(row)


def lines(
    found: list[Listing],
    *,
    verbose: bool,
    tasks: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    is_served: Mapping[str, bool] = MappingProxyType({}),
    spaces: bool = False,
    ages: bool = False,
) -> list[str]:
    """Return the rows as a table, or no lines if there are no rows.

    verbose: whether each row has its details below it. tasks: what `tasks_here` returns.
    is_served: what `served` returns. spaces: whether names have their space behind them. ages:
    whether each row says for how long the role is known.
    """
    if not found:
        return []
    lacking = {label for label, yes in is_served.items() if not yes}
    lacking |= {label for label, each in tasks.items() if not each["workers"]}
    rows = [
        (
            f"{r.name}@{r.space}" if r.space and spaces else r.name,
            kind(r),
            r.address,
            state(r, lacks=r.label in lacking),
            *([duration(r.age_s)] if ages else []),
        )
        for r in found
    ]
    head, *body = table([_WATCH_HEAD if ages else _HEAD, *rows])
    shown = [head]
    for row, listing in zip(body, found, strict=True):
        shown.append(row)
        if listing.label in tasks:
            shown.append(f"    tasks: {_told(tasks[listing.label])}")
        if verbose:
            shown += details(listing)
    return shown


def _told(tasks: Mapping[str, object]) -> str:
    """Return numbers of tasks for people."""
    oldest_s = tasks["oldest_s"]
    since = f" (oldest {duration(oldest_s)})" if isinstance(oldest_s, float) else ""
    others = [f"{tasks[key]:,} {key}" for key in ("leased", "failed", "dead")]
    return ", ".join([f"{tasks['waiting']:,} waiting{since}", *others])


def state(listing: Listing, *, lacks: bool = False) -> str:
    """Return the state of a role, and whether others use a device of its name instead.

    lacks: whether it has nobody who would do what comes.
    """
    if lacks:
        return f"{listing.state}, no {'worker' if listing.role == STREAMER else 'instance'}"
    return f"{listing.state}, behind a device" if listing.behind_device else listing.state


def kind(listing: Listing) -> str:
    """Return what a role is, in words; a broker's service with the name of that broker."""
    return f"service via {listing.via}" if listing.via else listing.role


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
