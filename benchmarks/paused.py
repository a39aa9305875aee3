"""What subscribers notice of another that is stopped: the 99th percentile from publish to read.

One publisher sends 20,000 messages of 100 bytes a second to three subscribers, each a process,
in batches of 20; with `--full` as many as it can. One of the three gets SIGSTOP for `--pause-s`
and SIGCONT after that. The references are the same with nobody paused, and with the other two
alone: where processors are few, the third takes time from them for as long as it runs. Under
full load they are always too few, and the percentile is how long a reader waits for one: then
rounds differ tenfold, on every side.

The clock of a message starts when its batch begins and stops when a subscriber has it; what
counts are the messages published during the pause, and the slower one of the two others. With
policy="drop" the publisher waits for nobody. With `--policy block` it waits for the paused one,
once and for STALL_S, before that is excluded: nothing is published meanwhile, so the wait does
not show in the percentile but in a row of its own, the longest that one batch took.

At the end each subscriber must have read, dropped or missed every message, and told of every
gap; else there is no figure. Needs SIGSTOP, so not Windows.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from array import array
from struct import Struct
from typing import Any

import figures
import paired
from figures import Message, Reference
from paired import BenchmarkError, Child, Family, Parent

TOPIC = "bench"
OTHERS = 2
TURN = 20
TURN_S = 0.001
STRIDE = 7
"""One message of so many is timed; prime to TURN, so that no place in a batch is left out."""

STALL_S = 2.0
LEAD_S = 1.0
"""How long before and after the pause messages are published."""

END_S = 20.0
"""How long the paused subscriber may take to have everything."""

STAMP = Struct("d")
FILL = paired.BODY[STAMP.size :]


def publisher(parent: Parent, config: Message) -> None:
    """Publish from `start` to `end`; say how many, and how long a batch took at most."""
    import zmqkit

    settings: Any = {"policy": config["policy"], "stall_s": STALL_S}
    with zmqkit.Publisher(config["name"], **settings) as publisher:
        parent.send(joined=publisher.ready(config["subscribers"]))
        plan = parent.receive()
        turn_s = 0.0 if config["full"] else TURN_S
        due = now = plan["start"]
        longest_s, batches = 0.0, 0
        while now < plan["end"]:
            time.sleep(max(0.0, due - time.monotonic()))
            begun = time.monotonic()
            body = STAMP.pack(begun) + FILL
            with publisher.batch() as batch:
                for _ in range(TURN):
                    batch.publish(TOPIC, body)
            now = time.monotonic()
            longest_s = max(longest_s, now - begun)
            batches += 1
            due = max(due + turn_s, now - 10 * TURN_S)  # a long wait is not made up for
        exclusions = publisher.stats()["exclusions"]
        unserved = publisher.close(END_S)
    parent.result(
        published=batches * TURN, longest_s=longest_s, exclusions=exclusions, unserved=unserved
    )


class Reader:
    """Reads all there is, and remembers how long some of it took."""

    def __init__(self, subscriber: Any, plan: Message) -> None:
        self.read = 0
        self.took_s = array("d")
        self.thread = threading.Thread(target=self._read, args=(subscriber, plan))
        self.thread.start()

    def _read(self, subscriber: Any, plan: Message) -> None:
        begin, end = plan["pause"], plan["resume"]
        for self.read, message in enumerate(subscriber, 1):
            if self.read % STRIDE == 0:
                (stamp,) = STAMP.unpack_from(message.body)
                if begin <= stamp < end:
                    self.took_s.append(time.monotonic() - stamp)


def subscriber(parent: Parent, config: Message) -> None:
    """Read until everything is there; say how long it took and what became of it."""
    import zmqkit

    told = 0

    def tell(gap: zmqkit.Gap) -> None:
        nonlocal told
        told += gap.missing

    with zmqkit.Subscriber(config["name"], on_gap=tell) as subscriber:
        subscriber.ready()
        parent.send(pid=os.getpid())
        reader = Reader(subscriber, parent.receive())
        parent.receive()
        until = time.monotonic() + END_S
        while subscriber.stats()["queued"] and time.monotonic() < until:
            time.sleep(0.01)
        subscriber.stop()
        reader.thread.join()
        stats = subscriber.stats()
    percentiles = {
        f"p{percent}_ms": 1000 * figures.percentile(reader.took_s, percent)
        for percent in (50, 99, 100)
        if reader.took_s
    }
    parent.result(read=reader.read, told=told, stats=stats, **percentiles)


def pauser(parent: Parent, config: Message) -> None:
    """Stop a process at `pause` and let it go on at `resume`, or when the parent has ended."""
    pid = config["pid"]

    def resume() -> None:
        os.kill(pid, signal.SIGCONT)

    def give_up() -> None:
        resume()
        os._exit(0)

    parent.on_end = give_up
    plan = parent.receive()
    time.sleep(max(0.0, plan["pause"] - time.monotonic()))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(max(0.0, plan["resume"] - time.monotonic()))
    resume()
    parent.result(resumed=True)


def sample(pause_s: float, third: str, **config: Any) -> Message:
    """One run, the third subscriber `paused`, `awake` or `absent`: how the others fared, and
    what was counted."""
    paused, count = third == "paused", OTHERS + (third != "absent")
    with Family() as family:
        name = paired.unique_name()
        source = family.start("publisher", name=name, subscribers=count, **config)
        readers = [family.start("subscriber", name=name) for _ in range(count)]
        pids = [reader.receive()["pid"] for reader in readers]
        source.receive()
        told: list[Child] = [source, *readers]
        if paused:
            told.append(family.start("pauser", pid=pids[0]))
        start = time.monotonic() + 0.5
        pause = start + LEAD_S
        resume = pause + pause_s
        for child in told:
            child.send(start=start, pause=pause, resume=resume, end=resume + LEAD_S)
        if paused:
            told[-1].receive(pause_s + paired.ANSWER_S)
        sent = source.receive(pause_s + paired.ANSWER_S)
        for reader in readers:
            reader.send(finish=True)
        results = [reader.receive() for reader in readers]
    for number, result in enumerate(results):
        check(number, result, sent)
    others = results[-OTHERS:]
    return {
        "value": max(result["p99_ms"] for result in others),
        "median_ms": max(result["p50_ms"] for result in others),
        "worst_ms": max(result["p100_ms"] for result in others),
        "longest_ms": 1000 * sent["longest_s"],
        "exclusions": sent["exclusions"],
        "rate": sent["published"] / (pause_s + 2 * LEAD_S),
        "lost": lost(results[0]) if paused else 0,
        "others_lost": sum(map(lost, others)),
    }


def lost(result: Message) -> int:
    """How many messages a subscriber counted as missing or dropped."""
    stats = result["stats"]
    total: int = stats["missing"] + sum(stats["dropped"].values())
    return total


def check(number: int, result: Message, sent: Message) -> None:
    """BenchmarkError unless a subscriber accounts for each message that was published."""
    stats = result["stats"]
    kept = {
        "received = delivered + queued + dropped": stats["received"]
        == stats["delivered"] + stats["queued"] + sum(stats["dropped"].values()),
        "read = delivered": result["read"] == stats["delivered"],
        "told = missing": result["told"] == stats["missing"],
        "published = received + missing": sent["published"]
        == stats["received"] + stats["missing"],
        "nothing queued, twice or malformed": (
            stats["queued"] == stats["duplicates"] == len(stats["malformed"]) == 0
        ),
    }
    if wrong := [rule for rule, is_kept in kept.items() if not is_kept]:
        raise BenchmarkError(f"subscriber {number}: not {'; '.join(wrong)}: {result}, {sent}")


def describe(one: Message) -> str:
    """One run in words."""
    times = ", ".join(
        f"{name} {one[key]:.3g} ms"
        for name, key in (
            ("p50", "median_ms"),
            ("p99", "value"),
            ("worst", "worst_ms"),
            ("longest batch", "longest_ms"),
        )
    )
    counts = f"lost {one['lost']:,}, by the others {one['others_lost']:,}"
    return f"{times}; {one['rate']:,.0f} messages/s; {counts}; excluded {one['exclusions']}"


def beside(samples: list[Message], policy: str) -> list[figures.Row]:
    """What else the runs with a pause showed: the worst of each."""

    def row(caption: str, key: str, unit: str, target: float | None = None) -> figures.Row:
        figure = figures.Figure("paused", caption, unit, "<=")
        worst = max((sample[key] for sample in samples), default=None)
        return figures.limit_row(caption, figure, worst, target)

    wait_ms = 1250 * STALL_S if policy == "block" else None
    return [
        row("longest batch, at worst", "longest_ms", "ms", wait_ms),
        row("others, slowest message", "worst_ms", "ms"),
        row("others, lost", "others_lost", "messages", 0.0 if policy == "block" else None),
        row("paused one, lost and counted", "lost", "messages"),
    ]


def main() -> None:
    caption = "How undisturbed subscribers are by another that is paused."
    parser = figures.arguments(caption, rounds=3)
    parser.add_argument("--policy", choices=["drop", "block"], default="drop")
    parser.add_argument("--full", action="store_true", help="publish as much as can be")
    parser.add_argument("--pause-s", type=float, default=10.0, help="default %(default)g")
    options = parser.parse_args()
    samples: list[Message] = []

    def measure(third: str) -> Message:
        one = sample(options.pause_s, third, policy=options.policy, full=options.full)
        if third == "paused":
            samples.append(one)
        if not options.json:
            print(f"    {third}: {describe(one)}", flush=True)
        return one

    load = "full load" if options.full else f"{TURN / TURN_S:,.0f} messages/s"
    caption = f"others' p99 while one is paused {options.pause_s:g} s, {options.policy}, {load}"
    name = "_".join(["paused", options.policy] + ["full"] * options.full)
    figures.compare(
        figures.Figure(name, caption, "ms", "<="),
        lambda: measure("paused"),
        [
            Reference("nobody paused", lambda: measure("awake"), 2.0),
            Reference("the others alone", lambda: measure("absent"), 2.0),
        ],
        options,
        lambda: beside(samples, options.policy),
    )


PARTS = {"publisher": publisher, "subscriber": subscriber, "pauser": pauser}

if __name__ == "__main__":
    paired.run(main, PARTS)
