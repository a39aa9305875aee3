"""`zmqkit sub`: print what the publishers of a name publish."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from math import inf

import click

import zmqkit
from zmqkit.cli.completing import names
from zmqkit.cli.drops import Drops
from zmqkit.cli.lacks import telling_lacks
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json, say_value, several, tell, to_json
from zmqkit.cli.rates import Rate, Rates
from zmqkit.cli.searched import searched
from zmqkit.cli.serve import at_eof
from zmqkit.cli.stdin import standard_input
from zmqkit.core.membership.interests import key_of
from zmqkit.types import HeardPublisher

MOMENT_S = 1.0
"""How long to wait for a publisher before a line says that none is there."""


@click.command("sub", short_help="Print the messages of a name.")
@click.argument("name", shell_complete=names("publisher"))
@click.argument("topics", nargs=-1, metavar="[TOPIC]...")
@click.option("--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="End when no message came for so long; forever unless told.",
)
@click.option("--latest", is_flag=True, help="Pass over all but the latest of each topic.")
@click.option(
    "--history",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Begin with the last N messages of each topic that publishers kept.",
)
@click.option(
    "--recover", is_flag=True, help="Get what was lost on its way, as far as it was kept."
)
@click.option("--raw", is_flag=True, help="Print bodies alone, text and bytes unchanged.")
@click.option(
    "--hz", is_flag=True, help="Print rates each second from the first message on, no messages."
)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
@click.option("--insecure", is_flag=True, help="Listen to other machines too, in plain text.")
@click.option("--until-eof", is_flag=True, help="Stop too when standard input ends.")
def command(
    *,
    name: str,
    topics: tuple[str, ...],
    count: int | None,
    timeout_s: float | None,
    latest: bool,
    history: int,
    recover: bool,
    raw: bool,
    hz: bool,
    as_json: bool,
    insecure: bool,
    until_eof: bool,
) -> None:
    """Print what the publishers of NAME, or the one at a URL, publish: topic and body.

    TOPICs are beginnings: kitchen. stands for kitchen.celsius too; without one, all. Text is
    printed plainly and everything else as JSON; control characters are escaped as in Python
    (\\x1b, \\n) and, with --raw or --json, on a terminal alone. Messages that were published
    and did not arrive are told on standard error, and so are those dropped because the reader
    was too slow. So is, after a second, that no publisher is there, and, with --history or
    --recover, what had not come yet when it was interrupted; with --json that is also an
    object for each topic: lacking, publisher, topic and the sequence of the first message.

    \b
    zmqkit sub weather
    zmqkit sub weather kitchen. hall. --json | jq .body
    zmqkit sub weather --hz
    """
    if raw and (as_json or hz):
        raise click.UsageError("--raw prints bodies alone; leave out --json and --hz")
    if until_eof:
        standard_input()
    reader = zmqkit.Subscriber(
        name,
        topics or ("",),
        latest=latest,
        history=history,
        recover=recover,
        on_gap=_tell_gap,
        insecure=insecure or None,
    )
    with reader as subscriber, Drops(lambda: _dropped(subscriber)):
        wait = Wait(subscriber, timeout_s, insecure=insecure)
        if until_eof:
            at_eof(wait.stop)
        with telling_lacks(subscriber, as_json=as_json, count=count), wait.told_after(MOMENT_S):
            if hz:
                _print_rates(wait, count, as_json=as_json)
            else:
                _print_messages(wait, count, raw=raw, as_json=as_json)


class Wait:
    """Waits for messages, and says whether any publisher is there to send some.

    timeout_s: how long to wait for each message; None waits without a limit.
    """

    def __init__(
        self, subscriber: zmqkit.Subscriber, timeout_s: float | None, *, insecure: bool
    ) -> None:
        self.subscriber = subscriber
        self.timeout_s = timeout_s
        self.is_over = False
        self._insecure = insecure
        self._told = False

    def next(self) -> zmqkit.Message | None:
        """Return the next message; None after `stop`. Raise CallTimeout if none is in time."""
        message = self.subscriber.receive(self.timeout_s) if not self.is_over else None
        if message is None and not self.is_over:
            raise self.in_vain()
        return message

    def stop(self) -> None:
        """Wait for no more messages; any thread may call this."""
        self.is_over = True
        self.subscriber.stop()

    def in_vain(self) -> zmqkit.CallTimeout:
        """Return the error that says that no message came, and which publishers are there."""
        up = [row for row in self.subscriber.publishers() if row["state"] == "up"]
        who = "no publisher is there" if self._told else self._nobody()
        who = present(up) if up else who
        text = f"nothing from {self.subscriber.name!r} for {self.timeout_s:g} s; {who}"
        return zmqkit.CallTimeout(text)

    @contextmanager
    def told_after(self, moment_s: float) -> Iterator[None]:
        """While the context is entered, say on standard error if no publisher is there by then.

        It says so once `moment_s` is over. It says nothing if the wait ends as soon, since the
        error then says the same.
        """
        if self.timeout_s is not None and self.timeout_s <= moment_s:
            yield
            return
        timer = threading.Timer(moment_s, self._tell_if_alone)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _tell_if_alone(self) -> None:
        rows = self.subscriber.publishers()
        if not any(row["state"] == "up" or "://" not in self.subscriber.name for row in rows):
            self._told = True
            tell(f"waiting for {self.subscriber.name!r}: {self._nobody()}")

    def _nobody(self) -> str:
        name = self.subscriber.name
        for row in self.subscriber.publishers():
            if row["state"] == "apart":
                return (
                    "the publisher there is in another space; ZMQKIT_SPACE says in which we are"
                )
            if row["state"] == "misnamed":
                there = str(row["label"]).rpartition("-")[0]
                return f"the publisher there is {there!r}; put that behind the port, or nothing"
        if "://" in name:
            why = "check host and port, and that a publisher listens"
        else:
            why = searched(key_of("publisher", name), insecure=self._insecure)
        return f"no publisher is there: {why}"


def present(rows: Sequence[HeardPublisher]) -> str:
    """Return how many publishers, and devices that pass on what others publish, are there.

    rows: those of `publishers()` that are up.
    """
    count = sum(bool(row["forwards"]) for row in rows)
    counts = ((len(rows) - count, "publisher"), (count, "device"))
    shown = " and ".join(several(number, noun) for number, noun in counts if number)
    return f"{shown} {'is' if len(rows) == 1 else 'are'} there"


def _print_messages(wait: Wait, count: int | None, *, raw: bool, as_json: bool) -> None:
    printed = 0
    while printed != count and (message := wait.next()) is not None:
        printed += 1
        if as_json:
            say_json(message._asdict())
        elif raw:
            _print_raw(message.body)
        else:
            body = message.body if isinstance(message.body, str) else to_json(message.body)
            say(f"{message.topic} {body}")


def _print_raw(body: object) -> None:
    """Write the body and a line end."""
    if isinstance(body, bytes) and not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(body + b"\n")
        sys.stdout.buffer.flush()
    else:
        say_value(body, as_json=False)


def _print_rates(wait: Wait, count: int | None, *, as_json: bool) -> None:
    """Print every second how many messages of each topic came.

    count: how many messages to count in all. The first message starts the clock.
    """
    message = wait.next()
    now = last_at = time.monotonic()
    rates, seen, silent_s = Rates(now), 0, inf if wait.timeout_s is None else wait.timeout_s
    while True:
        if now >= rates.due_at:
            _print_rows(rates.take(now), as_json=as_json)
        if message is not None:
            rates.add(message.topic)
            seen, last_at = seen + 1, now
        if seen == count or now - last_at >= silent_s or wait.is_over:
            break
        until = min(rates.due_at, last_at + silent_s)
        message = wait.subscriber.receive(max(0.0, until - now))
        now = time.monotonic()
    _print_rows(rates.take(now), as_json=as_json)
    if seen != count and not wait.is_over:
        raise wait.in_vain()


def _print_rows(rows: list[Rate], *, as_json: bool) -> None:
    for row in rows:
        if as_json:
            say_json(asdict(row))
        else:
            say(str(row))


def _dropped(subscriber: zmqkit.Subscriber) -> int:
    """Return how many messages made room for others before they were read."""
    dropped = subscriber.stats()["dropped"]
    assert isinstance(dropped, dict)
    return int(dropped.get("full", 0))


def _tell_gap(gap: zmqkit.Gap) -> None:
    tell(f"missing: {gap.missing} messages of {gap.topic} from {gap.publisher}")
