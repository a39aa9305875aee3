"""`zmqkit pub`: publish a message, or one for each line of standard input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import click

import zmqkit
from zmqkit.cli.bodies import read_bodies
from zmqkit.cli.call import Values
from zmqkit.cli.completing import names
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say_json, several, tell
from zmqkit.cli.stopping import staying
from zmqkit.limits import WAIT_S
from zmqkit.model import Reach, parse_url
from zmqkit.roles.messages import Policy
from zmqkit.wire.publication import check_topic

_OTHERS = "; those on other machines need --insecure on both sides"


@click.command(
    "pub",
    short_help="Publish messages to the subscribers of a name.",
    cls=Values,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name", shell_complete=names("publisher"))
@click.argument("topic")
@click.argument("body", required=False)
@click.option("--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option(
    "--hz",
    type=Number(min=0, min_open=True),
    metavar="RATE",
    help="Publish so many a second; BODY again and again until --count or Ctrl-C.",
)
@click.option("--raw", is_flag=True, help="Bodies are bytes as they are read, no JSON.")
@click.option(
    "--ready",
    "subscribers",
    type=click.IntRange(min=0),
    metavar="COUNT",
    help="Begin once so many subscribers have joined; 1 unless told, or 0 with --stay.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Number(min=0),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for them.",
)
@click.option("--drop", is_flag=True, help="Do not wait for subscribers that are slow.")
@click.option(
    "--history",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the last N messages for subscribers that come later or missed some.",
)
@click.option(
    "--stay",
    is_flag=True,
    help="With --history, stay after the last message for those who come later, until SIGTERM "
    "or Ctrl-C.",
)
@click.option("--bind", metavar="URL", help="Listen at tcp://host:port, not at any free port.")
@click.option("--json", "as_json", is_flag=True, help="Print what was published as an object.")
@click.option("--insecure", is_flag=True, help="Publish to other machines, in plain text.")
def command(
    *,
    name: str,
    topic: str,
    body: str | None,
    count: int | None,
    hz: float | None,
    raw: bool,
    subscribers: int | None,
    wait_s: float,
    drop: bool,
    history: int | None,
    stay: bool,
    bind: str | None,
    as_json: bool,
    insecure: bool,
) -> None:
    """Publish BODY under TOPIC to all subscribers of NAME.

    A body that is JSON is sent as what it means, any other as text, and as bytes what is not
    UTF-8. Without BODY each line of standard input is one; a lone - stands for all of it, as
    one body. Slow subscribers are waited for; with --drop they are not, and lose messages.

    \b
    zmqkit pub weather kitchen.celsius 21.5
    zmqkit pub weather clock now --hz 10
    tail -f log | zmqkit pub log web.access --ready 0
    zmqkit pub settings colour green --history 1 --stay
    """
    check_topic(topic)
    if stay and history is None:
        raise click.UsageError("--stay is for those who come later; it needs --history N")
    if subscribers is None:
        subscribers = 0 if stay else 1
    bodies = read_bodies(body, raw=raw, again=count is not None or hz is not None)
    policy: Policy = "drop" if drop else "block"
    with zmqkit.Publisher(
        name, policy=policy, history=history, bind=bind, insecure=insecure or None
    ) as publisher:
        joined = publisher.ready(subscribers, wait_s) if subscribers else 0
        if joined < subscribers:
            others = _OTHERS if parse_url(publisher.endpoint).reach is Reach.LOCAL else ""
            later = ", or stay for those who come later with --stay" if history else ""
            raise zmqkit.NoService(
                f"{joined} of {subscribers} subscribers of {name!r} came within {wait_s:g} s; "
                f"start `zmqkit sub {name}`, or publish to whoever is there with --ready 0"
                f"{later}{others}"
            )
        published = 0
        for each in paced(islice(bodies, count), hz):
            publisher.publish(topic, each)
            published += 1
        joined = publisher.ready(timeout_s=0)
        if stay:
            said = several(published, "message")
            with staying() as signalled:
                tell(f"{said} published; staying for those who come later")
                signalled.wait()
    if as_json:
        say_json({"published": published, "topic": topic, "subscribers": joined})


def paced(bodies: Iterator[object], hz: float | None) -> Iterator[object]:
    """Yield the bodies, at most `hz` of them a second. None sets no limit."""
    begun = time.monotonic()
    for number, body in enumerate(bodies):
        if hz is not None:
            time.sleep(max(0.0, begun + number / hz - time.monotonic()))
        yield body
