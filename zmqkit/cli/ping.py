"""`zmqkit ping`: whether each instance of a name answers, how soon, and how its clock is."""

from __future__ import annotations

import threading
import time
from typing import cast

import click

from zmqkit.cli.completing import names
from zmqkit.cli.grouping import time_text
from zmqkit.cli.ls import listening
from zmqkit.cli.main import FAILED
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json, table, tell
from zmqkit.cli.searched import searched_for_all
from zmqkit.limits import WAIT_S_MAX
from zmqkit.model import check_name
from zmqkit.node.ping import Answer, Pinged, Pinger

WAIT_S = 1.0
INTERVAL_S = 1.0
TIMEOUT_S = 1.0
_LOOK_S = 0.05

_HEAD = (
    "NAME", "ROLE", "INSTANCE", "PID", "HOST", "SENT", "LOST", "MIN", "MEDIAN", "MAX", "CLOCK",
)  # fmt: skip


@click.command("ping", short_help="Ping each instance of a name.")
@click.argument("name", shell_complete=names())
@click.option(
    "-c", "--count", type=click.IntRange(min=1), help="End after so many pings of each; else "
    "when it is interrupted.",
)  # fmt: skip
@click.option(
    "--interval",
    "interval_s",
    type=Number(min=0.01),
    default=INTERVAL_S,
    show_default=True,
    metavar="SECONDS",
    help="From one ping to the next.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long an answer may take; then it is lost.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Number(min=0),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to look for a first instance.",
)
@click.option("--json", "as_json", is_flag=True, help="At the end one array, in one line.")
@click.option("--insecure", is_flag=True, help="Ping other machines too, in plain text.")
def command(
    *,
    name: str,
    count: int | None,
    interval_s: float,
    timeout_s: float,
    wait_s: float,
    as_json: bool,
    insecure: bool,
) -> None:
    """Ping every service, publisher, worker and device that is called NAME.

    Each instance's process is asked over a connection of its own, which its handlers cannot
    hold up. CLOCK is by how much its time of day is ahead of the one here, as the quickest
    answer tells; it may be wrong by half of that round trip. A table at the end sums up, also
    when it is interrupted. PID and HOST stay empty for a process on another machine, unless one
    of its roles has statistics=True. The exit code is 1 if an instance has never answered.

    \b
    zmqkit ping orders -c 3
    zmqkit ping orders -c 1 --json
    """
    check_name(name)
    with listening(threading.Event(), insecure=insecure) as node, Pinger(node) as pinger:
        until = time.monotonic() + min(wait_s, WAIT_S_MAX)
        while not pinger.find(name) and time.monotonic() < until:
            threading.Event().wait(_LOOK_S)
        if not pinger.instances:
            where = searched_for_all(name, insecure=insecure)
            tell(f"nobody called {name!r} was found within {wait_s:g} s: {where}")
            raise click.exceptions.Exit(FAILED)
        reach = node.environment.reach(insecure=insecure or None)
        done = 0
        try:
            while True:
                begun = time.monotonic()
                answers = pinger.ping(reach=reach, timeout_s=timeout_s)
                done += 1
                if not as_json:
                    for row in pinger.instances.values():
                        answer = answers.get(row.process)
                        say(f"{row.label} {done}: {_line(answer)}")
                if done == count:
                    break
                threading.Event().wait(max(0.0, begun + interval_s - time.monotonic()))
                pinger.find(name)
        except KeyboardInterrupt:
            pass  # as `ping` does, it ends with its summary
    rows = summary(pinger)
    if as_json:
        say_json(rows)
    else:
        for line in lines(rows):
            say(line)
    if not all(row["answered"] for row in rows):
        raise click.exceptions.Exit(FAILED)


def _line(answer: Answer | None) -> str:
    return "no answer" if answer is None else time_text(answer.round_trip_s)


def summary(pinger: Pinger) -> list[dict[str, object]]:
    """Return a row for each instance."""
    rows: list[dict[str, object]] = []
    found = pinger.instances.values()
    for listing in sorted(found, key=lambda row: (row.name, row.role, row.label)):
        pinged = pinger.pinged.get(listing.process, Pinged(listing.process))
        low, middle, high = pinged.round_trips() or (None, None, None)
        rows.append({
            "name": listing.name, "role": listing.role, "label": listing.label,
            "process": listing.process, "pid": pinged.pid, "host": pinged.host,
            "sent": pinged.sent, "answered": pinged.answered, "loss": round(pinged.loss, 4),
            "min_s": low, "median_s": middle, "max_s": high, "ahead_s": pinged.ahead_s,
        })  # fmt: skip
    return rows


def lines(rows: list[dict[str, object]]) -> list[str]:
    """Return the rows as a table."""
    return table([_HEAD, *map(_cells, rows)])


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    ahead_s, loss = row["ahead_s"], row["loss"]
    assert isinstance(loss, float)
    sign = "+" if isinstance(ahead_s, float) and ahead_s >= 0 else "-"
    return (
        *(str(row[key]) for key in ("name", "role", "label")),
        str(row["pid"] or ""),
        str(row["host"]),
        str(row["sent"]),
        f"{loss:.0%}",
        *(time_text(cast("float | None", row[key])) for key in ("min_s", "median_s", "max_s")),
        f"{sign}{time_text(abs(ahead_s))}" if isinstance(ahead_s, float) else "",
    )
