"""`zmqkit tap`: show a sample of what passes the services, publishers and devices of a name."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from math import inf

import click

from zmqkit.cli.grouping import time_text
from zmqkit.cli.ls import listening
from zmqkit.cli.main import FAILED
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json, several, tell, to_json
from zmqkit.cli.searched import searched_for_all
from zmqkit.model import Reach, check_name
from zmqkit.node.tap import Seen, Tapper, value_of
from zmqkit.tap_limits import TAP_RATE_MAX
from zmqkit.wire.tapping import Wanted

RATE = 100.0
WAIT_S = 3.0
POLL_S = 0.1
_TELL_S = 1.0
_ENDS = ("service", "publisher")
"""Roles whose rows need not say so; what passes others is shown by several of a name."""
_OF_MESSAGES = ("publisher", "forwarder", "bridge")
"""Roles whose rows are messages; those of all others are calls or tasks."""
_CHARS_MAX = 80
"""How much of a body, or of all arguments, a line for people has."""


@click.command("tap", short_help="Show a sample of what passes a name.")
@click.argument("name")
@click.option(
    "--method",
    metavar="NAME",
    help="Calls of this method alone; of a queue, `task` or `result`.",
)
@click.option("--topic", metavar="PREFIX", help="Messages alone whose topic begins so.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True,
              metavar="N", help="Show one of N.")  # fmt: skip
@click.option("--rate", type=Number(min=0, min_open=True, max=TAP_RATE_MAX), default=RATE,
              show_default=True, metavar="R",
              help="Show so many each second of each role at most.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.option("--for", "for_s", type=Number(min=0), metavar="SECONDS",
              help="How long; until it is interrupted unless told.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.option("--insecure", is_flag=True, help="Tap other machines too, in plain text.")
def command(
    *,
    name: str,
    method: str | None,
    topic: str | None,
    every: int,
    rate: float,
    count: int | None,
    for_s: float | None,
    as_json: bool,
    insecure: bool,
) -> None:
    """Show what passes the services, publishers, pushers, workers and devices called NAME.

    A row is a call or task with its arguments, how it ended, its reply or error, how long it
    took and who called, or a message with its topic; of long bodies the beginning. Calls that
    were refused are shown, too, and each value of a stream. What passes a device as well is
    shown by both. The processes copy a bounded sample and never wait for this command: what it
    is too slow to fetch is dropped there. All that passed and was not shown is counted on
    standard error, but for the last moment of a process that ends. Other machines let roles
    with statistics=True alone be tapped.

    \b
    zmqkit tap orders
    zmqkit tap weather --topic kitchen. --every 100
    zmqkit tap orders --method price --json --count 10
    """
    check_name(name)
    if method is not None and topic is not None:
        raise click.UsageError("--method is for calls and --topic for messages; leave one out")
    wanted = Wanted(name, method or topic or "", every, rate)
    with (
        listening(threading.Event(), insecure=insecure) as node,
        Tapper(node, wanted) as tapper,
    ):
        reach = node.environment.reach(insecure=insecure or None)
        shown, told = 0, Told(tapper)
        rows = _first(tapper, reach)
        if rows is None:
            tell(f"nobody called {name!r} to be tapped was found within {WAIT_S:g} s: "
                 f"{searched_for_all(name, insecure=insecure)}")  # fmt: skip
            raise click.exceptions.Exit(FAILED)
        end_at = inf if for_s is None else time.monotonic() + for_s
        try:
            while True:
                for seen in rows[: None if count is None else count - shown]:
                    shown += 1
                    _show(seen, as_json=as_json)
                told.look()
                if shown == count or time.monotonic() >= end_at:
                    break
                threading.Event().wait(POLL_S)
                rows = tapper.poll(reach=reach)
        finally:
            counts = tapper.counts()
            tell(f"{several(shown, 'row')} shown of {counts.seen:,} that passed, "
                 f"{counts.skipped:,} not sampled, {counts.dropped:,} dropped")  # fmt: skip


def _first(tapper: Tapper, reach: Reach) -> list[Seen] | None:
    """Wait until somebody of the name is found; return what passed, or None if nobody is."""
    until = time.monotonic() + WAIT_S
    while True:
        rows = tapper.poll(reach=reach)
        if tapper.find(reach):
            return rows
        if time.monotonic() >= until:
            return None
        threading.Event().wait(POLL_S)


class Told:
    """Tells on standard error what was dropped, and who cannot be tapped, once a second."""

    def __init__(self, tapper: Tapper) -> None:
        self._tapper = tapper
        self._dropped = 0
        self._others: set[str] = set()
        self._at = 0.0
        self._mute_at = time.monotonic() + 2 * WAIT_S

    def look(self) -> None:
        """Tell what is new, if a second has passed."""
        now, counts = time.monotonic(), self._tapper.counts()
        if now < self._at:
            return
        self._at = now + _TELL_S
        if counts.dropped > self._dropped:
            rows = several(counts.dropped - self._dropped, "row")
            tell(f"dropped: {rows}, this command was too slow; lower --rate or raise --every")
            self._dropped = counts.dropped
        texts = {f"too many tap process {each} already" for each in counts.full}
        texts |= {f"process {each} does not answer" for each in counts.silent}
        if not (counts.roles or texts) and now >= self._mute_at:
            texts.add("nobody tells what passes; other machines need statistics=True for that")
        for text in sorted(texts - self._others):
            tell(text)
        self._others = texts


def _show(seen: Seen, *, as_json: bool) -> None:
    if as_json:
        say_json(as_object(seen))
    else:
        say(line_of(seen))


def as_object(seen: Seen) -> dict[str, object]:
    """Return a row as a JSON object."""
    row, is_call = seen.row, is_call_of(seen)
    body, is_whole = value_of(row.body) if row.body else (None, not row.size)
    told: dict[str, object] = {
        "at": datetime.fromtimestamp(seen.at_s, UTC).isoformat(),
        "process": seen.process,
        "role": row.role,
        "name": row.name,
        "method" if is_call else "topic": row.what,
        "outcome": row.outcome,
        "from": f"{row.source:016x}" if row.source else None,
        "bytes": row.size,
        "arguments" if is_call else "body": body,
        "is_whole": is_whole,
    }
    if is_call:
        reply, is_whole = value_of(row.reply)
        told |= {"took_s": row.took_us / 1e6, "reply": reply, "reply_bytes": row.reply_size,
                 "reply_is_whole": is_whole}  # fmt: skip
    return told


def is_call_of(seen: Seen) -> bool:
    """Return whether a row is a call or task; else it is a message."""
    return seen.row.role not in _OF_MESSAGES


def line_of(seen: Seen) -> str:
    """Return a row as a line for people."""
    row = seen.row
    at = time.strftime("%H:%M:%S", time.localtime(seen.at_s))
    at = f"{at}.{int(seen.at_s * 1000) % 1000:03d}"
    whom = row.name if row.role in _ENDS else f"{row.name} ({row.role})"
    if not is_call_of(seen):
        body = _cut(row.body) if row.outcome in ("published", "carried") else row.outcome
        where = ", to the other end" if row.outcome == "carried" else ""
        return f"{at} {whom} {row.what} {body}  {row.size:,} B{where}"
    reply = f" {_cut(row.reply)}" if row.reply else ""
    if row.outcome == "streamed" and type(count := value_of(row.reply)[0]) is int:
        reply = f" {several(count, 'value')}"
    figures = [time_text(row.took_us / 1e6), f"{row.size:,} B", f"{row.reply_size:,} B back"]
    if row.source:
        figures.append(f"from {row.source:016x}")
    call = f"{row.what}({_arguments(row.body)}) {row.outcome}{reply}"
    return f"{at} {whom} {call}  {', '.join(figures)}"


def _arguments(data: bytes) -> str:
    value, is_whole = value_of(data) if data else (None, False)
    if not is_whole or type(value) is not list or len(value) != 2:
        return "…"
    args, kwargs = value
    if type(args) is not list or type(kwargs) is not dict:
        return "…"
    named = (f"{key}={to_json(each)}" for key, each in kwargs.items())
    return _short(", ".join([*map(to_json, args), *named]))


def _short(text: str) -> str:
    return text if len(text) <= _CHARS_MAX else f"{text[:_CHARS_MAX]}…"


def _cut(data: bytes) -> str:
    value, is_whole = value_of(data) if data else ("", False)
    text = _short(to_json(value))
    return text if is_whole or text.endswith("…") else f"{text}…"
