"""`zmqkit bench`: how fast a service, publisher or queue is, or a pair of processes."""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import cast

import click

from zmqkit.bench import pair
from zmqkit.bench.measured import Load, Measured, Pattern
from zmqkit.bench.raw import TIME
from zmqkit.cli.call import Values, calls_of
from zmqkit.cli.completing import names
from zmqkit.cli.grouping import time_text
from zmqkit.cli.ls import listening
from zmqkit.cli.main import FAILED
from zmqkit.cli.numeric import Number
from zmqkit.cli.output import say, say_json, several, show, table, tell
from zmqkit.cli.searched import searched_for_all
from zmqkit.errors import BadArguments, NoService, RemoteError, UsageError
from zmqkit.model import kind_of

IN_FLIGHT = 200
BYTES = 100
SECONDS = 3.0
ROUNDS = 3
WAIT_S = 3.0
_LOOK_S = 0.05
_BAR_CHARS = 24
_ROUND_MIN = 100
"""Rates below this are shown with three digits."""
_CHARS_MAX = 120
"""How much is shown of what a method raised."""
_REMEDY = "its own arguments go last, as those of `zmqkit call`"
_BODY_BYTES_MAX = 16 << 20
_NOUNS = {"call": "call", "publish": "message", "push": "task"}
_KINDS: dict[str, Pattern] = {"service": "call", "publisher": "publish", "queue": "push"}
_FOUND_AS = {"service": "service", "publisher": "publisher", "worker": "queue"}


@click.command(
    "bench",
    short_help="Measure rates and latencies.",
    cls=Values,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("name", required=False, shell_complete=names())
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@click.option("--pair", "between", type=click.Choice(("call", "publish", "push")),
              help="Measure between two processes of its own.")  # fmt: skip
@click.option("--as", "kind", type=click.Choice(tuple(_KINDS)),
              help="What of that NAME to measure, if it is several things, or a URL.",
              )  # fmt: skip
@click.option("--method", help="Of a service: which method to call, with ARGS or with bytes.",
              )  # fmt: skip
@click.option("--rate", type=Number(min=0, min_open=True), metavar="NUMBER",
              help="Send so many each second, whatever becomes of them.")  # fmt: skip
@click.option("--in-flight", type=click.IntRange(1, 10_000), metavar="NUMBER",
              help=f"Keep so many under way; {IN_FLIGHT} unless told.")  # fmt: skip
@click.option("--alone", is_flag=True, help="One at a time, in one thread.")
@click.option("--bytes", "size", type=click.IntRange(0, _BODY_BYTES_MAX), metavar="NUMBER",
              help=f"Size of each argument, message or task; {BYTES} unless told, 0 for none.",
              )  # fmt: skip
@click.option("--seconds", type=Number(min=0.1), default=SECONDS, show_default=True,
              help="How long each round takes.")  # fmt: skip
@click.option("--raw", is_flag=True, help="Raw pyzmq of the same pattern beside a --pair.")
@click.option("--rounds", type=click.IntRange(min=1), metavar="NUMBER",
              help=f"How often to measure; 1 unless told, and {ROUNDS} with --raw.",
              )  # fmt: skip
@click.option("--yes", is_flag=True, help="Of a queue: push tasks, which its workers run.")
@click.option("--json", "as_json", is_flag=True, help="One object, in one line.")
@click.option("--insecure", is_flag=True, help="Use other machines too, in plain text.")
def command(*, as_json: bool, **options: object) -> int:
    """Measure the service, publisher or queue NAME, or with --pair two processes of its own.

    A service's --method is called with ARGS, which are read as those of `zmqkit call` are, or
    with bytes where there are none; what it does, it does so often. From a publisher, what
    arrives is counted, and what got lost. A queue is given tasks that ITS WORKERS RUN, whatever
    they do with them: this needs --yes.

    With --rate the times are those from when each was to be sent, so a moment in which the
    other side stands still shows in all that were due then. Without it so many are under way
    all the time, or one with --alone. Percentiles are read from a histogram. With --raw both
    take turns, and `ratio` is zmqkit divided by raw pyzmq, the median of the rounds.

    \b
    zmqkit bench orders --method price tea quantity=2
    zmqkit bench orders --method price tea --rate 500
    zmqkit bench --pair call --alone --raw
    zmqkit bench --pair publish --json
    """
    asked = _read(options)
    try:
        results = asked.run()
    finally:
        if sys.stderr.isatty():
            show("")
    if as_json:
        say_json(as_object(asked, results))
    else:
        for line in lines(asked, results):
            say(line)
    return 0 if all(each.count for each in results["zmqkit"]) else FAILED


@dataclass(slots=True)
class Asked:
    """What the command line asks for."""

    title: str
    load: Load
    # Each measures once; `zmqkit` is the first.
    sides: dict[str, Callable[[], Measured]]
    rounds: int
    # Those of the method, as the command line has them.
    arguments: tuple[str, ...] = ()

    @property
    def given(self) -> str:
        """What each call, message or task has."""
        return shlex.join(self.arguments) or f"{len(self.load.body):,} bytes"

    def run(self) -> dict[str, list[Measured]]:
        """Measure in turns, every other round backwards; return what each side showed."""
        results: dict[str, list[Measured]] = {side: [] for side in self.sides}
        for number in range(self.rounds):
            for side in list(self.sides)[:: 1 if number % 2 == 0 else -1]:
                if sys.stderr.isatty():
                    self.load.look = _bar(f"{side} {number + 1}/{self.rounds}")
                results[side].append(self.sides[side]())
        return results


def _bar(title: str) -> Callable[[float, int], None]:
    """Return what draws how far a round is."""

    def draw(part: float, count: int) -> None:
        done = int(_BAR_CHARS * min(1.0, part))
        show(f"{title} [{'#' * done}{' ' * (_BAR_CHARS - done)}] {count:,}")

    return draw


def _read(options: dict[str, object]) -> Asked:
    """Check the options, and find out what the name is."""
    name, between, insecure = options["name"], options["between"], options["insecure"] or None
    if (name is None) == (between is None):
        raise click.UsageError("give a NAME, or --pair for two processes of its own")
    if options["raw"] and between is None:
        raise click.UsageError("--raw measures raw pyzmq beside a --pair; NAME has no such")
    if name is None:
        pattern = cast("Pattern", between)
    else:
        pattern = _KINDS[str(options["kind"] or _found_as(str(name), insecure=bool(insecure)))]
    load = _load(pattern, options, is_pair=name is None)
    arguments = cast("tuple[str, ...]", options["arguments"])
    if arguments:
        _take(load, arguments, options)
    rounds = options["rounds"] or (ROUNDS if options["raw"] else 1)
    assert isinstance(rounds, int)
    if name is None:
        sides: dict[str, Callable[[], Measured]] = {"zmqkit": lambda: pair.measure(load)}
        if options["raw"]:
            sides["raw pyzmq"] = lambda: pair.measure(load, is_raw=True)
        return Asked(f"{pattern} between two processes", load, sides, rounds)
    asked = Asked(f"{pattern} {name}", load, {}, rounds, arguments)
    side = _side(str(name), asked, options, insecure=cast("bool | None", insecure))
    asked.sides["zmqkit"] = side
    return asked


def _take(load: Load, arguments: tuple[str, ...], options: dict[str, object]) -> None:
    """Have calls carry these arguments in place of bytes."""
    if load.pattern != "call" or options["between"] is not None:
        raise click.UsageError("ARGS are those of a service's --method")
    if options["size"] is not None:
        raise click.UsageError("the method gets either ARGS or --bytes; leave one out")
    [each] = calls_of(arguments, None, by_line=False)
    load.body, load.args, load.kwargs = b"", tuple(each.args), each.kwargs


def _side(
    name: str, asked: Asked, options: dict[str, object], *, insecure: bool | None
) -> Callable[[], Measured]:
    """Return what measures a name once."""
    load = asked.load
    if load.pattern == "publish":
        return lambda: pair.heard(name, load, insecure=insecure)
    if load.pattern == "push":
        if not options["yes"]:
            raise click.UsageError(
                f"the workers of {name!r} would run each task, whatever that does; "
                "add --yes if they may"
            )
        tell(f"pushing tasks that the workers of {name!r} run")
        return lambda: pair.pushed(name, load, insecure=insecure)
    method = options["method"]
    if method is None:
        raise click.UsageError(f"--method says which method of {name!r} to call")

    def called() -> Measured:
        try:
            return pair.called(name, str(method), load, insecure=insecure)
        except (RemoteError, BadArguments) as error:
            has_none = not (load.body or asked.arguments)
            given = "without an argument" if has_none else f"with {asked.given}"
            remedy = "" if asked.arguments else f"; {_REMEDY}"
            text = str(error)
            text = text if len(text) <= _CHARS_MAX else f"{text[:_CHARS_MAX]}…"
            error.args = (f"{text}; it was called {given}{remedy}",)
            raise

    return called


def _load(pattern: Pattern, options: dict[str, object], *, is_pair: bool) -> Load:
    """Return the load; UsageError for options that do not go together."""
    rate, in_flight, alone = options["rate"], options["in_flight"], bool(options["alone"])
    size, seconds = options["size"], options["seconds"]
    size = BYTES if size is None else size
    assert isinstance(size, int) and isinstance(seconds, float)
    if in_flight is not None and (alone or rate is not None):
        raise click.UsageError("--in-flight is for a closed loop; leave out --alone or --rate")
    if pattern == "publish" and (alone or in_flight is not None):
        raise click.UsageError(
            "nobody answers what is published; leave out --alone, --in-flight"
        )
    if pattern == "publish" and not is_pair and rate is not None:
        raise click.UsageError("the publisher chooses its rate; --rate is for --pair")
    if is_pair and pattern == "publish" and rate is not None and size < TIME.size:
        raise click.UsageError(f"--rate measures with {TIME.size} bytes of each message")
    heard = pattern == "publish" and not is_pair  # whoever publishes chooses the size, too
    load = Load(pattern, b"" if heard else bytes(size), seconds, alone=alone)
    load.rate = cast("float | None", rate)
    load.in_flight = cast("int", in_flight or IN_FLIGHT)
    return load


def _found_as(name: str, *, insecure: bool) -> str:
    """Return what a name is the name of: service, publisher or queue."""
    if "://" in name:
        raise click.UsageError("--as says whether the URL is that of a service or what else")
    until = time.monotonic() + WAIT_S
    with listening(threading.Event(), insecure=insecure) as node:
        kinds: set[str] = set()
        while not kinds and time.monotonic() < until:
            found = [kind_of(row.role) for row in node.listings() if row.name == name]
            kinds = {_FOUND_AS[each] for each in found if each in _FOUND_AS}
            threading.Event().wait(_LOOK_S)
        if not kinds:
            where = searched_for_all(name, insecure=insecure)
            raise NoService(f"nobody called {name!r} was found within {WAIT_S:g} s: {where}")
    if len(kinds) > 1:
        those = " and ".join(sorted(kinds))
        raise UsageError(f"{name!r} is the name of a {those}; --as says which to measure")
    return kinds.pop()


def summed(results: list[Measured]) -> Measured:
    """Return all rounds as one: the median rate, and the percentiles of all together."""
    whole = Measured(took_s=sum(each.took_s for each in results))
    for each in results:
        whole.count += each.count
        whole.latency.add(each.latency)
        whole.longest_s = max(whole.longest_s, each.longest_s)
        whole.failed += each.failed
        whole.missing += each.missing
    return whole


def rate_of(results: list[Measured]) -> float:
    """Return the median of the rounds' rates."""
    return median(each.rate for each in results)


def ratios(results: dict[str, list[Measured]]) -> dict[str, float]:
    """Return ours divided by raw, the median of the rounds: of rates, and of the p50."""
    found: dict[str, list[float]] = {"rate": [], "p50": []}
    for ours, other in zip(results["zmqkit"], results.get("raw pyzmq", []), strict=False):
        if other.rate:
            found["rate"].append(ours.rate / other.rate)
        if ours.latency.count and other.latency.count:
            mine, theirs = ours.percentiles()["p50_s"], other.percentiles()["p50_s"]
            found["p50"].append(mine / theirs)
    return {what: median(values) for what, values in found.items() if values}


def as_object(asked: Asked, results: dict[str, list[Measured]]) -> dict[str, object]:
    """Return all as a JSON object."""
    load = asked.load
    sides: dict[str, object] = {
        side: {**summed(rounds).as_object(), "rate": round(rate_of(rounds), 3),
               "rounds": [each.as_object() for each in rounds]}
        for side, rounds in results.items()
    }  # fmt: skip
    open_loop = load.rate is not None
    return {
        "what": asked.title,
        "pattern": load.pattern,
        "bytes": None if asked.arguments else len(load.body),
        "arguments": list(asked.arguments),
        "seconds": load.seconds,
        "rate_wanted": load.rate,
        "in_flight": None if open_loop or load.pattern == "publish" else in_flight_of(load),
        **sides,
        "ratio": {what: round(each, 4) for what, each in ratios(results).items()},
    }


def in_flight_of(load: Load) -> int:
    """Return how many a closed loop keeps under way."""
    return 1 if load.alone else load.in_flight


def lines(asked: Asked, results: dict[str, list[Measured]]) -> list[str]:
    """Return all as text."""
    load, noun = asked.load, _NOUNS[asked.load.pattern]
    if load.rate is not None:
        how = f", {load.rate:g} a second" + (", one at a time" if load.alone else "")
    elif load.pattern == "publish":
        how = ""
    else:
        how = ", one at a time" if load.alone else f", {load.in_flight} in flight"
    said = [f"{asked.title}{how}, {asked.given}, {asked.rounds} x {load.seconds:g} s"]
    rows, notes = [], list[str]()
    for side, rounds in results.items():
        whole = summed(rounds)
        times = [f"{key[:-2]} {time_text(each)}" for key, each in whole.percentiles().items()]
        rate = rate_of(rounds)
        shown = f"{rate:,.0f}" if rate >= _ROUND_MIN else f"{rate:.3g}"
        rows.append([side, f"{shown} {noun}s/s", *times])
        lost = Counter(whole.failed)
        lost["lost or dropped"] += whole.missing
        told = ", ".join(f"{count:,} {what}" for what, count in lost.items() if count)
        notes += (
            [f"  {side}: beside these {several(whole.count, noun)}: {told}"] if told else []
        )
    said += [f"  {line}" for line in table(rows)]
    found = ratios(results)
    if found:
        words = ", ".join(f"{what} {each:.2f}" for what, each in found.items())
        said.append(f"  ratio: {words}")
    return said + notes
