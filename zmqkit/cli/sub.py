"""`zmqkit sub`: print what the publishers of a name publish."""

from __future__ import annotations

import sys
import time
from collections import Counter

import click

import zmqkit
from zmqkit.cli.drops import Drops
from zmqkit.cli.output import say, say_value, tell, to_json

RATE_S = 1.0


@click.command("sub", short_help="Print the messages of a name.")
@click.argument("name")
@click.argument("topics", nargs=-1, metavar="[TOPIC]...")
@click.option("--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End when no message came for so long; forever unless told.",
)
@click.option("--latest", is_flag=True, help="Pass over all but the latest of each topic.")
@click.option("--raw", is_flag=True, help="Print bodies alone, text and bytes unchanged.")
@click.option("--hz", is_flag=True, help="Print rates each second, no messages.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.option("--insecure", is_flag=True, help="Listen to other machines too, in plain text.")
def command(
    *,
    name: str,
    topics: tuple[str, ...],
    count: int | None,
    timeout_s: float | None,
    latest: bool,
    raw: bool,
    hz: bool,
    as_json: bool,
    insecure: bool,
) -> None:
    """Print what the publishers of NAME, or the one at a URL, publish: topic and body.

    TOPICs are beginnings: kitchen. stands for kitchen.celsius too; without one, all. Text is
    printed plainly and everything else as JSON. Messages that were published and did not arrive
    are told on standard error, and so are those dropped because the reader was too slow.

    \b
    zmqkit sub weather
    zmqkit sub weather kitchen. hall. --json | jq .body
    zmqkit sub weather --hz
    """
    if raw and (as_json or hz):
        raise click.UsageError("--raw prints bodies alone; leave out --json and --hz")
    reader = zmqkit.Subscriber(
        name, topics or ("",), latest=latest, on_gap=_tell_gap, insecure=insecure or None
    )
    with reader as subscriber, Drops(lambda: _dropped(subscriber)):
        if hz:
            _print_rates(subscriber, count, timeout_s, as_json=as_json)
        else:
            _print_messages(subscriber, count, timeout_s, raw=raw, as_json=as_json)


def _print_messages(
    subscriber: zmqkit.Subscriber,
    count: int | None,
    timeout_s: float | None,
    *,
    raw: bool,
    as_json: bool,
) -> None:
    printed = 0
    while printed != count:
        message = _next(subscriber, timeout_s)
        printed += 1
        if as_json:
            say(to_json(message._asdict()))
        elif raw:
            _print_raw(message.body)
        else:
            body = message.body if isinstance(message.body, str) else to_json(message.body)
            say(f"{message.topic} {body}")


def _print_raw(body: object) -> None:
    """The body, and a line's end."""
    if isinstance(body, bytes):
        sys.stdout.flush()
        sys.stdout.buffer.write(body + b"\n")
        sys.stdout.buffer.flush()
    else:
        say_value(body, as_json=False)


def _print_rates(
    subscriber: zmqkit.Subscriber, count: int | None, timeout_s: float | None, *, as_json: bool
) -> None:
    """Every second, how many messages of each topic came since; `count` is of those in all.

    The first message starts the clock.
    """
    _next(subscriber, timeout_s)
    seen, begun = 1, time.monotonic()
    while seen != count:
        topics: Counter[str] = Counter()
        while seen != count and (left_s := begun + RATE_S - time.monotonic()) > 0:
            message = subscriber.receive(left_s)
            if message is not None:
                topics[message.topic] += 1
                seen += 1
        if not topics:
            topics[_next(subscriber, timeout_s).topic] += 1
            seen += 1
        now = time.monotonic()
        passed_s, begun = now - begun, now
        for topic, number in topics.most_common():
            rate = number / passed_s
            row = {"topic": topic, "hz": round(rate, 2), "messages": number}
            say(to_json(row) if as_json else f"{topic} {rate:,.1f}/s")


def _next(subscriber: zmqkit.Subscriber, timeout_s: float | None) -> zmqkit.Message:
    message = subscriber.receive(timeout_s)
    if message is None:
        up = [row for row in subscriber.publishers() if row["state"] == "up"]
        who = f"{len(up)} publishers are there" if up else "no publisher is there"
        raise zmqkit.CallTimeout(f"nothing from {subscriber.name!r} for {timeout_s:g} s; {who}")
    return message


def _dropped(subscriber: zmqkit.Subscriber) -> int:
    """How many messages made room for others before they were read."""
    dropped = subscriber.stats()["dropped"]
    assert isinstance(dropped, dict)
    return int(dropped.get("full", 0))


def _tell_gap(gap: zmqkit.Gap) -> None:
    tell(f"missing: {gap.missing} messages of {gap.topic} from {gap.publisher}")
