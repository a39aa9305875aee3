"""`zmqkit stats`: what the roles here count, how fast, and how long it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict

import click

from zmqkit.cli.grouping import FIGURES, cells, each_alone, processes_text
from zmqkit.cli.looking import looking
from zmqkit.cli.ls import listening
from zmqkit.cli.main import FAILED
from zmqkit.cli.output import say, say_json, table, tell
from zmqkit.cli.searched import searched_for_all
from zmqkit.limits import WAIT_S_MAX
from zmqkit.model import Reach
from zmqkit.node.statistics import Reader, Row
from zmqkit.wire.histogram import BOUNDS, Histogram

WAIT_S = 1.0
_AGAIN_S = 0.5
"""How long to wait for the rates of processes that were found late."""

_COLUMNS = ("NAME", "ROLE", "PART", "PID", *FIGURES)


@click.command("stats", short_help="Show what each role counts, and how long it takes.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One array of objects, in one line.")
@looking(WAIT_S, "How long to look for processes; rates are those of the second half of it.")
def command(*, name: str | None, as_json: bool, wait_s: float, insecure: bool) -> None:
    """Show the statistics of all roles of a NAME, or of every role on this machine.

    Each process of yours on this machine tells of all its roles, and so does each that others
    find. A row is a role, or one part of it: a method, topic, queue or service. RATE is how
    many end well each second; P50 and P99 are how long they take, those of the last moment if
    there were any. Other machines tell of roles with statistics=True alone.

    \b
    zmqkit stats
    zmqkit stats orders --json
    """

    def show(rows: list[Row]) -> None:
        if as_json:
            say_json([as_object(row) for row in rows])
        else:
            for line in lines(rows):
                say(line)

    show_once(show, name, wait_s, insecure=insecure)


def show_once(
    show: Callable[[list[Row]], None], name: str | None, wait_s: float, *, insecure: bool
) -> None:
    """Read the rows of a name, or of all, show them, and tell what is missing."""
    with listening(threading.Event(), insecure=insecure) as node, Reader(node) as reader:
        reach = node.environment.reach(insecure=insecure or None)
        rows = read(reader, name, reach, min(wait_s, WAIT_S_MAX))
        where = searched_for_all(name, insecure=insecure)
    show(rows)
    tell_what_is_missing(name, reader.silent, wait_s, where, is_empty=not rows)


def tell_what_is_missing(
    name: str | None, silent: list[str], wait_s: float, where: str, *, is_empty: bool
) -> None:
    """Tell who did not answer, and if nobody did, where was searched.

    Raises Exit if nobody has the name.
    """
    if silent:
        tell(silence(silent))
    if is_empty:
        tell(f"{nobody(name)} was found within {wait_s:g} s: {where}")
        if name is not None:
            raise click.exceptions.Exit(FAILED)


def nobody(name: str | None) -> str:
    """Return who was not found, for the beginning of a sentence."""
    return f"no role called {name!r}" if name else "no role"


def silence(silent: list[str]) -> str:
    """Return a line that says which processes did not answer."""
    return f"{processes_text(len(silent))} did not answer: {', '.join(silent)}"


def read(reader: Reader, name: str | None, reach: Reach, wait_s: float) -> list[Row]:
    """Return the rows of a name, or of all, with their rates."""
    pause = threading.Event().wait
    pause(wait_s / 2)
    reader.read(name, reach=reach)
    pause(wait_s / 2)
    rows = reader.read(name, reach=reach)
    if any(not row.rates for row in rows):
        pause(_AGAIN_S)
        rows = reader.read(name, reach=reach)
    return rows


def lines(rows: list[Row]) -> list[str]:
    """Return the rows as a table, or no lines if there are none."""
    shown = sorted(each_alone(rows), key=lambda each: each.whole)
    return table(cells(shown, _COLUMNS)) if rows else []


def as_object(row: Row) -> dict[str, object]:
    """Return a row as a JSON object."""
    told = asdict(row)
    del told["recent"]
    more = {"took": _histogram(row.took), "waited": _histogram(row.waited)}
    return {**told, **more, "p50_s": row.p50_s, "p99_s": row.p99_s}


def _histogram(histogram: Histogram | None) -> dict[str, object] | None:
    """Return a histogram: its count and sum, and how many there are below each bound."""
    if histogram is None:
        return None
    bounds = (*BOUNDS, None)
    filled = zip(bounds, histogram.counts, strict=True)
    return {
        "count": histogram.count,
        "sum_s": round(histogram.sum_s, 6),
        "p50_s": histogram.percentile(50),
        "p99_s": histogram.percentile(99),
        "buckets": [[bound, count] for bound, count in filled if count],
    }
