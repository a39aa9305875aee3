"""`zmqkit push`: push a task, or one for each line of standard input, and see it done."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

import click

import zmqkit
from zmqkit.cli.bodies import read_bodies
from zmqkit.cli.call import Values
from zmqkit.cli.completing import names
from zmqkit.cli.main import FAILED, IOERR, TIMEOUT
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import (
    say,
    say_error,
    say_json,
    say_value,
    several,
    show,
    tell,
    text_of,
    to_json,
)
from zmqkit.limits import PRIORITY, PRIORITY_MAX

_LOOK_S = 0.5
_WINDOW = 1000


@click.command(
    "push",
    short_help="Push tasks to the workers of a name.",
    cls=Values,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name", shell_complete=names("worker"))
@click.argument("body", required=False)
@click.option(
    "--wait",
    "shows",
    is_flag=True,
    help="Print each task's result, in order; on a terminal, how far the first one is.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up the tasks that are not done by then.",
)
@click.option("--raw", is_flag=True, help="Bodies are bytes as they are read, no JSON.")
@click.option("--priority", type=click.IntRange(0, PRIORITY_MAX), default=PRIORITY,
              show_default=True, help="9 first.")  # fmt: skip
@click.option("--delay", "delay_s", type=Number(min=0), default=0.0, metavar="SECONDS",
              help="When they may begin, from now.")  # fmt: skip
@click.option("--expires", "expires_s", type=Number(min=0, min_open=True), metavar="SECONDS",
              help="A task that no worker began by then does not run.")  # fmt: skip
@click.option("--id", "own_id", metavar="ID", help="The task's own id; for a single task.")
@click.option("--unique", metavar="KEY", help="Tasks with this key that wait are one task.")
@click.option("--order-by", metavar="KEY", help="Run them one at a time, in order.")
@click.option("--results", type=click.Choice(("ticket", "sink")), default="ticket",
              show_default=True, help="Who gets results: this command, or `zmqkit sink`.",
              )  # fmt: skip
@click.option("--no-wait", is_flag=True,
              help="End once the tasks are on disk, in --journal or at a durable streamer.",
              )  # fmt: skip
@click.option("--journal", metavar="FILE", help="Keep the tasks on disk until they have ended.")
@click.option("--json", "as_json", is_flag=True, help="One object for each task: id, state, …")
@click.option("--insecure", is_flag=True, help="Use workers on other machines, in plain text.")
def command(
    *,
    name: str,
    body: str | None,
    shows: bool,
    timeout_s: float | None,
    raw: bool,
    priority: int,
    delay_s: float,
    expires_s: float | None,
    own_id: str | None,
    unique: str | None,
    order_by: str | None,
    results: str,
    no_wait: bool,
    journal: str | None,
    as_json: bool,
    insecure: bool,
) -> int:
    """Push BODY as a task to the workers of NAME, and wait until it has ended.

    A body that is JSON is sent as what it means, any other as text, and as bytes what is not
    UTF-8. Without BODY each line of standard input is a task; a lone - stands for all of it, as
    one body. The command waits because its tasks live in it: what is left when it ends is
    lost, unless there is a --journal, with which `zmqkit queue run` or the next push goes on,
    or a streamer of NAME, which has them then. It fails if a task did, with exit code 74 if the
    journal did.

    With --no-wait it ends once the tasks are on disk, and prints the id of each. They have to
    go somewhere that outlives it: a --journal, or a streamer that runs as streamer-durable.

    \b
    zmqkit push thumbnails '{"path": "cat.png"}' --wait
    ls *.png | zmqkit push thumbnails --priority 7
    zmqkit push thumbnails cat.png --no-wait --results sink
    """
    if shows and (no_wait or results == "sink"):
        other = "--no-wait does not wait for them" if no_wait else "--results sink has them"
        raise click.UsageError(f"--wait prints results, and {other}; leave one out")
    if own_id is not None and body is None:
        raise click.UsageError("--id is for a single task; give its BODY")
    bodies = read_bodies(body, raw=raw)
    until = inf if timeout_s is None else time.monotonic() + timeout_s
    options: dict[str, Any] = {
        "priority": priority, "delay_s": delay_s, "expires_s": expires_s, "id": own_id,
        "unique": unique, "order_by": order_by, "results": results,
    }  # fmt: skip
    pusher = zmqkit.Pusher(
        name, journal=journal, durable=no_wait or None, insecure=insecure or None
    )
    if no_wait:
        return _leave(pusher, bodies, options, until, journal, as_json=as_json)
    return _see_done(pusher, bodies, options, until, journal, shows=shows, as_json=as_json)


def _see_done(
    pusher: zmqkit.Pusher,
    bodies: Iterable[object],
    options: dict[str, Any],
    until: float,
    journal: str | None,
    *,
    shows: bool,
    as_json: bool,
) -> int:
    """Push each body, and wait for the ends; return the exit code."""
    with pusher:
        counts: Counter[str] = Counter()
        tickets = _pushed(pusher, bodies, options, counts)
        progress = Progress(wanted=shows)
        for each in _ended(pusher, tickets, until, progress):
            counts["ended"] += 1
            progress.clear()
            counts["failed"] += not _shown(each, shows=shows, as_json=as_json)
        progress.clear()
        pusher.close(0)
    if pusher.fault is not None:
        say_error(f"{pusher.fault}; what ended since then may run again")
        return IOERR
    left = counts["pushed"] - counts["ended"]
    if left:
        kept = "given up" if journal is None else f"left in {journal}"
        if pusher.stats()["passed_on"]:
            kept = "left with the streamer"
        say_error(f"{several(left, 'task')} not done in time, and {kept}")
        return TIMEOUT
    return FAILED if counts["failed"] else 0


def _leave(
    pusher: zmqkit.Pusher,
    bodies: Iterable[object],
    options: dict[str, Any],
    until: float,
    journal: str | None,
    *,
    as_json: bool,
) -> int:
    """Push each body, and print its id once it is on disk; wait for no end."""
    with pusher:
        for body in bodies:
            left_s = None if until == inf else max(0.0, until - time.monotonic())
            try:
                ticket = pusher.push(body, timeout_s=left_s, **options)
            except zmqkit.ConfigError as error:
                name = pusher.name
                raise zmqkit.UsageError(
                    f"nobody keeps the tasks of {name!r} when this command ends; give "
                    f"--journal FILE, or run `zmqkit run streamer-durable --name {name}`"
                ) from error
            if as_json:
                say_json({"id": ticket.id, "state": ticket.state})
            else:
                say(ticket.id)
        if pusher.close(0) and journal is not None:
            tell(f"`zmqkit queue run {journal}` gives what is left there to workers")
    return 0


class Progress:
    """A line of the terminal that shows how far the first task is; nothing elsewhere."""

    def __init__(self, *, wanted: bool) -> None:
        self._is_wanted = wanted and sys.stderr.isatty()
        self._is_shown = False

    def look(self, ticket: zmqkit.Ticket) -> None:
        """Show what the handler of a task said last, if it said something."""
        value = ticket.progress() if self._is_wanted else None
        if value is not None:
            show(f"task {ticket.id}: {to_json(value)}")
            self._is_shown = True

    def clear(self) -> None:
        """Leave the line to what is written next."""
        if self._is_shown:
            show("")
            self._is_shown = False


def _pushed(
    pusher: zmqkit.Pusher,
    bodies: Iterable[object],
    options: dict[str, Any],
    counts: Counter[str],
) -> Iterator[zmqkit.Ticket]:
    """Push each body, and count it."""
    for body in bodies:
        counts["pushed"] += 1
        yield pusher.push(body, **options)


def _ended(
    pusher: zmqkit.Pusher,
    tickets: Iterator[zmqkit.Ticket],
    until: float,
    progress: Progress,
) -> Iterator[zmqkit.Ticket]:
    """Yield the tickets of tasks that have ended, in order, while more are pushed."""
    under_way: deque[zmqkit.Ticket] = deque()
    told = False
    for ticket in tickets:
        under_way.append(ticket)
        while under_way and (len(under_way) >= _WINDOW or _is_over(under_way[0])):
            if not _waited(under_way[0], until):
                return
            yield under_way.popleft()
    while under_way:
        if not _waited(under_way[0], min(until, time.monotonic() + _LOOK_S)):
            progress.look(under_way[0])
            if not told and (pusher.stats()["paused"] or not pusher.ready(timeout_s=0)):
                progress.clear()
                tell(f"waiting for a worker of {pusher.name!r}; {_why(under_way[0])}")
                told = True
            if time.monotonic() >= until:
                return
            continue
        yield under_way.popleft()


def _is_over(ticket: zmqkit.Ticket) -> bool:
    return ticket.state not in ("waiting", "leased")


def _waited(ticket: zmqkit.Ticket, until: float) -> bool:
    """Wait until a task has ended, or until the time `until`; return whether it has ended."""
    try:
        ticket.result(None if until == inf else max(0.0, until - time.monotonic()))
    except zmqkit.ZmqkitError:
        return _is_over(ticket)
    return True


def _why(ticket: zmqkit.Ticket) -> str:
    try:
        ticket.result(0)
    except zmqkit.ZmqkitError as error:
        return text_of(error)
    return ""


def _shown(ticket: zmqkit.Ticket, *, shows: bool, as_json: bool) -> bool:
    """Write what became of a task; return whether it is done."""
    value, error = None, None
    try:
        value = ticket.result(0)
    except zmqkit.ZmqkitError as raised:
        error = raised
    if as_json:
        ended = {"id": ticket.id, "state": ticket.state, "attempts": ticket.attempts}
        said = {"error": text_of(error)} if error else {"result": value}
        say_json({**ended, **said})
    elif error is not None:
        text = text_of(error).removeprefix("zmqkit.Retry: ").removeprefix("zmqkit.Discard: ")
        attempts = several(ticket.attempts, "attempt")
        say_error(f"task {ticket.id} {ticket.state} after {attempts}: {text}")
    elif shows:
        say_value(value, as_json=False)
    return error is None
